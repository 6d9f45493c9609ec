"""Quoting for systemd units: words that come through specifiers, variables and unquoting unchanged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mimo_gb10.text.escape import double_quoted, without_nul
from mimo_gb10.text.shell import option_groups

_PLAIN = re.compile(r"[A-Za-z0-9_./:,=@+%$-]+\Z")


def word(text: str) -> str:
    """One word of an ``Exec...=`` line that reaches the program as `text`.

    Raises:
        ValueError: If the text holds a NUL character, which no program argument can.
    """
    return literal(without_nul(text) if _PLAIN.match(text) else double_quoted(without_nul(text), 0x80))


def literal(text: str) -> str:
    """`text` where systemd would take a percent sign for a specifier and a dollar sign for a variable."""
    return text.replace("%", "%%").replace("$", "$$")


def command(setting: str, head: Sequence[str], *rest: Sequence[str]) -> str:
    """A setting that holds a command line: the head on its first line, then one option a line."""
    lines = [f"{setting}={' '.join(map(word, head))}".rstrip()]
    for words in rest:
        lines += ["  " + " ".join(map(word, group)) for group in option_groups(words)]
    return " \\\n".join(lines) + "\n"
