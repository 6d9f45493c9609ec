"""The Markdown of the project: pages, their fenced blocks, and which of their lines a generator made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mimo_gb10.findings import Finding, Location, error
from mimo_gb10.paths import ROOT

READ = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
"""Pages beside ``docs/``."""

_MADE = re.compile(r"<!-- Made from .* by: make generate\.")
_BEGIN = re.compile(r"[ \t]*<!-- generated: [a-z0-9-]+ -->")
_END = re.compile(r"[ \t]*<!-- /generated -->")
_OPEN = re.compile(r"(?P<indent>[ \t>]*)(?P<marks>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)\Z")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_FIRST_LINES = 5


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a page, with the place of each of its lines.

    Attributes:
        text: The piece, without the indentation that the page gives it.
        file: The page.
        line: Line of its first line, counted from 1.
        column: Column at which its lines begin, counted from 1.
        is_generated: Whether a generator wrote it.
    """

    text: str
    file: str
    line: int
    column: int
    is_generated: bool

    def at(self, row: int = 0, column: int = 0) -> Location:
        """The place of a row and column, both counted from 0."""
        return Location(self.file, self.line + row, self.column + column)


@dataclass(frozen=True, slots=True)
class Fence(Text):
    """A fenced block; `language` is its first word, in lower case."""

    language: str = ""


@dataclass(slots=True)
class Page:
    """A Markdown file.

    Attributes:
        file: Its path from the checkout's root.
        is_generated: Whether it says that it is made as a whole.
        fences: Its fenced blocks, in order.
        prose: Its lines with fenced blocks and generated parts left empty, so that line numbers hold.
        spans: Its inline code outside both.
        findings: What is wrong with its form.
    """

    file: str
    is_generated: bool
    fences: list[Fence] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)
    spans: list[Text] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_pages(root: Path = ROOT) -> list[Page]:
    """Every page of the checkout."""
    files = [*(root / name for name in READ), *sorted((root / "docs").rglob("*.md"))]
    return [
        read_page(file.read_text(encoding="utf-8"), str(file.relative_to(root))) for file in files if file.is_file()
    ]


def read_page(text: str, file: str) -> Page:
    """Read one page."""
    lines = text.split("\n")
    page = Page(file, any(_MADE.match(line) for line in lines[:_FIRST_LINES]))
    in_part = False
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        opened = _OPEN.match(line)
        if opened:
            page.fences.append(_fence(page, opened, number, numbered, page.is_generated or in_part))
            continue
        # Not inside a fence: a page may show the marks.
        in_part = (in_part or bool(_BEGIN.match(line))) and not _END.match(line)
        page.prose += [""] * (number - 1 - len(page.prose))
        page.prose.append("" if in_part or page.is_generated else line)
    page.prose += [""] * (len(lines) - len(page.prose))
    page.spans = list(_spans(page))
    return page


def _fence(
    page: Page, opened: re.Match[str], number: int, rest: Iterator[tuple[int, str]], is_generated: bool
) -> Fence:
    """The block whose first line is read; takes its other lines from `rest`."""
    marks, indent = opened["marks"], len(opened["indent"])
    body: list[str] = []
    for _, line in rest:
        bare = line.strip(" \t>")
        if bare and not bare.strip(marks[0]) and len(bare) >= len(marks):
            break
        body.append(line[indent:] if not line[:indent].strip(" \t>") else line)
    else:
        place = Location(page.file, number, indent + 1)
        page.findings.append(error("fence-open", "the fenced block has no end", f"Close it with {marks}.", place))
    return Fence(
        text="\n".join(body),
        file=page.file,
        line=number + 1,
        column=indent + 1,
        is_generated=is_generated,
        language=_language(opened["info"]),
    )


def _language(info: str) -> str:
    """The language in ``bash``, ``bash title="x"`` and ``{.bash #id}``."""
    words = info.strip().strip("{}").split()
    return words[0].lstrip(".").lower() if words else ""


def _spans(page: Page) -> Iterator[Text]:
    for row, line in enumerate(page.prose):
        for match in _CODE.finditer(line):
            yield Text(match[2].strip(), page.file, row + 1, match.start(2) + 1, False)


def fences_of(pages: Sequence[Page], *languages: str) -> list[Fence]:
    """The blocks of these languages on all pages."""
    return [fence for page in pages for fence in page.fences if fence.language in languages]
