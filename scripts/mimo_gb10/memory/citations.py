"""The upstream lines that the plan's formulas rest on, by what they say; `source` gives a release's ``file:line``."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mimo_gb10.passage import Passage
from mimo_gb10.release import Release

LINES = Path(__file__).with_name("lines.json")
"""``file:line`` by release and key; made by ``tests/memory/make_lines.py``."""

_S = "sglang/srt"
_POOLS = (f"{_S}/model_executor/pool_configurator.py",)
_SIZING = (f"{_S}/mem_cache/kv_cache_configurator.py", f"{_S}/model_executor/model_runner_kv_cache_mixin.py")
_MODEL = (f"{_S}/models/mimo_v2.py",)
_NEXTN = (f"{_S}/models/mimo_v2_nextn.py",)
_AUDIO = (f"{_S}/models/mimo_audio.py",)
_VISION = (f"{_S}/models/mimo_vl.py",)
_POOL = (f"{_S}/mem_cache/memory_pool.py",)
_SCHEDULER = (f"{_S}/managers/scheduler.py",)
_MTP_GRAPH = (f"{_S}/speculative/multi_layer_eagle_draft_extend_cuda_graph_runner.py",)
_AUX = (f"{_S}/model_executor/model_runner_components/spec_aux_hidden_state.py",)
_TRITON = (f"{_S}/layers/attention/triton_backend.py",)
_HYBRID = r"^class HybridSWAPoolConfigurator"

PASSAGES: Mapping[str, Sequence[Passage]] = {
    "memory-available": (
        Passage((f"{_S}/utils/common.py",), r"psutil\.virtual_memory\(\)\.available", r"is_integrated"),
    ),
    "memory-budget": (Passage(_SIZING, r"^\s+(rest_memory|slack_gb) = .*pre_model_load_memory \*"),),
    "memory-cell": (
        Passage(
            _POOLS, r"^\s+(self\._full_cell_bytes\(\)|self\._full_per_token( \* self\._full_layers_num)?)$", _HYBRID
        ),
    ),
    "memory-split": (Passage(_POOLS, r"swa_tokens = align_page_size\(int\(", _HYBRID),),
    "memory-cap": (Passage(_POOLS, r"^class SWA(Chunk|Request)CapPoolConfigurator", first="0.5.14"),),
    "memory-draft-cell": (Passage(_AUX, r"config\.eagle_draft_swa_num_layers = len\(", first="0.5.20"),),
    "memory-floor": (Passage(_POOLS, r"cannot hold even one request", first="0.5.16"),),
    "memory-draft-order": (
        Passage(_SCHEDULER, r"self\.init_memory_pools\(\)", r"def init_model_worker", first="0.5.14"),
        Passage(_SCHEDULER, r"self\.maybe_init_draft_worker\(\)", r"def init_model_worker", last="0.5.13.post1"),
    ),
    "memory-buffers": (Passage(_POOL, r"self\.size \+ self\.page_size", r"class MHATokenToKVPool"),),
    "memory-requests": (Passage(_POOL, r"max_context_len\)?,", r"class ReqToTokenPool"),),
    "memory-free-list": (
        Passage(
            (
                f"{_S}/mem_cache/allocator.py",
                f"{_S}/mem_cache/allocator/token.py",
                f"{_S}/mem_cache/allocator/base.py",
                f"{_S}/mem_cache/allocator/__init__.py",
            ),
            r"self\.free_pages = torch\.arange",
        ),
    ),
    "memory-graph-indices": (
        Passage(_TRITON, r"max_num_tokens \* self\.max_context_len", r"def init_cuda_graph_state"),
    ),
    "memory-draft-graph": (Passage(_MTP_GRAPH, r"self\.max_num_token = self\.max_bs \*"),),
    "memory-moe-buffers": (
        Passage(
            (f"{_S}/layers/moe/moe_runner/triton_utils/fused_moe.py", f"{_S}/layers/moe/fused_moe_triton/fused_moe.py"),
            r"intermediate_cache3 = ",
        ),
    ),
    "memory-mm-cache": (Passage((f"{_S}/environ.py",), r"SGLANG_VLM_CACHE_SIZE_MB = EnvInt"),),
    "memory-mm-reserve": (Passage(_SIZING, r"^def mm_runtime_reservation_gb", first="0.5.18"),),
    "memory-rope": (Passage((f"{_S}/layers/rotary_embedding/base.py",), r'register_buffer\("cos_sin_cache"'),),
    "memory-experts": (Passage(_MODEL, r"self\.experts = experts_type\("),),
    "memory-router": (Passage(_MODEL, r"self\.weight = nn\.Parameter", r"class MoEGate"),),
    "memory-qkv": (Passage(_MODEL, r"self\.qkv_proj = QKVParallelLinear\("),),
    "memory-output": (Passage(_MODEL, r"self\.o_proj = RowParallelLinear\("),),
    "memory-dense": (Passage(_MODEL, r"self\.gate_up_proj = MergedColumnParallelLinear\("),),
    "memory-embedding": (Passage(_MODEL, r"self\.embed_tokens = VocabParallelEmbedding\("),),
    "memory-head": (Passage(_MODEL, r"self\.lm_head = ParallelLMHead\("),),
    "memory-mtp": (Passage(_NEXTN, r"self\.eh_proj = "),),
    "memory-vision": (Passage(_VISION, r"self\.attn = VisionAttention\("),),
    "memory-audio": (Passage(_AUDIO, r"self\.input_local_transformer = "),),
    "memory-audio-tokenizer": (Passage(_AUDIO, r"self\.audio_tokenizer = self\._load_(mimo_)?audio_tokenizer"),),
    "speed-embedding": (Passage((f"{_S}/layers/vocab_parallel_embedding.py",), r"tp_all_reduce\(output_parallel"),),
    "speed-attention": (
        Passage(
            (
                f"{_S}/layers/communicator.py",
                f"{_S}/layers/layer_boundary/prepare.py",
                f"{_S}/layers/layer_boundary/ops.py",
            ),
            r"attention_tensor_model_parallel_all_reduce\(",
        ),
    ),
    "speed-experts": (Passage((*_MODEL, f"{_S}/layers/moe/utils.py"), r"= (moe_)?tensor_model_parallel_all_reduce\("),),
}


@functools.cache
def _lines() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(LINES.read_text(encoding="utf-8"))
    return found


def source(release: Release, key: str) -> str:
    """``file:line`` of a passage in a release; an empty string where the release lacks it."""
    return release.passages.get(key) or _lines().get(release.version, {}).get(key, "")
