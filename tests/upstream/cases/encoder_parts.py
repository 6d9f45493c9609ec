"""MiMo's two encoders of a release, on one rank and without a server, and what they compute in float64.

The float64 encoders are written from the model's configuration. Of SGLang they take the weights, nothing else: which
layers have a window, sinks or a causal mask stands in the configuration. A sink is a term of the softmax without a
value, as SGLang's FlashAttention 3 path computes it.
"""

import inspect
import itertools
import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch
from settings import Settings
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

PATCH, TEMPORAL_PATCH, MERGE = 16, 2, 2
AUDIO = {
    "n_mels": 128, "avg_pooler": 2, "hybrid_attention": True, "swa_per_block": 2, "num_quantizers": 0,
    "max_audio_seconds": 1800,
}  # fmt: skip
"""Causal windows and causal full attention in turn, as upstream 33198 reports of the published configuration."""
SOME_MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 4, "num_hidden_layers": 1, "vocab_size": 64,
    "max_position_embeddings": 128,
}  # fmt: skip
"""Newer releases read a model's configuration before they say which backend was asked for."""


def serve(backend, device):
    """This process as the only rank of a server that was started with this ``--mm-attention-backend``."""
    from sglang.srt import distributed
    from sglang.srt.layers import dp_attention
    from sglang.srt.server_args import ServerArgs, set_global_server_args_for_scheduler

    folder = Path(tempfile.mkdtemp())
    (folder / "config.json").write_text(json.dumps(SOME_MODEL), encoding="utf-8")
    with mock.patch.object(ServerArgs, "__post_init__", return_value=None):
        arguments = ServerArgs(model_path=str(folder), device=device, tp_size=1, mm_attention_backend=backend)
    try:
        from sglang.srt.runtime_context import SpawnRanks, publish
    except ImportError:
        set_global_server_args_for_scheduler(arguments)
    else:  # newer releases tell a rank its place
        publish(arguments, role="scheduler", ranks=SpawnRanks(world_rank=0, gpu_id=0, dp_rank=None))
    group = "nccl" if device == "cuda" else "gloo"
    distributed.init_distributed_environment(
        world_size=1, rank=0, local_rank=0, backend=group, distributed_init_method=f"file://{folder}/meeting"
    )  # fmt: skip
    known = inspect.signature(distributed.initialize_model_parallel).parameters
    wanted = {"tensor_model_parallel_size": 1, "backend": group}
    distributed.initialize_model_parallel(**{name: value for name, value in wanted.items() if name in known})
    model = Settings(hidden_size=64, dtype=torch.float32, hf_config=Settings())
    taken = len(inspect.signature(dp_attention.initialize_dp_attention).parameters)
    dp_attention.initialize_dp_attention(*((arguments, model) if taken == 2 else (model,)))


# --- attention by its definition


def attend(q, k, v, cu_seqlens, left=-1, right=-1, sinks=None):
    """Attention within each sequence in float64; q, k, v are [tokens, heads, size], a side of -1 has no end."""
    group, scale = q.shape[1] // k.shape[1], q.shape[2] ** -0.5
    output = torch.empty(q.shape, dtype=torch.float64, device=q.device)
    for begin, end in itertools.pairwise(cu_seqlens.tolist()):
        length = end - begin
        # So many queries at once, each with the keys that one of them can reach.
        step = 512 if min(left, right) >= 0 else max(1, 2**27 // (q.shape[1] * max(1, length)))
        for first in range(0, length, step):
            last = min(first + step, length)
            low = max(0, first - left) if left >= 0 else 0
            high = min(length, last + right) if right >= 0 else length
            query = q[begin + first : begin + last].double().transpose(0, 1)
            key, value = (x[begin + low : begin + high].double().transpose(0, 1) for x in (k, v))
            key, value = (x.repeat_interleave(group, 0) for x in (key, value))
            i = torch.arange(first, last, device=q.device)[:, None]
            j = torch.arange(low, high, device=q.device)[None]
            hidden = torch.zeros(last - first, high - low, dtype=torch.bool, device=q.device)
            if left >= 0:
                hidden |= j < i - left
            if right >= 0:
                hidden |= j > i + right
            scores = (query @ key.transpose(1, 2) * scale).masked_fill(hidden, float("-inf"))
            if sinks is not None:
                column = sinks.double()[:, None, None].expand(-1, last - first, 1)
                scores = torch.cat([scores, column], -1)
            weights = scores.softmax(-1)[..., : high - low]
            output[begin + first : begin + last] = (weights @ value).transpose(0, 1)
    return output


class Exact(torch.nn.Module):
    """In the place of an attention backend: attention by its definition, whatever else it is given."""

    def __init__(self, left, right, sinks=None):
        super().__init__()
        self.left, self.right, self.sinks = left, right, None if sinks is None else sinks.detach()

    def forward(self, q, k, v, cu_seqlens, **ignored):
        """[tokens, heads, size], as every backend."""
        return attend(q, k, v, cu_seqlens, self.left, self.right, self.sinks).to(q.dtype)


def relative_error(found, expected):
    """Of the whole, in the Euclidean norm; infinite where something is not a number."""
    error = ((found.double() - expected.double()).norm() / expected.double().norm()).item()
    return error if error == error else float("inf")


# --- the vision tower


def real_shapes():
    """What the project knows of MiMo-V2.5's encoders."""
    from mimo_gb10.paths import ROOT
    from mimo_gb10.text.document import read_document

    facts = read_document(ROOT / "configs/models/mimo-v2.5.yaml").value
    vision, audio = facts["vision"], facts["audio"]
    # Which of the windowed layers go along columns is not known to the project: one after the other.
    kinds, full = [], set(vision["full_layers"])
    for layer in range(vision["layers"]):
        kinds.append(-1 if layer in full else sum(kind >= 0 for kind in kinds) % 2)
    return (
        {
            "depth": vision["layers"], "hidden_size": vision["hidden_size"], "num_heads": vision["query_heads"],
            "num_key_value_heads": vision["kv_heads"], "intermediate_size": vision["intermediate_size"],
            "qk_channels": vision["head_dim"], "out_hidden_size": facts["text"]["hidden_size"], "patch_size": PATCH,
            "fullatt_block_indexes": sorted(full), "vit_window_attn_types": kinds,
            "visual_token_window_size": vision["window"], "use_sink": vision["sinks"],
        },
        {
            "d_model": audio["hidden_size"], "encoder_layers": audio["layers"],
            "encoder_attention_heads": audio["heads"], "encoder_ffn_dim": audio["intermediate_size"],
            "encoder_causal": audio["causal"], "encoder_attn_window_size": audio["window"], **AUDIO,
            "encoder_skip_layer_id": 3,
        },
    )  # fmt: skip


def tiny_shapes():
    """Those of the rehearsal's tiny checkpoint."""
    from mimo_gb10.rehearsal.checkpoint.shape import tiny_shape

    shape = tiny_shape(1)
    vision, audio = shape.vision, shape.audio
    return (
        {
            "depth": vision.layers, "hidden_size": vision.hidden_size, "num_heads": vision.query_heads,
            "num_key_value_heads": vision.kv_heads, "intermediate_size": vision.intermediate_size,
            "qk_channels": vision.head_dim, "out_hidden_size": shape.hidden_size, "patch_size": vision.patch,
            "fullatt_block_indexes": list(vision.full_layers), "vit_window_attn_types": list(vision.window_types),
            "visual_token_window_size": vision.window, "use_sink": True,
        },
        {
            "d_model": audio.tokenizer_size, "encoder_layers": audio.tokenizer_layers,
            "encoder_attention_heads": audio.tokenizer_heads, "encoder_ffn_dim": audio.tokenizer_intermediate_size,
            "encoder_causal": True, "encoder_attn_window_size": list(audio.tokenizer_window), **AUDIO,
            "encoder_skip_layer_id": 1,
        },
    )  # fmt: skip


def fill(module, dtype, seed):
    """Random weights that keep activations near 1, and sinks that matter.

    They are values that bfloat16 holds, so that its rounding is all that differs between dtypes.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if "sinks" in name:
            drawn = drawn * 2 + 1
        elif parameter.dim() > 1:
            drawn *= parameter[0].numel() ** -0.5
        else:
            drawn = drawn * 0.1 + ("norm" in name or "ln_q" in name) * name.endswith("weight")
        parameter.data = drawn.bfloat16().to(parameter.device, dtype)
    return module.eval()


def vision_tower(shape, dtype, device, seed=1):
    """SGLang's tower with random weights, the same values in every dtype."""
    from sglang.srt.models import mimo_vl

    with torch.device(device):
        tower = mimo_vl.MiMoVisionTransformer(mimo_vl.MiMoVLVisionConfig(**shape))
    fill(tower, dtype, seed)
    tower.patch_embed.sync_proj_weight_linear_format()
    if "arange(max_grid_size" not in inspect.getsource(tower.rot_pos_emb):
        # These releases pin a transformers whose embedding takes a length and not positions.
        frequencies = tower.rotary_pos_emb.inv_freq
        tower.rotary_pos_emb.forward = lambda length: torch.outer(
            torch.arange(int(length), device=frequencies.device).float(), frequencies
        )
    return tower


def pixels_for(grid, seed=2):
    """Random patches of pictures: ``grid`` holds (frames, rows, columns) in patches."""
    rows = sum(t * h * w for t, h, w in grid)
    return torch.randn(rows, 3 * TEMPORAL_PATCH * PATCH**2, generator=torch.Generator().manual_seed(seed))


def merge_order(grid):
    """For each patch in the tower's order its row and column, and the order along columns of merge units."""
    places, columns, begin = [], [], 0
    for frames, height, width in grid:
        units = torch.arange(frames * height * width // MERGE**2).view(frames, height // MERGE, width // MERGE)
        columns.append(units.transpose(1, 2).reshape(-1) + begin)
        begin += units.numel()
        place = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1)
        place = place.view(height // MERGE, MERGE, width // MERGE, MERGE, 2).transpose(1, 2).reshape(-1, 2)
        places.append(place.repeat(frames, 1))
    along = (torch.cat(columns)[:, None] * MERGE**2 + torch.arange(MERGE**2)).reshape(-1)
    return torch.cat(places), along


def exact_vision(tower, shape, pixels, grid):
    """The tower's embeddings in float64."""
    w = {name: x.detach() for name, x in tower.state_dict().items()}
    device = next(iter(w.values())).device
    heads, kv_heads, size = shape["num_heads"], shape["num_key_value_heads"], shape["qk_channels"]

    def linear(x, name):
        bias = w.get(f"{name}.bias")
        return functional.linear(x, w[f"{name}.weight"].double(), None if bias is None else bias.double())

    def rms(x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w[f"{name}.weight"].double()

    def turn(x, angle):
        cos, sin = (torch.cat([part, part], -1)[:, None] for part in (angle.cos(), angle.sin()))
        one, two = x.chunk(2, -1)
        return x * cos + torch.cat([-two, one], -1) * sin

    places, along = (x.to(device) for x in merge_order(grid))
    quarter = torch.arange(0, size // 2, 2, device=device, dtype=torch.float64) / (size // 2)
    angle = (places[:, :, None].double() * 10000.0**-quarter).flatten(1)
    lengths = [height * width for frames, height, width in grid for _ in range(frames)]
    cu_seqlens = torch.tensor([0, *itertools.accumulate(lengths)])
    x = pixels.to(device).double() @ w["patch_embed.proj.weight"].double().flatten(1).T
    for layer, kind in enumerate(shape["vit_window_attn_types"]):
        name = f"blocks.{layer}"
        order = along if kind == 1 else torch.arange(len(x), device=device)
        y = linear(rms(x, f"{name}.norm1"), f"{name}.attn.qkv_proj")[order]
        q, k, v = (
            part.unflatten(-1, (-1, size))
            for part in y.split([heads * size, kv_heads * size, kv_heads * size], -1)
        )  # fmt: skip
        full = layer in shape["fullatt_block_indexes"]
        window = -1 if full else shape["visual_token_window_size"]
        sinks = None if full else w[f"{name}.attn.sinks"]
        mixed = attend(turn(q, angle[order]), turn(k, angle[order]), v, cu_seqlens, window, window, sinks)
        back = torch.empty_like(mixed)
        back[order] = mixed
        x = x + linear(back.flatten(1), f"{name}.attn.proj")
        gate, up = linear(rms(x, f"{name}.norm2"), f"{name}.mlp.gate_up_proj").chunk(2, -1)
        x = x + linear(functional.silu(gate) * up, f"{name}.mlp.down_proj")
    if isinstance(tower.merger.ln_q, torch.nn.LayerNorm):  # from 0.5.22
        x = functional.layer_norm(x, x.shape[-1:], w["merger.ln_q.weight"].double(), None, 1e-6)
    else:
        x = rms(x, "merger.ln_q")
    x = functional.gelu(linear(x.view(-1, x.shape[-1] * MERGE**2), "merger.mlp.0"))
    return linear(x, "merger.mlp.2")


def exact_attention(tower, shape):
    """Put attention by its definition into SGLang's tower."""
    for layer, block in enumerate(tower.blocks):
        full = layer in shape["fullatt_block_indexes"]
        window = -1 if full else shape["visual_token_window_size"]
        block.attn.qkv_backend = Exact(window, window, None if full else block.attn.sinks)


# --- the audio encoder


def audio_encoder(shape, dtype, device, seed=1):
    """SGLang's encoder with random weights, the same values in every dtype."""
    from sglang.srt.models import mimo_audio

    with torch.device(device):
        encoder = mimo_audio.AudioEncoder(mimo_audio.MiMoAudioTokenizerConfig(**shape))
    return fill(encoder, dtype, seed)


def mels_for(lengths, seed=2):
    """Random mels, in as many pieces."""
    return torch.randn(sum(lengths), 128, generator=torch.Generator().manual_seed(seed)), torch.tensor(lengths)


def hear(encoder, mels, lengths):
    """The encoder's embeddings."""
    device = encoder.conv1.weight.device
    return encoder.encode(mels.to(device), lengths.to(device), use_quantizer=False)[1]


def exact_audio(shape, dtype, device, mels, lengths, seed=1):
    """The embeddings in a dtype: SGLang's layers around attention by its definition, in float64."""
    encoder = audio_encoder(shape, dtype, device, seed)
    left, right = shape["encoder_attn_window_size"]
    for number, layer in enumerate(encoder.layers):
        windowed = not shape["hybrid_attention"] or number % shape["swa_per_block"] < shape["swa_per_block"] - 1
        sides = (left, right) if windowed else (-1, -1)
        layer.self_attn.attn.qkv_backend = Exact(sides[0], 0 if shape["encoder_causal"] else sides[1])
    return hear(encoder, mels, lengths)
