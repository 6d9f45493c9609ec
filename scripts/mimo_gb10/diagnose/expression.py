"""What proves a symptom: an expression over named lines of one rank's log.

A name stands for any line that matches its pattern. ``all``, ``any``, ``order`` (each later in the log than the one
before), ``last`` (the last line of the log) and ``absent`` combine them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """A line of this name is in the log."""

    name: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the parts holds, or more."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """One line of each step is in the log, in this order. A step names one line or several to choose from."""

    steps: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class Last:
    """The last line of the log that is not empty is one of these. Known only at the end."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Absent:
    """The part does not hold. Known only at the end."""

    part: Expression


Expression = Line | AllOf | AnyOf | Order | Last | Absent


def parse(value: Any) -> Expression:
    """An expression from its form in the symptom file, which the schema has checked.

    Raises:
        ValueError: If the form is not one of those above.
    """
    if isinstance(value, str):
        return Line(value)
    if isinstance(value, dict) and len(value) == 1:
        [(word, part)] = value.items()
        match word, part:
            case "all", list():
                return AllOf(tuple(parse(item) for item in part))
            case "any", list():
                return AnyOf(tuple(parse(item) for item in part))
            case "order", list():
                return Order(tuple(_names(item) for item in part))
            case "last", _:
                return Last(_names(part))
            case "absent", _:
                return Absent(parse(part))
            case _:
                pass
    raise ValueError(f"{value!r} is neither the name of a line nor one of all, any, order, last, absent")


def names(expression: Expression) -> frozenset[str]:
    """The names of all lines that an expression speaks of."""
    match expression:
        case Line(name):
            return frozenset({name})
        case AllOf(parts) | AnyOf(parts):
            return frozenset().union(*(names(part) for part in parts))
        case Order(steps):
            return frozenset().union(*steps)
        case Last(given):
            return given
        case Absent(part):
            return names(part)


def orders(expression: Expression) -> Iterator[Order]:
    """Every ``order`` inside an expression."""
    match expression:
        case Order():
            yield expression
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from orders(part)
        case Absent(part):
            yield from orders(part)
        case _:
            pass


def needs_the_end(expression: Expression) -> bool:
    """Whether an expression can hold only once the log has ended."""
    match expression:
        case Last() | Absent():
            return True
        case AllOf(parts):
            return any(needs_the_end(part) for part in parts)
        case AnyOf(parts):
            return all(needs_the_end(part) for part in parts)
        case _:
            return False


def _names(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset({value})
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return frozenset(value)
    raise ValueError(f"{value!r} is neither the name of a line nor a list of names")
