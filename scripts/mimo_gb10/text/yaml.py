"""Writing YAML whose text comes back unchanged from every YAML reader, 1.1 and 1.2 alike."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mimo_gb10.text.escape import double_quoted, without_nul
from mimo_gb10.text.shell import comment, option_groups

# Text that no reader takes for anything else, inside brackets too. Everything else is quoted.
_PLAIN = re.compile(r"(?:--?)?[A-Za-z/][A-Za-z0-9_./@+-]*\Z")
_WORDS = frozenset("y n yes no on off true false null".split())


class Words(tuple[str, ...]):
    """An argument list, written in brackets with one option a line."""


def scalar(text: str) -> str:
    """One YAML scalar that every reader reads as the string `text`.

    Raises:
        ValueError: If the text holds a NUL character, which no program argument can, or half of a surrogate pair.
    """
    without_nul(text).encode("utf-8")
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return text
    return double_quoted(text, 0x100)


def dump(value: Mapping[str, Any]) -> str:
    """A mapping as a YAML document in block style.

    A key that begins with ``#`` is not a key: its text becomes comment lines in that place.
    """
    return "".join(f"{line}\n" for line in _mapping(value, ""))


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        if key.startswith("#"):
            yield from (f"{indent}# {comment(line)}" for line in str(item).split("\n"))
        else:
            yield from _entry(f"{indent}{scalar(key)}:", item, indent)


def _entry(head: str, item: Any, indent: str) -> Iterator[str]:
    """One key or dash with what belongs to it."""
    if isinstance(item, Words):
        yield f"{head} ["
        yield from (f"{indent}  {', '.join(map(scalar, group))}," for group in option_groups(item))
        yield f"{indent}]"
    elif isinstance(item, Mapping):
        yield head if item else f"{head} {{}}"
        yield from _mapping(item, indent + "  ")
    elif isinstance(item, Sequence) and not isinstance(item, str):
        yield head if item else f"{head} []"
        for element in item:
            yield from _element(element, indent + "  ")
    else:
        yield f"{head} {_simple(item)}"


def _element(item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, Mapping) and item:
        first, *rest = _mapping(item, indent + "  ")
        yield f"{indent}- {first.lstrip(' ')}"
        yield from rest
    else:
        yield from _entry(f"{indent}-", item, indent)


def _simple(item: Any) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    return str(item) if isinstance(item, int | float) else scalar(item)
