"""What a receipt says of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.paths import ROOT
from mimo_gb10.rehearsal import receipt
from mimo_gb10.rehearsal.symptoms import symptoms_in
from mimo_gb10.rehearsal.tree import Tree

DEATH = [("audio", "rank 0 was killed by SIGKILL")]


@pytest.mark.parametrize(
    ("starts", "deaths", "not_ready", "ended"),
    [
        ([81.0], [], None, "stopped by us"),
        ([81.0, 83.0], DEATH, None, "died"),
        ([81.0], DEATH, "rank 0 ended with 1 after 3 s", "died"),
        ([], [], "rank 0 ended with 1 after 3 s", "died at start"),
        ([], [], "not ready after 600 s: /health answers 503", "not ready"),
        ([], [], None, "died at start"),
    ],
)
def test_how_it_ended(starts: list[float], deaths: list[tuple[str, str]], not_ready: str | None, ended: str) -> None:
    assert receipt.ended(starts, deaths, not_ready) == ended


def test_what_is_mended_and_what_is_left() -> None:
    states = {"a": "mended", "b": "present", "c": "fixed", "d": "not-affected", "e": "unknown"}
    tree = Tree(Path("site"), "0.5.17", states)
    assert tree.patched() == ["a"]
    assert tree.lacks(["a", "b", "c", "z"]) == ["b"]


def test_what_the_server_says() -> None:
    info = {
        "max_total_num_tokens": 131072,
        "internal_states": [{"avg_spec_accept_length": 1.23456, "memory_usage": {"weight": 0.1, "kvcache": 0.13}}],
    }
    assert receipt.accept_length(info) == 1.235
    assert receipt.server_memory(info) == {"weight": 0.1, "kvcache": 0.13, "max_total_num_tokens": 131072}
    silent: list[dict[str, Any]] = [{}, {"internal_states": []}, {"internal_states": [None]}, {"internal_states": [{}]}]
    for nothing in silent:
        assert receipt.accept_length(nothing) is None
        assert receipt.server_memory(nothing) == {}


def test_symptoms_of_a_log_that_has_ended() -> None:
    """One that shows only when nothing comes after it counts too."""
    log = ROOT / "tests/diagnose/logs/graph-capture-stuck/match-recorded.log"
    (found,) = symptoms_in({0: log, 1: ROOT / "no-such.log"})
    assert (found["id"], found["ranks"]) == ("graph-capture-stuck", [0])
    assert found["line"]


def test_a_model_is_its_files() -> None:
    one = receipt.model_digest({"a": "1", "b": "2"})
    assert one == receipt.model_digest({"b": "2", "a": "1"})
    assert one != receipt.model_digest({"a": "1", "b": "3"})
