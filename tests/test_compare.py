"""What changes between two releases: the facts that a MiMo-V2.5 user needs, found in the catalogs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimo_gb10.compare import Change, compare, moved_recipe, parse_successor, successor_of
from mimo_gb10.config_text import recipe_text
from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.launch import check
from mimo_gb10.recipe import load_recipe
from mimo_gb10.release import load_release
from mimo_gb10.text.document import parse_document
from tests.support.run import run_command


def changes(old: str, new: str, recipe: str | None = None) -> dict[tuple[str, str], Change]:
    context = context_of(recipe, old) if recipe else None
    return {(change.kind, change.name): change for change in compare(load_release(old), load_release(new), context)}


def context_of(recipe: str, release: str, *overrides: str) -> Context:
    context = check(recipe, DEFAULT_CLUSTER, overrides).context
    assert context is not None
    assert context.release.version == release
    return context


def test_nothing_changes_within_a_release() -> None:
    assert changes("0.5.12", "0.5.12.post1") == {}


def test_from_the_posts_release_to_the_newest() -> None:
    found = changes("0.5.11", "0.5.23")
    assert ("defect-mended", "audio-encoder-flash-attn") in found
    assert ("defect-mended", "mtp-triton-window") in found
    assert ("defect-mended", "transcription-adapter") not in found
    nccl = found["pin", "nvidia-nccl-cu13"]
    assert (nccl.before, nccl.after) == ("2.28.9", "2.30.7")
    assert ("pin", "torch") in found
    mimo = found["parser", "reasoning-parser mimo"]
    assert "Qwen3Detector; expects reasoning only when enable_thinking is true" in mimo.before
    assert "chat template comes first" in mimo.after
    assert ("rule-ends", "grpc-port") in found
    assert found["variable-gone", "SGLANG_ENABLE_SPEC_V2"].after == "not read"
    assert found["flag-deprecated", "enable-dp-attention"].do == "Use --attn-dp-size <dp-size>."


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("0.5.13.post1", "0.5.14", ("flag-deprecated", "disable-cuda-graph")),
        ("0.5.13.post1", "0.5.14", ("rule-ends", "hierarchical-cache-swa")),
        ("0.5.13.post1", "0.5.14", ("rule-begins", "hierarchical-cache-tree")),
        ("0.5.15.post1", "0.5.16", ("defect-mended", "audio-encoder-flash-attn")),
        ("0.5.17", "0.5.18", ("pin", "nvidia-nccl-cu13")),
        ("0.5.21", "0.5.22", ("flag-deprecated", "enable-dp-attention")),
        ("0.5.22", "0.5.23", ("defect-mended", "mtp-triton-window")),
        ("0.5.11", "0.5.12", ("parser", "reasoning-parser qwen3")),
        ("0.5.11", "0.5.12", ("flag-choices", "speculative-algorithm")),
    ],
)
def test_each_step_shows_its_change(old: str, new: str, key: tuple[str, str]) -> None:
    assert key in changes(old, new)


def test_a_recipe_sees_what_is_its_own() -> None:
    found = changes("0.5.11", "0.5.23", "gb10x4-omni")
    assert found["finding-gone", "nccl-deadlock"].before.startswith("SGLang 0.5.11 brings NCCL 2.28.9")
    assert ("finding-gone", "open-without-key") not in found
    assert ("flag-choices", "attention-backend") not in found, "its value is still accepted"
    assert ("parser", "reasoning-parser mimo") not in found, "it uses qwen3"
    assert ("parser", "reasoning-parser qwen3") in found


def test_a_vanished_flag_is_found_with_its_successor() -> None:
    old, new = load_release("0.5.13"), load_release("0.5.23")
    assert successor_of("cuda-graph-max-bs", old, new) == "--cuda-graph-max-bs-decode"
    context = context_of("gb10x4-omni", "0.5.11", "flags.cuda-graph-max-bs=8")
    found = {(change.kind, change.name): change for change in compare(load_release("0.5.11"), new, context)}
    assert found["flag-gone", "cuda-graph-max-bs"].do == "Use --cuda-graph-max-bs-decode."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--cuda-graph-max-bs-decode", [("cuda-graph-max-bs-decode", None)]),
        ("--a-{x,y}=disabled", [("a-x", "disabled"), ("a-y", "disabled")]),
        ("--attn-dp-size <dp-size>", [("attn-dp-size", "<dp-size>")]),
        ("--x=a --y=b", [("x", "a"), ("y", "b")]),
        ("SGLANG_A=1 SGLANG_B=1", []),
    ],
)
def test_upstreams_words_for_a_successor(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert parse_successor(text) == expected


def test_the_recipe_as_it_should_read(tmp_path: Path) -> None:
    overrides = (
        "flags.disable-cuda-graph=true",
        "flags.cuda-graph-max-bs=8",
        "flags.data-parallel-size=1",
        "env.SGLANG_ENABLE_SPEC_V2=True",
        "env.VLLM_HOST_IP={address}",
    )
    context = context_of("gb10x4-omni", "0.5.11", *overrides)
    moved, notes = moved_recipe(context.recipe, context.release, load_release("0.5.23"))
    assert "disable-cuda-graph" not in moved.flags
    assert moved.flags["cuda-graph-backend-decode"] == "disabled"
    assert moved.flags["cuda-graph-backend-prefill"] == "disabled"
    assert moved.flags["cuda-graph-max-bs-decode"] == 8
    assert moved.flags["mem-fraction-static"] == 0.8
    assert {"SGLANG_ENABLE_SPEC_V2", "VLLM_HOST_IP"} & set(moved.env) == set()
    assert moved.env["OMP_NUM_THREADS"] == "4"
    assert moved.defects == (
        "transcription-token-list",
        "transcription-adapter",
        "video-pin-memory",
        "video-batch-tensor",
        "vision-sinks-window",
    )
    assert moved.evidence == ()
    assert moved.image == "lmsysorg/sglang:v0.5.23-cu130"
    file = tmp_path / "gb10x4-omni.yaml"
    file.write_text(recipe_text(moved, notes), encoding="utf-8")
    checked = check(str(file), DEFAULT_CLUSTER)
    assert not checked.refused, checked.findings
    assert "flag-deprecated" not in {found.code for found in checked.findings}


@pytest.mark.parametrize("size", ["dp-size", "data-parallel-size"])
def test_dp_attention_moves_to_its_new_flag(size: str) -> None:
    context = context_of("gb10x4-omni", "0.5.11", f"flags.{size}=2", "flags.enable-dp-attention=true")
    moved, _ = moved_recipe(context.recipe, context.release, load_release("0.5.23"))
    assert moved.flags["attn-dp-size"] == 2
    assert {size, "enable-dp-attention"} & set(moved.flags) == set()


@pytest.mark.parametrize("name", ["gb10x4-post", "gb10x4-omni", "gb10x4-mtp"])
def test_a_recipe_written_down_reads_the_same(name: str) -> None:
    context = check(name, DEFAULT_CLUSTER).context
    assert context is not None
    recipe = context.recipe
    again = load_recipe(parse_document(recipe_text(recipe).encode(), "again.yaml"))
    for field in ("name", "title", "summary", "sglang", "image", "nodes", "flags", "env", "defects", "why", "evidence"):
        assert getattr(again, field) == getattr(recipe, field), field


def test_the_command(tmp_path: Path) -> None:
    done = run_command("compare_releases.py", "gb10x4-omni", "--to", "0.5.17")
    assert done.returncode == 0
    assert done.stdout.startswith("SGLang 0.5.11 to 0.5.17: ")
    assert "Defects that are mended" in done.stdout
    assert "The recipe for 0.5.17" in done.stdout
    assert "\x1b" not in done.stdout
    result = json.loads(run_command("compare_releases.py", "--from", "0.5.11", "--to", "0.5.12", "--json").stdout)
    assert (result["from"], result["to"], result["recipe"]) == ("0.5.11", "0.5.12", None)
    assert {"kind", "name", "before", "after", "do", "source"} == set(result["changes"][0])
    file = tmp_path / "moved.yaml"
    assert run_command("compare_releases.py", "gb10x4-omni", "--write", str(file)).returncode == 0
    again = run_command("compare_releases.py", "gb10x4-omni", "--write", str(file))
    assert (again.returncode, "file-exists" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--from", "0.5.17", "--to", "0.5.12"], "release-order"),
        (["--from", "0.5.12", "--to", "0.5.12"], "release-order"),
        (["--to", "0.5.99"], "release-unknown"),
        (["gb10x4-omnii"], "recipe-unknown"),
        (["--write", "x.yaml"], "recipe-missing"),
    ],
)
def test_mistakes_are_findings(arguments: list[str], code: str) -> None:
    done = run_command("compare_releases.py", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error[{code}]" in done.stderr
    assert "Traceback" not in done.stderr
