"""Published figures must lie on the right side of the bounds; and the bounds must be able to be wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mimo_gb10.memory.basis import GIB
from mimo_gb10.memory.public import FIGURES, Figure, compare


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_right_side(facts: dict[str, Any], figure: Figure) -> None:
    assert compare(facts, figure).problems == []


def test_the_figures_of_the_field_are_all_there() -> None:
    """Two nodes with 2,508,512 tokens at 0.83 and 31 to 32 tokens a second; three nodes with 38.8."""
    assert {2_508_512, 2_704_932, 2_171_757, 3_127_938, 10_592_793} == {
        figure.pool for figure in FIGURES if figure.pool
    }
    assert {32.0, 32.13, 31.09, 38.8, 36.4} == {figure.rate for figure in FIGURES}
    assert {figure.ranks for figure in FIGURES} == {2, 3}


def test_a_token_costs_what_two_kits_measured(facts: dict[str, Any]) -> None:
    """vLLM logged memory and tokens of the same pool: its bytes a token are the full layers' and few more."""
    for figure in FIGURES[:2]:
        assert figure.kv_gib is not None
        assert figure.pool is not None
        measured = figure.kv_gib[0] * GIB / figure.pool
        assert compare(facts, figure).token_bytes < measured < 1.05 * compare(facts, figure).token_bytes


def test_weights_leave_what_a_roomy_node_had(facts: dict[str, Any]) -> None:
    """15.65 of at most 16.7 GiB: the weights of the plan are not far too small."""
    found = compare(facts, FIGURES[0])
    assert found.kv_gib is not None
    assert FIGURES[0].kv_gib is not None
    assert 0.9 * found.kv_gib < FIGURES[0].kv_gib[1] < found.kv_gib


def test_bounds_say_something(facts: dict[str, Any]) -> None:
    """A bound ten times too high would hold always."""
    for figure in FIGURES:
        found = compare(facts, figure)
        assert figure.rate is not None
        assert found.rate < 4 * figure.rate
        if figure.pool is not None and found.pool is not None:
            assert found.pool < 3.5 * figure.pool


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"pool": 5_600_000, "kv_gib": None}, "pool"),
        ({"kv_gib": (7.74, 17.0)}, "KV memory"),
        ({"kv_gib": (7.0, 7.0)}, "fewer than"),
        ({"rate": 80.0}, "rate"),
    ],
)
def test_the_wrong_side_is_noticed(facts: dict[str, Any], change: dict[str, Any], word: str) -> None:
    (problem,) = compare(facts, dataclasses.replace(FIGURES[0], **change)).problems
    assert word in problem
