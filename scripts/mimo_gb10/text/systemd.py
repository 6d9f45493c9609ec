"""Quoting for systemd units: words that come through specifiers, variables and unquoting unchanged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mimo_gb10.text.shell import option_groups

_PLAIN = re.compile(r"[A-Za-z0-9_./:,=@+%$-]+\Z")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def word(text: str) -> str:
    """One word of an ``Exec...=`` line that reaches the program as `text`.

    Raises:
        ValueError: If the text holds a NUL character, which no program argument can.
    """
    if "\0" in text:
        raise ValueError("a program argument cannot hold a NUL character")
    if not _PLAIN.match(text):
        text = '"' + "".join(_escaped(ch) for ch in text) + '"'
    return literal(text)


def literal(text: str) -> str:
    """`text` where systemd would take a percent sign for a specifier and a dollar sign for a variable."""
    return text.replace("%", "%%").replace("$", "$$")


def _escaped(ch: str) -> str:
    if ch in _ESCAPES:
        return _ESCAPES[ch]
    if ch.isprintable():
        return ch
    code = ord(ch)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def command(setting: str, head: Sequence[str], *rest: Sequence[str]) -> str:
    """A setting that holds a command line: the head on its first line, then one option a line."""
    lines = [f"{setting}={' '.join(map(word, head))}".rstrip()]
    for words in rest:
        lines += ["  " + " ".join(map(word, group)) for group in option_groups(words)]
    return " \\\n".join(lines) + "\n"
