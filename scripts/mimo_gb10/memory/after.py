"""What takes memory once the KV pools are sized: it has to fit into what ``mem-fraction-static`` leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mimo_gb10.memory import constants
from mimo_gb10.memory.basis import Amount, Basis, Item, exactly
from mimo_gb10.memory.citations import source
from mimo_gb10.memory.setting import Setting

_MIB = 1 << 20
VLM_CACHE_MIB = 100
"""SGLANG_VLM_CACHE_SIZE_MB of every release; a recipe's own value is not read."""

_FREE_LIST = 8
_INDEX = 8


def after_items(facts: Mapping[str, Any], setting: Setting) -> Iterator[Item]:
    """What does not depend on the number of tokens. Without the pools and weights of MTP."""
    release = setting.release
    if setting.graph_requests[1]:
        yield Item(
            "graph-indices",
            "KV index buffers of the decode graphs",
            target_graph_bytes(setting),
            Basis.FORMULA,
            source(release, "memory-graph-indices"),
        )
        if setting.draft:
            yield Item(
                "draft-graph-indices",
                "the same of the MTP layers' graphs",
                draft_graph_bytes(setting),
                Basis.FORMULA,
                source(release, "memory-draft-graph"),
            )
        yield Item("graphs", "CUDA graphs themselves", constants.GRAPHS, Basis.ESTIMATE, "not measured on GB10")
    yield Item(
        "request-table",
        "token table of the requests",
        request_table(setting),
        Basis.FORMULA,
        source(release, "memory-requests"),
    )
    buffers = moe_buffers(facts, setting)
    yield Item(
        "activations",
        "activations of a prefill chunk",
        Amount(buffers, buffers * constants.ACTIVATION_SPREAD),
        Basis.ESTIMATE,
        f"at least the expert buffers of {source(release, 'memory-moe-buffers')}",
    )
    if setting.draft and not setting.is_from("0.5.14"):
        yield Item(
            "draft-copies",
            "embedding and head of each MTP layer",
            Amount(0, draft_copies(facts, setting)),
            Basis.ESTIMATE,
            f"until they are shared; loaded after the pools at {source(release, 'memory-draft-order')}",
        )
    if not setting.is_from("0.5.18"):
        yield Item(
            "mm-cache",
            "cache of image and audio embeddings",
            reserved(setting),
            Basis.FORMULA,
            source(release, "memory-mm-cache"),
        )
    yield Item(
        "encoders", "activations of the encoders", constants.ENCODERS, Basis.ESTIMATE, "by the size of image and video"
    )
    yield Item(
        "pinned", "pinned host memory, video frames, NCCL", constants.PINNED, Basis.ESTIMATE, "same memory as the GPU's"
    )
    yield Item(
        "processes",
        "SGLang's processes",
        constants.PROCESSES,
        Basis.ESTIMATE,
        "scheduler, tokenizer, detokenizer: Python with torch",
    )
    yield Item(
        "fragments",
        "fragments and caches of the allocator",
        constants.FRAGMENTS,
        Basis.ESTIMATE,
        "not measured on GB10",
    )


def reserved(setting: Setting) -> Amount:
    """The cache of embeddings: from 0.5.18 taken off the KV budget, before that out of the rest."""
    return exactly(VLM_CACHE_MIB * _MIB)


def target_graph_bytes(setting: Setting) -> Amount:
    """Index and mask buffers of the target's decode graphs: for each token that a step looks at, the whole context.

    The masks: for every launch up to 0.5.16, only for verification from 0.5.17.
    """
    width = setting.draft.tokens if setting.draft else 1
    masked = setting.draft is not None or not setting.is_from("0.5.17")
    return _graph_buffers(setting, width, masked)


def draft_graph_bytes(setting: Setting) -> Amount:
    """The same buffers for each MTP layer's draft-extend graph; without masks from 0.5.17.

    Up to 0.5.14 the later steps look at one token more each.
    """
    if setting.draft is None:
        return exactly(0)
    found = exactly(0)
    for step in range(setting.draft.steps):
        width = setting.draft.tokens if setting.is_from("0.5.15") else setting.draft.steps + 1 + step
        found += _graph_buffers(setting, width, not setting.is_from("0.5.17"))
    return found


def _graph_buffers(setting: Setting, width: int, masked: bool) -> Amount:
    each = width * setting.context * (_INDEX + (1 if masked else 0))
    low, high = setting.graph_requests
    return Amount(low * each, high * each)


def draft_copies(facts: Mapping[str, Any], setting: Setting) -> float:
    """Each MTP layer's model brings an embedding and a head in bfloat16, which give way to the target's."""
    steps = setting.draft.steps if setting.draft else 0
    text = facts["text"]
    return float(steps * 2 * text["vocabulary"] * text["hidden_size"] * 2 / setting.tensor_parallel)


def request_table(setting: Setting) -> Amount:
    """One int32 for each token that a request can have; SGLang allows 2048 requests at least where none are given."""
    columns = setting.context + 4 + (setting.draft.tokens if setting.draft else 0)
    low, high = (setting.requests, setting.requests) if setting.requests is not None else (2048, 4096)
    return Amount((low + 1) * columns * 4, (high + 1) * columns * 4)


def moe_buffers(facts: Mapping[str, Any], setting: Setting) -> float:
    """Buffers of one expert layer for a prefill chunk in bfloat16: gate and up, their product, each expert's output."""
    moe = facts["moe"]
    inner = moe["intermediate_size"] / setting.tensor_parallel
    return float(setting.chunk * moe["experts_per_token"] * (3 * inner + facts["text"]["hidden_size"]) * 2)


def tables_per_token(setting: Setting) -> float:
    """Bytes of allocator tables for one token of the full pool: free lists of both pools, and the map between them."""
    return _FREE_LIST * (2 + setting.ratio)
