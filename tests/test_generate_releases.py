"""`make check-releases` fails on any difference between a committed catalog and its wheel."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimo_gb10.commands import generate as command
from mimo_gb10.extract import catalog
from mimo_gb10.extract.wheel import EnvironmentProblem
from mimo_gb10.findings import Refused, error, warning
from mimo_gb10.paths import RELEASES

VERSION = "0.5.12"
COMMITTED = (RELEASES / f"sglang-{VERSION}.json").read_text(encoding="utf-8")


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, extracted: object, **changes: object) -> tuple[int, str]:
    """The command with `extracted` in place of what the wheel gives; (exit code, stdout)."""

    def extract(*_arguments: object) -> object:
        if isinstance(extracted, Exception):
            raise extracted
        return SimpleNamespace(as_json_text=lambda: extracted, findings=())

    monkeypatch.setattr(catalog, "extract_release", extract)
    monkeypatch.setattr(command, "RELEASES", folder)
    monkeypatch.setattr(command, "ROOT", folder)
    options = {"versions": [VERSION], "add": None, "cache": None, "check": True, "no_color": True, **changes}
    out = io.StringIO()
    return command.generate_releases(argparse.Namespace(**options), out), out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / f"sglang-{VERSION}.json").write_text(COMMITTED, encoding="utf-8")
    return tmp_path


def test_the_same_is_fresh(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert run(monkeypatch, folder, COMMITTED) == (0, "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"--tp-size"', '"--tq-size"'),
        ('"default": 0.8', '"default": 0.9'),
        ('"triton", "torch_native"', '"torch_native"'),
        ('"source": "sglang/srt/server_args.py:4', '"source": "sglang/srt/server_args.py:5'),
        ('"requirement": "==2.28.9"', '"requirement": "==2.30.7"'),
        ('"when": "asked"', '"when": "always"'),
        ('"mtp-triton": ', '"mtp-tritons": '),
        ('"sha256": "', '"sha256": "0'),
    ],
)
def test_any_difference_is_found(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    assert old in COMMITTED
    code, _ = run(monkeypatch, folder, COMMITTED.replace(old, new, 1))
    shown = capsys.readouterr().err
    assert code == 1
    assert f"sglang-{VERSION}.json: error[catalog-stale]" in shown
    assert f"python scripts/generate.py releases {VERSION}" in shown
    assert (folder / f"sglang-{VERSION}.json").read_text(encoding="utf-8") == COMMITTED


def test_a_difference_is_mended_without_check(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    code, out = run(monkeypatch, folder, COMMITTED + " ", check=False)
    assert (code, out) == (0, f"wrote sglang-{VERSION}.json\n")
    assert (folder / f"sglang-{VERSION}.json").read_text(encoding="utf-8") == COMMITTED + " "


def test_add_makes_a_new_catalog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, out = run(monkeypatch, tmp_path, "{}\n", versions=[], add="0.5.24", check=False)
    assert (code, out) == (0, "wrote sglang-0.5.24.json\n")
    assert (tmp_path / "sglang-0.5.24.json").read_text(encoding="utf-8") == "{}\n"


def test_problems_have_their_exit_codes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert run(monkeypatch, folder, Refused([error("wheel-checksum", "x")]))[0] == 1
    assert run(monkeypatch, folder, EnvironmentProblem([error("wheel-download", "x")]))[0] == 3


def test_what_cannot_be_resolved_is_listed_and_not_written(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unresolved = SimpleNamespace(as_json_text=lambda: "{}", findings=(error("flag-unresolved", "no choices"),))
    monkeypatch.setattr(catalog, "extract_release", lambda *_: unresolved)
    monkeypatch.setattr(command, "RELEASES", folder)
    monkeypatch.setattr(command, "ROOT", folder)
    options = argparse.Namespace(versions=[VERSION], add=None, cache=None, check=False, no_color=True)
    assert command.generate_releases(options, io.StringIO()) == 1
    assert "error[flag-unresolved]: no choices" in capsys.readouterr().err
    assert (folder / f"sglang-{VERSION}.json").read_text(encoding="utf-8") == COMMITTED
    partly = SimpleNamespace(as_json_text=lambda: "{}", findings=(warning("variable-unresolved", "a default"),))
    monkeypatch.setattr(catalog, "extract_release", lambda *_: partly)
    assert command.generate_releases(options, io.StringIO()) == 0
