"""Plain text from the configs as Markdown that shows exactly that text."""

from __future__ import annotations

import re
from collections.abc import Iterator

# What reads better as code: source files, options, routes, calls and identifiers.
_CODE = re.compile(
    r"""(?<![\w./-])(?:
        [\w./-]+\.(?:py|md|json|yaml)(?::\d+)?
      | --[a-z][a-z0-9-]+
      | /[a-z0-9]+(?:/[\w-]+(?:\.[\w-]+)*)+
      | /generate
      | (?:\w+\.)*\w+\(\)
      | (?:\w+\.)*\w*[a-zA-Z0-9]_\w+(?:\.\w+)*(?:=\w+)?
      | (?:\w+\.)*_[a-z]\w*
      | [A-Z][A-Z0-9]+_[A-Z0-9_]+(?:=\w+)?
    )""",
    re.VERBOSE,
)
_SPAN = re.compile(r"`(?!\s)([^`\n]+)(?<!\s)`")
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")
_LINE_START = re.compile(r"^(\s*)([-+>:=]|\d+[.)])")


def prose(text: str) -> str:
    """`text` as Markdown. A span in backticks is code already; file names, options and identifiers become code."""
    made, after_code = "", False
    for is_code, part in _parts(text):
        # Two spans with nothing between them would be read as one.
        made += as_code(part) if is_code and not after_code else _escape(part)
        after_code = is_code and not after_code if part else after_code
    return _LINE_START.sub(lambda match: f"{match[1]}{_entity(match[2])}", made)


def plain(text: str) -> str:
    """`text` without the backticks of its code: what a reader of the page sees."""
    return _SPAN.sub(r"\1", text)


def as_code(text: str) -> str:
    """`text` as one code span, whatever it holds."""
    ticks = "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def block(text: str, language: str = "", indent: str = "") -> str:
    """`text` as a fenced block; the fence is longer than any that the text holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    lines = [f"{fence}{language}", *text.rstrip("\n").split("\n"), fence]
    return "".join(f"{indent}{line}\n" if line else "\n" for line in lines)


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    position = 0
    for span in _SPAN.finditer(text):
        yield from _words(text[position : span.start()])
        yield True, span[1]
        position = span.end()
    yield from _words(text[position:])


def _words(text: str) -> Iterator[tuple[bool, str]]:
    position = 0
    for found in _CODE.finditer(text):
        yield False, text[position : found.start()]
        yield True, found[0]
        position = found.end()
    yield False, text[position:]


def _escape(text: str) -> str:
    # A table's cell would split at a bar even where a backslash stands before it, so a bar is an entity.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(lambda match: _entity(match[1]), text)


def _entity(text: str) -> str:
    return "".join(f"&#{ord(char)};" for char in text)
