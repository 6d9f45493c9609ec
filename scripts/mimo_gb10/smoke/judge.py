"""Weighing answers: texts against what is known, numbers against what numbers can be. Pure functions."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
} | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90"}
_TAG = re.compile(r"</?think\b[^>]*>?", re.IGNORECASE)


def words(text: str) -> list[str]:
    """The words of a text in lower case, number words up to twenty and the tens as digits."""
    return [_NUMBERS.get(word, word) for word in _WORD.findall(text.lower().replace("’", "'"))]


def word_error_rate(spoken: str, heard: str) -> float:
    """Substituted, missing and added words, as a share of the spoken ones.

    Returns:
        0 for the same words; above 1 when more was added than was said.

    Raises:
        ValueError: If nothing was spoken.
    """
    want, got = words(spoken), words(heard)
    if not want:
        raise ValueError("the known text has no words")
    before = list(range(len(got) + 1))
    for row, expected in enumerate(want, 1):
        now = [row]
        for column, actual in enumerate(got, 1):
            changed = before[column - 1] + (expected != actual)
            now.append(min(changed, before[column] + 1, now[column - 1] + 1))
        before = now
    return before[-1] / len(want)


def is_answer(text: str, expected: str) -> bool:
    """Whether a text is this one short answer and nothing else but punctuation and marks around it."""
    return text.replace(",", "").strip(" \t\r\n.*`\"'$\\=!") == expected


def has_word(text: str, *wanted: str) -> bool:
    """Whether one of the words stands in the text, by itself and in any case; number words count as digits."""
    found = set(words(text))
    return any(word in found for item in wanted for word in words(item))


def stray_tags(text: str) -> list[str]:
    """Marks of the reasoning part that stand in a text and should not."""
    return _TAG.findall(text)


def degenerate(text: str, shortest: int = 40) -> str | None:
    """Why a text looks degenerate, or None.

    Natural English of some hundred words keeps at least a third of its words distinct, does not repeat one word six
    times running, and does not compress below a sixth. The limits are our own estimate, set with room.

    Args:
        text: What the model wrote.
        shortest: Fewer words than this are not judged.
    """
    if "\ufffd" in text:
        return f"{text.count(chr(0xFFFD))} characters that are no text (U+FFFD)"
    found = _WORD.findall(text.lower())
    if len(found) < shortest:
        return _run(text, 40)
    longest, run = 1, 1
    for before, now in pairwise(found):
        run = run + 1 if now == before else 1
        longest = max(longest, run)
    if longest >= 6:
        return f"one word {longest} times in a row"
    four = [tuple(found[at : at + 4]) for at in range(len(found) - 3)]
    repeated = 1 - len(set(four)) / len(four)
    if repeated > 0.5:
        return f"{repeated:.0%} of all runs of four words are repetitions"
    distinct = len(set(found)) / min(len(found), 400)
    if distinct < 0.2:
        return f"only {len(set(found))} distinct words among {len(found)}"
    raw = text.encode()
    ratio = len(zlib.compress(raw, 9)) / len(raw)
    return f"it compresses to {ratio:.0%}" if len(raw) > 500 and ratio < 0.16 else _run(text, 40)


def _run(text: str, limit: int) -> str | None:
    found = re.search(rf"(\S)\1{{{limit - 1},}}", text)
    return f"the character {found[1]!r} {len(found[0])} times in a row" if found else None


def bad_logprobs(values: Sequence[Any]) -> int:
    """How many values can be no log probability: none at all, not a number, infinite, or above zero.

    SGLang's JSON says ``null`` for NaN (orjson and pydantic both write it so).
    """
    return sum(
        not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value > 1e-3
        for value in values
    )


def first_difference(one: str, other: str) -> int | None:
    """How many characters two texts have in common before they part; None if they are the same."""
    if one == other:
        return None
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies (nearest rank).

    Raises:
        ValueError: If there are none.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
