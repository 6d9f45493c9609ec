"""``plan_memory.py`` as a user runs it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mimo_gb10.memory.basis import Basis
from tests.support.run import run_command

COMMAND = "plan_memory.py"


def test_every_line_of_memory_says_how_sure_it_is() -> None:
    done = run_command(COMMAND, "gb10x4-mtp")
    assert done.returncode == 0
    table = done.stdout[done.stdout.index("how sure") : done.stdout.index("capacity at")]
    rows = [line for line in table.splitlines()[1:] if line.startswith("  ")]
    assert len(rows) > 20
    for row in rows:
        assert any(basis.value in row for basis in Basis), row
        if Basis.FORMULA.value in row:
            assert "sglang/srt/" in row
    assert "Nothing below was measured on GB10" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_the_default_recipe_names_what_to_watch() -> None:
    done = run_command(COMMAND)
    assert done.returncode == 0
    assert "configs/recipes/gb10x4-omni.yaml:" in done.stderr
    assert "warning[memory-context]" in done.stderr
    assert "542,100" in done.stdout
    assert "1,628,347" in done.stdout
    assert "WRONG SIDE" not in done.stdout


def test_json_is_the_same_plan() -> None:
    done = run_command(COMMAND, "gb10x4-mtp", "--json", "--accept-length", "2.5")
    plan = json.loads(done.stdout)
    assert plan["measured_on_gb10"] is False
    assert plan["fraction"] == 0.78
    assert plan["accept_length"] == 2.5
    assert plan["tight"]["tokens"] < plan["roomy"]["tokens"]
    for group in plan["items"].values():
        for item in group:
            assert item["basis"] in [basis.value for basis in Basis]
            assert item["source"]
            assert item["bytes"]["low"] <= item["bytes"]["high"]
    loaded = sum(item["bytes"]["high"] for item in plan["items"]["loaded"])
    assert plan["tight"]["loaded"] == pytest.approx(loaded, abs=20)
    assert all(figure["problems"] == [] for figure in plan["public_figures"])
    assert {constant["sure"] for constant in plan["constants"]} == {"reported"}
    assert [row["context"] for row in plan["speed"]] == [1024, 32768, 262144, 1048576]
    assert plan["findings"][0]["code"] == "memory-context"
    assert done.stderr == ""


def test_speed_with_and_without_mtp() -> None:
    without = json.loads(run_command(COMMAND, "gb10x4-omni", "--json").stdout)
    assert without["accept_length"] is None
    assert all(row["mtp"] is None for row in without["speed"])
    what_if = json.loads(run_command(COMMAND, "gb10x4-omni", "--json", "--accept-length", "3").stdout)
    assert all(row["mtp"]["all_reduces"] == 110 for row in what_if["speed"])
    mtp = json.loads(run_command(COMMAND, "gb10x4-mtp", "--json").stdout)
    assert mtp["accept_length"] == 2.95


def test_a_value_that_boots_nowhere_is_an_error() -> None:
    done = run_command(COMMAND, "--set", "flags.mem-fraction-static=0.98")
    assert done.returncode == 1
    assert "--set flags.mem-fraction-static=0.98: error[memory-boot]" in done.stderr
    assert "help: " in done.stderr


def test_strict_makes_a_warning_an_error() -> None:
    assert run_command(COMMAND, "--strict").returncode == 1
    quiet = run_command(COMMAND, "--strict", "--available", "114")
    assert quiet.returncode == 0
    assert quiet.stderr == ""
    assert "0.77 to 0.85 holds a full request" in quiet.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere"], "recipe-unknown"),
        (["--cluster", "nowhere"], "cluster-unknown"),
        (["--set", "flags.cpu-offload-gb=8"], "plan-unmodelled"),
        (["--set", "flags.no-such-flag=2"], "flag-unknown"),
        (["--accept-length", "7"], "accept-length"),
    ],
)
def test_errors_have_the_form_of_the_house(arguments: list[str], code: str) -> None:
    done = run_command(COMMAND, *arguments)
    assert done.returncode == 1
    assert f"error[{code}]" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--available", "0"],
        ["--available", "nan"],
        ["--available", "500"],
        ["--accept-length", "-1"],
        ["--accept-length", "much"],
        ["--svg", "plan.png"],
        ["--at", "0.8"],
        ["--at", "1.2", "--svg", "plan.svg"],
    ],
)
def test_usage(arguments: list[str]) -> None:
    done = run_command(COMMAND, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_drawing_is_written_whole(tmp_path: Path) -> None:
    file = tmp_path / "plan.svg"
    file.write_text("old", encoding="utf-8")
    before = file.stat().st_ino
    done = run_command(COMMAND, "--svg", str(file), "--at", "0.7", "--at", "0.8")
    assert done.returncode == 0
    assert file.read_text(encoding="utf-8").endswith("</svg>\n")
    # A rename puts another file there; what a reader had open stays whole.
    assert file.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [file]
    assert ">0.70<" in file.read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = run_command(COMMAND, "--svg", str(tmp_path / "file" / "plan.svg"))
    assert done.returncode == 1
    assert "error[out-unwritable]" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_leaves_no_drawing(tmp_path: Path) -> None:
    done = run_command(COMMAND, "--set", "flags.pp-size=2", "--svg", str(tmp_path / "plan.svg"))
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_help_answers_at_once() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert run_command(COMMAND, "--help").returncode == 0
        times.append(time.perf_counter() - start)
    # 60 ms on a quiet machine; the interpreter's own start is most of it.
    assert min(times) < 0.2
