"""A tiny checkpoint in SGLang's own MiMoV2ForCausalLM and MiMoV2MTP, on a CPU.

Run as ``checkpoint_model.py FOLDER RANKS [--text IDS --pieces LENGTHS] [--media]``. One process a rank, tied together
by gloo. Each loads the checkpoint with the release's own DefaultModelLoader, and says which parameters it left as they
were before and what it warned of. With ``--text`` the model then computes a text, its first tokens as prompt pieces of
these lengths and the others decoded one by one, and is compared with our own reference. With ``--media`` it computes
features of pictures and sounds in bfloat16.

Stand-ins: the GPU, the compiled fp8 kernels (a weight times its block scales instead), FlashAttention of the towers
(torch's own), the model runner and the KV pool's tensors. The modules, their loaders, the triton attention backend and
its kernels (in Triton's interpreter), the rotary embedding, the expert choice and the collectives between ranks are
SGLang's. A text is computed in float32.
"""

import argparse
import contextlib
import functools
import itertools
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))
import torch  # noqa: E402
from mtp_window import CONFIGURATION  # noqa: E402
from settings import Settings  # noqa: E402
from stand_in_absent import stand_in_for  # noqa: E402

# Asked for by SGLang on a machine with neither CUDA nor a supported CPU.
stand_in_for("vllm")
from sglang.srt import distributed  # noqa: E402
from sglang.srt.configs.device_config import DeviceConfig  # noqa: E402
from sglang.srt.configs.load_config import LoadConfig  # noqa: E402
from sglang.srt.configs.model_config import ModelConfig  # noqa: E402
from sglang.srt.layers import dp_attention  # noqa: E402
from sglang.srt.layers.attention import triton_backend, vision  # noqa: E402
from sglang.srt.layers.quantization import fp8  # noqa: E402
from sglang.srt.layers.quantization.kv_cache import BaseKVCacheMethod  # noqa: E402
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool  # noqa: E402
from sglang.srt.model_executor.forward_batch_info import ForwardMode  # noqa: E402
from sglang.srt.model_loader.loader import DefaultModelLoader  # noqa: E402
from sglang.srt.models import mimo_audio, mimo_v2, mimo_v2_nextn, registry  # noqa: E402, F401
from sglang.srt.server_args import ServerArgs, set_global_server_args_for_scheduler  # noqa: E402

BLOCK, SLOTS, CONTEXT = 128, 1024, 1024
UNUSED = (".k_scale", ".v_scale", "input_local_transformer.embed_tokens.weight")
"""Parameters that no checkpoint fills: cache scales stay at 1, and the audio transformer is fed embeddings."""


class Warnings(logging.Handler):
    """Collects what SGLang warns of."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.found = []

    def emit(self, record):
        self.found.append(record.getMessage())


def start(folder, ranks, rank, meeting):
    """This process as one rank of a server's tensor-parallel group, without a server."""
    with mock.patch.object(ServerArgs, "__post_init__", return_value=None):
        arguments = ServerArgs(model_path=str(folder), device="cpu", tp_size=ranks, trust_remote_code=True)
    set_global_server_args_for_scheduler(arguments)
    distributed.init_distributed_environment(
        world_size=ranks, rank=rank, local_rank=rank, backend="gloo", distributed_init_method=f"file://{meeting}"
    )  # fmt: skip
    distributed.initialize_model_parallel(tensor_model_parallel_size=ranks, backend="gloo")
    target = ModelConfig.from_server_args(arguments)
    dp_attention.initialize_dp_attention(arguments, target)
    return arguments, target


@contextlib.contextmanager
def without_gpu(states):
    """Where the model wants a GPU it gets the CPU; `states` collects what the audio tokenizer's loading left open."""
    encoder = mimo_audio.AudioEncoderMixin if hasattr(mimo_audio, "AudioEncoderMixin") else mimo_audio.MiMoAudioEncoder
    name = next(name for name in ("_load_mimo_audio_tokenizer", "_load_audio_tokenizer") if hasattr(encoder, name))
    load, load_state = getattr(encoder, name), mimo_audio.MiMoAudioTokenizer.load_state_dict

    def noted(self, state, *arguments, **options):
        result = load_state(self, state, *arguments, **options)
        own = self.state_dict()
        states.extend([f"missing {name}" for name in result.missing_keys])
        states.extend([f"unexpected {name}" for name in result.unexpected_keys])
        states.extend([f"shape of {name}" for name in own if name in state and own[name].shape != state[name].shape])
        return result

    with contextlib.ExitStack() as stack:
        patch = mock.patch.object
        stack.enter_context(patch(encoder, name, staticmethod(lambda path, device: load(path, torch.device("cpu")))))
        stack.enter_context(patch(mimo_audio.MiMoAudioTokenizer, "load_state_dict", noted))
        stack.enter_context(patch(torch.cuda, "current_device", return_value=0))
        stack.enter_context(mock.patch.dict(vision.QKV_BACKEND_IMPL, fa3=vision.VisionSdpaAttention))
        stack.enter_context(patch(DefaultModelLoader, "load_weights_and_postprocess", staticmethod(load_marked)))
        yield


def load_marked(model, weights, target_device):
    """The release's own reading of weights, over parameters that are all NaN; no repacking for kernels."""
    for name, parameter in model.named_parameters():
        if name.startswith(("audio_tokenizer", "audio_encoder.audio_tokenizer")) or name.endswith(UNUSED):
            continue  # read while the model was made; or never
        if parameter.dtype == torch.float8_e4m3fn:
            parameter.data.view(torch.uint8).fill_(0x7F)
        else:
            parameter.data.fill_(float("nan"))
    model.load_weights(weights)
    for module in model.modules():
        method = getattr(module, "quant_method", None)
        if isinstance(method, BaseKVCacheMethod):
            method.process_weights_after_loading(module)


def load(config, mtp_layer=None):
    """A model, and which of its parameters still hold a NaN."""
    options = LoadConfig() if mtp_layer is None else LoadConfig(draft_model_idx=mtp_layer)
    model = DefaultModelLoader(options).load_model(model_config=config, device_config=DeviceConfig("cpu"))
    unfilled = [
        name for name, parameter in model.named_parameters() if torch.isnan(parameter.detach().float()).any()
    ]  # fmt: skip
    return model, unfilled


def whole(weight, scales):
    """An fp8 weight as float32."""
    wide = scales.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)
    return weight.float() * wide[..., : weight.shape[-2], : weight.shape[-1]]


def apply_linear(self, layer, x, bias=None):
    """For Fp8LinearMethod.apply."""
    return torch.nn.functional.linear(x, whole(layer.weight, layer.weight_scale_inv), bias)


def apply_experts(self, layer, dispatch_output):
    """For Fp8MoEMethod.apply; which experts and with which weights is SGLang's choice."""
    from sglang.srt.layers.moe.token_dispatcher import StandardCombineInput

    x, chosen = dispatch_output.hidden_states, dispatch_output.topk_output
    into = whole(layer.w13_weight, layer.w13_weight_scale_inv)
    out = whole(layer.w2_weight, layer.w2_weight_scale_inv)
    result = torch.zeros_like(x)
    for row in range(x.shape[0]):
        for expert, share in zip(chosen.topk_ids[row].tolist(), chosen.topk_weights[row].tolist(), strict=True):
            gate, up = (into[expert] @ x[row]).chunk(2)
            result[row] += share * (out[expert] @ (torch.nn.functional.silu(gate) * up))
    return StandardCombineInput(hidden_states=result)


class Pool(SWAKVPool):
    """Keys and values of every layer as plain tensors; window slots are other slots than the full ones."""

    def __init__(self, config, ranks):
        text = config.hf_text_config
        order = torch.randperm(SLOTS - 1, generator=torch.Generator().manual_seed(5)) + 1
        self.full_to_swa_index_mapping = torch.cat([torch.zeros(1, dtype=torch.int64), order])
        self.sliding = {number: kind == 1 for number, kind in enumerate(text.hybrid_layer_pattern)}
        self.keys, self.values = [], []
        for sliding in self.sliding.values():
            heads = (text.swa_num_key_value_heads if sliding else text.num_key_value_heads) // ranks
            self.keys.append(torch.full((SLOTS, heads, text.head_dim), 1e3))
            self.values.append(torch.full((SLOTS, heads, text.v_head_dim), 1e3))
        self.layers_mapping = {number: (number, sliding) for number, sliding in self.sliding.items()}
        self.swa_loc, self.start_layer = None, 0

    def get_key_buffer(self, layer_id):
        return self.keys[layer_id]

    def get_value_buffer(self, layer_id):
        return self.values[layer_id]

    def get_kv_buffer(self, layer_id):
        return self.keys[layer_id], self.values[layer_id]

    def set_kv_buffer(self, layer, loc, cache_k, cache_v, *arguments, **options):
        loc = getattr(loc, "loc", loc)
        slots = self.full_to_swa_index_mapping[loc] if self.sliding[layer.layer_id] else loc
        self.keys[layer.layer_id][slots], self.values[layer.layer_id][slots] = cache_k, cache_v

    def translate_loc_from_full_to_swa(self, kv_indices):
        return self.full_to_swa_index_mapping[kv_indices.long()]


def make_backend(arguments, config, pool, requests, ranks):
    text = config.hf_text_config
    model = Settings(
        num_attention_heads=text.num_attention_heads, get_num_kv_heads=lambda *a: text.num_key_value_heads // ranks,
        get_max_num_attention_heads=lambda *a: text.num_attention_heads, head_dim=text.head_dim,
        swa_head_dim=text.head_dim, v_head_dim=text.v_head_dim, swa_v_head_dim=text.v_head_dim, context_len=CONTEXT,
        attention_arch=triton_backend.AttentionArch.MHA, is_encoder_decoder=False, hf_config=config.hf_config,
    )  # fmt: skip
    runner = Settings(
        req_to_token_pool=requests, token_to_kv_pool=pool,
        token_to_kv_pool_allocator=Settings(translate_loc_from_full_to_swa=pool.translate_loc_from_full_to_swa),
        sliding_window_size=config.sliding_window_size, model_config=model, device="cpu", gpu_id=0, page_size=1,
        server_args=Settings(triton_attention_num_kv_splits=8, enable_deterministic_inference=False),
        kv_cache_dtype=torch.float32, dtype=torch.float32, spec_algorithm=Settings(is_dspark=lambda: False),
        is_hybrid_swa=True, dcp_size=1, dcp_rank=0, decode_num_tokens_per_req=lambda: 1,
    )  # fmt: skip
    return triton_backend.TritonAttnBackend(runner)


def logits_of(model, arguments, config, tokens, pieces, ranks):
    """Logits after each token, whole on every rank."""
    slots = torch.randperm(SLOTS - 1, generator=torch.Generator().manual_seed(3)) + 1
    table = torch.zeros(2, CONTEXT, dtype=torch.int32)
    table[1, : len(tokens)] = slots[: len(tokens)].int()
    requests, pool = Settings(size=1, req_to_token=table), Pool(config, ranks)
    backend = make_backend(arguments, config, pool, requests, ranks)
    rows, done = [], 0
    for length in [*pieces, *[1] * (len(tokens) - sum(pieces))]:
        decoding = len(rows) >= len(pieces)
        forward = Settings(
            forward_mode=ForwardMode.DECODE if decoding else ForwardMode.EXTEND, batch_size=1,
            req_pool_indices=torch.tensor([1]), seq_lens=torch.tensor([done + length]), seq_lens_sum=done + length,
            seq_lens_cpu=torch.tensor([done + length]),
            extend_prefix_lens=torch.tensor([done], dtype=torch.int32), extend_prefix_lens_cpu=[done],
            extend_seq_lens=torch.tensor([length], dtype=torch.int32), extend_seq_lens_cpu=[length],
            extend_num_tokens=length, out_cache_loc=slots[done : done + length], attn_backend=backend,
            token_to_kv_pool=pool, req_to_token_pool=requests,
        )  # fmt: skip
        forward.input_ids = torch.tensor(tokens[done : done + length])
        backend.init_forward_metadata(forward)
        with serving(backend):
            hidden, _ = model.model(forward.input_ids, torch.arange(done, done + length), forward)
        shard = hidden @ model.lm_head.weight.T
        if ranks > 1:
            shard = distributed.tensor_model_parallel_all_gather(shard)
        rows.append(shard[:, : config.hf_text_config.vocab_size])
        done += length
    return torch.cat(rows)


def serving(backend):
    """Where later releases look for the attention backend of a forward pass."""
    try:
        from sglang.srt.model_executor.forward_context import ForwardContext, forward_context
    except ImportError:
        return contextlib.nullcontext()
    return forward_context(ForwardContext(attn_backend=backend))


@contextlib.contextmanager
def computing():
    """Fp8 kernels and configuration replaced for a forward pass."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(fp8.Fp8LinearMethod, "apply", apply_linear))
        stack.enter_context(mock.patch.object(fp8.Fp8MoEMethod, "apply", apply_experts))
        for name, value in CONFIGURATION.items():
            if hasattr(triton_backend, name):
                stack.enter_context(mock.patch.object(triton_backend, name, value))
        yield


attend = functools.partial(torch.nn.functional.scaled_dot_product_attention, enable_gqa=True)


def dense_attention(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal=False, **options):
    """For flash_attn_varlen_func, without windows."""
    parts = []
    for begin, end in itertools.pairwise(cu_seqlens_q.tolist()):
        heads = [x[begin:end].transpose(0, 1)[None] for x in (q, k, v)]
        mixed = attend(*heads, is_causal=causal)
        parts.append(mixed[0].transpose(0, 1))
    return torch.cat(parts)


def size_of(features):
    return {"rows": features.shape[0], "rms": features.float().pow(2).mean().sqrt().item(),
            "largest": features.float().abs().max().item()}  # fmt: skip


def features_of(model, config):
    """Sizes of the features of a flat and a noisy picture, and of silence and noise with their different codes."""
    vision, generator = config.hf_config.vision_config, torch.Generator().manual_seed(1)
    patch = 3 * vision["temporal_patch_size"] * vision["patch_size"] ** 2
    found = {}
    for name, pixels in (
        ("flat", torch.full((64, patch), 1.9)),
        ("noise", torch.randn(64, patch, generator=generator)),
    ):
        item = Settings(feature=pixels, image_grid_thw=torch.tensor([[1, 8, 8]]))
        found[f"image {name}"] = size_of(model.get_image_feature([item]))
    for name, mels in (
        ("silence", torch.full((200, 128), -16.1)), ("noise", torch.randn(200, 128, generator=generator) * 3 - 4)
    ):  # fmt: skip
        tokenizer = model.audio_tokenizer if hasattr(model, "audio_tokenizer") else model.audio_encoder.audio_tokenizer
        codes = mimo_audio.tokenize_audio_batch([mels], tokenizer.encoder, device=torch.device("cpu"))[0]
        found[f"audio {name}"] = size_of(model.get_audio_feature([Settings(feature=[mels])]))
        found[f"audio {name}"]["codes"] = [len(codes[:, i].unique()) for i in (0, codes.shape[1] - 1)]
    return found


def one_rank(options, rank, meeting):
    torch.set_num_threads(1)
    seen, states = Warnings(), []
    arguments, config = start(options.folder, options.ranks, rank, meeting)
    logging.getLogger().addHandler(seen)
    result = {"config": {"architectures": list(config.hf_config.architectures), "window": config.sliding_window_size,
                         "full": config.full_attention_layer_ids, "sliding": config.swa_attention_layer_ids,
                         "multimodal": config.is_multimodal}}  # fmt: skip
    with without_gpu(states):
        model, result["unfilled"] = load(config)
        result["parameters"] = len(list(model.named_parameters()))
        result["mtp"] = []
        draft = ModelConfig.from_server_args(arguments, is_draft_model=True)
        for layer in range(draft.hf_config.num_nextn_predict_layers if options.text is None else 0):
            result["mtp"].append(load(draft, layer)[1])
    result["audio_tokenizer"], result["warnings"] = states, seen.found
    if options.media:
        with (
            torch.no_grad(),
            mock.patch.object(mimo_audio, "flash_attn_varlen_func", dense_attention, create=True),
            mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attend),
        ):
            result["media"] = features_of(model, config)
    if options.text is not None:
        with torch.no_grad(), computing():
            for parameter in model.parameters():
                if parameter.dtype == torch.bfloat16:
                    parameter.data = parameter.data.float()
            for module in model.modules():
                if hasattr(module, "cos_sin_cache"):  # float32 on CUDA, the model's type elsewhere
                    module.cos_sin_cache = module._compute_cos_sin_cache()
            logits = logits_of(model, arguments, config, options.text, options.pieces, options.ranks)
        if rank == 0:
            result |= against_reference(options, logits)
    return result


def against_reference(options, logits):
    """How far our reference is from SGLang's logits, and how far if it took the decoded tokens for a prompt's."""
    from mimo_gb10.rehearsal.reference import Reference

    reference, found = Reference(options.folder), torch.log_softmax(logits, dim=-1)
    decoded = reference.logprobs(options.text, options.pieces)
    return {
        "difference": (found - decoded).abs().max().item(),
        "difference_as_prompt": (found - reference.logprobs(options.text)).abs().max().item(),
        "spread": found.std().item(),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("ranks", type=int)
    parser.add_argument("--text", type=json.loads)
    parser.add_argument("--pieces", type=json.loads, default=[])
    parser.add_argument("--media", action="store_true")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--meeting")
    options = parser.parse_args()
    if options.rank is not None:
        print(json.dumps(one_rank(options, options.rank, options.meeting)))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *sys.argv, "--meeting", f"{folder}/meeting", "--rank"]
        ranks = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True) for i in range(options.ranks)]
        outputs = [process.communicate()[0] for process in ranks]
    if any(process.returncode for process in ranks):
        sys.exit(1)
    print(json.dumps([json.loads(output.strip().splitlines()[-1]) for output in outputs]))


if __name__ == "__main__":
    main()
