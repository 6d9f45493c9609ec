"""Blocks of data and of Python: each parses as its language, and a config is one that the project takes."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence

from mimo_gb10.docs_check.markdown import Fence, Page
from mimo_gb10.findings import Finding, Location, Refused, error
from mimo_gb10.schema import check_schema, load_schema
from mimo_gb10.text.document import Document, parse_document

READ_ONLY = frozenset({"diff", "dockerfile", "html", "http", "ini", "jinja", "makefile", "text", "xml"})
"""Languages of what is shown, not run."""

_SCHEMA_LINE = re.compile(r"\$schema=\S*?([a-z-]+)\.schema\.json")
_CONFIGS = ("cluster", "recipe", "model")  # of two that fit alike, what a reader writes


def check_data(pages: Sequence[Page]) -> Iterator[Finding]:
    """Findings for every block that is neither shell nor text."""
    for page in pages:
        for fence in page.fences:
            check = _CHECKS.get(fence.language)
            if check is not None:
                yield from check(fence)
            elif fence.language not in READ_ONLY | {"bash", "sh"}:
                named = f"the language {fence.language!r} is checked by nothing" if fence.language else "no language"
                known = ", ".join(sorted([*_CHECKS, *READ_ONLY, "bash"]))
                place = fence.at(-1)
                yield error("fence-language", f"a fenced block with {named}", f"Name one of: {known}.", place)


def _check_yaml(fence: Fence) -> Iterator[Finding]:
    first = 0
    # Kubernetes puts several documents into a file; a config of the project is one.
    for part in re.split(r"(?m)^---[ \t]*$\n?", fence.text):
        if part.strip():
            yield from _check_document(fence, part, first)
        first += part.count("\n") + 1


def _check_document(fence: Fence, text: str, first: int) -> Iterator[Finding]:
    try:
        document = parse_document(text.encode(), fence.file)
    except Refused as refused:
        # A fragment may be a list.
        yield from (_moved(found, fence, first) for found in refused.findings if found.code != "yaml-top")
        return
    named = _SCHEMA_LINE.search(fence.text)
    if named:
        yield from (_moved(found, fence, first) for found in check_schema(document, named[1]))
        return
    # A fragment leaves things out; what it has must still be right. Recipe and cluster share keys: the better counts.
    tried = [
        [found for found in check_schema(document, name) if found.code != "key-missing"]
        for name in _config_kinds(document)
    ]
    yield from (_moved(found, fence, first) for found in min(tried, key=len, default=[]))


def _config_kinds(document: Document) -> list[str]:
    """The kinds of config that have most of the document's keys; none for other programs' files."""
    keys = set(document.value)
    known = {name: len(keys & set(load_schema(name)["properties"])) for name in _CONFIGS}
    most = max(known.values())
    return [name for name, count in known.items() if count == most and count > len(keys) / 2]


def _check_json(fence: Fence) -> Iterator[Finding]:
    try:
        json.loads(fence.text)
    except json.JSONDecodeError as problem:
        place = fence.at(problem.lineno - 1, problem.colno - 1)
        yield error("json-syntax", f"this is not JSON: {problem.msg}", "Mend it, or write it as text.", place)


def _check_toml(fence: Fence) -> Iterator[Finding]:
    try:
        tomllib.loads(fence.text)
    except tomllib.TOMLDecodeError as problem:
        yield error("toml-syntax", f"this is not TOML: {problem}", "Mend it, or write it as text.", fence.at())


def _check_python(fence: Fence) -> Iterator[Finding]:
    try:
        ast.parse(fence.text)
    except SyntaxError as problem:
        place = fence.at((problem.lineno or 1) - 1, (problem.offset or 1) - 1)
        yield error("python-syntax", f"this is not Python: {problem.msg}", "Mend it, or write it as text.", place)


def _moved(found: Finding, fence: Fence, first: int) -> Finding:
    """The finding at its place in the page."""
    inner = found.location or Location(fence.file)
    place = fence.at(first + (inner.line or 1) - 1, (inner.column or 1) - 1)
    return Finding(found.severity, found.code, found.message, found.help, place, found.source)


_CHECKS: Mapping[str, Callable[[Fence], Iterator[Finding]]] = {
    "json": _check_json,
    "python": _check_python,
    "toml": _check_toml,
    "yaml": _check_yaml,
}
