"""One line of the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

OK, WARN, FAIL, SKIPPED = "ok", "warn", "fail", "skipped"
STATUSES = (FAIL, WARN, SKIPPED, OK)
"""Worst first."""


@dataclass(frozen=True)
class Result:
    """What one check found.

    Attributes:
        check: The check's id, a stable kebab-case name.
        status: `OK`, `WARN`, `FAIL` or `SKIPPED`.
        text: What was read; for a skipped check, why.
        help: What to do, or an empty string. Every failure has one.
        source: Where the claim comes from, or an empty string.
    """

    check: str
    status: str
    text: str
    help: str = ""
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data, for ``--json``."""
        return asdict(self)


def worst(results: Iterable[Result]) -> str:
    """The worst status among results; `OK` if there are none."""
    found = {result.status for result in results}
    return next((status for status in (FAIL, WARN) if status in found), OK)
