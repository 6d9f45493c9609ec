"""Findings and other results as text for people: coloured on a terminal, plain in a pipe."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TextIO

from mimo_gb10.findings import Finding, Severity

_STYLES = {
    "error": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "bold": "1",
    "dim": "2",
    "heading": "1;36",
    "help": "1;32",
}


_LONGEST = 800


class Paint:
    """Wraps text in terminal styles, or leaves it alone."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    @classmethod
    def for_stream(cls, stream: TextIO, *, no_color: bool = False) -> Paint:
        """Colour on a terminal, unless ``--no-color``, ``NO_COLOR`` or a dumb terminal says no."""
        wanted = not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(wanted and stream.isatty())

    def __call__(self, style: str, text: str) -> str:
        """`text` in a named style."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.enabled else text


def findings_text(findings: Iterable[Finding], paint: Paint) -> str:
    """Findings one after another: place, what is wrong, then what to do, indented."""
    lines = []
    for finding in findings:
        label = finding.severity.label
        place = f"{visible(str(finding.location))}: " if finding.location else ""
        head = paint(label, f"{label}[{finding.code}]")
        lines.append(f"{paint('bold', place)}{head}: {visible(finding.message)}")
        if finding.help:
            lines.append(f"  {paint('help', 'help')}: {visible(finding.help)}")
        if finding.source:
            lines.append(paint("dim", f"  source: {visible(finding.source)}"))
    return "".join(line + "\n" for line in lines)


def visible(text: str) -> str:
    """`text` with what could move the cursor or hide words escaped, and the middle of a very long one left out."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 2 // 3]} ... {text[-_LONGEST // 4 :]}"
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape", "replace").decode() for ch in text)


def summary(findings: Sequence[Finding]) -> str:
    """How many there are: ``2 errors, 1 warning``."""
    parts = []
    for severity in sorted(Severity, reverse=True):
        count = sum(finding.severity is severity for finding in findings)
        if count or severity is Severity.ERROR:
            parts.append(f"{count or 'no'} {severity.label}{'' if count == 1 else 's'}")
    return ", ".join(parts)
