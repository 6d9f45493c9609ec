"""How sure a number is, and the range that it lies in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

GIB = 1 << 30


class Basis(StrEnum):
    """What stands behind a number, as the output says it."""

    RECEIPT = "checked against a receipt"
    FORMULA = "formula from upstream"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Amount:
    """A size that is known to lie in a range; both ends are alike where it is known exactly.

    Attributes:
        low: Bytes at least.
        high: Bytes at most.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"{self.low} is above {self.high}")

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.low + other.low, self.high + other.high)

    def of(self, *, tight: bool) -> float:
        """The end that leaves less memory free (of something that takes it), or the other."""
        return self.high if tight else self.low


def exactly(size: float) -> Amount:
    """An amount without a range."""
    return Amount(size, size)


def gibibytes(low: float, high: float | None = None) -> Amount:
    """An amount given in GiB."""
    return Amount(low * GIB, (low if high is None else high) * GIB)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the plan.

    Attributes:
        key: Stable name for ``--json``.
        title: What takes the memory.
        amount: Bytes on one node.
        basis: How sure the number is.
        source: Upstream ``file:line``, a receipt, or the reason for an estimate.
        split: Over how many ranks it is divided; 1 where every rank holds all of it.
    """

    key: str
    title: str
    amount: Amount
    basis: Basis
    source: str
    split: int = 1

    def as_dict(self) -> dict[str, Any]:
        """The item as plain data."""
        return {
            "key": self.key,
            "title": self.title,
            "bytes": {"low": round(self.amount.low), "high": round(self.amount.high)},
            "basis": self.basis.value,
            "source": self.source,
            "split": self.split,
        }


def total(items: Iterable[Item]) -> Amount:
    """The sum of items."""
    found = exactly(0)
    for item in items:
        found += item.amount
    return found
