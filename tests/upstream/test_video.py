"""video-pin-memory and video-batch-tensor: SGLang's video decoder over a real clip, decoded by decord2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.trees import patched, unpatched
from tests.upstream.run import on_one_worker, run_case

pytestmark = pytest.mark.upstream

CLIP = Path(__file__).resolve().parent.parent / "data" / "clip.mp4"
# The first release of each group of releases whose video_decoder.py is alike.
GROUPS = ["0.5.11", "0.5.13", "0.5.20"]
PIN, BATCH = "video-pin-memory", "video-batch-tensor"
SOURCES = ["decord", "torchcodec"]
OUT_OF_MEMORY = ["oom", "oom-torch", "oom-accelerator"]
OTHER_ERRORS = {"illegal": "AcceleratorError", "type-error": "TypeError"}
SCENARIOS = [
    *(f"{source}:{pin}:gpu" for source in SOURCES for pin in ("works", *OUT_OF_MEMORY, *OTHER_ERRORS)),
    *(f"decord-torch:{pin}:gpu" for pin in ("works", "oom")),
    "torchcodec-gpu:works:gpu",
    "decord:works:cpu",
    "torchcodec:works:cpu",
]
METHODS = ["frame", "frames", "tensor", "one"]
Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=on_one_worker(__name__, GROUPS))
def release(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def before(release: str) -> Results:
    return run_case("video", unpatched(release), str(CLIP), *SCENARIOS)


@pytest.fixture(scope="module")
def pin_patched(release: str) -> Results:
    """With the first of the two patches alone."""
    return run_case("video", patched(release, only=[PIN]), str(CLIP), *SCENARIOS)


@pytest.fixture(scope="module")
def after(release: str) -> Results:
    return run_case("video", patched(release, only=[PIN, BATCH]), str(CLIP), *SCENARIOS)


def frames_of(result: dict[str, Any]) -> dict[str, Any]:
    """What each method gave, apart from whether it is pinned."""
    return {name: result[name] and {k: v for k, v in result[name].items() if k != "pinned"} for name in METHODS}


def test_the_clip_is_decoded(before: Results) -> None:
    found = before["decord:works:gpu"]
    assert found["length"] == 24
    assert found["frame"]["shape"] == [48, 64, 3]
    assert found["frames"]["shape"] == found["tensor"]["shape"] == [4, 48, 64, 3]
    assert found["frames"]["digest"] == found["tensor"]["digest"]
    assert len({found[name]["digest"] for name in ("frame", "frames", "one")}) == 3
    assert found["tensor"]["pinned"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("pin", OUT_OF_MEMORY)
def test_unpatched_frames_are_lost_where_memory_cannot_be_pinned(before: Results, source: str, pin: str) -> None:
    for method in ("tensor", "one"):
        assert "out of memory" in before[f"{source}:{pin}:gpu"][method]["message"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("pin", OUT_OF_MEMORY)
def test_patched_frames_come_unpinned(before: Results, pin_patched: Results, source: str, pin: str) -> None:
    found = pin_patched[f"{source}:{pin}:gpu"]
    assert frames_of(found) == frames_of(before[f"{source}:works:gpu"])
    assert not found["tensor"]["pinned"]
    assert not found["one"]["pinned"]


@pytest.mark.parametrize("source", SOURCES)
def test_patched_the_log_says_so_once(pin_patched: Results, source: str) -> None:
    """Two calls failed; and nothing is said where pinning works."""
    assert pin_patched[f"{source}:oom:gpu"]["logged"] == ["Cannot pin video frames (out of memory), not pinning."]
    assert pin_patched[f"{source}:works:gpu"]["logged"] == []


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("pin", "error"), OTHER_ERRORS.items())
def test_patched_other_errors_come_through(pin_patched: Results, source: str, pin: str, error: str) -> None:
    for method in ("tensor", "one"):
        assert pin_patched[f"{source}:{pin}:gpu"][method]["raised"] == error


@pytest.mark.parametrize(
    "scenario", ["decord:works:gpu", "torchcodec:works:gpu", "decord:works:cpu", "torchcodec:works:cpu"]
)
def test_nothing_changes_where_the_defects_do_not_bite(
    before: Results, pin_patched: Results, after: Results, scenario: str
) -> None:
    """Pinned where it was pinned: everywhere, but for the CPU engine from 0.5.20."""
    assert pin_patched[scenario] == before[scenario]
    assert after[scenario] == before[scenario]


def test_the_cpu_engine_does_not_pin(release: str, after: Results) -> None:
    for source in SOURCES:
        assert after[f"{source}:works:gpu"]["tensor"]["pinned"]
        assert after[f"{source}:works:cpu"]["tensor"]["pinned"] == (release != "0.5.20")


def test_a_tensor_on_a_device_is_not_pinned(release: str, before: Results, after: Results) -> None:
    """Up to 0.5.19 it was tried, and failed."""
    unpatched, found = before["torchcodec-gpu:works:gpu"], after["torchcodec-gpu:works:gpu"]
    if release == "0.5.20":
        assert found == unpatched
    else:
        assert "cannot pin" in unpatched["tensor"]["message"]
    assert frames_of(found) == frames_of(after["torchcodec:works:gpu"])
    assert not found["tensor"]["pinned"]
    assert not found["one"]["pinned"]


def test_unpatched_a_torch_bridge_breaks_batches(before: Results, pin_patched: Results) -> None:
    for results in (before, pin_patched):
        found = results["decord-torch:works:gpu"]
        for method in ("frames", "tensor", "one"):
            assert found[method] == {
                "raised": "AttributeError",
                "message": "'Tensor' object has no attribute 'asnumpy'",
            }


@pytest.mark.parametrize("pin", ["works", "oom"])
def test_patched_both_bridges_give_the_same_frames(before: Results, after: Results, pin: str) -> None:
    assert after[f"decord-torch:{pin}:gpu"] == after[f"decord:{pin}:gpu"]
    assert frames_of(after[f"decord-torch:{pin}:gpu"]) == frames_of(before["decord:works:gpu"])
