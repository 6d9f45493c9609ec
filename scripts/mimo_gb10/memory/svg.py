"""The plan as a drawing: one stacked bar for each setting on each kind of node.

It stands by itself or inside a page: colours follow the reader's choice of light or dark (and Material's switch), every
bar has a title and the whole a description, fonts are the reader's, and no name leaks out of the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from mimo_gb10.memory import constants
from mimo_gb10.memory.basis import GIB
from mimo_gb10.memory.plan import Case, Plan

_WIDTH, _LEFT, _RIGHT, _TOP = 900, 150, 86, 64
_BAR, _GAP, _GROUP = 30, 8, 18

SEGMENTS = (
    ("system", "system"),
    ("weights", "loaded weights"),
    ("kv", "KV pools"),
    ("after", "graphs, activations, processes"),
    ("left", "left"),
)
"""Class and name of each segment, in the order of a bar; a bar that is short ends in ``short`` instead of ``left``."""

_STYLE = """
.mimo-memory{color:#1b1f24;font-family:system-ui,sans-serif;font-size:13px;max-width:100%;height:auto}
.mimo-memory text{fill:currentColor}
.mimo-memory text.in{fill:#111}
.mimo-memory .axis{stroke:currentColor;stroke-opacity:.5}
.mimo-memory rect{stroke:currentColor;stroke-width:1}
.mimo-memory .system{fill:#c9ccd1}.mimo-memory .weights{fill:#8fbfe0}.mimo-memory .kv{fill:#8fd19e}
.mimo-memory .after{fill:#f0c36d}.mimo-memory .left{fill:none;stroke-dasharray:3 3}.mimo-memory .short{fill:#f29b94}
@media (prefers-color-scheme:dark){.mimo-memory{color:#e6e8eb}}
[data-md-color-scheme=default] .mimo-memory{color:#1b1f24}
[data-md-color-scheme=slate] .mimo-memory{color:#e6e8eb}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: What stands before it.
        sizes: Bytes by segment, in order.
        short: Bytes that are missing; 0 where the node suffices.
        tokens: Tokens of the KV pool.
    """

    label: str
    sizes: tuple[float, ...]
    short: float
    tokens: int

    @property
    def verdict(self) -> str:
        """Whether SGLang starts there, in few words."""
        if self.short:
            return f"short by {self.short / GIB:.1f}"
        return "boots" if self.tokens else "no KV pool"


def drawing(plan: Plan, fractions: Sequence[float]) -> str:
    """The drawing of a plan at some fractions, each on a tight and on a roomy node."""
    groups = [
        (fraction, [_bar("tight", plan.case(fraction, tight=True)), _bar("roomy", plan.case(fraction, tight=False))])
        for fraction in fractions
    ]
    whole = constants.TOTAL_GIB.value * GIB
    widest = max(whole, *(sum(bar.sizes) for _, bars in groups for bar in bars))
    scale = (_WIDTH - _LEFT - _RIGHT) / widest
    lines: list[str] = []
    y = _TOP
    for fraction, bars in groups:
        lines.append(f'<text x="8" y="{y + _BAR + 4}" font-weight="600">{fraction:.2f}</text>')
        for bar in bars:
            lines += _drawn(bar, fraction, y, scale)
            y += _BAR + _GAP
        y += _GROUP
    bottom = y - _GROUP
    end = _LEFT + whole * scale
    lines.append(f'<line class="axis" x1="{end:.1f}" x2="{end:.1f}" y1="{_TOP - 6}" y2="{bottom}"/>')
    lines.append(f'<text x="{end - 4:.1f}" y="{bottom + 16}" text-anchor="end">{constants.TOTAL_GIB.value} GiB</text>')
    title = f"Memory of one node: {plan.setting.name}, SGLang {plan.setting.release.version}"
    height = bottom + 28
    # Several drawings may stand on one page.
    name = f"mimo-memory-{plan.setting.name}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="mimo-memory" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img" aria-labelledby="{name}-title {name}-desc">',
            f'<title id="{name}-title">{escape(title)}</title>',
            f'<desc id="{name}-desc">{escape(_described(groups))}</desc>',
            f"<style>{_STYLE}</style>",
            f'<text x="8" y="20" font-size="15" font-weight="600">{escape(title)}</text>',
            *_legend(),
            *lines,
            "</svg>",
            "",
        ]
    )


def _bar(label: str, case: Case) -> Bar:
    whole = constants.TOTAL_GIB.value * GIB
    system = max(0.0, whole - case.available)
    held = case.available - case.loaded - case.kv - case.after - case.margin
    sizes = (system, case.loaded, case.kv, case.after + held, max(0.0, case.margin))
    return Bar(label, sizes, max(0.0, -case.margin), case.pools.full)


def _drawn(bar: Bar, fraction: float, y: int, scale: float) -> list[str]:
    middle = y + _BAR / 2 + 4.5
    lines = [f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{escape(bar.label)} node</text>']
    x = float(_LEFT)
    for (name, title), size in zip(SEGMENTS, bar.sizes, strict=True):
        # What is missing is the end of what comes last: the bar reaches over the node's edge.
        width = size * scale
        if width < 0.05:
            continue
        gib = f"{size / GIB:.1f}"
        tokens = f", {bar.tokens:,} tokens" if name == "kv" else ""
        lines.append(
            f"<g><title>{fraction:.2f}, {escape(bar.label)} node: {title} {gib} GiB{tokens}</title>"
            f'<rect class="{name}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}"/>'
        )
        seen = width - bar.short * scale if name == "after" else width
        if seen > 34:
            style = "" if name == "left" else ' class="in"'
            lines.append(f'<text{style} x="{x + seen / 2:.1f}" y="{middle}" text-anchor="middle">{gib}</text>')
        lines.append("</g>")
        x += width
    if bar.short:
        # The part that does not fit lies over the end of the bar.
        width = bar.short * scale
        lines.append(
            f"<g><title>{fraction:.2f}, {escape(bar.label)} node: short by {bar.short / GIB:.1f} GiB</title>"
            f'<rect class="short" x="{x - width:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}"/></g>'
        )
    lines.append(f'<text x="{_WIDTH - _RIGHT + 8}" y="{middle}">{bar.verdict}</text>')
    return lines


def _legend() -> list[str]:
    lines, x = [], 8
    for name, title in SEGMENTS:
        lines.append(
            f'<rect class="{name}" x="{x}" y="33" width="14" height="14"/><text x="{x + 20}" y="45">{title}</text>'
        )
        x += 20 + 7 * len(title) + 24
    return lines


def _described(groups: Sequence[tuple[float, Sequence[Bar]]]) -> str:
    sentences = []
    for fraction, bars in groups:
        for bar in bars:
            parts = ", ".join(f"{title} {size / GIB:.1f}" for (_, title), size in zip(SEGMENTS, bar.sizes, strict=True))
            what = f"mem-fraction-static {fraction:.2f}, {bar.label} node, GiB: {parts}"
            sentences.append(f"{what}; {bar.tokens:,} tokens of KV; {bar.verdict}.")
    return " ".join(sentences)
