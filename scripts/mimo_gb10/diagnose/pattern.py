"""The regular expressions of ``docs/symptoms.yaml``: a subset that Python and JavaScript read alike.

In Python a pattern runs with ``re.ASCII | re.DOTALL`` on one line without its end; in JavaScript with the flags ``su``.
What the two read differently is refused (`problems`), not translated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

FLAGS = re.ASCII | re.DOTALL
"""How Python compiles a pattern. JavaScript's flags for the same are ``su``."""

JAVASCRIPT_FLAGS = "su"

SHORTEST_LITERAL = 5
"""Characters that a pattern must at least name as they are: by them its lines are found."""

_REFUSED = (
    (re.compile(r"\(\?(?![:=!])"), "only (?:, (?= and (?! may open a group: no flags, names, look-behind, comments"),
    (re.compile(r"\\[A-Zac-ce-vx-z0-9]"), "of the escapes with a letter only \\d, \\w, \\b and \\t mean the same"),
    (re.compile(r"(?<!\\)[*+?}][+]"), "no possessive quantifiers"),
    (re.compile(r"(?<!\\)\{,"), "{,n} is text in JavaScript: write {0,n}"),
    (re.compile(r"[^\x20-\x7e]"), "printable ASCII only"),
    (re.compile(r"(?<![\\\[])\^|(?<!\\)\$"), "no ^ and $: docker and journald put text of their own before a line"),
    (re.compile(r"(?<!\\)\[[^\]]*(?<!\\)\["), "no [ inside [ ]"),
    (re.compile(r"\\[\"'#%&,:;<=>@_`~! -]"), "an escape that JavaScript refuses"),
)  # fmt: skip
_UNBOUNDED = re.compile(r"(?<!\\)(?:[*+]|\{\d+,\})")


def problems(pattern: str) -> list[str]:
    """Why a pattern cannot stand in the symptom file; an empty list if it can."""
    found = [why for refused, why in _REFUSED if refused.search(_without_escaped_backslashes(pattern))]
    try:
        re.compile(pattern, FLAGS)
    except re.error as problem:
        found.append(f"not a regular expression: {problem}")
        return found
    if len(_UNBOUNDED.findall(_without_escaped_backslashes(pattern))) > 2:
        found.append("more than two unbounded repetitions: a hostile line could take minutes")
    try:
        needed = literals(pattern)
    except ValueError as problem:
        return [*found, str(problem)]
    found += [
        f"{text!r} is too short to find lines by: name {SHORTEST_LITERAL} characters as they are, digits not counted"
        for text in needed
        if _worth(text) < SHORTEST_LITERAL
    ]
    return found


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as the tool runs it."""
    return re.compile(pattern, FLAGS)


def literals(pattern: str) -> tuple[str, ...]:
    """Texts of which one stands in every line that the pattern matches: the longest of each top-level alternative.

    The length counts letters and signs; digits are worth nothing, since lines are first told apart without them.

    Raises:
        ValueError: If a bracket is not closed.
    """
    return tuple(max(_runs(branch), key=_worth) for branch in _branches(pattern))


def _worth(text: str) -> int:
    return sum(not mark.isdigit() for mark in text)


def fixed_texts(pattern: str, shortest: int) -> list[str]:
    """Every run of characters that the pattern names as they are, outside of groups, of at least `shortest`."""
    return [run for branch in _branches(pattern) for run in _runs(branch) if len(run) >= shortest]


def _without_escaped_backslashes(pattern: str) -> str:
    return pattern.replace("\\\\", "/")


def _branches(pattern: str) -> list[list[str]]:
    """The top-level alternatives, each as its tokens: an escape, a class, a whole group, or one character."""
    branches: list[list[str]] = [[]]
    for token in _tokens(pattern):
        if token == "|":
            branches.append([])
        else:
            branches[-1].append(token)
    return branches


def _tokens(pattern: str) -> Iterator[str]:
    at = 0
    while at < len(pattern):
        if pattern[at] == "[":
            end = _class_end(pattern, at)
        elif pattern[at] == "(":
            end = _group_end(pattern, at)
        elif pattern[at] == "{":
            end = pattern.index("}", at) + 1
        else:
            end = at + (2 if pattern[at] == "\\" else 1)
        yield pattern[at:end]
        at = end


def _class_end(pattern: str, at: int) -> int:
    end = at + 1
    while pattern[end : end + 1] != "]":
        if end >= len(pattern):
            raise ValueError("a [ is not closed")
        end += 2 if pattern[end] == "\\" else 1
    return end + 1


def _group_end(pattern: str, at: int) -> int:
    depth, end = 0, at
    while True:
        if end >= len(pattern):
            raise ValueError("a ( is not closed")
        mark = pattern[end]
        if mark == "[":
            end = _class_end(pattern, end)
            continue
        depth += (mark == "(") - (mark == ")")
        end += 2 if mark == "\\" else 1
        if depth == 0:
            return end


_OPTIONAL = re.compile(r"[*?]|\{0")
_REPEATED = re.compile(r"[+]|\{[1-9]")
_CONTROLS = {"\\t": "\t"}


def _runs(tokens: list[str]) -> Iterator[str]:
    run = ""
    for token in tokens:
        if _OPTIONAL.match(token):
            yield run[:-1]
            run = ""
        elif _REPEATED.match(token) or token[0] in "[(.^$" or token in ("\\d", "\\w", "\\b"):
            yield run
            run = ""
        else:
            run += _CONTROLS.get(token, token[-1])
    yield run
