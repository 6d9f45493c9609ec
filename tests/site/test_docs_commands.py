"""What the pages tell a reader to run is run, where it needs no node, no GPU and no network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mimo_gb10.docs_check import bash
from mimo_gb10.docs_check.markdown import Fence, fences_of, read_pages
from mimo_gb10.docs_check.own import own_command
from mimo_gb10.paths import ROOT

PAGES = read_pages()
RUN_HERE = {
    "scripts/check_command.py": {0, 1},  # 1: the command of the example has errors
    "scripts/compare_releases.py": {0},
    "scripts/diagnose.py": {0, 1},  # 1: the log of the example has symptoms
    "scripts/gen_launch.py": {0},
    "scripts/plan_memory.py": {0},
}
"""Commands that read files and print, and their exit codes on the examples."""

OPEN = re.compile(r"[$*<]|\A[A-Z]+\Z")
"""A word that only the reader or the shell can fill."""


def commands() -> list[tuple[str, ...]]:
    """Each command of the pages once, with its arguments."""
    seen = set()
    for fence in fences_of(PAGES, "bash", "sh"):
        for command in bash.commands(fence.text):
            own = own_command(command.words)
            if own is not None and own[0] in RUN_HERE and not any(OPEN.search(word) for word in own[1]):
                seen.add((own[0], *own[1]))
    return sorted(seen)


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A checkout as a reader has it, with the files that the pages tell them to make."""
    for name in ("configs", "docs", "patches", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("my-cluster.yaml", "cluster.yaml", "YOUR.yaml"):
        shutil.copy(ROOT / "configs" / "clusters" / "example-4x-gb10.yaml", tmp_path / name)
    shutil.copy(ROOT / "configs" / "recipes" / "gb10x4-omni.yaml", tmp_path / "next-recipe.yaml")
    shutil.copy(ROOT / "tests" / "data" / "post-launch.txt", tmp_path / "launch.sh")
    log = next(iter(sorted((ROOT / "tests" / "diagnose" / "logs").rglob("*.log"))))
    for rank in range(4):
        shutil.copy(log, tmp_path / f"rank{rank}.log")
    return tmp_path


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_it_runs(command: tuple[str, ...], reader: Path) -> None:
    for option in {"--new-cluster", "--write"} & set(command):
        (reader / command[command.index(option) + 1]).unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, *command], cwd=reader, capture_output=True, text=True, input="", timeout=60, check=False
    )
    assert done.returncode in RUN_HERE[command[0]], done.stderr
    assert done.stdout or "--out" in command


def test_each_of_them_stands_on_a_page() -> None:
    assert {command[0] for command in commands()} == set(RUN_HERE)


PYTHON = [fence for fence in fences_of(PAGES, "python") if "http" not in fence.text]


@pytest.mark.parametrize("fence", PYTHON, ids=lambda fence: f"{fence.file}:{fence.line}")
def test_python_runs(fence: Fence, reader: Path) -> None:
    env = {**os.environ, "PYTHONPATH": "scripts"}
    done = subprocess.run(
        [sys.executable, "-c", fence.text], cwd=reader, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
