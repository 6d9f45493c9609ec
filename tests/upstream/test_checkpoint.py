"""The rehearsal's tiny checkpoint: made with torch, loaded by SGLang's own code, compared with our reference."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.rehearsal.checkpoint.validate import validate
from tests.support.trees import unpatched
from tests.upstream.run import on_one_worker, run_case

pytestmark = pytest.mark.upstream

SIZES = [1, 2, 4]
# Those that rehearsals run.
RELEASES = ["0.5.11", "0.5.17"]
# SGLang says so of every fused qkv projection; the real checkpoint's rows per rank are no multiple of the block either.
USUAL_WARNINGS = ["Skipping block quantization checks for weight partition."]
ROUNDING = 1e-3  # nats, float32 against float32
# Any token will do, special ones too.
TEXT = [random.Random(place).randrange(640) for place in range(174)]

Found = Any


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What `checkpoint_make` says, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("checkpoints")
    found = run_case("checkpoint_make", unpatched("0.5.11"), str(folder), "7", *map(str, SIZES))
    assert "died" not in found, found["died"]
    return {**found, "folder": folder}


def model(release: str, folder: Path, ranks: int, *more: str) -> Found:
    tree, arguments = unpatched(release), [str(folder), str(ranks), *more]
    return run_case("checkpoint_model", tree, *arguments, TRITON_INTERPRET="1", TORCHDYNAMO_DISABLE="1")


def test_the_same_seed_makes_the_same_bytes_and_another_does_not(made: Found) -> None:
    first, again, other = made["made"]["1"]["files"], made["again"], made["other"]
    assert again == first
    weights = {name for name in first if name.endswith(".safetensors")}
    assert len(weights) == 5
    assert {name for name in first if other[name] != first[name]} == weights


@pytest.mark.parametrize("size", SIZES)
def test_it_is_small_and_soon_there(made: Found, size: int) -> None:
    one = made["made"][str(size)]
    assert one["bytes"] < 152e6
    assert one["seconds"] < 15 * 4  # on a machine that does other things as well


@pytest.mark.parametrize("size", SIZES)
def test_it_is_valid(made: Found, size: int) -> None:
    assert validate(made["folder"] / f"tp{size}", size) == []


def test_without_mtp_it_is_valid_and_smaller(made: Found) -> None:
    assert validate(made["folder"] / "without-mtp", 1) == []
    assert made["without_mtp"] < made["made"]["1"]["bytes"] - 10e6


def test_blocks_are_quantised_each_with_its_own_scale(made: Found) -> None:
    """A value is at most half a step of its block's fp8 grid off; two shards of 200 rows have four rows of scales."""
    found = made["quantisation"]
    assert found["dtype"] == "torch.float8_e4m3fn"
    assert found["scales"] == [4, 3]
    assert 0.4 < found["worst_error_in_steps"] <= 0.5001
    assert made["scale_spread"] > 2
    assert made["router"] == "torch.float32"


@pytest.mark.parametrize(
    ("release", "ranks"),
    [(release, ranks) for release in RELEASES for ranks in (SIZES if release == "0.5.11" else [2])],
)
def test_sglang_loads_every_parameter_and_warns_of_nothing(made: Found, release: str, ranks: int) -> None:
    found = model(release, made["folder"] / f"tp{ranks}", ranks)
    assert isinstance(found, list), found["died"]
    assert len(found) == ranks
    for rank in found:
        assert rank["config"] == {
            "architectures": ["MiMoV2ForCausalLM"], "window": 128, "full": [0, 3], "sliding": [1, 2],
            "multimodal": True,
        }  # fmt: skip
        assert rank["parameters"] > 200
        assert rank["unfilled"] == []
        assert rank["mtp"] == [[], [], []]
        assert rank["audio_tokenizer"] == []
        assert rank["warnings"] == USUAL_WARNINGS


def test_another_number_of_ranks_than_it_is_made_for_is_refused(made: Found) -> None:
    """The fused layout is bound to a size, and 0.5.11 says so."""
    found = model("0.5.11", made["folder"] / "tp2", 1)
    assert "checkpoint is TP=2-interleaved; got attention tp_size=1" in found["died"]


@pytest.mark.parametrize(("release", "ranks"), [("0.5.11", 1), ("0.5.11", 2), ("0.5.17", 2)])
def test_the_reference_is_sglangs_text_model(made: Found, release: str, ranks: int) -> None:
    """Prompt pieces, a cached prefix beyond the window, and decoding, which sees one key less."""
    pieces = [100, 60]
    found = model(
        release, made["folder"] / f"tp{ranks}", ranks, "--text", json.dumps(TEXT), "--pieces", json.dumps(pieces)
    )
    assert isinstance(found, list), found["died"]
    assert found[0]["spread"] > 3
    assert found[0]["difference"] < ROUNDING
    assert found[0]["difference_as_prompt"] > 20 * ROUNDING


def test_features_of_pictures_and_sounds_are_of_ordinary_size(made: Found) -> None:
    """In bfloat16; silence and noise are different codes."""
    found = model("0.5.17", made["folder"] / "tp1", 1, "--media")
    assert isinstance(found, list), found["died"]
    media = found[0]["media"]
    assert {name: entry["rows"] for name, entry in media.items()} == {
        "image flat": 16, "image noise": 16, "audio silence": 13, "audio noise": 13,
    }  # fmt: skip
    for entry in media.values():
        assert 0.5 < entry["rms"] < 2
        assert entry["largest"] < 20
    assert media["audio noise"]["codes"][0] > media["audio silence"]["codes"][0]
    assert media["audio noise"]["codes"][1] > 10


@pytest.mark.parametrize("release", on_one_worker(__name__, RELEASES))
def test_sglangs_front_end_reads_the_folder(made: Found, release: str) -> None:
    found = run_case("checkpoint_processor", unpatched(release), str(made["folder"] / "tp1"))
    assert "died" not in found, found["died"]
    assert (found["config"], found["model_type"]) == ("MiMoTinyConfig", "mimo_v2")
    assert found["tokens"] == 640
    assert found["eos"] == found["config_eos"]
    assert [len(ids) for ids in found["special"]] == [1, 1, 1, 1]
    assert found["round_trip"]
    prompts = found["prompts"]
    for kind in ("image", "video", "audio"):
        assert prompts[kind]["format"] == "openai"
        assert prompts[kind]["media"][kind] == 1
    assert "<|im_start|>system\nBe brief.<|im_end|>" in prompts["system"]["text"]
    assert prompts["thinking True"]["text"] == prompts["text"]["text"]
    assert prompts["thinking False"]["text"] == prompts["text"]["text"] + "<think></think>"
    tools = prompts["tools"]["text"]
    assert '"name": "weather"' in tools
    assert (
        "<tool_call>\n<function=weather>\n<parameter=city>Paris</parameter>\n<parameter=days>2</parameter>\n" in tools
    )
    assert "<tool_response>\nsunny\n</tool_response>" in tools


@pytest.mark.parametrize("release", on_one_worker(__name__, RELEASES))
def test_placeholders_become_as_many_tokens_as_there_are_features(made: Found, release: str) -> None:
    found = run_case("checkpoint_processor", unpatched(release), str(made["folder"] / "tp1"))
    expanded = found["expanded"]
    for kind in ("image", "video"):
        count = expanded[kind]["features"][kind]
        assert count > 1
        assert expanded[kind]["tokens"][kind] == count
    # Two seconds: 201 frames, 101 after the first stride, 51 after pooling, 13 groups of four.
    assert expanded["audio"]["mels"] == [[201, 128]]
    assert expanded["audio"]["tokens"]["audio"] == 13


@pytest.fixture(scope="module")
def judged(made: Found) -> Found:
    found = run_case("checkpoint_reference", unpatched("0.5.11"), str(made["folder"] / "tp2"))
    assert "died" not in found, found["died"]
    return found


def test_text_is_sharp_and_plain(judged: Found) -> None:
    """Logits some nats apart, no special token near the top, and no token over and over."""
    assert judged["finite"]
    assert judged["sums"] < 1e-5
    assert 3 < judged["spread"] < 4.5
    assert judged["never"] < -20
    assert judged["generated_never"] == 0
    assert judged["different"] > 10
    assert judged["longest_run"] <= 2


def test_pieces_of_a_prompt_differ_only_by_what_the_cache_rounds(judged: Found) -> None:
    assert judged["greedy_is_argmax"]
    assert judged["pieces"] is None
    assert judged["pieces_fp8"] == 30  # the first row that reads the cache


def test_float32_is_enough(judged: Found) -> None:
    assert judged["double"]["worst"] < ROUNDING
    assert judged["double"]["not_greedy"] == []


def test_a_token_is_seen_by_later_ones_within_the_windows(judged: Found) -> None:
    """With windows of 16 in four layers a change reaches 64 tokens further and no more; full layers carry it on."""
    text = judged["text"]
    assert text["before"] < ROUNDING
    assert text["after"] > 10 * ROUNDING
    assert text["cut_within"] > 1
    assert text["cut_beyond"] < ROUNDING


def test_a_fault_differs_more_than_rounding(judged: Found) -> None:
    rounding = judged["rounding"]
    assert rounding["mean"] < 0.2
    assert rounding["decided"] == []
    assert len(judged["faults"]) == 9
    for name, fault in judged["faults"].items():
        assert fault["mean"] > 0.25, name
        assert len(fault["not_greedy"]) > 10, name
