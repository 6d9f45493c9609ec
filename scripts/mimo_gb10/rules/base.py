"""What a rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding
from mimo_gb10.passage import Passage
from mimo_gb10.release import in_range


class Rule(ABC):
    """A constraint that SGLang enforces only at start-up, or not at all.

    The docstring of each rule is shown to users; its first line is the title.

    Attributes:
        code: The code of its findings.
        options: The flags that the rule looks at; a change of their defaults between releases can matter.
        passages: The upstream lines that enforce it; the first that a release holds is cited.
        first: First release that the rule is for, or None.
        last: Last release that the rule is for, or None.
    """

    code: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    passages: ClassVar[tuple[Passage, ...]] = ()
    first: ClassVar[str | None] = None
    last: ClassVar[str | None] = None

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return (type(self).__doc__ or "").strip().splitlines()[0]

    def applies_to(self, version: str) -> bool:
        """Whether the rule is for that release."""
        return in_range(version, self.first, self.last)

    @abstractmethod
    def check(self, context: Context) -> Iterator[Finding]:
        """Findings about one context; empty when the rule holds."""

    def source(self, context: Context) -> str:
        """The upstream file and line in the context's release, or an empty string."""
        return context.release.passages.get(self.code, "")
