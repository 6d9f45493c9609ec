"""Findings: what is wrong, where, and what to do about it.

Every check of the project returns findings instead of raising at the first
mistake, so that one run shows everything. `Refused` carries findings out of
code that cannot go on, for example a file that does not parse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How bad a finding is. A higher value is worse."""

    NOTE = 1
    WARNING = 2
    ERROR = 3

    @property
    def label(self) -> str:
        """The word shown to people: ``error``, ``warning`` or ``note``."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Location:
    """A place in an input.

    Attributes:
        file: The path as the user gave it, ``--set`` for an override, or ``<stdin>``.
        line: Line, counted from 1; None when the finding is about the whole file.
        column: Column in characters, counted from 1; None when only the line is known.
    """

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and its remedy.

    Attributes:
        severity: Error, warning or note.
        code: A stable kebab-case name, for example ``flag-unknown``.
        message: What is wrong, in one sentence.
        help: What to do about it, or an empty string.
        location: Where it was found, if it was found in an input.
        source: Where the claim comes from: an upstream ``file:line``, or a link.
    """

    severity: Severity
    code: str
    message: str
    help: str = ""
    location: Location | None = None
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain data, for ``--json``."""
        place = self.location
        return {
            "severity": self.severity.label,
            "code": self.code,
            "message": self.message,
            "help": self.help,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
            "source": self.source,
        }


class Refused(Exception):
    """The input cannot be used; the findings say why.

    Attributes:
        findings: At least one finding, one of them an error.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        super().__init__("; ".join(finding.message for finding in self.findings))


def error(code: str, message: str, help: str = "", location: Location | None = None, source: str = "") -> Finding:
    """An error: nothing is printed or written but the findings."""
    return Finding(Severity.ERROR, code, message, help, location, source)


def warning(code: str, message: str, help: str = "", location: Location | None = None, source: str = "") -> Finding:
    """A warning: shown, and an error under ``--strict``."""
    return Finding(Severity.WARNING, code, message, help, location, source)


def note(code: str, message: str, help: str = "", location: Location | None = None, source: str = "") -> Finding:
    """A note: worth knowing, never a reason to stop."""
    return Finding(Severity.NOTE, code, message, help, location, source)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the order in which they are shown: worst first, then by place.

    Duplicates are dropped: one mistake in a cluster file is one finding, not one per rank.
    """

    def key(finding: Finding) -> tuple[int, str, int, int, str]:
        place = finding.location or Location("")
        return (-finding.severity, place.file, place.line or 0, place.column or 0, finding.code)

    return sorted(dict.fromkeys(findings), key=key)


def has_errors(findings: Sequence[Finding], *, strict: bool = False) -> bool:
    """Whether the findings forbid to go on. With `strict`, a warning does too."""
    limit = Severity.WARNING if strict else Severity.ERROR
    return any(finding.severity >= limit for finding in findings)
