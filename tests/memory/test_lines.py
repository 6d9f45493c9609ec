"""Upstream lines are looked up, not typed."""

from __future__ import annotations

import json

from mimo_gb10.memory.citations import LINES, PASSAGES, source
from mimo_gb10.release import known_releases, load_release
from tests.memory.make_lines import made


def test_lines_are_those_of_the_wheels() -> None:
    """Mend: python tests/memory/make_lines.py."""
    text, problems = made()
    assert problems == []
    assert LINES.read_text(encoding="utf-8") == text


def test_every_release_has_its_lines() -> None:
    lines = json.loads(LINES.read_text(encoding="utf-8"))
    assert list(lines) == known_releases()
    later = {key for key, passages in PASSAGES.items() if all(passage.first for passage in passages)}
    assert later == {"memory-cap", "memory-draft-cell", "memory-floor", "memory-mm-reserve"}
    for found in lines.values():
        assert set(PASSAGES) - later <= set(found)


def test_a_catalog_that_has_the_line_is_asked_first() -> None:
    release = load_release("0.5.11")
    assert source(release, "memory-cell") == "sglang/srt/model_executor/pool_configurator.py:232"
    assert source(release, "memory-cap") == ""
