"""What a check is, and the list of all of them.

A check looks at facts and says one thing about them. It reads nothing itself, so the same facts always give the same
result; its docstring is what the site shows of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mimo_gb10.preflight.facts import Facts
from mimo_gb10.preflight.results import FAIL, OK, SKIPPED, WARN, Result
from mimo_gb10.preflight.wanted import Wanted, WantedNode, WantedRecipe

GIB = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """A result that does not know its check's id yet; the fields are those of `Result`."""

    status: str
    text: str
    help: str = ""
    source: str = ""


def ok(text: str) -> Outcome:
    """As it should be."""
    return Outcome(OK, text)


def warn(text: str, help: str, source: str = "") -> Outcome:
    """It can work, but not well or not surely."""
    return Outcome(WARN, text, help, source)


def fail(text: str, help: str, source: str = "") -> Outcome:
    """It will not work."""
    return Outcome(FAIL, text, help, source)


def skipped(reason: str) -> Outcome:
    """It could not be looked at."""
    return Outcome(SKIPPED, reason)


@dataclass(frozen=True)
class Node:
    """What a check looks at.

    Attributes:
        facts: What was read on the node.
        wanted: What is to run on it.
        rank: Which node of the cluster it is.
    """

    facts: Facts
    wanted: Wanted
    rank: int

    @property
    def own(self) -> WantedNode:
        """The node as the cluster file has it."""
        return self.wanted.nodes[self.rank]

    @property
    def recipe(self) -> WantedRecipe | None:
        """The recipe, or None."""
        return self.wanted.recipe


@dataclass(frozen=True)
class Check:
    """A check: its id, and the function that looks."""

    id: str
    look: Callable[[Node], Outcome] = field(repr=False)

    def __call__(self, node: Node) -> Result:
        """Look at a node."""
        found = self.look(node)
        return Result(self.id, found.status, found.text, found.help, found.source)

    @property
    def about(self) -> str:
        """What it checks, in one line."""
        return (self.look.__doc__ or "").partition("\n")[0]


def check(id: str) -> Callable[[Callable[[Node], Outcome]], Check]:
    """Make a check of a function."""
    return lambda look: Check(id, look)


def gib(size: float) -> str:
    """Bytes as GiB for people."""
    return f"{size / GIB:.1f} GiB"


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version's dotted start."""
    parts = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        parts.append(int(digits))
        if digits != part:
            break
    return tuple(parts)


def listed(names: list[str] | tuple[str, ...], most: int = 4) -> str:
    """Names for people, the many cut short."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
