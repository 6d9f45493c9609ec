"""The reference as far as it needs no torch: how served numbers are judged. The rest is in tests/upstream."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from mimo_gb10.paths import ROOT
from mimo_gb10.rehearsal.reference import Comparison, compare

# Three tokens of a vocabulary of three.
ROWS = [[-0.1, -2.6, -4.0], [-2.0, -0.5, -1.5], [-3.0, -3.0, -0.1]]


def test_the_same_numbers() -> None:
    assert compare(ROWS, [0, 1, 2], [-0.1, -0.5, -0.1]) == Comparison(3, 0.0, 0.0, 0, (), ())


def test_differences_are_those_of_the_served_tokens() -> None:
    found = compare(ROWS, [0, 1, 2], [-0.4, -0.5, 0.2])
    assert found.worst == pytest.approx(0.3)
    assert found.mean == pytest.approx(0.2)


def test_a_swap_counts_as_decided_where_the_reference_leaves_no_doubt() -> None:
    """The gaps of the best two are 2.5, 1.0 and 2.9."""
    found = compare(ROWS, [1, 2, 2], [-2.6, -1.5, -0.1])
    assert found.not_greedy == (0, 1)
    assert found.decided == (0,)
    assert compare(ROWS, [1, 2, 2], [-2.6, -1.5, -0.1], tolerance=0.9).decided == (0, 1)
    assert compare(ROWS, [1, 2, 2], [-2.6, -1.5, -0.1], tolerance=2.5).decided == ()


def test_equal_bests_are_both_greedy() -> None:
    assert compare([[-0.7, -0.7]], [1], [-0.7]).not_greedy == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_counted_and_never_hidden(value: float) -> None:
    """A maximum over NaN depends on the order; the result must not."""
    for served in ([value, -0.5, -0.1], [-0.1, -0.5, value]):
        found = compare(ROWS, [0, 1, 2], served)
        assert found.not_finite == 1
        assert math.isnan(found.worst)
        assert math.isnan(found.mean)


def test_nothing_served() -> None:
    assert compare([], [], []) == Comparison(0, 0.0, 0.0, 0, (), ())


@pytest.mark.parametrize(("tokens", "numbers"), [([0, 1], [-1.0] * 3), ([0, 1, 2], [-1.0] * 2)])
def test_lengths_must_agree(tokens: list[int], numbers: list[float]) -> None:
    with pytest.raises(ValueError, match="3 rows"):
        compare(ROWS, tokens, numbers)


def test_importing_it_imports_no_torch() -> None:
    """The command line shows its help without waiting for torch."""
    modules = "mimo_gb10.rehearsal.reference, mimo_gb10.rehearsal.checkpoint.make"
    code = f"import sys, {modules}; print(*{{'torch', 'safetensors', 'tokenizers', 'numpy'}} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )  # fmt: skip
    assert run.stdout.strip() == ""
