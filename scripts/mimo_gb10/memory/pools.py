"""How SGLang sizes the two KV pools. Compared with SGLang's own classes for every release: see `RECEIPT`.

The full pool has a slot for each token; the sliding-window pool one for each ``swa-full-tokens-ratio``. Upstream's
name for the bytes of one token of the full pool, with its share of the other pool, is the cell size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.memory.setting import Setting

RECEIPT = "docs/evidence/memory-pools.json"
"""The formulas below beside SGLang's own classes, for every release."""

EVICTION_INTERVAL = 128
"""Default of SGLANG_SWA_EVICTION_INTERVAL since 0.5.14, the first release with the cap."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Bytes of KV on one rank.

    Attributes:
        full: One token in one full-attention layer.
        window: One token in one sliding-window layer.
        full_layers: Layers of the full pool.
        window_layers: Layers of the sliding-window pool.
        draft_counted: MTP layers that SGLang counts when it divides the budget.
        draft_real: MTP layers that get a sliding-window pool each, counted or not.
    """

    full: float
    window: float
    full_layers: int
    window_layers: int
    draft_counted: int
    draft_real: int

    @property
    def fulls(self) -> float:
        """Bytes of one token of the full pool."""
        return self.full * self.full_layers

    @property
    def windows(self) -> float:
        """Bytes of one token of the sliding-window pool as SGLang counts them."""
        return self.window * (self.window_layers + self.draft_counted)

    def counted(self, ratio: float) -> float:
        """Bytes of one token by which SGLang divides the budget."""
        return self.fulls + ratio * self.windows


def cell_of(facts: Mapping[str, Any], setting: Setting, *, counted: bool = True) -> Cell:
    """The cell of a model under a setting.

    Without ``speculative-draft-model-path``, MTP layers are counted from 0.5.20 on, and then as many as
    ``num_nextn_predict_layers`` of the checkpoint's config.json says, which we could not read: `counted` is whether it
    says that there are any. Up to 0.5.19 their pools come out of what ``mem-fraction-static`` leaves.
    """
    attention = facts["attention"]
    width = (attention["head_dim"] + attention["value_head_dim"]) * setting.kv_bytes
    layers = facts["mtp"]["layers"] if setting.draft else 0
    return Cell(
        full=heads_on_rank(attention["full"]["kv_heads"], setting.tensor_parallel) * width,
        window=heads_on_rank(attention["sliding_window"]["kv_heads"], setting.tensor_parallel) * width,
        full_layers=len(attention["full"]["layers"]),
        window_layers=attention["sliding_window"]["layers"],
        draft_counted=layers if counted and setting.is_from("0.5.20") else 0,
        draft_real=min(layers, setting.draft.steps) if setting.draft else 0,
    )


def heads_on_rank(heads: int, ranks: int) -> int:
    """KV heads of one rank: at least one, so that more ranks than heads repeat them."""
    return max(1, heads // ranks)


@dataclass(frozen=True, slots=True)
class Pools:
    """Tokens of the two pools; none where the budget is not positive or too small for the release to start.

    Attributes:
        full: Tokens of the full pool: what requests share.
        window: Tokens of the sliding-window pool.
    """

    full: int
    window: int


def pools_of(budget: float, cell: Cell, setting: Setting, window: int) -> Pools:
    """The pools that SGLang makes of a budget.

    Args:
        budget: Bytes for the KV pools.
        cell: The cell.
        setting: The launch.
        window: Tokens of the model's window.
    """
    if budget <= 0:
        return Pools(0, 0)
    if capped(setting):
        return _capped_pools(budget, cell, setting, window)
    full = aligned(int(budget // cell.counted(setting.ratio)), setting.page)
    if setting.token_limit is not None and setting.token_limit < full:
        full = aligned(setting.token_limit, setting.page)
    sliding = aligned(int(full * setting.ratio), setting.page)
    if full <= 0 or (setting.is_from("0.5.16") and window + setting.page >= sliding):
        return Pools(0, 0)
    return Pools(full, sliding)


def aligned(tokens: int, page: int) -> int:
    """Tokens rounded down to whole pages."""
    return tokens // page * page


def capped(setting: Setting) -> bool:
    """Whether the sliding-window pool follows ``max-running-requests``: without the radix cache, from 0.5.14."""
    return setting.is_from("0.5.14") and not setting.radix and setting.requests is not None


def window_cap(setting: Setting, window: int) -> int:
    """Tokens that the running requests can hold at most in the sliding-window pool."""
    requests = setting.requests or 1
    draft = setting.draft
    trailing = window + EVICTION_INTERVAL * (draft.tokens if draft else 1) + setting.page
    if draft is None:
        decode = setting.page
    else:
        # With a chain of drafts (topk 1) one step allocates as many tokens as it drafts or verifies.
        length = max(draft.steps, draft.tokens)
        decode = 2 * length if setting.overlap else whole_pages(length, setting.page)
    chunks = 2 if setting.overlap else 1
    return whole_pages((trailing + decode) * requests + chunks * setting.chunk + setting.page, setting.page)


def whole_pages(tokens: int, page: int) -> int:
    """Tokens rounded up to whole pages."""
    return -(-tokens // page) * page


def _capped_pools(budget: float, cell: Cell, setting: Setting, window: int) -> Pools:
    sliding = window_cap(setting, window)
    full = aligned(int((budget - sliding * cell.windows) // cell.fulls), setting.page)
    if setting.token_limit is not None and setting.token_limit < full:
        full = aligned(setting.token_limit, setting.page)
        sliding = min(sliding, setting.token_limit)
    return Pools(full, sliding) if full > 0 else Pools(0, 0)


def pool_bytes(pools: Pools, cell: Cell, page: int) -> float:
    """Bytes of the target's pools as they are allocated: one page more than their tokens, for padding."""
    if not pools.full:
        return 0
    return cell.full * cell.full_layers * (pools.full + page) + cell.window * cell.window_layers * (pools.window + page)


def draft_bytes(pools: Pools, cell: Cell, page: int) -> float:
    """Bytes of the MTP layers' pools: one sliding-window layer each."""
    return cell.window * cell.draft_real * (pools.window + page) if pools.full else 0
