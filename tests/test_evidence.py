"""Receipts of rehearsals, and the level that a recipe gets from them."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10 import evidence
from mimo_gb10.findings import Refused
from mimo_gb10.generate import rehearsals as pages
from mimo_gb10.launch import check
from mimo_gb10.recipe import Recipe

FOLDER = evidence.REHEARSALS
NAMES = sorted(path.stem for path in evidence.REHEARSALS.glob("*.json"))


def recipe(name: str = "gb10x4-omni") -> Recipe:
    context = check(name, "post-4x-gb10").context
    assert context is not None
    return context.recipe


def raw(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def proof() -> Any:
    """A receipt that proves the default recipe: the real one, whatever has become of the recipe since."""
    data = raw("0.5.11-omni-patched")
    data["recipe"]["sha256"] = recipe().digest
    return data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Puts a receipt in place of the project's."""

    monkeypatch.setattr(evidence, "REHEARSALS", tmp_path)
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    evidence.rehearsals.cache_clear()

    def put(data: Any) -> None:
        (tmp_path / "one.json").write_text(json.dumps(data))
        evidence.rehearsals.cache_clear()

    yield put
    evidence.rehearsals.cache_clear()


def test_the_receipts_hold() -> None:
    assert NAMES
    assert sorted(evidence.rehearsals()) == NAMES


# Folders that a receipt may name: the rehearsal's own and the recipe's, and where others built what SGLang loads.
FOLDERS = {"rehearsal", "models", "project", "__w", "v39", "pytorch"}


@pytest.mark.parametrize("name", NAMES)
def test_no_receipt_names_a_place_of_the_machine(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert set(re.findall(r"(?<![A-Za-z0-9_.:/<-])/([a-z0-9_]+)/", text)) <= FOLDERS
    words = [word for rank in raw(name)["launch"] for word in rank["argv"] if word.startswith("/")]
    assert words
    assert all(word.startswith("/rehearsal/") for word in words)


def test_rehearsed(folder: Callable[[Any], None]) -> None:
    folder(proof())
    assert evidence.level(recipe()) == evidence.REHEARSED
    assert evidence.proofs(recipe()) == ["one"]
    # Another recipe, and this one with another flag, are something else.
    assert evidence.level(recipe("gb10x4-mtp")) == evidence.CHECKED
    changed = check("gb10x4-omni", "post-4x-gb10", ["flags.max-running-requests=23"]).context
    assert changed is not None
    assert evidence.level(changed.recipe) == evidence.REPORTED


def unpatched(data: Any) -> None:
    data["variant"]["patched"] = False


def interrupted(data: Any) -> None:
    data["ended"] = "interrupted"


def failed(data: Any) -> None:
    next(one for one in data["checks"] if one["name"] == "image")["status"] = "fail"


def died(data: Any) -> None:
    data["deaths"].append({"during": "stress", "how": "rank 0 ended with 1"})


def nothing_checked(data: Any) -> None:
    data["checks"] = []


def without_load(data: Any) -> None:
    data["checks"] = [one for one in data["checks"] if one["name"] != "stress"]


def skipped(data: Any) -> None:
    next(one for one in data["checks"] if one["name"] == "video")["status"] = "skip"


@pytest.mark.parametrize(
    "spoil",
    [unpatched, interrupted, failed, died, nothing_checked, without_load, skipped],
    ids=lambda spoil: spoil.__name__,
)
def test_not_rehearsed(folder: Callable[[Any], None], spoil: Callable[[Any], None]) -> None:
    data = proof()
    spoil(data)
    folder(data)
    assert evidence.level(recipe()) == evidence.REPORTED


def test_what_a_broken_upload_does_is_not_the_recipes_fault(folder: Callable[[Any], None]) -> None:
    data = proof()
    one = copy.deepcopy(data["checks"][0]) | {"name": "broken-audio-truncated", "area": "broken", "status": "fail"}
    data["checks"].append(one)
    data["deaths"].append({"during": "broken-audio-truncated", "how": "rank 0 ended with 1"})
    folder(data)
    assert evidence.level(recipe()) == evidence.REHEARSED


def never_started(data: Any) -> None:
    data["starts"] = []


def other_release(data: Any) -> None:
    data["sglang"]["version"] = "0.5.12"


def nothing_changed(data: Any) -> None:
    data["sglang"]["differs_from_wheel"] = []


def one_rank(data: Any) -> None:
    data["ranks"] = 1


def no_gpu(data: Any) -> None:
    data["machine"]["gpus"] = []


@pytest.mark.parametrize("spoil", [never_started, other_release, nothing_changed, one_rank, no_gpu])
def test_a_receipt_that_contradicts_itself_is_refused(
    folder: Callable[[Any], None], spoil: Callable[[Any], None]
) -> None:
    data = proof()
    spoil(data)
    folder(data)
    with pytest.raises(Refused):
        evidence.rehearsals()


def test_the_pages(folder: Callable[[Any], None]) -> None:
    data = proof()
    data["checks"].append(
        {"name": "broken-image-huge", "area": "broken", "status": "fail", "seconds": 1.0, "says": "the ranks died",
         "evidence": [], "numbers": {"http_status": None, "ranks": "died"}}
    )  # fmt: skip
    data["checks"].append({**data["checks"][0], "name": "rate-one", "area": "rates", "says": "9 tokens/s"})
    folder(data)
    made = {path: output.text for path, output in pages.make().items()}
    index, page = made["docs/rehearsals/index.md"], made["docs/rehearsals/one.md"]
    assert "| `image-huge` | **no answer, ranks died** |" in index
    assert "2 ranks on 2 × NVIDIA H100 80GB HBM3 |" in index
    assert "tokens/s" not in page
    assert "**failed**" in page
