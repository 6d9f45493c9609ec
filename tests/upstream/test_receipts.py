"""What real servers generated, as the receipts of rehearsals hold it, is what the weights say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimo_gb10.evidence import REHEARSALS, rehearsals
from tests.upstream.run import run_case

pytestmark = pytest.mark.upstream

WITH_TEXT = [name for name, receipt in rehearsals().items() if receipt["greedy"]]


@pytest.mark.parametrize("name", WITH_TEXT)
def test_the_reference_gives_the_served_text(name: str, tmp_path: Path) -> None:
    receipt = rehearsals()[name]
    found = run_case("greedy_text", tmp_path, str(REHEARSALS / f"{name}.json"), str(tmp_path / "model"))
    # The same weights, made anew by another PyTorch on another machine.
    assert found["model"] == receipt["model"]["sha256"]
    assert found["problems"] == []
    assert found["tokens_compared"] == 32 * len(receipt["greedy"]["continuations"]) >= 384
    assert found["tokens_wrong"] == 0


def test_there_is_text_to_judge() -> None:
    assert WITH_TEXT
