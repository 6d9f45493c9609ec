"""What the command shows, as plain data: the text table, ``--json`` and the drawing are three views of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mimo_gb10.findings import Finding, Location, error, warning
from mimo_gb10.memory import constants
from mimo_gb10.memory.basis import GIB, Amount, Basis, Item, total
from mimo_gb10.memory.citations import source
from mimo_gb10.memory.plan import Case, Plan, down, requests_that_fit, up
from mimo_gb10.memory.pools import RECEIPT
from mimo_gb10.memory.public import FIGURES, Compared, compare
from mimo_gb10.memory.setting import Draft
from mimo_gb10.memory.speed import Step, step_of
from mimo_gb10.memory.weights import checkpoint_storage

DEFAULT_DRAFT = Draft(3, 4)
"""One step for each MTP layer: what the cookbook gives."""


LENGTHS = (1024, 32768, 262144)
"""Tokens of context for which a ceiling is shown, beside the longest."""


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """Ceilings at one length of context.

    Attributes:
        context: Tokens so far.
        plain: The step without MTP.
        draft: The step with it, or None where it is not planned.
    """

    context: int
    plain: Step
    draft: Step | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown.

    Attributes:
        plan: The plan.
        title: The recipe's title.
        measured: Whether the available memory was given.
        system: What Linux and everything outside the plan take.
        kv: Lines of the KV pools at the shown fraction.
        loading: What loading takes on top and gives back.
        tight: The shown fraction on the tight end.
        roomy: The same on the roomy end.
        speed: Ceilings.
        accepted: Accept length of the ceilings with MTP.
        accepted_source: Where it comes from.
        compared: Published figures beside the bounds.
    """

    plan: Plan
    title: str
    measured: bool
    system: Item
    kv: tuple[Item, ...]
    loading: Item
    tight: Case
    roomy: Case
    speed: tuple[SpeedRow, ...]
    accepted: float | None
    accepted_source: str
    compared: tuple[Compared, ...]


def make_report(
    plan: Plan, facts: Mapping[str, Any], title: str, *, measured: bool, accept_length: float | None
) -> Report:
    """Put together what is shown about a plan."""
    setting = plan.setting
    tight, roomy = plan.case(plan.shown, tight=True), plan.case(plan.shown, tight=False)
    draft = setting.draft or (DEFAULT_DRAFT if accept_length is not None else None)
    accepted, accepted_source = _accepted(draft, accept_length)
    storage = checkpoint_storage(facts)
    lengths = sorted({length for length in LENGTHS if length < setting.context} | {setting.context})
    rows = []
    for context in lengths:
        plain = step_of(facts, storage, setting.tensor_parallel, plan.cell, context, None, 1.0)
        rows.append(SpeedRow(context, plain, _with_draft(plan, facts, context, draft, accepted)))
    whole = constants.TOTAL_GIB.value * GIB
    system = Amount(max(0.0, whole - plan.available.high), max(0.0, whole - plan.available.low))
    basis = "what --available leaves, and 0.5 to 2 for CUDA and NCCL" if measured else constants.AVAILABLE_SOURCE
    return Report(
        plan=plan,
        title=title,
        measured=measured,
        system=Item("system", "Linux, other programs, CUDA and NCCL", system, Basis.ESTIMATE, basis),
        kv=tuple(_kv_items(plan, tight, roomy)),
        loading=Item(
            "loading",
            "copies and page cache while loading, given back",
            constants.LOADING,
            Basis.ESTIMATE,
            constants.LOADING_SOURCE,
        ),
        tight=tight,
        roomy=roomy,
        speed=tuple(rows),
        accepted=accepted,
        accepted_source=accepted_source,
        compared=tuple(compare(facts, figure) for figure in FIGURES),
    )


def _with_draft(
    plan: Plan, facts: Mapping[str, Any], context: int, draft: Draft | None, accepted: float | None
) -> Step | None:
    if draft is None or accepted is None:
        return None
    # A recipe without MTP has no MTP layers in its cell; the ceiling asks what they would change.
    cell = replace(plan.cell, draft_real=min(draft.steps, facts["mtp"]["layers"]))
    return step_of(facts, checkpoint_storage(facts), plan.setting.tensor_parallel, cell, context, draft, accepted)


def _accepted(draft: Draft | None, given: float | None) -> tuple[float | None, str]:
    if draft is None:
        return None, ""
    if given is not None:
        return given, "--accept-length"
    return min(constants.ACCEPT_LENGTH.value, draft.steps + 1), constants.ACCEPT_LENGTH.source


def _kv_items(plan: Plan, tight: Case, roomy: Case) -> list[Item]:
    cell, setting = plan.cell, plan.setting
    release = setting.release

    def amount(each: float, layers: int, *, window: bool) -> Amount:
        ends = []
        for case in (tight, roomy):
            tokens = case.pools.window if window else case.pools.full
            ends.append(each * layers * (tokens + setting.page) if case.pools.full else 0.0)
        return Amount(min(ends), max(ends))

    at = source(release, "memory-cell")
    items = [
        Item(
            "kv-full",
            f"{cell.full_layers} full layers, {cell.full:,.0f} B a token and layer",
            amount(cell.full, cell.full_layers, window=False),
            Basis.RECEIPT,
            f"{RECEIPT}; {at}",
        ),
        Item(
            "kv-window",
            f"{cell.window_layers} window layers, {cell.window:,.0f} B, ratio {setting.ratio:g}",
            amount(cell.window, cell.window_layers, window=True),
            Basis.RECEIPT,
            f"{RECEIPT}; {source(release, 'memory-split')}",
        ),
    ]
    if cell.draft_real:
        counted = source(release, "memory-draft-cell")
        how = counted or f"{source(release, 'memory-buffers')}; this release does not count them in the budget"
        items.append(
            Item(
                "kv-draft",
                f"{cell.draft_real} MTP layers",
                amount(cell.window, cell.draft_real, window=True),
                Basis.FORMULA,
                how,
            )
        )
    return items


def findings(report: Report, place: Location) -> list[Finding]:
    """What is wrong with the shown fraction: an error if it works on no node that the plan knows, else warnings."""
    plan, tight, roomy = report.plan, report.tight, report.roomy
    if plan.setting.fraction is None:
        return [
            warning(
                "memory-fraction",
                f"mem-fraction-static is not given; {plan.shown:g} is shown",
                "Write the value that you mean: SGLang's own default does not know GB10.",
                place,
            )
        ]
    shown = f"mem-fraction-static {plan.setting.fraction:g}"
    if not roomy.boots:
        why = (
            "leaves no KV pool"
            if not roomy.pools.full
            else f"leaves {-roomy.margin / GIB:.1f} GiB too little for the rest"
        )
        return [
            error(
                "memory-boot",
                f"{shown} {why} even on the roomiest node",
                advice(plan),
                place,
                source(plan.setting.release, "memory-budget"),
            )
        ]
    found = []
    loading = tight.loaded + constants.LOADING.high
    if tight.available < loading:
        found.append(
            warning(
                "memory-loading",
                f"loading may need {loading / GIB:.1f} GiB for a while, a node has {tight.available / GIB:.1f}",
                "Drop the page cache before the start, add swap, or load with fewer threads.",
                place,
                constants.LOADING_SOURCE,
            )
        )
    if not tight.boots:
        why = "leaves no KV pool" if not tight.pools.full else "may leave too little for the rest"
        found.append(
            warning(
                "memory-tight",
                f"{shown} {why} on a node with {tight.available / GIB:.1f} GiB available",
                advice(plan),
                place,
            )
        )
    elif tight.margin < constants.SAFETY.low:
        found.append(
            warning("memory-margin", f"{shown} may leave only {tight.margin / GIB:.1f} GiB free", advice(plan), place)
        )
    if requests_that_fit(plan, tight) < 1:
        most = "no node" if requests_that_fit(plan, roomy) < 1 else "not every node"
        found.append(
            warning(
                "memory-context",
                f"at {shown} {most} holds one request of {plan.setting.context:,} tokens",
                "Set context-length, lower swa-full-tokens-ratio, or measure --available on your nodes.",
                place,
            )
        )
    return found


def advice(plan: Plan) -> str:
    """What to set instead."""
    if plan.recommended:
        low, high = plan.recommended
        return f"Take {low:.2f} to {high:.2f}."
    low, high = up(plan.tight.low), down(plan.tight.safe)
    if 0 < low <= high:
        return f"{low:.2f} to {high:.2f} boots on every known node; measure yours and give --available."
    return "Measure what is available on your tightest node and give --available."


def as_dict(report: Report) -> dict[str, Any]:
    """The report as plain data, in bytes, tokens and tokens a second."""
    plan = report.plan
    setting = plan.setting
    return {
        "recipe": setting.name,
        "release": setting.release.version,
        "tensor_parallel": setting.tensor_parallel,
        "measured_on_gb10": False,
        "available": {"low": round(plan.available.low), "high": round(plan.available.high), "given": report.measured},
        "items": {
            "system": [report.system.as_dict()],
            "loaded": [item.as_dict() for item in plan.loaded],
            "kv": [item.as_dict() for item in report.kv],
            "after": [item.as_dict() for item in plan.after],
            "loading": [report.loading.as_dict()],
        },
        "cell_bytes": plan.cell.counted(setting.ratio),
        "fraction": plan.shown,
        "tight": _case_dict(plan, report.tight),
        "roomy": _case_dict(plan, report.roomy),
        "ranges": {name: _range_dict(plan, name) for name in ("tight", "roomy")},
        "recommended": list(plan.recommended) if plan.recommended else None,
        "speed": [_speed_dict(row) for row in report.speed],
        "accept_length": report.accepted,
        "constants": _constants(),
        "public_figures": [_compared_dict(item) for item in report.compared],
    }


def _case_dict(plan: Plan, case: Case) -> dict[str, Any]:
    return {
        "boots": case.boots,
        "available": round(case.available),
        "loaded": round(case.loaded),
        "kv": round(case.kv),
        "after": round(case.after),
        "left": round(case.margin),
        "tokens": case.pools.full,
        "window_tokens": case.pools.window,
        "full_context_requests": requests_that_fit(plan, case),
    }


def _range_dict(plan: Plan, name: str) -> dict[str, float | None]:
    found = plan.tight if name == "tight" else plan.roomy
    ends = {
        "least": found.low,
        "least_for_one_full_request": found.context,
        "most": found.high,
        "most_safe": found.safe,
    }
    return {key: round(value, 4) if 0 <= value <= 1 else None for key, value in ends.items()}


def _speed_dict(row: SpeedRow) -> dict[str, Any]:
    return {"context": row.context, "plain": _step_dict(row.plain), "mtp": _step_dict(row.draft) if row.draft else None}


def _step_dict(step: Step) -> dict[str, Any]:
    return {
        "bytes": round(step.bytes),
        "bytes_if_experts_differ": round(step.bytes_apart),
        "all_reduces": step.reduces,
        "tokens_per_second": {
            "memory_alone": round(step.rate(), 2),
            "best_published_all_reduce": round(step.rate(constants.ALL_REDUCE_BEST.value), 2),
            "all_reduce_of_four_nodes": round(step.rate(constants.ALL_REDUCE_SEEN.value), 2),
            "and_experts_differ": round(step.rate(constants.ALL_REDUCE_SEEN.value, apart=True), 2),
        },
    }


def _constants() -> list[dict[str, Any]]:
    named = {
        "bandwidth_bytes_per_second": constants.BANDWIDTH,
        "total_gib": constants.TOTAL_GIB,
        "all_reduce_best_seconds": constants.ALL_REDUCE_BEST,
        "all_reduce_four_nodes_seconds": constants.ALL_REDUCE_SEEN,
        "accept_length": constants.ACCEPT_LENGTH,
    }
    return [{"name": key, "value": item.value, "source": item.source, "sure": item.sure} for key, item in named.items()]


def _compared_dict(item: Compared) -> dict[str, Any]:
    figure = item.figure
    return {
        "name": figure.name,
        "source": figure.source,
        "sure": "reported",
        "pool": figure.pool,
        "pool_bound": item.pool,
        "rate": figure.rate,
        "rate_bound": round(item.rate, 2),
        "problems": item.problems,
    }


def sums(report: Report) -> Sequence[tuple[str, Amount]]:
    """The groups of a node with their sums: system, loaded, KV, after."""
    ends = (report.tight, report.roomy)
    kv = [case.kv for case in ends]
    after = sorted(case.after for case in ends)
    return (
        ("system", report.system.amount),
        ("loaded", total(report.plan.loaded)),
        ("KV pools", Amount(min(kv), max(kv))),
        ("after the pools", Amount(after[0], after[-1])),
    )
