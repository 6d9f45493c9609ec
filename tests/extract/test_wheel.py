from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.extract import wheel
from mimo_gb10.extract.wheel import EnvironmentProblem, fetch
from mimo_gb10.findings import Refused

NAME = "sglang-9.9.9-cp312-cp312-manylinux_2_34_aarch64.whl"


def make_wheel(path: Path, text: str = "X = 1\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sglang/a.py", text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Pip:
    """Stands for pip: writes a wheel, or fails as told."""

    def __init__(self, returncode: int = 0, stderr: str = "", damaged: bool = False) -> None:
        self.calls: list[list[str]] = []
        self.returncode, self.stderr, self.damaged = returncode, stderr, damaged

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.calls.append(command)
        if self.returncode == 0:
            target = Path(command[command.index("--dest") + 1]) / NAME
            if self.damaged:
                target.write_bytes(b"not a zip file")
            else:
                make_wheel(target)
        return subprocess.CompletedProcess(command, self.returncode, "", self.stderr)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    fake = Pip()
    monkeypatch.setattr(subprocess, "run", fake)
    return fake


def test_a_wheel_is_downloaded_once_and_read_without_unpacking(tmp_path: Path, pip: Pip) -> None:
    found = fetch("9.9.9", tmp_path / "cache")
    assert (found.release, found.file, found.members) == ("9.9.9", NAME, ("sglang/a.py",))
    assert found.read("sglang/a.py") == "X = 1\n"
    assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert fetch("9.9.9", tmp_path / "cache", found.sha256) == found
    assert len(pip.calls) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [NAME]


def test_the_wheel_is_the_one_of_the_containers(tmp_path: Path, pip: Pip) -> None:
    fetch("9.9.9", tmp_path)
    (command,) = pip.calls
    assert "sglang==9.9.9" in command
    assert "manylinux_2_34_aarch64" in command
    assert command[command.index("--python-version") + 1] == "3.12"
    assert "--no-deps" in command


def test_a_wheel_with_another_checksum_is_refused(tmp_path: Path, pip: Pip) -> None:
    with pytest.raises(Refused) as caught:
        fetch("9.9.9", tmp_path, "0" * 64)
    assert not isinstance(caught.value, EnvironmentProblem)
    assert caught.value.findings[0].code == "wheel-checksum"


@pytest.mark.parametrize("known", [True, False])
def test_a_damaged_file_in_the_cache_is_downloaded_again(tmp_path: Path, pip: Pip, known: bool) -> None:
    digest = make_wheel(tmp_path / "right.whl")
    (tmp_path / NAME).write_bytes(b"PK cut short")
    found = fetch("9.9.9", tmp_path, digest if known else None)
    assert len(pip.calls) == 1
    assert found.read("sglang/a.py") == "X = 1\n"


def test_a_download_that_is_no_wheel_is_refused(tmp_path: Path, pip: Pip) -> None:
    pip.damaged = True
    with pytest.raises(Refused) as caught:
        fetch("9.9.9", tmp_path)
    assert caught.value.findings[0].code == "wheel-damaged"


@pytest.mark.parametrize(
    ("stderr", "code"),
    [
        ("/usr/bin/python3: No module named pip\n", "pip-missing"),
        ("WARNING: a\nERROR: No matching distribution found for sglang==9.9.9\n", "wheel-download"),
        ("", "wheel-download"),
    ],
)
def test_without_pip_or_network_the_environment_is_to_blame(tmp_path: Path, pip: Pip, stderr: str, code: str) -> None:
    pip.returncode, pip.stderr = 1, stderr
    with pytest.raises(EnvironmentProblem) as caught:
        fetch("9.9.9", tmp_path)
    assert caught.value.findings[0].code == code
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_brings_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", nothing)
    with pytest.raises(EnvironmentProblem) as caught:
        fetch("9.9.9", tmp_path)
    assert caught.value.findings[0].code == "wheel-missing"


def test_a_cache_folder_that_cannot_be_made_is_the_environments_fault(tmp_path: Path, pip: Pip) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem) as caught:
        fetch("9.9.9", tmp_path / "file" / "cache")
    assert caught.value.findings[0].code == "cache-folder"


def test_the_cache_lies_where_xdg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert wheel.default_cache_dir() == tmp_path / "mimo-gb10" / "wheels"


def test_another_releases_wheel_is_not_taken(tmp_path: Path, pip: Pip) -> None:
    make_wheel(tmp_path / "sglang-9.9.9.post1-cp312-cp312-manylinux_2_34_aarch64.whl")
    assert fetch("9.9.9", tmp_path).file == NAME
