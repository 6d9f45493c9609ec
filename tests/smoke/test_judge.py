from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimo_gb10.smoke import media
from mimo_gb10.smoke.judge import (
    bad_logprobs,
    degenerate,
    first_difference,
    has_word,
    is_answer,
    percentile,
    stray_tags,
    word_error_rate,
)
from tests.smoke.brain import STORY


@pytest.mark.parametrize(
    ("heard", "rate"),
    [
        (media.SENTENCE, 0.0),
        ("seven GREEN boats, carried 40 lamps - across the quiet harbour", 0.0),
        ("Seven boats carried forty lamps across the quiet harbour", 0.1),
        ("Seven green boats carried forty big lamps across the quiet harbour", 0.1),
        ("Seven green goats carried forty lamps across the quiet harbour", 0.1),
        ("", 1.0),
        ("x " * 25, 2.5),
    ],
)
def test_word_error_rate(heard: str, rate: float) -> None:
    assert word_error_rate(media.SENTENCE, heard) == pytest.approx(rate)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=7), st.lists(st.sampled_from("abcd"), max_size=7))
def test_word_error_rate_lies_between_its_bounds(spoken: list[str], heard: list[str]) -> None:
    errors = word_error_rate(" ".join(spoken), " ".join(heard)) * len(spoken)
    assert abs(len(spoken) - len(heard)) <= round(errors, 6) <= max(len(spoken), len(heard))
    assert (errors == 0) == (spoken == heard)


def test_word_error_rate_needs_words() -> None:
    with pytest.raises(ValueError, match="no words"):
        word_error_rate("...", "a")


@pytest.mark.parametrize("text", ["391", " 391.\n", "**391**", "$391$", "= 391", "`391`", "\\391"])
def test_an_answer_alone(text: str) -> None:
    assert is_answer(text, "391")


@pytest.mark.parametrize("text", ["", "3910", "1391", "391 or 392", "The answer is 391", "39 1", "-391", "3.91"])
def test_not_an_answer_alone(text: str) -> None:
    assert not is_answer(text, "391")


def test_words() -> None:
    assert has_word("A RED circle, seven.", "red")
    assert has_word("seven", "7")
    assert has_word("7!", "seven")
    assert not has_word("bored 17", "red")
    assert not has_word("17", "7")


@pytest.mark.parametrize("text", ["a </think> b", "<think>", "</THINK>", "<think>x", "<think lang=en>", "x</think"])
def test_marks_of_reasoning(text: str) -> None:
    assert stray_tags(text)


@pytest.mark.parametrize("text", ["I think so", "< think", "thinking </b>", "<thinker"])
def test_no_marks_of_reasoning(text: str) -> None:
    assert not stray_tags(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("the " * 60, "in a row"),
        (STORY + "very " * 7, "in a row"),
        ("and then the dog walked on " * 30, "repetitions"),
        ("! " + "!" * 60, "times in a row"),
        (STORY + "\ufffd\ufffd", "U+FFFD"),
        (STORY, None),
        (STORY * 2, None),
        (STORY * 3, "repetitions"),
        ("42", None),
        ("", None),
    ],
)
def test_degenerate_text(text: str, why: str | None) -> None:
    found = degenerate(text)
    assert (found is None) if why is None else (found is not None and why in found), found


def test_a_text_of_few_words_in_many_orders_is_degenerate() -> None:
    import random

    chance = random.Random(1)
    found = degenerate(" ".join(chance.choice(["sea", "sky", "ice", "fog", "rain"]) for _ in range(100)))
    assert found is not None


@pytest.mark.parametrize(
    ("values", "bad"),
    [
        ([-0.1, 0.0, -5], 0),
        ([1e-6], 0),
        ([None, -1.0], 1),
        ([math.nan, math.inf, -math.inf], 3),
        (["-1", True, [], 0.5], 4),
        ([], 0),
    ],
)
def test_log_probabilities(values: list[object], bad: int) -> None:
    assert bad_logprobs(values) == bad


def test_first_difference() -> None:
    assert first_difference("abc", "abc") is None
    assert first_difference("abc", "abd") == 2
    assert first_difference("abc", "ab") == 2
    assert first_difference("", "a") == 0


def test_percentile() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([4, 1, 2, 3], 0.5) == 2
    assert percentile([1, 2], 1) == 2
    assert percentile([5], 0.0) == 5
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
