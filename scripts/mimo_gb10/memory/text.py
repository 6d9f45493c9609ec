"""The report as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mimo_gb10.memory import constants
from mimo_gb10.memory.basis import GIB, Amount, Item
from mimo_gb10.memory.plan import Range, requests_that_fit
from mimo_gb10.memory.report import Report, sums
from mimo_gb10.report import Paint

_NAME = 46
_VALUE = 13


def report_text(report: Report, paint: Paint) -> str:
    """The whole table."""
    return "".join(f"{line}\n" for line in _lines(report, paint))


def _lines(report: Report, paint: Paint) -> Iterator[str]:
    plan = report.plan
    setting = plan.setting
    yield paint("bold", f"{setting.name}: {report.title}")
    yield f"SGLang {setting.release.version}, TP {setting.tensor_parallel}, one node of {constants.TOTAL_GIB.value} GiB"
    yield "Nothing below was measured on GB10."
    yield ""
    groups = dict(sums(report))
    yield paint("heading", f"{'GiB':<{_NAME}}{'least - most':>{_VALUE}}  how sure")
    yield from _item(report.system, paint, indent=0)
    yield _sum("loaded", groups["loaded"], paint)
    for item in plan.loaded:
        yield from _item(item, paint)
    yield _sum(f"KV pools at mem-fraction-static {plan.shown:g}", groups["KV pools"], paint)
    for item in report.kv:
        yield from _item(item, paint)
    yield _sum("after the pools", groups["after the pools"], paint)
    for item in plan.after:
        yield from _item(item, paint)
    left = sorted((report.tight.margin, report.roomy.margin))
    yield _sum("left", Amount(*left), paint)
    yield from _item(report.loading, paint, indent=0)
    yield ""
    yield from _capacity(report, paint)
    yield ""
    yield from _ranges(report, paint)
    yield ""
    yield from _speed(report, paint)
    yield ""
    yield from _public(report, paint)


def _item(item: Item, paint: Paint, indent: int = 2) -> Iterator[str]:
    share = f", 1/{item.split}" if item.split > 1 else ""
    title = " " * indent + item.title + share
    yield f"{title:<{_NAME}}{_gib(item.amount):>{_VALUE}}  {paint('dim', _basis(item))}"


def _basis(item: Item) -> str:
    joint = " " if item.basis.value.endswith("upstream") else ": "
    return f"{item.basis.value}{joint}{item.source}"


def _sum(title: str, amount: Amount, paint: Paint) -> str:
    return f"{paint('bold', f'{title:<{_NAME}}')}{paint('bold', f'{_gib(amount):>{_VALUE}}')}"


def _gib(amount: Amount) -> str:
    low, high = f"{amount.low / GIB:.2f}", f"{amount.high / GIB:.2f}"
    return low if low == high else f"{low} - {high}"


def _capacity(report: Report, paint: Paint) -> Iterator[str]:
    plan = report.plan
    yield paint("heading", f"capacity at {plan.shown:g}")
    rows: list[Sequence[str]] = [("", "tight node", "roomy node")]
    ends = (report.tight, report.roomy)
    rows.append(("available before loading, GiB", *(f"{case.available / GIB:.1f}" for case in ends)))
    rows.append(("tokens of KV", *(f"{case.pools.full:,}" for case in ends)))
    rows.append(("tokens of the window layers' pool", *(f"{case.pools.window:,}" for case in ends)))
    rows.append(
        (f"requests of {plan.setting.context:,} tokens", *(str(requests_that_fit(plan, case)) for case in ends))
    )
    rows.append(("left in the end, GiB", *(f"{case.margin / GIB:.1f}" for case in ends)))
    yield from _table(rows)
    cell = plan.cell.counted(plan.setting.ratio)
    yield f"  {cell:,.0f} bytes a token and rank; the pool is the smallest of all ranks'."
    if not report.measured:
        for source in constants.AVAILABLE_SOURCES:
            yield paint("dim", f"  reported: {source}")


def _ranges(report: Report, paint: Paint) -> Iterator[str]:
    plan = report.plan
    yield paint("heading", "mem-fraction-static")
    rows: list[Sequence[str]] = [
        ("", "boots from", "one full request", "boots up to", f"{constants.SAFETY.low / GIB:.0f} GiB spare")
    ]
    for name, found in (("tight node", plan.tight), ("roomy node", plan.roomy)):
        rows.append((name, *(_fraction(value) for value in _ends(found))))
    yield from _table(rows)
    if plan.recommended:
        low, high = plan.recommended
        yield f"  {low:.2f} to {high:.2f} holds a full request and keeps the spare on both."
    else:
        yield "  No value holds a full request and keeps the spare on both; --available GIB narrows it to your node."


def _ends(found: Range) -> Sequence[float]:
    return found.low, found.context, found.high, found.safe


def _fraction(value: float) -> str:
    return f"{value:.3f}" if 0 < value <= 1 else "none"


def _speed(report: Report, paint: Paint) -> Iterator[str]:
    best, seen = constants.ALL_REDUCE_BEST.value * 1e6, constants.ALL_REDUCE_SEEN.value * 1e6
    yield paint("heading", "speed ceiling, tokens/s of one stream: estimate, much will be below it")
    rows = [("context", "GB a step", "all-reduces", "memory alone", f"+ {best:.0f} us each", f"+ {seen:.0f} us each")]
    for row in report.speed:
        step = row.plain
        rows.append(
            (
                f"{row.context:,}",
                f"{step.bytes / 1e9:.2f}",
                str(step.reduces),
                f"{step.rate():.1f}",
                f"{step.rate(best / 1e6):.1f}",
                f"{step.rate(seen / 1e6):.1f}",
            )
        )
    yield from _table(rows)
    if report.accepted is not None:
        yield f"  with MTP at accept length {report.accepted:g} ({report.accepted_source})"
        rows = [("context", "GB a step", "all-reduces", "memory alone", f"+ {best:.0f} us each", "experts apart")]
        for row in report.speed:
            if row.draft is None:
                continue
            step = row.draft
            rows.append(
                (
                    f"{row.context:,}",
                    f"{step.bytes / 1e9:.2f} - {step.bytes_apart / 1e9:.2f}",
                    str(step.reduces),
                    f"{step.rate():.1f}",
                    f"{step.rate(best / 1e6):.1f}",
                    f"{step.rate(seen / 1e6, apart=True):.1f}",
                )
            )
        yield from _table(rows)
        yield "  experts apart: each verified token chooses its own experts, all-reduces as slow as on four nodes."
    for constant in (constants.BANDWIDTH, constants.ALL_REDUCE_BEST, constants.ALL_REDUCE_SEEN):
        yield paint("dim", f"  {constant.sure}: {constant.source}")


def _public(report: Report, paint: Paint) -> Iterator[str]:
    yield paint(
        "heading",
        "published for this model on GB10 beside the same formulas (vLLM, NVFP4; its own overheads not modelled)",
    )
    rows = [("", "pool, tokens", "at most", "tokens/s", "at most")]
    for item in report.compared:
        figure = item.figure
        pool = f"{figure.pool:,}" if figure.pool is not None else "-"
        bound = f"{item.pool:,}" if item.pool is not None else "-"
        rate = f"{figure.rate:.1f}" if figure.rate is not None else "-"
        rows.append(
            (figure.name, pool, bound, rate, f"{item.rate:.1f}" + ("" if not item.problems else "  WRONG SIDE"))
        )
    yield from _table(rows)
    for item in report.compared:
        yield paint("dim", f"  reported: {item.figure.name}: {item.figure.source}")


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first = row[0].ljust(widths[0])
        yield f"  {first}  " + "  ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
