"""Whether two greedy continuations are the same up to rounding. Pure functions.

Two runs of the same arithmetic in another order differ by rounding: a prefill and a decode step, a batch of one and of
sixteen use other kernels and other splits. Where the two likeliest tokens are nearly as likely, rounding decides, and
from there on two greedy texts have nothing in common. A fault in a mask or in the cache changes log probabilities by
nats and puts tokens first that were far from it. So a difference of tokens is excused only where the *other* token was
nearly as likely by the base's own word, and the log probabilities of the equal tokens must agree as well.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mimo_gb10.rehearsal.checks.generate import Generated, Top
from mimo_gb10.smoke.judge import percentile


@dataclass(frozen=True)
class Tolerance:
    """How much is rounding.

    The defaults are for the tiny model, whose logits spread by about 3.5 nats. They were found with its text part
    computed in plain torch (`reference`) with the server's roundings, bfloat16 and FP8, of activations and of the
    cache; of 1280 tokens each, or 768 beyond a window:

    ==================================  ======  =============  =======  ===========
    difference from decoding            median  one in twenty  largest  largest gap
    ==================================  ======  =============  =======  ===========
    sums in another order               0.09    0.36           1.1      1.4
    prefill instead of decoding         0.11    0.44           2.0      1.6
    four tokens verified at a time      0.11    0.47           1.1      1.3
    a window that is 16 too short       0.18    0.79           1.9      1.9
    a window that is ignored            0.24    1.49           3.8      3.8
    ==================================  ======  =============  =======  ===========

    So FP8 makes a rounding error of the last bit into a tenth of a nat, and a fault is told by how many tokens are far
    off more than by how far. A window that is wrong by one token cannot be told from rounding in this way.

    Attributes:
        tie: A token less than this many nats below the one that was taken may take its place by rounding. Seven other
            tokens do, on average, of 640: a token that comes from nowhere passes once in a hundred times.
        typical: The median of the differences of log probabilities, in nats.
        nearly: What one in twenty of them may exceed, in nats.
        most: The largest of them, in nats.
    """

    tie: float = 2.0
    typical: float = 0.25
    nearly: float = 0.75
    most: float = 2.5


TOLERANCE = Tolerance()


@dataclass(frozen=True)
class Continuation:
    """One greedy continuation.

    Attributes:
        name: Of the prompt.
        prompt: Its token ids.
        tokens: What was generated.
        logprobs: Natural logarithm of each token's probability; None where it is no number. Empty if none came.
        tops: The likeliest tokens of each position with their log probabilities, likeliest first.
    """

    name: str
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    logprobs: tuple[float | None, ...] = ()
    tops: tuple[Top, ...] = ()

    @classmethod
    def of(cls, name: str, prompt: Sequence[int], answer: Generated) -> Continuation:
        """An answer as a continuation of its prompt."""
        return cls(name, tuple(prompt), answer.tokens, answer.logprobs, answer.tops)

    def gap_to(self, position: int, token: int) -> float | None:
        """How many nats less likely `token` is than the one that was taken; None if that is not known.

        For a token that is not among the likeliest it is a lower bound: what the last of them lacks.
        """
        taken = self.logprobs[position] if position < len(self.logprobs) else None
        top = self.tops[position] if position < len(self.tops) else ()
        if taken is None or not top:
            return None
        return max(0.0, taken - dict(top).get(token, top[-1][1]))

    def knows(self, position: int, token: int) -> bool:
        """Whether a token is among the likeliest of a position."""
        return position < len(self.tops) and token in dict(self.tops[position])

    def gaps(self) -> tuple[float | None, ...]:
        """How far ahead of the second the likeliest token was, in nats, at each position."""
        return tuple(top[0][1] - top[1][1] if len(top) > 1 else None for top in self.tops)

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it, a line each; of the likeliest tokens those that rounding could bring to the front."""
        near = (
            " ".join(
                f"{token}:{value:.5g}" for at, (token, value) in enumerate(top) if at < 2 or value > top[0][1] - _NEAR
            )
            for top in self.tops
        )
        return {
            "name": self.name,
            "prompt": " ".join(map(str, self.prompt)),
            "tokens": " ".join(map(str, self.tokens)),
            "logprobs": " ".join("null" if value is None else f"{value:.5g}" for value in self.logprobs),
            "likeliest": "; ".join(near),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Continuation:
        """The reverse of `as_dict`.

        Raises:
            ValueError: If it is none.
        """
        try:
            prompt, tokens = (tuple(map(int, data[key].split())) for key in ("prompt", "tokens"))
            values = tuple(None if value == "null" else float(value) for value in data["logprobs"].split())
            rows = data["likeliest"].split(";") if data["likeliest"] else []
            tops = tuple(tuple(_pair(pair) for pair in row.split()) for row in rows)
            return cls(str(data["name"]), prompt, tokens, values, tops)
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            raise ValueError(f"no stored continuation: {problem!r}") from None


_NEAR = 2.5
"""Nats below the likeliest within which tokens are stored: more than any tolerance for a tie."""


def _pair(text: str) -> tuple[int, float]:
    token, _, value = text.partition(":")
    return int(token), float(value)


@dataclass(frozen=True)
class Parting:
    """Where two continuations part.

    Attributes:
        name: Of the prompt.
        position: Which generated token, from 0.
        base: The token of the base; None if it ended there.
        other: That of the other; None if it ended there.
        base_logprob: What the base gave its own token.
        other_logprob: What the other gave its own.
        gap: How many nats less likely the other's token was in the base; None if that is not known.
        exact: Whether `gap` is a value and not a lower bound.
    """

    name: str
    position: int
    base: int | None
    other: int | None
    base_logprob: float | None
    other_logprob: float | None
    gap: float | None
    exact: bool

    def text(self) -> str:
        """In one line."""
        gap = "an unknown gap" if self.gap is None else f"{'' if self.exact else 'more than '}{self.gap:.3f} nats"
        return (
            f"{self.name}, token {self.position}: {self.base} ({_nats(self.base_logprob)}) in the base, {self.other} "
            f"({_nats(self.other_logprob)}) now; in the base that one is less likely by {gap}"
        )


def _nats(value: float | None) -> str:
    return "no number" if value is None else f"{value:.3f}"


@dataclass(frozen=True)
class Comparison:
    """What comparing continuations found.

    Attributes:
        sequences: How many were compared.
        equal: How many were equal to the end.
        tokens: How many tokens were compared: those before the first difference, and the first difference.
        ties: Differences that rounding explains.
        partings: Differences that it does not.
        differences: Of the log probabilities at equal tokens: absolute, in nats, with the place.
    """

    sequences: int = 0
    equal: int = 0
    tokens: int = 0
    ties: tuple[Parting, ...] = ()
    partings: tuple[Parting, ...] = ()
    differences: tuple[tuple[float, str], ...] = ()

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.sequences + other.sequences,
            self.equal + other.equal,
            self.tokens + other.tokens,
            self.ties + other.ties,
            self.partings + other.partings,
            self.differences + other.differences,
        )

    def numbers(self) -> dict[str, float | int | str | None]:
        """For the receipt."""
        excused = max((parting.gap for parting in self.ties if parting.gap is not None), default=None)
        return {
            "sequences": self.sequences,
            "equal_to_the_end": self.equal,
            "near_ties": len(self.ties),
            "partings": len(self.partings),
            "tokens_compared": self.tokens,
            "largest_excused_gap_nats": _rounded(excused),
            **spread([value for value, _ in self.differences]),
        }

    def problems(self, tolerance: Tolerance = TOLERANCE) -> list[str]:
        """What rounding does not explain, a line each; empty when it explains all."""
        return [parting.text() for parting in self.partings] + too_far(self.differences, tolerance)

    def text(self) -> str:
        """In words, as the end of a sentence."""
        ties = f", {len(self.ties)} part at a near tie" if self.ties else ""
        return f"{self.equal} of {self.sequences} equal to the end{ties}, {self.tokens} tokens compared"


def spread(values: Sequence[float]) -> dict[str, float | int | str | None]:
    """Differences of log probabilities as numbers for a receipt."""
    return {
        "logprobs_compared": len(values),
        "logprob_difference_median_nats": _rounded(statistics.median(values) if values else None),
        "logprob_difference_p95_nats": _rounded(percentile(values, 0.95) if values else None),
        "logprob_difference_max_nats": _rounded(max(values, default=None)),
    }


_FEW = 20
"""Below so many values one in twenty is the largest."""


def too_far(differences: Sequence[tuple[float, str]], tolerance: Tolerance) -> list[str]:
    """Why differences of log probabilities are more than rounding, a line each."""
    if not differences:
        return []
    values, count = [value for value, _ in differences], len(differences)
    middle, nearly, (worst, where) = statistics.median(values), percentile(values, 0.95), max(differences)
    found = []
    if middle > tolerance.typical:
        found.append(f"half of {count} log probabilities differ by {middle:.3f} nats or more, "
                     f"{tolerance.typical:g} are rounding")  # fmt: skip
    if nearly > tolerance.nearly and count >= _FEW:
        found.append(f"one in twenty of {count} log probabilities differs by {nearly:.3f} nats or more, "
                     f"{tolerance.nearly:g} are rounding")  # fmt: skip
    if worst > tolerance.most:
        found.append(f"{where}: its log probability differs by {worst:.3f} nats, {tolerance.most:g} are rounding")
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def compare(base: Continuation, other: Continuation, tolerance: Tolerance = TOLERANCE, start: int = 0) -> Comparison:
    """Two continuations of the same prompt, up to their first difference.

    Args:
        base: What to compare with.
        other: What to compare; with `start`, a continuation of the base's prompt and its first `start` tokens.
        tolerance: What is rounding.
        start: The first token of the base that is compared.
    """
    mine, theirs = base.tokens[start:], other.tokens
    common = min(len(mine), len(theirs))
    first = next((at for at in range(common) if mine[at] != theirs[at]), None)
    if first is None and len(mine) != len(theirs):
        first = common
    until = common if first is None else first
    pairs = zip(base.logprobs[start : start + until], other.logprobs[:until], strict=False)
    differences = tuple(
        (abs(left - right), f"{base.name}, token {start + at}")
        for at, (left, right) in enumerate(pairs)
        if left is not None and right is not None
    )
    if first is None:
        return Comparison(1, 1, common, differences=differences)
    parting = _parting(base, other, start + first, first)
    # A lower bound excuses nothing: the token is not even among the likeliest.
    excused = parting.gap is not None and parting.exact and parting.gap < tolerance.tie
    tokens = min(first + 1, common)
    if excused:
        return Comparison(1, 0, tokens, ties=(parting,), differences=differences)
    return Comparison(1, 0, tokens, partings=(parting,), differences=differences)


def _parting(base: Continuation, other: Continuation, at: int, there: int) -> Parting:
    """A parting at token `at` of the base, which is token `there` of the other."""
    mine = base.tokens[at] if at < len(base.tokens) else None
    theirs = other.tokens[there] if there < len(other.tokens) else None
    known = mine is not None and theirs is not None
    return Parting(
        base.name,
        at,
        mine,
        theirs,
        base.logprobs[at] if at < len(base.logprobs) else None,
        other.logprobs[there] if there < len(other.logprobs) else None,
        base.gap_to(at, theirs) if known and theirs is not None else None,
        known and theirs is not None and base.knows(at, theirs),
    )


PATIENCE = 4
"""After so many differences that rounding does not explain, a continuation is not followed further."""


def follow(
    base: Continuation, ask: Callable[[Sequence[int], int], Continuation], tolerance: Tolerance = TOLERANCE
) -> Comparison:
    """A continuation compared to its end: after each difference the other goes on from the base's own token.

    With an 8 bit cache about one token in six is a near tie, so two texts part after a few tokens, and what came then
    could hide anything.

    Args:
        base: What to compare with.
        ask: Continues token ids by so many tokens.
        tolerance: What is rounding.

    Raises:
        Failure: If `ask` does.
    """
    found, at = Comparison(), 0
    while at < len(base.tokens) and len(found.partings) < PATIENCE:
        step = compare(base, ask((*base.prompt, *base.tokens[:at]), len(base.tokens) - at), tolerance, at)
        found += step
        differing = (*step.ties, *step.partings)
        if not differing:
            break
        at = differing[0].position + 1
    whole = not found.ties and not found.partings
    return replace(found, sequences=1, equal=int(whole))


def compare_all(pairs: Iterable[tuple[Continuation, Continuation]], tolerance: Tolerance = TOLERANCE) -> Comparison:
    """Pairs of base and other, all together."""
    return sum((compare(base, other, tolerance) for base, other in pairs), Comparison())


@dataclass(frozen=True)
class Beside:
    """What following continuations with a reference found.

    Attributes:
        agreed: How many tokens are the reference's likeliest.
        ties: How many are nearly as likely by the reference.
        excused: The largest gap among these, in nats.
        wrong: The others, a line each.
        differences: Between the log probabilities: absolute, in nats, with the place.
    """

    agreed: int = 0
    ties: int = 0
    excused: float = 0.0
    wrong: tuple[str, ...] = ()
    differences: tuple[tuple[float, str], ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens were compared."""
        return self.agreed + self.ties + len(self.wrong)

    def __add__(self, other: Beside) -> Beside:
        return Beside(
            self.agreed + other.agreed,
            self.ties + other.ties,
            max(self.excused, other.excused),
            self.wrong + other.wrong,
            self.differences + other.differences,
        )

    def numbers(self) -> dict[str, float | int | str | None]:
        """For the receipt."""
        return {
            "tokens_compared": self.tokens,
            "tokens_agreed": self.agreed,
            "near_ties": self.ties,
            "tokens_wrong": len(self.wrong),
            "largest_excused_gap_nats": round(self.excused, 5) if self.ties else None,
            **spread([value for value, _ in self.differences]),
        }

    def problems(self, tolerance: Tolerance = TOLERANCE) -> list[str]:
        """What rounding does not explain, a line each."""
        return [*self.wrong, *too_far(self.differences, tolerance)]


def beside(base: Continuation, rows: Sequence[Sequence[float]], tolerance: Tolerance = TOLERANCE) -> Beside:
    """A continuation beside a reference that followed its tokens.

    Args:
        base: What the server generated.
        rows: Log probabilities over the vocabulary, the last row for what comes after the last token. Only the rows of
            the generated tokens are looked at.
        tolerance: What is rounding.
    """
    found = Beside()
    for at, token in enumerate(base.tokens):
        row = [float(value) for value in rows[len(rows) - 1 - len(base.tokens) + at]]
        best, mine = max(row), row[token]
        logprob = base.logprobs[at] if at < len(base.logprobs) else None
        place = f"{base.name}, token {at}"
        apart = () if logprob is None else ((abs(logprob - mine), place),)
        if mine == best:
            found += Beside(agreed=1, differences=apart)
        elif best - mine < tolerance.tie:
            found += Beside(ties=1, excused=best - mine, differences=apart)
        else:
            line = (f"{place}: the server took {token} ({_nats(logprob)}), the reference {row.index(best)} "
                    f"({best:.3f}), and gives the server's {mine:.3f}")  # fmt: skip
            found += Beside(wrong=(line,), differences=apart)
    return found
