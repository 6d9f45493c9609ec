"""Small pieces of Markdown that the makers of pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def mark(source: str) -> str:
    """The comment that says where a generated page comes from."""
    return f"<!-- Made from {source} by: make generate. Change that, not this page. -->\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell is one line."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def code(text: str) -> str:
    """`text` as code, or nothing for nothing."""
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
