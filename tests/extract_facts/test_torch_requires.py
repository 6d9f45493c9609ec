from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.extract.pins import torch_requires
from mimo_gb10.extract.wheel import EnvironmentProblem

REPORT = json.dumps({"install": [{"metadata": {"requires_dist": ["filelock", "triton==1.0"]}}]})


class Pip:
    """Stands for pip: answers with a report, or fails as told."""

    def __init__(self, stdout: str = REPORT, stderr: str = "", returncode: int = 0) -> None:
        self.calls: list[list[str]] = []
        self.answer = subprocess.CompletedProcess[str]([], returncode, stdout, stderr)

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.calls.append(command)
        return self.answer


def use(pip: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(subprocess, "run", pip)
    return pip


def test_pip_is_asked_once_for_the_metadata_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = use(Pip(), monkeypatch)
    for _ in range(2):
        assert torch_requires("9.1.0", tmp_path / "new") == ["filelock", "triton==1.0"]
    assert len(pip.calls) == 1
    assert {"--dry-run", "--no-deps", "manylinux_2_28_aarch64", "torch==9.1.0"} <= set(pip.calls[0])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["torch-9.1.0-aarch64.json"]


def test_a_damaged_answer_in_the_cache_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = use(Pip(), monkeypatch)
    (tmp_path / "torch-9.1.0-aarch64.json").write_text("{", encoding="utf-8")
    assert torch_requires("9.1.0", tmp_path) == ["filelock", "triton==1.0"]
    assert len(pip.calls) == 1


@pytest.mark.parametrize(
    ("pip", "says"),
    [
        (Pip(stderr="WARNING: slow\nERROR: no such version\n", returncode=1), ": no such version"),
        (Pip(stderr="No module named pip\n", returncode=1), "No module named pip"),
        (Pip(returncode=1), "no message"),
        (Pip(stdout="not json"), "another form"),
        (Pip(stdout='{"install": []}'), "another form"),
    ],
)
def test_without_an_answer_it_is_a_problem_of_the_environment(
    pip: Pip, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(pip, monkeypatch)
    with pytest.raises(EnvironmentProblem, match=says):
        torch_requires("9.1.0", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_problem_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Pip(), monkeypatch)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        torch_requires("9.1.0", tmp_path / "file")
