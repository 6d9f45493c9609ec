"""A small line chart as inline SVG: no script, no font, no colour that carries meaning alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

_WIDTH, _HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 20, 20, 54
_DASHES = ("", "7 4", "2 4", "10 3 2 3")
_LEGEND_LINE = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: For the legend.
        points: In order; the chart draws straight between them.
    """

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes:
        title: What it measures, with the unit.
        ticks: Values that get a number, in order; the axis goes from the first to the last.
        place: Maps values to a scale on which the axis is even: the identity, or a logarithm.
        show: A tick as text.
    """

    title: str
    ticks: Sequence[float]
    place: Callable[[float], float] = float
    show: Callable[[float], str] = "{:g}".format

    def share(self, value: float) -> float:
        """Where a value stands between the ends of the axis, 0 to 1."""
        low, high = self.place(self.ticks[0]), self.place(self.ticks[-1])
        return (self.place(value) - low) / (high - low)


def chart(name: str, title: str, described: str, across: Axis, up: Axis, lines: Sequence[Line]) -> str:
    """A chart.

    Args:
        name: Unique on the page.
        title: Read out first.
        described: The same in words: what a reader who does not see it needs.
        across: The horizontal axis.
        up: The vertical axis.
        lines: Told apart by their dashes and by the legend.
    """
    height = _HEIGHT + _LEGEND_LINE * len(lines)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img" aria-labelledby="{name}-title {name}-desc" '
            'font-family="inherit" font-size="13" fill="none" stroke="currentColor" '
            'style="max-width:100%;height:auto">',
            f'<title id="{name}-title">{escape(title)}</title>',
            f'<desc id="{name}-desc">{escape(described)}</desc>',
            *_grid(across, up),
            *(_drawn(line, _DASHES[number % len(_DASHES)], across, up) for number, line in enumerate(lines)),
            *_legend(lines),
            "</svg>",
        ]
    )


def scrolling(drawing: str, label: str, least: int = 640) -> str:
    """A drawing that stays readable on a small screen, where it scrolls; `least` is its least width in pixels."""
    return (
        f'<div style="overflow-x:auto" tabindex="0" role="group" aria-label={quoteattr(label)}>\n'
        f'<div style="min-width:{least}px">\n{drawing.strip()}\n</div>\n</div>\n'
    )


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.share(value) * (_HEIGHT - _TOP - _BOTTOM)


def _grid(across: Axis, up: Axis) -> list[str]:
    left, right, bottom, top = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, _TOP
    made = []
    for tick in up.ticks:
        y = _y(up, tick)
        made.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke-opacity=".18"/>')
        made.append(_text(left - 8, y + 4, up.show(tick), "end"))
    for tick in across.ticks:
        x = _x(across, tick)
        made.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
        made.append(_text(x, bottom + 20, across.show(tick), "middle"))
    made.append(f'<line x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    made.append(_text(right, bottom + 42, across.title, "end"))
    made.append(_text(left + 6, top - 6, up.title, "start"))
    return made


def _drawn(line: Line, dashes: str, across: Axis, up: Axis) -> str:
    points = " ".join(f"{_x(across, x):.1f},{_y(up, y):.1f}" for x, y in line.points)
    style = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<g><title>{escape(line.name)}</title><polyline points="{points}" stroke-width="2"{style}/></g>'


def _legend(lines: Sequence[Line]) -> list[str]:
    made = []
    for number, line in enumerate(lines):
        y = _HEIGHT + _LEGEND_LINE * number
        dashes = _DASHES[number % len(_DASHES)]
        style = f' stroke-dasharray="{dashes}"' if dashes else ""
        made.append(f'<line x1="{_LEFT}" x2="{_LEFT + 44}" y1="{y}" y2="{y}" stroke-width="2"{style}/>')
        made.append(_text(_LEFT + 54, y + 4, line.name, "start"))
    return made


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" stroke="none">{escape(text)}</text>'
    )
