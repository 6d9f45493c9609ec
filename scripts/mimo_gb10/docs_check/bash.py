"""Shell text into its simple commands, by a grammar: a block may hold loops, functions and here-documents."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command.

    Attributes:
        words: Its program and arguments, quotes removed; expansions stand as they were written.
        row: Where it begins, counted from 0.
        column: In bytes, counted from 0.
    """

    words: tuple[str, ...]
    row: int
    column: int


@functools.cache
def _parser() -> Parser:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


def commands(text: str) -> list[Command]:
    """Every simple command in the text, those in substitutions and functions too."""
    return list(_commands(_parser().parse(text.encode()).root_node))


def functions(text: str) -> set[str]:
    """Names of the functions that the text defines."""
    return {_text(node.child_by_field_name("name")) for node in _of(_parser().parse(text.encode()).root_node)}


def _of(node: Node) -> Iterator[Node]:
    if node.type == "function_definition":
        yield node
    for child in node.children:
        yield from _of(child)


def _commands(node: Node) -> Iterator[Command]:
    if node.type == "command":
        # In front of the name stand assignments and redirections.
        words = [_word(part) for part in node.children if part.type == "command_name"]
        words += [_word(part) for part in node.children_by_field_name("argument")]
        name = node.child_by_field_name("name")
        if name is not None:
            yield Command(tuple(words), name.start_point[0], name.start_point[1])
    for child in node.children:
        yield from _commands(child)


def _word(node: Node) -> str:
    text = _text(node)
    try:
        parts = shlex.split(text)
    except ValueError:
        return text
    # An expansion may hold blanks: then it is no word that shlex knows.
    return parts[0] if len(parts) == 1 else text


def _text(node: Node | None) -> str:
    return node.text.decode() if node is not None and node.text is not None else ""
