"""What is asked of an image: the program that runs in the container, and the command that starts it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mimo_gb10.paths import ROOT
from mimo_gb10.preflight.bundle import image_program
from mimo_gb10.preflight.read_docker import ANSWER
from mimo_gb10.preflight.wanted import WantedRecipe
from tests.preflight.support import RECIPE, program, run_preflight, wanted
from tests.support.patch_world import World, make_world

# Stands in for docker on a node: has one image, and runs the container's program with this Python.
DOCKER = """
import json, os, subprocess, sys
words = sys.argv[1:]
with open(os.environ["STAND_IN_DOCKER"], "a") as log:
    log.write(json.dumps(words) + "\\n")
if words[0] == "info":
    print(json.dumps({"version": "29.2.1", "runtimes": {"nvidia": {}, "runc": {}}, "driver": "overlay2"}))
elif words[:2] == ["image", "inspect"]:
    print(json.dumps({"id": "sha256:" + "4d" * 32, "digests": [], "architecture": "arm64", "created": ""}))
elif words[0] == "run":
    print("== CUDA == a banner that images print")
    sys.exit(subprocess.run([sys.executable, "-I", "-"], stdin=sys.stdin).returncode)
"""

NCCL = "int ncclGetVersion(int *version) { *version = %d; return 0; }\n"


def recipe(**changes: object) -> WantedRecipe:
    found = wanted().recipe
    assert found is not None
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def answer(text: str, *, path: Path | None = None) -> dict[str, object]:
    """What the program prints, run by a Python that finds the packages in `path`."""
    setup = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else ""
    # In a container the packages are installed; here they are put in front for this program and those that it starts.
    env = {"PYTHONPATH": str(path)} if path else {}
    done = subprocess.run(
        [sys.executable, "-"],
        input=setup + text,
        capture_output=True,
        text=True,
        check=True,
        env={**env, "PATH": "/usr/bin:/bin"},
    )
    assert not done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    assert len(lines) == 1
    found: dict[str, object] = json.loads(lines[0][len(ANSWER) :])
    return found


def test_an_image_without_sglang_and_nccl() -> None:
    found = answer(image_program(recipe()))
    assert found["sglang"] is None
    assert "nccl" not in found
    assert "torch" in str(found["nccl_problem"])
    assert "patches" not in found
    assert found["patches_problem"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def test_an_image_with_an_sglang_of_no_known_release(world: World) -> None:
    decoder = world.site / "sglang" / "srt" / "utils" / "video_decoder.py"
    decoder.parent.mkdir()
    decoder.write_text("output = output.pin_memory()\n")
    command = [sys.executable, str(ROOT / "scripts" / "apply_patches.py"), "--status", "--json"]
    command += ["--sglang-dir", str(world.site), *recipe().defects]
    direct = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["defects"]
    before = world.snapshot()
    statuses = answer(image_program(recipe()), path=world.site)["patches"]
    assert statuses == {item["id"]: item["status"] for item in direct}
    assert len({item["status"] for item in direct}) > 1
    assert world.snapshot() == before


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize(
    ("number", "version"), [(22809, "2.28.9"), (22903, "2.29.3"), (23007, "2.30.7"), (21803, "2.18.3")]
)
def test_nccl_is_asked_for_its_version(tmp_path: Path, number: int, version: str) -> None:
    library = tmp_path / "libnccl.so.2"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=NCCL % number, text=True, check=True
    )
    found = answer(image_program(recipe(env={"SGLANG_NCCL_SO_PATH": str(library)})))
    assert found["nccl"] == version
    # As torch does it: once it is imported, the loader knows the library by its name.
    (tmp_path / "torch.py").write_text(f"import ctypes; ctypes.CDLL({str(library)!r}, ctypes.RTLD_GLOBAL)\n")
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,-soname,libnccl.so.2", "-x", "c", "-", "-o", library],
        input=NCCL % number,
        text=True,
        check=True,
    )
    assert answer(image_program(recipe()), path=tmp_path)["nccl"] == version


def test_the_container_is_started_only_when_asked_for(tmp_path: Path) -> None:
    program(tmp_path / "bin", "docker", DOCKER)
    log = tmp_path / "log"
    env = {"STAND_IN_DOCKER": str(log)}
    arguments = ["--node", "0", "--recipe", RECIPE, "--json"]
    first = run_preflight(*arguments, path=[tmp_path / "bin"], env=env)
    words = [json.loads(line) for line in log.read_text().splitlines()]
    assert {word[0] for word in words} == {"info", "image", "ps"}
    results = {item["check"]: item for item in json.loads(first.stdout)["nodes"][0]["results"]}
    assert results["patches"]["status"] == "skipped"
    assert "--image-checks" in results["patches"]["text"]

    log.unlink()
    second = run_preflight(*arguments, "--image-checks", path=[tmp_path / "bin"], env=env)
    started = [json.loads(line) for line in log.read_text().splitlines() if json.loads(line)[0] == "run"]
    assert started == [
        [
            *("run", "--rm", "--interactive", "--network=none", "--pull=never", "--entrypoint=python3"),
            *("--label=mimo-gb10=preflight", "lmsysorg/sglang:v0.5.23", "-"),
        ]
    ]
    results = {item["check"]: item for item in json.loads(second.stdout)["nodes"][0]["results"]}
    # This Python has no SGLang: the program in the "image" says so.
    assert results["patches"]["status"] == "skipped"
    assert "--image-checks" not in results["patches"]["text"]
    assert results["image"]["status"] == "ok"
