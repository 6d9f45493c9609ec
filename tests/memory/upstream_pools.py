"""SGLang's own pool configurators, taken out of a release's source and run with stand-ins for the objects around them.

Run: the classes that size the pools, and the functions that they call. Stand-ins: the model runner, the arguments, and
torch's element size. Nothing of the arithmetic is ours.
"""

from __future__ import annotations

import ast
import builtins
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any, Optional

from mimo_gb10.memory.setting import Setting

_SRT = Path("sglang/srt")
_HELPERS = {
    "utils/common.py": {"spec_decode_alloc_len_per_request", "ceil_align", "ceil_div"},
    "mem_cache/common.py": {"get_alloc_len_per_decode"},
    "mem_cache/allocation_sizing.py": {"get_alloc_len_per_decode"},
}
_INTERVAL = 128


def sizes(
    tree: Path, facts: dict[str, Any], setting: Setting, counted: int, budgets: Sequence[int]
) -> list[tuple[int, int]]:
    """Tokens of the full and the sliding-window pool that the release makes of each budget; (0, 0) where it refuses.

    Args:
        tree: The release's source.
        facts: The model file.
        setting: The launch.
        counted: ``num_nextn_predict_layers`` of the checkpoint's configuration; 0 where it has none.
        budgets: Bytes.
    """
    configurator = _namespace(tree, setting)["create_memory_pool_configurator"](_runner(facts, setting, counted))
    return [_sizes(configurator, setting, budget) for budget in budgets]


def _sizes(configurator: Any, setting: Setting, budget: int) -> tuple[int, int]:
    try:
        found = configurator.calculate_pool_sizes(budget, setting.page)
        limit = setting.token_limit
        if limit is not None and limit < found.max_total_num_tokens:
            found = configurator.calculate_pool_sizes_from_max_tokens(limit, setting.page)
    except (RuntimeError, ValueError):
        return 0, 0
    return found.full_max_total_num_tokens, found.swa_max_total_num_tokens


def _arguments(setting: Setting) -> SimpleNamespace:
    draft = setting.draft
    return SimpleNamespace(
        kv_cache_dtype="fp8_e4m3",
        swa_full_tokens_ratio=setting.ratio,
        disable_radix_cache=not setting.radix,
        max_running_requests=setting.requests,
        chunked_prefill_size=setting.chunk,
        disable_overlap_schedule=not setting.overlap,
        disaggregation_mode="null",
        disaggregation_decode_extra_slots=0,
        page_size=setting.page,
        dp_size=1,
        speculative_algorithm="EAGLE" if draft else None,
        speculative_num_steps=draft.steps if draft else None,
        speculative_eagle_topk=1 if draft else None,
        speculative_num_draft_tokens=draft.tokens if draft else None,
        max_speculative_num_draft_tokens=draft.tokens if draft else None,
        enable_unified_memory=False,
        attn_tp_size=setting.tensor_parallel,
        attn_dcp_size=1,
        attn_dp_size=1,
    )


def _runner(facts: dict[str, Any], setting: Setting, counted: int) -> SimpleNamespace:
    attention = facts["attention"]
    full, window = attention["full"], attention["sliding_window"]
    layers = range(facts["text"]["layers"])
    ids = {
        "full_attention_layer_ids": list(full["layers"]),
        "swa_attention_layer_ids": [layer for layer in layers if layer not in full["layers"]],
    }
    model = SimpleNamespace(
        **ids,
        head_dim=attention["head_dim"],
        v_head_dim=attention["value_head_dim"],
        swa_head_dim=attention["head_dim"],
        swa_v_head_dim=attention["value_head_dim"],
        get_num_kv_heads=lambda ranks: max(1, full["kv_heads"] // ranks),
        get_swa_num_kv_heads=lambda ranks: max(1, window["kv_heads"] // ranks),
        attention_arch="MHA",
        hf_config=SimpleNamespace(architectures=["MiMoV2ForCausalLM"]),
        hf_text_config=SimpleNamespace(),
    )
    algorithm = SimpleNamespace(
        is_eagle=lambda: setting.draft is not None,
        is_standalone=lambda: False,
        is_dflash=lambda: False,
        is_dflash_family=lambda: False,
    )
    # Up to 0.5.19 a draft's layers are looked up only where it has a path of its own; a path-less one has the target's.
    known = counted if setting.draft and setting.is_from("0.5.20") else None
    draft = SimpleNamespace(
        eagle_draft_num_layers=known or None,
        eagle_draft_swa_num_layers=len(ids["swa_attention_layer_ids"]) if known else None,
    )
    return SimpleNamespace(
        model_config=model,
        layer_info=SimpleNamespace(**ids),
        kv_cache_dtype=setting.kv_bytes,
        kv_cache_dtype_str="fp8_e4m3",
        server_args=_arguments(setting),
        spec_algorithm=algorithm,
        spec_aux_config=draft,
        eagle_draft_num_layers=draft.eagle_draft_num_layers,
        is_draft_worker=False,
        is_hybrid_swa=True,
        sliding_window_size=window["window"],
        page_size=setting.page,
        dp_size=1,
        attn_dp_size=1,
        ps=SimpleNamespace(attn_dp_size=1),
        fused_entry_bytes=lambda pool: None,
    )


def _namespace(tree: Path, setting: Setting) -> dict[str, Any]:
    arguments = _arguments(setting)

    def bag() -> SimpleNamespace:
        return arguments

    algorithm = SimpleNamespace(has_draft_kv=lambda: True, is_uno=lambda: False)
    parser = SimpleNamespace(SpeculativeAlgorithm=SimpleNamespace(from_string=lambda name: algorithm))
    names: dict[str, Any] = {
        "__name__": __name__,
        # Some functions import the parser of the algorithm's name where they need it.
        "__builtins__": {
            **vars(builtins),
            "__import__": lambda name, *rest: parser if name.startswith("sglang.") else __import__(name, *rest),
        },
        "dataclass": dataclass,
        "Optional": Optional,
        "logger": logging.getLogger("upstream"),
        "torch": SimpleNamespace(_utils=SimpleNamespace(_element_size=int)),
        "get_attention_tp_size": lambda: setting.tensor_parallel,
        **dict.fromkeys(("get_parallel", "get_schedule", "get_memory", "get_spec", "get_disagg"), bag),
        "get_global_server_args": bag,
        "get_alloc_page_size": lambda: setting.page,
        "max_speculative_num_draft_tokens": lambda: arguments.max_speculative_num_draft_tokens,
        "AttentionArch": SimpleNamespace(MLA="MLA"),
        "is_deepseek_v4": lambda config: False,
        "is_deepseek_dsa": lambda config: False,
        "envs": SimpleNamespace(SGLANG_SWA_EVICTION_INTERVAL=SimpleNamespace(get=lambda: _INTERVAL)),
    }
    for code in _code(tree):
        exec(code, names)
    return names


@functools.cache
def _code(tree: Path) -> tuple[CodeType, ...]:
    helpers = [(tree / _SRT / file, wanted) for file, wanted in _HELPERS.items()]
    found = [_only(path, wanted) for path, wanted in helpers if path.is_file()]
    return (*found, _only(tree / _SRT / "model_executor" / "pool_configurator.py", None))


def _only(path: Path, wanted: set[str] | None) -> CodeType:
    """The wanted functions and classes of a file, without its imports; None for all but another model's."""
    source = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in source.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    body = [node for node in nodes if (node.name in wanted if wanted is not None else "DSV4" not in node.name)]
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    return compile(ast.fix_missing_locations(ast.Module([future, *body], [])), str(path), "exec")
