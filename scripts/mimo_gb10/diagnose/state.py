"""What was found in the log of one rank, in memory that does not grow with the log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mimo_gb10.diagnose.expression import Absent, AllOf, AnyOf, Expression, Last, Line, Order


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that matches.

    Attributes:
        name: The name of the line in the symptom file.
        line: Its number in the file, from 1.
        start: Where the part of the line starts that was looked at, in bytes from the start of the line.
        text: The part around the match, for people.
        value: What the pattern's first group matched, or None.
    """

    name: str
    line: int
    start: int
    text: str
    value: str | None = None

    @property
    def place(self) -> tuple[int, int]:
        """What orders matches as the log does."""
        return self.line, self.start


@dataclass(slots=True)
class Seen:
    """How often a line came.

    Attributes:
        first: Its first occurrence.
        count: How many there were.
    """

    first: Hit
    count: int = 1


@dataclass(slots=True)
class RankLog:
    """What the log of one rank has shown so far.

    Attributes:
        rank: The rank's name, as it is shown.
        file: The file's name, as it is shown.
        lines: How many line ends came.
        bytes: How many bytes came.
        last_hits: The matches on the last line that was not empty.
        last_line: Its number and the end of its text.
        seen: The lines that came, by name.
    """

    rank: str
    file: str
    orders: Iterable[Order] = ()
    lines: int = 0
    bytes: int = 0
    last_hits: tuple[Hit, ...] = ()
    last_line: tuple[int, str] = (0, "")
    seen: dict[str, Seen] = field(default_factory=dict)
    _progress: dict[Order, list[Hit]] = field(default_factory=dict)
    _orders_of: dict[str, list[Order]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for order in self.orders:
            self._progress[order] = []
            for name in frozenset().union(*order.steps):
                self._orders_of.setdefault(name, []).append(order)

    def wants(self, name: str) -> bool:
        """Whether one more match of this name can prove anything; if not, counting it is enough."""
        if name not in self.seen:
            return True
        orders = self._orders_of.get(name, ())
        return any(len(self._progress[order]) < len(order.steps) for order in orders)

    def count(self, name: str) -> None:
        """Take in one match that is not wanted."""
        self.seen[name].count += 1

    def add(self, hit: Hit) -> None:
        """Take in one match; matches come in the order of the log."""
        seen = self.seen.get(hit.name)
        if seen is None:
            self.seen[hit.name] = Seen(hit)
        else:
            seen.count += 1
        for order in self._orders_of.get(hit.name, ()):
            done = self._progress[order]
            if len(done) == len(order.steps) or hit.name not in order.steps[len(done)]:
                continue
            if not done or hit.place > done[-1].place:
                done.append(hit)

    def proof(self, expression: Expression, *, ended: bool) -> tuple[Hit, ...] | None:
        """The lines that prove an expression, first to last; None if it does not hold (yet).

        Args:
            expression: What to prove.
            ended: Whether the log is complete; ``last`` and ``absent`` hold only then.
        """
        match expression:
            case Line(name):
                return (self.seen[name].first,) if name in self.seen else None
            case AllOf(parts):
                proofs = [self.proof(part, ended=ended) for part in parts]
                return None if None in proofs else _in_order(hit for proof in proofs for hit in proof or ())
            case AnyOf(parts):
                held = [proof for part in parts if (proof := self.proof(part, ended=ended)) is not None]
                return _in_order(hit for proof in held for hit in proof) if held else None
            case Order(steps):
                done = self._progress[expression]
                return tuple(done) if len(done) == len(steps) else None
            case Last(names):
                hits = tuple(hit for hit in self.last_hits if hit.name in names)
                return hits if ended and hits else None
            case Absent(part):
                return () if ended and self.proof(part, ended=True) is None else None


def _in_order(hits: Iterable[Hit]) -> tuple[Hit, ...]:
    return tuple(sorted(dict.fromkeys(hits), key=lambda hit: hit.place))
