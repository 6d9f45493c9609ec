"""The triton backend on the draft-extend path of multi-layer EAGLE: CUDA graph against eager against float64.

Runs on a GPU, where the graphs are real, or on a CPU with TRITON_INTERPRET=1. There the forward pass is run again over
the metadata that capture made, which is what a graph does: it reads the same buffers, filled anew.

Stand-ins: the model runner, the pool's tensors, and what the release asks of a global configuration. The backend, its
kernels, the index translation and the pool's class are SGLang's.
"""

import argparse
import contextlib
import json
import math
from dataclasses import dataclass
from unittest import mock

import torch
from settings import Settings

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
NEW = torch.bfloat16 if CUDA else torch.float32  # of the new tokens' q, k and v
if not CUDA:
    from stand_in_absent import stand_in_for

    stand_in_for("gguf", "sgl_kernel", "torchvision")

from sglang.srt.layers.attention import triton_backend as tb  # noqa: E402
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool  # noqa: E402
from sglang.srt.model_executor.forward_batch_info import ForwardMode  # noqa: E402

HEADS, KV_HEADS, K_DIM, V_DIM = 4, 2, 192, 128
WINDOW, STEPS, DRAFT_TOKENS, CONTEXT, SLOTS = 128, 3, 4, 1024, 4096
MOST_REQUESTS = 24
GRAPH_SIZES = (1, 4, 8)
QKV_SHAPES = ((HEADS * K_DIM,), (KV_HEADS, K_DIM), (KV_HEADS, V_DIM))
PREFIXES = (
    (1,), (5,), (127,), (128,), (129,), (300,),
    (1, 5, 64), (1, 2, 3, 127, 128, 129, 130, 400), (1,) * 5, (131, 1, 700, 64, 257),
)  # fmt: skip

QUICK = (PREFIXES[0], PREFIXES[4], PREFIXES[7])


class Pool(SWAKVPool):
    """One sliding-window layer's K and V, and the map from full to window slots; tensors only."""

    def __init__(self, dtype):
        generator = torch.Generator().manual_seed(3)
        self.k = torch.randn(SLOTS, KV_HEADS, K_DIM, generator=generator).to(DEVICE).to(dtype)
        self.v = torch.randn(SLOTS, KV_HEADS, V_DIM, generator=generator).to(DEVICE).to(dtype)
        # Window slots are other slots than the full ones: an index that was not translated gives another answer.
        order = torch.randperm(SLOTS - 1, generator=generator) + 1
        self.full_to_swa_index_mapping = torch.cat([torch.zeros(1, dtype=torch.int64), order]).to(DEVICE)
        self.layers_mapping = {0: (0, True)}
        self.swa_loc = None
        self.start_layer = 0

    def get_key_buffer(self, layer_id):
        return self.k

    def get_value_buffer(self, layer_id):
        return self.v

    def get_kv_buffer(self, layer_id):
        return self.k, self.v

    def set_kv_buffer(self, *arguments, **options):
        """The new tokens' K and V are not read back on this path."""

    def translate_loc_from_full_to_swa(self, kv_indices):
        return self.full_to_swa_index_mapping[kv_indices.long()]


KERNEL = Settings(triton_attention_num_kv_splits=8, enable_lean_attention=False)
CONFIGURATION = {
    "get_attention_tp_size": lambda: 1,
    "get_device_core_count": lambda gpu_id: 132,
    "get_exec": lambda: Settings(
        kernel=KERNEL,
        deterministic=Settings(enable_deterministic_inference=False),
        graph=Settings(),
        dllm=Settings(),
    ),
    "get_parallel": lambda: Settings(attn_tp_size=1, attn_dcp_size=1, attn_dcp_rank=0),
    "get_schedule": lambda: Settings(chunked_prefill_size=8192),
    "get_spec": lambda: Settings(
        speculative_num_draft_tokens=DRAFT_TOKENS, speculative_num_steps=STEPS, speculative_eagle_topk=1
    ),
    "check_cuda_graph_backend": lambda *arguments: False,
    "cuda_graph_fully_disabled": lambda: False,
    **dict.fromkeys(["is_dspark_draft", "is_kimi_k3", "is_qwen3_5"], lambda config: False),
    **dict.fromkeys(
        ["hybrid_gdn_config", "kimi_linear_config", "linear_attn_model_spec", "mambaish_config"], lambda config: None
    ),
}
"""What a release's backend asks of the server's and the model's configuration; each has some of these names."""


@contextlib.contextmanager
def configured():
    with contextlib.ExitStack() as stack:
        for name, value in CONFIGURATION.items():
            if hasattr(tb, name):
                stack.enter_context(mock.patch.object(tb, name, value))
        yield


def make_backend(pool, req_to_token):
    requests = Settings(size=MOST_REQUESTS, req_to_token=req_to_token)
    allocator = Settings(translate_loc_from_full_to_swa=pool.translate_loc_from_full_to_swa)
    model = Settings(
        num_attention_heads=HEADS, get_num_kv_heads=lambda *a: KV_HEADS, get_max_num_attention_heads=lambda: HEADS,
        head_dim=K_DIM, swa_head_dim=K_DIM, v_head_dim=V_DIM, swa_v_head_dim=V_DIM, context_len=CONTEXT,
        attention_arch=tb.AttentionArch.MHA, is_encoder_decoder=False, hf_config=Settings(architectures=["MiMoV2MTP"]),
    )  # fmt: skip
    arguments = Settings(
        speculative_num_draft_tokens=DRAFT_TOKENS, speculative_num_steps=STEPS, triton_attention_num_kv_splits=8,
        speculative_eagle_topk=1, disable_cuda_graph=False, chunked_prefill_size=8192,
        enable_deterministic_inference=False,
    )  # fmt: skip
    runner = Settings(
        req_to_token_pool=requests, token_to_kv_pool_allocator=allocator, token_to_kv_pool=pool,
        sliding_window_size=WINDOW, server_args=arguments, model_config=model, device=DEVICE, gpu_id=0,
        is_draft_worker=True, page_size=1, kv_cache_dtype=pool.k.dtype, dtype=torch.float32,
        decode_num_tokens_per_req=lambda: DRAFT_TOKENS, spec_algorithm=Settings(is_dspark=lambda: False),
        is_hybrid_swa=True, dcp_size=1, dcp_rank=0,
    )  # fmt: skip
    with contextlib.suppress(ImportError):
        from sglang.srt.mem_cache import kv_index_translator

        runner.kv_index_translator = kv_index_translator.KVIndexTranslator(
            req_to_token=req_to_token, token_to_kv_pool_allocator=allocator, token_to_kv_pool=pool, page_size=1,
            device=DEVICE,
        )  # fmt: skip
    backend = tb.TritonAttnBackend(runner)
    backend.test_pool, backend.test_requests = pool, requests
    return backend


LAYER = Settings(
    layer_id=0, qk_head_dim=K_DIM, v_head_dim=V_DIM, tp_q_head_num=HEADS, tp_k_head_num=KV_HEADS,
    tp_v_head_num=KV_HEADS, sliding_window_size=WINDOW, logit_cap=0.0, logit_capping_method="tanh",
    scaling=K_DIM**-0.5, is_cross_attention=False, xai_temperature_len=-1,
)  # fmt: skip
SINKS = torch.linspace(-1, 1, HEADS, device=DEVICE)


@dataclass
class Batch:
    """What a draft-extend step is given: one row of new tokens per request and their places."""

    prefixes: tuple[int, ...]
    width: int
    seed: int

    def __post_init__(self):
        generator = torch.Generator().manual_seed(self.seed)
        rows = len(self.prefixes) * self.width
        self.q, self.k, self.v = (
            torch.randn(rows, *shape, generator=generator).to(DEVICE, NEW) for shape in QKV_SHAPES
        )
        # The release counts the draft tokens of a request in its length; a later step extends further back.
        self.seq_lens = torch.tensor(self.prefixes, device=DEVICE) + DRAFT_TOKENS
        self.kv_lens = torch.clamp(self.seq_lens - self.width, min=0)
        order = torch.randperm(MOST_REQUESTS, generator=generator)[: len(self.prefixes)] + 1
        self.requests = order.to(DEVICE)
        self.out = torch.randint(1, SLOTS, (rows,), generator=generator).to(DEVICE)


def eager(backend, batch):
    """The output of the path without a graph."""
    lens = batch.kv_lens.to(torch.int32)
    forward = Settings(
        forward_mode=ForwardMode.DRAFT_EXTEND_V2, batch_size=len(batch.prefixes), req_pool_indices=batch.requests,
        seq_lens=batch.seq_lens, seq_lens_sum=int(batch.seq_lens.sum()), extend_prefix_lens=lens,
        extend_prefix_lens_cpu=lens.tolist(), extend_seq_lens=torch.full_like(lens, batch.width),
        extend_seq_lens_cpu=[batch.width] * len(batch.prefixes), out_cache_loc=batch.out,
        token_to_kv_pool=backend.test_pool, req_to_token_pool=backend.test_requests,
    )  # fmt: skip
    bind(backend, forward)
    backend.init_forward_metadata(forward)
    return run(backend, forward, batch.q, batch.k, batch.v)


def bind(backend, forward):
    """From 0.5.22 a batch carries a plan of its KV places."""
    translator = getattr(backend, "kv_index_translator", None)
    if hasattr(translator, "bind_runner_slots"):
        translator.bind_runner_slots(forward)


def run(backend, forward, q, k, v):
    return backend.forward_extend(q, k, v, LAYER, forward, save_kv_cache=False, sinks=SINKS)


class Graph:
    """A captured draft-extend step for one batch size, as the release's runner makes it."""

    def __init__(self, backend, size, width):
        self.backend, self.size, self.width = backend, size, width
        rows = size * width
        self.q, self.k, self.v = (torch.zeros(rows, *shape, dtype=NEW, device=DEVICE) for shape in QKV_SHAPES)
        self.seq_lens = torch.ones(MOST_REQUESTS, dtype=torch.int32, device=DEVICE)
        self.requests = torch.zeros(MOST_REQUESTS, dtype=torch.int64, device=DEVICE)
        self.out_cache_loc = torch.ones(rows, dtype=torch.int64, device=DEVICE)
        self.forward = self.batch(size, in_capture=True)
        if hasattr(backend, "init_forward_metadata_capture_cuda_graph"):
            backend.init_forward_metadata_capture_cuda_graph(
                bs=size, num_tokens=rows, req_pool_indices=self.requests[:size], seq_lens=self.seq_lens[:size],
                encoder_lens=None, forward_mode=ForwardMode.DRAFT_EXTEND_V2, spec_info=self.forward.spec_info,
            )  # fmt: skip
        else:
            bind(backend, self.forward)
            backend.init_forward_metadata_out_graph(self.forward, in_capture=True)
        self.metadata = backend.forward_metadata
        self.has_window = self.metadata.window_kv_indices is not None
        self.output = self.record()

    def batch(self, raw_size, in_capture):
        width = torch.full((self.size,), self.width, dtype=torch.int32, device=DEVICE)
        spec = Settings(
            num_tokens_per_req=-1 if in_capture else self.width,
            extend_seq_lens_tensor=None if in_capture else width,
            custom_mask=None,
        )
        rows = (self.size if in_capture else raw_size) * self.width
        view = slice(None, self.size) if in_capture else slice(None)
        return Settings(
            forward_mode=ForwardMode.DRAFT_EXTEND_V2, batch_size=self.size, spec_info=spec,
            input_ids=torch.zeros(self.size * self.width, dtype=torch.int64, device=DEVICE),
            req_pool_indices=self.requests[view], seq_lens=self.seq_lens[view], seq_lens_sum=None,
            out_cache_loc=self.out_cache_loc[:rows], token_to_kv_pool=self.backend.test_pool,
            extend_seq_lens_cpu=[self.width] * self.size,
        )  # fmt: skip

    def record(self):
        self.backend.forward_metadata = self.metadata
        if not CUDA:
            return run(self.backend, self.forward, self.q, self.k, self.v)
        for _ in range(2):
            run(self.backend, self.forward, self.q, self.k, self.v)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            return run(self.backend, self.forward, self.q, self.k, self.v)

    def replay(self, batch):
        raw = len(batch.prefixes)
        rows = raw * self.width
        # What lies in the padding rows is whatever an earlier, larger batch left there.
        self.q[:rows], self.k[:rows], self.v[:rows] = batch.q, batch.k, batch.v
        self.seq_lens.fill_(1)
        self.seq_lens[:raw] = batch.seq_lens
        self.requests[:raw] = batch.requests
        self.out_cache_loc[:rows] = batch.out
        forward = self.batch(raw, in_capture=False)
        if hasattr(self.backend, "init_forward_metadata_replay_cuda_graph"):
            self.backend.init_forward_metadata_replay_cuda_graph(
                bs=self.size, req_pool_indices=self.requests, seq_lens=self.seq_lens, seq_lens_sum=None,
                encoder_lens=None, forward_mode=ForwardMode.DRAFT_EXTEND_V2, spec_info=forward.spec_info,
                seq_lens_cpu=None,
            )  # fmt: skip
        else:
            bind(self.backend, forward)
            self.backend.init_forward_metadata_out_graph(forward)
        if CUDA:
            self.graph.replay()
            return self.output[:rows].clone()
        return self.record()[:rows]


def reference(pool, req_to_token, batch):
    """Attention of each new token over its window, in float64."""
    outputs = []
    for i in range(len(batch.prefixes)):
        kv_len = int(batch.kv_lens[i])
        start = max(0, kv_len - WINDOW)
        slots = pool.translate_loc_from_full_to_swa(req_to_token[batch.requests[i], start:kv_len])
        rows = slice(i * batch.width, (i + 1) * batch.width)
        k = torch.cat([pool.k[slots].float().double(), batch.k[rows].double()]).repeat_interleave(HEADS // KV_HEADS, 1)
        v = torch.cat([pool.v[slots].float().double(), batch.v[rows].double()]).repeat_interleave(HEADS // KV_HEADS, 1)
        q = batch.q[rows].view(-1, HEADS, K_DIM).double()
        scores = torch.einsum("qhd,khd->hqk", q, k) * LAYER.scaling
        q_at = torch.arange(batch.width, device=DEVICE)[:, None] + kv_len
        k_at = torch.arange(start, kv_len + batch.width, device=DEVICE)[None]
        scores = scores.masked_fill(~((k_at <= q_at) & (q_at <= k_at + WINDOW)), -math.inf)
        sinks = SINKS.double()[:, None, None].expand(HEADS, batch.width, 1)
        weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
        outputs.append(torch.einsum("hqk,khd->qhd", weights, v).reshape(batch.width, -1))
    return torch.cat(outputs)


def difference(found, expected):
    error = ((found.double() - expected.double()).norm() / expected.double().norm()).item()
    return math.inf if math.isnan(error) else error


def compare(width, dtype, batches):
    """The largest errors of both paths for one width; what capture raised, if it did."""
    pool = Pool(dtype)
    generator = torch.Generator().manual_seed(1)
    req_to_token = torch.randint(1, SLOTS, (MOST_REQUESTS + 1, CONTEXT), generator=generator).to(torch.int32)
    req_to_token[0] = 0
    req_to_token = req_to_token.to(DEVICE)
    with_graphs, without = make_backend(pool, req_to_token), make_backend(pool, req_to_token)
    with_graphs.init_cuda_graph_state(GRAPH_SIZES[-1], GRAPH_SIZES[-1] * width)
    try:
        graphs = {size: Graph(with_graphs, size, width) for size in reversed(GRAPH_SIZES)}
    except Exception as error:
        return {"capture": f"{type(error).__name__}: {error}"[-2000:]}
    eager_errors, graph_errors = [], []
    for seed, prefixes in enumerate(batches):
        batch = Batch(prefixes, width, seed)
        size = next(size for size in GRAPH_SIZES if size >= len(prefixes))
        expected = reference(pool, req_to_token, batch)
        eager_errors.append(difference(eager(without, batch), expected))
        graph_errors.append(difference(graphs[size].replay(batch), expected))
    return {
        "batches": len(batches),
        "window_at_capture": all(graph.has_window for graph in graphs.values()),
        "worst_eager": max(eager_errors),
        "worst_graph": max(graph_errors),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--widths", type=int, nargs="+", default=[DRAFT_TOKENS])
    parser.add_argument("--dtype", default="float32", help="of the KV cache")
    parser.add_argument("--quick", action="store_true", help="three batches only")
    options = parser.parse_args()
    batches = QUICK if options.quick else PREFIXES
    with configured():
        found = {width: compare(width, getattr(torch, options.dtype), batches) for width in options.widths}
    if CUDA:
        torch.cuda.synchronize()
    print(json.dumps({"device": torch.cuda.get_device_name() if CUDA else "cpu", "widths": found}))


if __name__ == "__main__":
    main()
