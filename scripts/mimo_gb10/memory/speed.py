"""How fast one stream can be at best: bytes that a step must move over the memory's bandwidth, and all-reduces.

A ceiling, not a forecast: kernels that reach 273 GB/s, nothing but weights and KV moved, the node's CPU quiet, no
launch gaps, sampling or scheduling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.memory import constants
from mimo_gb10.memory.pools import Cell
from mimo_gb10.memory.setting import Draft
from mimo_gb10.memory.weights import Storage, experts_of, mtp_parts, parts


@dataclass(frozen=True, slots=True)
class Step:
    """One decode step of one stream on one node.

    Attributes:
        dense: Bytes of the weights that every step reads.
        experts: Bytes of the experts, if the tokens of a verification all choose alike: the least.
        experts_apart: The same if they choose independently of one another.
        kv: Bytes of KV that attention reads.
        draft: Bytes that drafting reads: each MTP layer, and the head each time.
        reduces: All-reduces, the draft's included.
        tokens: Tokens that come out of the step.
    """

    dense: float
    experts: float
    experts_apart: float
    kv: float
    draft: float
    reduces: int
    tokens: float

    @property
    def bytes(self) -> float:
        """Bytes that must be moved, at the least."""
        return self.dense + self.experts + self.kv + self.draft

    @property
    def bytes_apart(self) -> float:
        """Bytes that are moved if the tokens of a verification choose their experts independently."""
        return self.dense + self.experts_apart + self.kv + self.draft

    def rate(self, all_reduce: float = 0.0, *, apart: bool = False) -> float:
        """Tokens a second.

        Args:
            all_reduce: Seconds of one all-reduce.
            apart: Whether the tokens of a verification choose their experts independently.
        """
        moved = self.bytes_apart if apart else self.bytes
        return self.tokens / (moved / constants.BANDWIDTH.value + self.reduces * all_reduce)


def step_of(
    facts: Mapping[str, Any],
    storage: Storage,
    ranks: int,
    cell: Cell,
    context: int,
    draft: Draft | None,
    accepted: float,
) -> Step:
    """The step of one stream.

    Args:
        facts: The model file.
        storage: Format of the checkpoint.
        ranks: Ranks that share each layer.
        cell: Bytes of KV of a token in a layer.
        context: Tokens that the stream has so far.
        draft: Multi-token prediction, or None.
        accepted: Tokens a step with it: the accept length, 1 at least; without it 1.
    """
    text, moe = facts["text"], facts["moe"]
    sparse = text["layers"] - len(text["dense_layers"])
    found = parts(facts, storage)
    dense = sum(part.on_rank(ranks) for part in found if part.step)
    one = experts_of(facts, storage) / ranks * sparse
    width = draft.tokens if draft else 1
    apart = distinct(moe["experts"], moe["experts_per_token"], width)
    drafted, draft_reduces = 0.0, 0
    if draft is not None:
        head = next(part for part in found if part.key == "head").on_rank(ranks)
        layer = sum(part.on_rank(ranks) for part in mtp_parts(facts, storage))
        drafted = draft.steps * (head + layer)
        draft_reduces = draft.steps * reduces(1)
    window = min(context, facts["attention"]["sliding_window"]["window"])
    return Step(
        dense=dense,
        experts=one * moe["experts_per_token"],
        experts_apart=one * apart,
        kv=cell.full * cell.full_layers * context + cell.window * (cell.window_layers + cell.draft_real) * window,
        draft=drafted,
        reduces=(reduces(text["layers"]) + draft_reduces) if ranks > 1 else 0,
        tokens=accepted if draft else 1.0,
    )


def reduces(layers: int) -> int:
    """Collectives of a pass: the embedding's, two a layer (attention, experts or MLP), the gather of the logits."""
    return 2 * layers + 2


def distinct(experts: int, chosen: int, tokens: int) -> float:
    """How many different experts several tokens need on average, if each chooses independently of the others."""
    return experts * (1 - (1 - chosen / experts) ** tokens)
