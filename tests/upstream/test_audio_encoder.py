"""audio-encoder-flash-attn: MiMo's audio encoder on GPUs with and without FlashAttention 3."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.trees import patched, unpatched
from tests.upstream.run import on_one_worker, run_case

pytestmark = pytest.mark.upstream

DEFECT = "audio-encoder-flash-attn"
# The first release of each group of releases whose mimo_audio.py is alike.
GROUPS = ["0.5.11", "0.5.14"]
GB10 = "12.1"
LIBRARY_GPUS = ["9.0", "8.0", "8.9"]
SCENARIOS = [
    *(f"{what}:{GB10}:{library}" for what in ("register", "encode") for library in ("present", "absent")),
    *(f"calls:{gpu}:present" for gpu in LIBRARY_GPUS),
    "encode:9.0:absent",
    "encode:10.0:present",
    "encode:none:absent",
]


@pytest.fixture(scope="module", params=on_one_worker(__name__, GROUPS))
def before(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return request.param, run_case("audio_encoder", unpatched(request.param), *SCENARIOS)


@pytest.fixture(scope="module")
def after(before: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    tree = patched(before[0], only=[DEFECT])
    return run_case("audio_encoder", tree, *SCENARIOS, f"attention:{GB10}:absent")


def test_unpatched_the_call_raises_on_gb10(before: tuple[str, dict[str, Any]]) -> None:
    assert before[1][f"encode:{GB10}:present"] == {
        "raised": "NotImplementedError",
        "message": "flash_attn at sgl-kernel is only supported on sm90 and above",
    }


def test_unpatched_the_model_is_not_registered_without_the_library(before: tuple[str, dict[str, Any]]) -> None:
    found = before[1][f"register:{GB10}:absent"]
    assert found["known"] == []
    assert found["warnings"] == [
        f"Ignore import error when loading sglang.srt.models.{name}: "
        "Can not import FA3 in sgl_kernel. Please check your installation."
        for name in ("mimo_audio", "mimo_v2")
    ]


@pytest.mark.parametrize("library", ["present", "absent"])
def test_patched_the_model_is_registered(after: dict[str, Any], library: str) -> None:
    found = after[f"register:{GB10}:{library}"]
    assert "MiMoV2ForCausalLM" in found["known"]
    assert found["warnings"] == []


@pytest.mark.parametrize("scenario", [f"encode:{GB10}:present", f"encode:{GB10}:absent", "encode:10.0:present"])
def test_patched_the_encoder_gives_what_its_definition_says(after: dict[str, Any], scenario: str) -> None:
    """Against float64 attention; in bfloat16 against the same encoder in bfloat16, whose own rounding is as large."""
    found = after[scenario]
    assert found["frames"] == 816
    assert found["codes"] == [816, 3]
    assert found["float32"] < 1e-6
    assert found["bfloat16"] < 1.5 * found["bfloat16-rounding"] < 0.015
    assert found["same codes"] > 0.99


def test_patched_attention_equals_a_float64_reference(after: dict[str, Any]) -> None:
    """Over lengths, windows, causal or not, several sequences, empty ones and an empty batch."""
    found = after[f"attention:{GB10}:absent"]
    assert found["compared"] == 288
    assert found["errors"]["torch.float32"][0] < 1e-6, found
    assert found["errors"]["torch.bfloat16"][0] < 4e-3, found


def test_patched_sequences_of_a_batch_do_not_mix(after: dict[str, Any]) -> None:
    assert after[f"attention:{GB10}:absent"]["apart"]


def test_patched_windowed_attention_takes_memory_in_proportion(after: dict[str, Any]) -> None:
    """The largest product of queries and keys in one piece does not grow with the sequence."""
    pieces = after[f"attention:{GB10}:absent"]["pieces"]
    assert pieces["5000"] == pieces["40000"] < 2**21


@pytest.mark.parametrize("gpu", LIBRARY_GPUS)
def test_where_the_library_runs_its_calls_are_the_same(
    before: tuple[str, dict[str, Any]], after: dict[str, Any], gpu: str
) -> None:
    found = after[f"calls:{gpu}:present"]
    assert found["library"]
    assert len(found["calls"]) == 4
    assert found == before[1][f"calls:{gpu}:present"]


@pytest.mark.parametrize("scenario", ["encode:9.0:absent", "encode:none:absent"])
def test_elsewhere_the_error_is_the_same(
    before: tuple[str, dict[str, Any]], after: dict[str, Any], scenario: str
) -> None:
    assert "raised" in after[scenario]
    assert after[scenario] == before[1][scenario]
