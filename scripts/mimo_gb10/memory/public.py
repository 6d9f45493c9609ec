"""The bounds held against figures that others published for MiMo-V2.5 on GB10.

All of them ran vLLM with the community's NVFP4 checkpoint. vLLM's own overheads are not modelled: the profiled peak of
activations, Ray, CUDA graphs or eager mode, the padded heads of TP 3, block sizes, unequal memory of two nodes. They
make the published pool smaller and the published rate lower than the bound, never the other way round; so each bound
must lie above its figure, and a formula that forgets something would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.memory import constants
from mimo_gb10.memory.basis import GIB
from mimo_gb10.memory.pools import Cell, heads_on_rank
from mimo_gb10.memory.setting import Draft
from mimo_gb10.memory.speed import step_of
from mimo_gb10.memory.weights import NVFP4_MXFP8, mtp_parts, parts

NVFP4_KV = 0.5 + 1 / 16
"""Bytes of a KV element in FP4 with one FP8 scale for sixteen."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One published run.

    Attributes:
        name: For people.
        source: Where it was published.
        ranks: Nodes, one rank each.
        kv_bytes: Bytes of one element of the KV cache.
        kv_heads: KV heads of the full layers on one rank where heads are padded; None for the model's own.
        share: vLLM's ``gpu-memory-utilization``: the share of all memory that it uses for weights, activations and KV.
        pool: Tokens of the KV pool that vLLM reported, or None.
        kv_gib: KV memory that vLLM reported on its tightest and its roomiest node in GiB, or None.
        rate: Tokens a second of one stream at most, or None.
        draft: Multi-token prediction of the run.
        accepted: Tokens a step: one and the accepted drafts; all drafts where the author gives no acceptance.
    """

    name: str
    source: str
    ranks: int
    kv_bytes: float
    kv_heads: int | None
    share: float | None
    pool: int | None
    kv_gib: tuple[float, float] | None
    rate: float | None
    draft: Draft
    accepted: float


_TONY = "github.com/tonyd2wild/MiMo-V2.5-TP2-1M-NVFP4-KV-2xDGX-Spark"
_MIA = "github.com/MiaAI-Lab/MiMo-V2.5-vLLM-Dual-DGX-Sparks"

FIGURES = (
    Figure(
        "two nodes, 0.83",
        f"{_MIA}, README before 15 July 2026",
        2,
        NVFP4_KV,
        None,
        0.83,
        2_508_512,
        (7.74, 15.65),
        32.0,
        Draft(1, 2),
        1.93,
    ),
    Figure(
        "two nodes, 0.83, three requests",
        _MIA,
        2,
        NVFP4_KV,
        None,
        0.83,
        2_704_932,
        (8.35, 15.2),
        31.09,
        Draft(1, 2),
        1.93,
    ),
    Figure(
        "two nodes, 0.84, eight requests",
        _TONY,
        2,
        NVFP4_KV,
        None,
        0.84,
        2_171_757,
        (8.25, 8.25),
        32.13,
        Draft(1, 2),
        1.928,
    ),
    Figure(
        "two nodes, news page",
        "llmrequirements.com/news/2026-07-01-mimo-v2-5-dual-dgx-spark",
        2,
        NVFP4_KV,
        None,
        None,
        None,
        None,
        32.13,
        Draft(1, 2),
        1.928,
    ),
    Figure(
        "three nodes, 0.89, heads padded",
        "forums.developer.nvidia.com/t/373968",
        3,
        1.0,
        2,
        0.89,
        3_127_938,
        None,
        38.8,
        Draft(2, 3),
        2.62,
    ),
    Figure(
        "three nodes, 0.89, FP4 KV",
        "github.com/tonyd2wild/MiMo-V2.5-TP3-NVFP4-KV-3xDGX-Spark",
        3,
        NVFP4_KV,
        2,
        0.89,
        10_592_793,
        None,
        36.4,
        Draft(2, 3),
        3.0,
    ),
)
"""Reported, each by its author; none was repeated by us."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure beside the bounds.

    Attributes:
        figure: What was published.
        kv_gib: KV memory at most in GiB: the share of all memory without the weights; None where no share is given.
        pool: Tokens at most; None likewise.
        token_bytes: Bytes of a token at least: the full layers alone.
        rate: Tokens a second at most, with the quickest published all-reduce.
    """

    figure: Figure
    kv_gib: float | None
    pool: int | None
    token_bytes: float
    rate: float

    @property
    def problems(self) -> list[str]:
        """What lies on the wrong side."""
        figure, found = self.figure, []
        if self.pool is not None and figure.pool is not None and figure.pool > self.pool:
            found.append(f"pool {figure.pool:,} above {self.pool:,}")
        if self.kv_gib is not None and figure.kv_gib is not None and figure.kv_gib[1] > self.kv_gib:
            found.append(f"KV memory {figure.kv_gib[1]} GiB above {self.kv_gib:.2f}")
        if (
            figure.kv_gib is not None
            and figure.pool is not None
            and figure.kv_gib[0] * GIB / figure.pool < self.token_bytes
        ):
            found.append(f"a token in fewer than {self.token_bytes:.0f} bytes")
        if figure.rate is not None and figure.rate > self.rate:
            found.append(f"rate {figure.rate} above {self.rate:.1f}")
        return found


def compare(facts: Mapping[str, Any], figure: Figure) -> Compared:
    """The bounds under a figure's settings.

    A token costs at least its full layers: vLLM gives the sliding-window layers no more than their window a request.
    """
    attention = facts["attention"]
    width = (attention["head_dim"] + attention["value_head_dim"]) * figure.kv_bytes
    heads = figure.kv_heads or heads_on_rank(attention["full"]["kv_heads"], figure.ranks)
    layers = len(attention["full"]["layers"])
    token = heads * width * layers
    loaded = sum(part.on_rank(figure.ranks) for part in parts(facts, NVFP4_MXFP8))
    loaded += figure.draft.steps * sum(part.on_rank(figure.ranks) for part in mtp_parts(facts, NVFP4_MXFP8))
    room = None if figure.share is None else figure.share * constants.TOTAL_GIB.value * GIB - loaded
    # An empty context: KV that is not read makes the bound looser, never tighter.
    cell = Cell(heads * width, 0, layers, 0, 0, 0)
    step = step_of(facts, NVFP4_MXFP8, figure.ranks, cell, 0, figure.draft, figure.accepted)
    return Compared(
        figure,
        kv_gib=None if room is None else room / GIB,
        pool=None if room is None else int(room // token),
        token_bytes=token,
        rate=step.rate(constants.ALL_REDUCE_BEST.value),
    )
