"""What the writers of several languages share: double-quoted text with backslashes, as systemd and YAML read it."""

from __future__ import annotations

_NAMED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def without_nul(text: str) -> str:
    """`text` as it is, if a program can be given it.

    Raises:
        ValueError: If it holds a NUL character, which no program argument can.
    """
    if "\0" in text:
        raise ValueError("a program argument cannot hold a NUL character")
    return text


def double_quoted(text: str, two_digits: int) -> str:
    r"""`text` between double quotes; what is not printable as ``\xHH``, ``\uHHHH`` or ``\UHHHHHHHH``.

    Args:
        text: Anything.
        two_digits: The first code point that ``\xHH`` cannot stand for: YAML means characters by it, systemd bytes.
    """
    return '"' + "".join(_escaped(ch, two_digits) for ch in text) + '"'


def _escaped(ch: str, two_digits: int) -> str:
    if ch in _NAMED:
        return _NAMED[ch]
    # The byte order mark and its like are not printable; what is left may stand as it is.
    if ch.isprintable():
        return ch
    code = ord(ch)
    return f"\\x{code:02x}" if code < two_digits else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
