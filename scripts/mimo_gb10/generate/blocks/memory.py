"""Parts of the page about memory and speed: what ``plan_memory.py`` says, as tables and drawings."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.generate.chart import Axis, Line, chart, scrolling
from mimo_gb10.generate.markdown import code, table
from mimo_gb10.generate.prose import block, prose
from mimo_gb10.launch import check, on_example, recipes
from mimo_gb10.memory import constants
from mimo_gb10.memory.basis import GIB, Amount, Item
from mimo_gb10.memory.plan import Plan, down, make_plan, requests_that_fit, up
from mimo_gb10.memory.report import Report, findings, make_report, sums
from mimo_gb10.memory.setting import setting_of
from mimo_gb10.memory.svg import drawing

WITH_MTP = "gb10x4-mtp"
"""The recipe whose ceilings with MTP are shown."""

_STEP = 0.02
_MICRO = 1e6
_ADDRESS = re.compile(r"(?<![\w/.])((?:github\.com|forums\.developer\.nvidia\.com|llmrequirements\.com)/[^\s,;:()]+)")


@functools.cache
def report(recipe: str = DEFAULT_RECIPE) -> Report:
    """What the command shows for a recipe on nodes that nobody has measured yet."""
    context = on_example(recipe).context
    assert context is not None
    setting, _ = setting_of(context)
    plan = make_plan(context.model.facts, setting)
    return make_report(plan, context.model.facts, context.recipe.title, measured=False, accept_length=None)


def summary() -> str:
    """The default recipe in a few sentences."""
    found = report()
    plan = found.plan
    groups = dict(sums(found))
    lines = [
        f"- Recipe `{DEFAULT_RECIPE}`, SGLang {plan.setting.release.version}, TP {plan.setting.tensor_parallel}. "
        f"A node has {constants.TOTAL_GIB.value} GiB; before loading, {_amount(plan.available, 1)} GiB of it are "
        "available.",
        f"- Loaded on each node: {_amount(groups['loaded'], 1)} GiB.",
        f"- KV pools at the recipe's `mem-fraction-static` of {plan.shown:g}: {_amount(groups['KV pools'], 1)} GiB, "
        f"{_tokens(found)} tokens.",
        f"- Left in the end: {min(found.tight.margin, found.roomy.margin) / GIB:.1f} to "
        f"{max(found.tight.margin, found.roomy.margin) / GIB:.1f} GiB.",
    ]
    return "\n".join(lines) + "\n" + _warnings(found)


def _warnings(found: Report) -> str:
    context = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).context
    assert context is not None
    told = findings(found, context.flag_location("mem-fraction-static"))
    return "".join(f"- {one.severity.label.capitalize()}: {prose(one.message)}. {prose(one.help)}\n" for one in told)


def _tokens(found: Report) -> str:
    low, high = sorted((found.tight.pools.full, found.roomy.pools.full))
    return f"{low:,} to {high:,}"


def _amount(amount: Amount, digits: int = 2) -> str:
    low, high = f"{amount.low / GIB:.{digits}f}", f"{amount.high / GIB:.{digits}f}"
    return low if low == high else f"{low} to {high}"


def where() -> str:
    """Every line of the plan."""
    return table(["What", "GiB", "How sure", "From"], _where(report()))


def _where(found: Report) -> Iterator[Sequence[str]]:
    groups = dict(sums(found))
    yield _row(found.system)
    yield "**Loaded**", f"**{_amount(groups['loaded'])}**", "", ""
    yield from map(_row, found.plan.loaded)
    yield f"**KV pools at {found.plan.shown:g}**", f"**{_amount(groups['KV pools'])}**", "", ""
    yield from map(_row, found.kv)
    yield "**After the pools**", f"**{_amount(groups['after the pools'])}**", "", ""
    yield from map(_row, found.plan.after)
    left = Amount(*sorted((found.tight.margin, found.roomy.margin)))
    yield "**Left**", f"**{_amount(left)}**", "", ""
    yield _row(found.loading)


def _row(item: Item) -> Sequence[str]:
    share = f", 1/{item.split}" if item.split > 1 else ""
    return prose(item.title) + share, _amount(item.amount), item.basis.value, _source(item.source)


def _source(text: str) -> str:
    """A source with its addresses as links."""
    parts = _ADDRESS.split(text)
    return "".join(f"<https://{part}>" if number % 2 else prose(part) for number, part in enumerate(parts))


def bars() -> str:
    """The drawing of the plan: the recipe's fraction between the ends of what boots."""
    plan = report().plan
    low, high = up(plan.roomy.low), down(plan.roomy.high)
    shown = sorted({low, plan.shown, high} if 0 < low <= high <= 1 else {plan.shown})
    return scrolling(drawing(plan, shown), "Drawing: where the memory of a node goes")


def ranges() -> str:
    """Which fractions work, for every recipe."""
    rows = []
    for recipe in _planned():
        plan = report(recipe).plan
        for name, found in (("tight", plan.tight), ("roomy", plan.roomy)):
            ends = (found.low, found.context, found.high, found.safe)
            rows.append([code(recipe), f"{plan.shown:g}", name, *map(_fraction, ends)])
    header = ["Recipe", "Has", "Node", "Boots from", "One full request from", "Boots up to",
              f"Keeps {constants.SAFETY.low / GIB:.0f} GiB up to"]  # fmt: skip
    return table(header, rows)


def _planned() -> Iterator[str]:
    """The recipes for GB10: there is no plan for other nodes."""
    for recipe in recipes():
        context = on_example(recipe.name).context
        if context is not None and context.is_gb10:
            yield recipe.name


def _fraction(value: float) -> str:
    return f"{value:.3f}" if 0 < value <= 1 else "none"


def fractions() -> str:
    """What fractions around the recipe's come to."""
    plan = report().plan
    rows = []
    for fraction in _around(plan):
        ends = (plan.case(fraction, tight=True), plan.case(fraction, tight=False))
        rows.append(
            [
                f"**{fraction:.2f}**" if math.isclose(fraction, plan.shown) else f"{fraction:.2f}",
                *(f"{case.pools.full:,}" for case in ends),
                *(str(requests_that_fit(plan, case)) for case in ends),
                *(f"{case.margin / GIB:.1f}" for case in ends),
            ]
        )
    full = f"requests of {plan.setting.context:,} tokens"
    return table(["Fraction", "KV tokens, tight", "roomy", f"{full}, tight", "roomy", "GiB left, tight", "roomy"], rows)


def _around(plan: Plan) -> list[float]:
    """Even steps from the least fraction that boots anywhere to the most, with the recipe's own."""
    low, high = up(plan.roomy.low), down(plan.roomy.high)
    count = math.floor((high - low) / _STEP + 1e-9)
    return sorted({round(low + _STEP * number, 2) for number in range(count + 1)} | {plan.shown})


def capacity() -> str:
    """KV tokens by fraction, as a drawing."""
    plan = report().plan
    low, high = up(plan.roomy.low), down(plan.roomy.high)
    span = [low + (high - low) * number / 40 for number in range(41)]
    lines = [
        Line(f"{name} node", [(at, plan.case(at, tight=tight).pools.full / 1e6) for at in span])
        for name, tight in (("roomy", False), ("tight", True))
    ]
    context = plan.setting.context / 1e6
    lines.append(Line("one request of the full context", [(span[0], context), (span[-1], context)]))
    most = math.ceil(max(y for line in lines for _, y in line.points))
    # Ticks stand on round values outside the span, so that no line leaves the frame.
    across = _ticks(low, high, 0.05)
    described = " ".join(
        f"At {at:.2f}: {plan.case(at, tight=True).pools.full:,} tokens on the tight node, "
        f"{plan.case(at, tight=False).pools.full:,} on the roomy one."
        for at in (low, plan.shown, high)
    )
    drawn = chart(
        "memory-capacity",
        f"Tokens of KV by mem-fraction-static, {DEFAULT_RECIPE}",
        described,
        Axis("mem-fraction-static", across, show="{:.2f}".format),
        Axis("million tokens of KV", list(range(most + 1))),
        lines,
    )
    return scrolling(drawn, "Drawing: tokens of KV by mem-fraction-static")


def _ticks(low: float, high: float, step: float) -> list[float]:
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def speed() -> str:
    """Ceilings of one stream by length of context, without and with MTP."""
    plain, draft = report(), report(WITH_MTP)
    best, seen = constants.ALL_REDUCE_BEST.value, constants.ALL_REDUCE_SEEN.value
    rows = []
    for row, other in zip(plain.speed, draft.speed, strict=True):
        assert other.draft is not None
        rates = (row.plain.rate(), row.plain.rate(best), row.plain.rate(seen), other.draft.rate(seen, apart=True),
                 other.draft.rate(best))  # fmt: skip
        rows.append([f"{row.context:,}", f"{row.plain.bytes / 1e9:.2f}", *(f"{rate:.1f}" for rate in rates)])
    header = ["Context", "GB a step", "Memory alone", *(f"+ {time * _MICRO:.0f} µs each" for time in (best, seen))]
    header += ["MTP, experts apart", "MTP, experts alike"]
    return table(header, rows)


def speed_plot() -> str:
    """The same as a drawing."""
    plain, draft = report(), report(WITH_MTP)
    best, seen = constants.ALL_REDUCE_BEST.value, constants.ALL_REDUCE_SEEN.value
    lines = [
        Line("memory alone", [(row.context, row.plain.rate()) for row in plain.speed]),
        Line(
            f"{plain.speed[0].plain.reduces} all-reduces of {best * _MICRO:.0f} µs, the quickest published",
            [(row.context, row.plain.rate(best)) for row in plain.speed],
        ),
        Line(
            f"{plain.speed[0].plain.reduces} all-reduces of {seen * _MICRO:.0f} µs, as published of four nodes",
            [(row.context, row.plain.rate(seen)) for row in plain.speed],
        ),
        Line(
            f"MTP, accept length {draft.accepted:g}, each token with its own experts, {seen * _MICRO:.0f} µs",
            [(row.context, row.draft.rate(seen, apart=True)) for row in draft.speed if row.draft],
        ),
    ]
    contexts = [row.context for row in plain.speed]
    most = max(y for line in lines for _, y in line.points)
    described = " ".join(
        f"{line.name}: " + ", ".join(f"{y:.1f} at {x:,.0f} tokens" for x, y in line.points) + "." for line in lines
    )
    drawn = chart(
        "memory-speed",
        "Ceiling of tokens a second of one stream by length of context",
        described,
        Axis("tokens of context", contexts, math.log2, "{:,.0f}".format),
        Axis("tokens/s at most", _ticks(0, most, 20)),
        lines,
    )
    return scrolling(drawn, "Drawing: ceiling of speed by length of context")


def assumed() -> str:
    """The numbers from outside that the plan rests on."""
    named = [
        ("memory that Linux reports", f"{constants.TOTAL_GIB.value} GiB", constants.TOTAL_GIB),
        ("memory bandwidth of a node", f"{constants.BANDWIDTH.value / 1e9:.0f} GB/s", constants.BANDWIDTH),
        ("quickest all-reduce", f"{constants.ALL_REDUCE_BEST.value * _MICRO:.1f} µs", constants.ALL_REDUCE_BEST),
        ("all-reduce over four nodes", f"{constants.ALL_REDUCE_SEEN.value * _MICRO:.0f} µs", constants.ALL_REDUCE_SEEN),
        ("accept length with MTP", f"{constants.ACCEPT_LENGTH.value:g}", constants.ACCEPT_LENGTH),
    ]
    rows = [[name, value, constant.sure, _source(constant.source)] for name, value, constant in named]
    available = f"{_amount(constants.AVAILABLE, 1)} GiB"
    rows += [["available before loading", available, "reported", _source(text)] for text in constants.AVAILABLE_SOURCES]
    return table(["What", "Value", "How sure", "From"], rows)


def published() -> str:
    """What others published for this model on GB10, with its regime."""
    rows = []
    for item in report().compared:
        figure = item.figure
        rows.append(
            [
                prose(figure.name),
                str(figure.ranks),
                f"MTP, {figure.draft.steps} step{'s' if figure.draft.steps > 1 else ''}",
                f"{figure.rate:.1f}" if figure.rate else "–",
                f"{item.rate:.1f}",
                f"{figure.pool:,}" if figure.pool else "–",
                f"{item.pool:,}" if item.pool else "–",
                _source(figure.source),
            ]
        )
    header = ["Run", "Nodes", "Drafts", "tokens/s", "Bound", "KV pool, tokens", "Bound", "Reported by"]
    return table(header, rows)


def command() -> str:
    """How to ask for it."""
    return block(
        f"python scripts/plan_memory.py {DEFAULT_RECIPE}\n"
        f"python scripts/plan_memory.py {DEFAULT_RECIPE} --available 104 --set flags.context-length=262144\n",
        "bash",
    )


BLOCKS: Mapping[str, Callable[[], str]] = {
    "memory-summary": summary,
    "memory-where": where,
    "memory-bars": bars,
    "memory-ranges": ranges,
    "memory-fractions": fractions,
    "memory-capacity": capacity,
    "memory-speed": speed,
    "memory-speed-plot": speed_plot,
    "memory-assumed": assumed,
    "memory-published": published,
    "memory-command": command,
}
