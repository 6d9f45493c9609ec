"""vision-sinks-window and audio-causal-window: MiMo's encoders against float64, on the backends that GB10 runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.trees import patched, unpatched
from tests.upstream.run import on_one_worker, run_case

pytestmark = pytest.mark.upstream

VISION, AUDIO = "vision-sinks-window", "audio-causal-window"
WINDOW, MIMO_AUDIO = "sglang.srt.layers.attention.vision_window", "sglang.srt.models.mimo_audio"
# The first release of each group of releases whose vision.py is alike.
GROUPS = [
    "0.5.11", "0.5.13", "0.5.14", "0.5.16", "0.5.17", "0.5.18", "0.5.19", "0.5.20", "0.5.21", "0.5.22", "0.5.23",
]  # fmt: skip
# The same for mimo_audio.py, since its encoder attends through VisionAttention.
AUDIO_GROUPS = ["0.5.16", "0.5.17", "0.5.19", "0.5.22"]
ONE = "0.5.17"  # for what is the same in all of them
SHARED_MEMORY = 101376  # of a block on GB10

# Of the final embeddings, relative. In bfloat16 the encoders' own rounding is 0.0087 (vision) and 0.0082 (audio).
EXACT = 3e-6
ROUNDING = 0.012
WRONG = 0.1

Found = dict[str, Any]


def encoders(tree: Path, backend: str, *scenarios: str, mutations: tuple[tuple[str, str, str], ...] = ()) -> Found:
    """What the case prints."""
    words = [word for mutation in mutations for word in ("--mutate", *mutation)]
    found = run_case(
        "encoders", tree, backend, *scenarios, *words,
        timeout=1800, TRITON_INTERPRET="1", TORCHDYNAMO_DISABLE="1",
    )  # fmt: skip
    assert "died" not in found, found["died"]
    return found


def is_rounding(found: Found) -> bool:
    """Whether bfloat16's own rounding is all that an encoder's embeddings are off."""
    return bool(found["error"] < 1.1 * found["rounding"] < 1.1 * ROUNDING)


# --- vision


@pytest.mark.parametrize("release", on_one_worker(__name__, GROUPS))
def test_unpatched_pictures_are_wrong(release: str) -> None:
    """Ten times bfloat16's rounding and more; it was 0.125."""
    found = encoders(unpatched(release), "triton_attn", "vision:tiny:bfloat16")["vision:tiny:bfloat16"]
    assert found["error"] > WRONG > 10 * found["rounding"]


@pytest.mark.parametrize("release", on_one_worker(__name__, GROUPS))
def test_patched_pictures_are_right_and_nothing_else_changes(release: str) -> None:
    """Calls without window and sinks take the kernel that they took, and the other backends' sources are the same."""
    scenarios = ["vision:tiny:bfloat16", "vision:tiny:float32", "others"]
    found = encoders(patched(release, only=[VISION]), "triton_attn", *scenarios)
    assert found["vision:tiny:float32"]["error"] < EXACT
    assert is_rounding(found["vision:tiny:bfloat16"]), found
    assert len(found["others"]["called"]) == 2
    assert found["others"] == encoders(unpatched(release), "triton_attn", "others")["others"]


def test_patched_the_real_heads_are_right() -> None:
    """32 query heads over 8 KV heads of 64, and the kernel by itself over lengths, windows and sinks."""
    found = encoders(patched(ONE, only=[VISION]), "triton_attn", "vision:heads:float32", "kernel")
    assert found["vision:heads:float32"]["error"] < EXACT
    assert found["kernel"]["compared"] == 80
    assert found["kernel"]["worst"]["torch.float32"] < 1e-6
    assert found["kernel"]["worst"]["torch.float16"] < 1e-3


def test_unpatched_sdpa_cannot_run_the_tower() -> None:
    """So it is no way round: 32 query heads do not broadcast over 8 KV heads."""
    for release in (GROUPS[0], GROUPS[-1]):
        words = ["sdpa", "vision:tiny:float32"]
        found = run_case("encoders", unpatched(release), *words, TRITON_INTERPRET="1", TORCHDYNAMO_DISABLE="1")
        assert "must match the size of tensor" in found["died"]


@pytest.mark.parametrize("capability", ["121", "90"])
def test_patched_the_kernel_compiles(capability: str) -> None:
    found = run_case("encoders_compile", patched(ONE, only=[VISION]), capability)
    assert "died" not in found, found["died"]
    assert 0 < found["shared"] <= SHARED_MEMORY


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    if HAS_SINKS:\n", "    if False:\n"),
        ("offs_m[:, None] - LEFT)", "offs_m[:, None] - LEFT + 1)"),
        ("offs_m[:, None] + RIGHT)", "offs_m[:, None] + RIGHT - 1)"),
        ("end_n = tl.minimum(start_m + BLOCK_M + RIGHT, seq_len)", "end_n = tl.minimum(start_m + RIGHT, seq_len)"),
    ],
    ids=["no sink", "left end shifted", "right end shifted", "too few keys"],
)
def test_another_vision_kernel_is_noticed(old: str, new: str) -> None:
    name = "vision:tiny:float32"
    found = encoders(patched(ONE, only=[VISION]), "triton_attn", name, mutations=((WINDOW, old, new),))
    assert found[name]["error"] > 100 * EXACT


# --- audio


@pytest.mark.parametrize("backend", ["triton_attn", "sdpa"])
@pytest.mark.parametrize("release", on_one_worker(__name__, AUDIO_GROUPS))
def test_unpatched_sounds_are_wrong(release: str, backend: str) -> None:
    """It was 0.35."""
    found = encoders(unpatched(release), backend, "audio:tiny:float32")
    assert found["audio:tiny:float32"]["error"] > WRONG


@pytest.mark.parametrize("backend", ["triton_attn", "sdpa"])
@pytest.mark.parametrize("release", on_one_worker(__name__, AUDIO_GROUPS))
def test_patched_sounds_are_right(release: str, backend: str) -> None:
    scenarios = [f"audio:{shape}:{dtype}" for shape in ("tiny", "heads") for dtype in ("float32", "bfloat16")]
    found = encoders(patched(release, only=[AUDIO]), backend, *scenarios)
    for shape in ("tiny", "heads"):
        assert found[f"audio:{shape}:float32"]["error"] < EXACT
        assert is_rounding(found[f"audio:{shape}:bfloat16"]), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("            self.right = 0\n", "            pass\n"),
        ("is_causal=True", "is_causal=False"),
        ("(reach >= -left)", "(reach > -left)"),
        ("(reach <= right)", "(reach <= right + 1)"),
    ],
    ids=["not causal", "full layers not causal", "window shifted", "one frame ahead"],
)
def test_another_audio_mask_is_noticed(old: str, new: str) -> None:
    name = "audio:tiny:float32"
    found = encoders(patched(ONE, only=[AUDIO]), "sdpa", name, mutations=((MIMO_AUDIO, old, new),))
    assert found[name]["error"] > 100 * EXACT
