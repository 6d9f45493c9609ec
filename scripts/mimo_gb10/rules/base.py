"""What a rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding
from mimo_gb10.release import in_range


@dataclass(frozen=True, slots=True)
class Passage:
    """Where upstream enforces a rule: a line of the wheel, found by what it says.

    `scripts/generate.py releases` looks the passage up in each release and notes its line in the
    catalog, so that a citation never goes stale.

    Attributes:
        files: Paths inside the wheel, tried in order: releases move code.
        needle: A regular expression for one line.
        first: First release that must hold it, or None.
        last: Last release that must hold it, or None.
    """

    files: tuple[str, ...]
    needle: str
    first: str | None = None
    last: str | None = None


class Rule(ABC):
    """A constraint that SGLang enforces only at start-up, or not at all.

    The docstring of each rule is shown to users; its first line is the title.

    Attributes:
        code: The code of its findings.
        passages: The upstream lines that enforce it; the first that a release holds is cited.
        first: First release that the rule is for, or None.
        last: Last release that the rule is for, or None.
    """

    code: ClassVar[str]
    passages: ClassVar[tuple[Passage, ...]] = ()
    first: ClassVar[str | None] = None
    last: ClassVar[str | None] = None

    def applies_to(self, version: str) -> bool:
        """Whether the rule is for that release."""
        return in_range(version, self.first, self.last)

    @abstractmethod
    def check(self, context: Context) -> Iterator[Finding]:
        """Findings about one context; empty when the rule holds."""

    def source(self, context: Context) -> str:
        """The upstream file and line in the context's release, or an empty string."""
        return context.release.passages.get(self.code, "")
