"""The maker of the patches' index refuses what does not fit, on a made-up world."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mimo_gb10.commands import generate as command
from mimo_gb10.defects import PRESENT, Defect, Place, Unmended, load_defects, load_verdicts
from mimo_gb10.extract import patch_index
from mimo_gb10.extract.wheel import EnvironmentProblem
from mimo_gb10.findings import Finding, Refused, error
from mimo_gb10.paths import PATCHES
from mimo_gb10.release import known_releases
from tests.support.patch_world import DEFECTS, NEW, PRISTINE, A, B, diff, patched, patches, sources, write_patches

ONE = "one/sglang-1.0.0..1.0.1.patch"
TWO = "two/sglang-1.0.0..1.0.0.patch"


def build(
    folder: Path, texts: Mapping[str, bytes], defects: Mapping[str, Defect] = DEFECTS
) -> tuple[dict[str, object], list[Finding]]:
    write_patches(folder, texts)
    return patch_index.build(sources(), folder, defects)


def renamed(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    def change(texts: dict[str, bytes]) -> None:
        texts[new] = texts.pop(old)

    return change


def edited(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(texts: dict[str, bytes]) -> None:
        assert old in texts[name]
        texts[name] = texts[name].replace(old, new)

    return change


def added(name: str, like: str) -> Callable[[dict[str, bytes]], None]:
    def change(texts: dict[str, bytes]) -> None:
        texts[name] = texts[like]

    return change


def test_a_sound_world_has_no_finding(tmp_path: Path) -> None:
    index, findings = build(tmp_path, patches())
    assert findings == []
    again = json.loads(patch_index.as_text(index))
    assert again == index
    assert index["releases"]["1.0.2"]["pristine_tree"] == patch_index.tree_hash(  # type: ignore[index]
        sources()["1.0.2"].digests
    )


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        (renamed(ONE, "one/sglang-1.0.0.patch"), "patch-name", "one/sglang-1.0.0.patch"),
        (renamed(ONE, "one/sglang-1.0.0..1.0.9.patch"), "patch-name", "one/sglang-1.0.0..1.0.9.patch"),
        (renamed(ONE, "one/sglang-1.0.1..1.0.0.patch"), "patch-name", "one/sglang-1.0.1..1.0.0.patch"),
        (renamed(ONE, "one/sglang-1.0.0..1.0.0.patch"), "patch-gap", "defects.yaml"),
        (renamed(ONE, "one/sglang-1.0.0..1.0.2.patch"), "patch-not-needed", "one/sglang-1.0.0..1.0.2.patch"),
        (added("one/sglang-1.0.1..1.0.1.patch", ONE), "patch-overlap", "one/sglang-1.0.1..1.0.1.patch"),
        (added("other/sglang-1.0.0..1.0.0.patch", ONE), "patch-stray", "other/sglang-1.0.0..1.0.0.patch"),
        (added("one/notes.txt", ONE), "patch-stray", "one/notes.txt"),
        (edited(ONE, b"Author: ", b"Athor: "), "patch-header", ONE),
        (edited(ONE, b"Drop-When: never", b"Drop-When: "), "patch-header", ONE),
        (edited(ONE, b"Last-Update: 2026-11-24", b"Last-Update: today"), "patch-header", ONE),
        (edited(ONE, b"Bug: https://example.org/1", b"Bug: 24493"), "patch-header", ONE),
        (edited(ONE, b"@@ -7,7", b"@@ -7,9"), "patch-unreadable", ONE),
        (edited(ONE, b"@@ -7,7 +7,8", b"@@ -8,7 +8,8"), "patch-apply", ONE),
        (edited(ONE, b" line 8\n", b" line eight\n"), "patch-apply", ONE),
        (edited(ONE, b"+mended one\n", b"+bug one\n"), "patch-probe", ONE),
        (edited(TWO, b" line 12\n", b" line twelve\n"), "patch-apply", TWO),
    ],
)
def test_each_mistake_has_its_finding(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None], code: str, place: str
) -> None:
    texts = patches()
    change(texts)
    _, findings = build(tmp_path, texts)
    found = {(finding.code, str(finding.location)) for finding in findings}
    assert (code, str(tmp_path / place)) in found
    assert all(finding.help and finding.severity.label == "error" for finding in findings)


def test_a_patch_made_without_the_one_before_it_does_not_pass(tmp_path: Path) -> None:
    """It would apply at an offset, which is a guess."""
    texts = patches()
    without = dict(PRISTINE["1.0.0"])
    texts[TWO] = texts[ONE].partition(b"---\n")[0] + b"---\n" + diff(
        {A: without[A].replace(b"bug one", b"mended one")},
        {A: without[A].replace(b"bug one", b"mended one").replace(b"bug two", b"mended two")},
    )  # fmt: skip
    assert b"@@" in texts[TWO]
    _, findings = build(tmp_path, texts)
    assert "patch-apply" in {finding.code for finding in findings}


def test_two_patches_for_sources_that_read_alike(tmp_path: Path) -> None:
    """A tree could not tell which of the two is meant."""
    texts = patches()
    for release in ("1.0.0", "1.0.1"):
        texts[f"one/sglang-{release}..{release}.patch"] = texts[ONE]
    del texts[ONE]
    _, findings = build(tmp_path, texts)
    assert [finding.code for finding in findings] == ["patch-split"]


def test_releases_without_a_patch_on_purpose(tmp_path: Path) -> None:
    texts = {name: text for name, text in patches().items() if not name.startswith("one/")}
    reason = Unmended("1.0.0", "1.0.1", "It would crash.")
    defects = {"one": replace(DEFECTS["one"], unmended=(reason,)), "two": DEFECTS["two"]}
    _, findings = build(tmp_path, texts, defects)
    assert "patch-gap" not in {finding.code for finding in findings}
    _, findings = build(tmp_path, patches(), defects)
    assert {finding.code for finding in findings} == {"patch-unmended"}


def test_a_probe_that_cannot_tell(tmp_path: Path) -> None:
    probe = {**DEFECTS["one"].probe, "fixed": ["^nothing$"]}
    _, findings = build(tmp_path, patches(), {**DEFECTS, "one": replace(DEFECTS["one"], probe=probe)})
    assert [finding.message for finding in findings] == [
        "one: the probe cannot tell whether sglang 1.0.2 has the defect"
    ]


def test_places(tmp_path: Path) -> None:
    def with_places(*places: Place) -> tuple[dict[str, object], list[Finding]]:
        return build(tmp_path, patches(), {**DEFECTS, "one": replace(DEFECTS["one"], places=places)})

    index, findings = with_places(
        Place(A, "^line 12$", "^bug one$", "below", None, None),
        Place(A, "upstream mend", None, "what it is now", "1.0.2", None),
    )
    assert findings == []
    releases = index["defects"][0]["releases"]  # type: ignore[index]
    assert releases["1.0.1"]["places"] == [{"at": f"{A}:12", "says": "below"}]
    assert releases["1.0.2"]["places"] == [{"at": f"{A}:10", "says": "what it is now"}]
    for wrong in (
        Place(A, "^line 9$", "^bug one$", "above", None, None),
        Place(A, "^line 99$", None, "not there", None, None),
        Place("sglang/srt/nowhere.py", "^line 9$", None, "no file", None, None),
        Place(A, "^bug one$", None, "not any more", "1.0.2", None),
    ):
        _, findings = with_places(wrong)
        assert {finding.code for finding in findings} == {"place-missing"}


def test_a_glob_reads_what_a_patch_adds(tmp_path: Path) -> None:
    probe = {"file": "sglang/srt/*.py", "fixed": ["^new = 2$"], "present": ["^bug two in b$"]}
    index, findings = build(tmp_path, patches(), {**DEFECTS, "two": replace(DEFECTS["two"], probe=probe)})
    assert findings == []
    assert set(index["files"]) == {A, B, NEW}  # type: ignore[call-overload]


def test_every_set_of_patches_is_listed(tmp_path: Path) -> None:
    index, _ = build(tmp_path, patches())
    (first, *_) = index["files"][A]  # type: ignore[index]
    assert first["releases"] == ["1.0.0"]
    from apply_patches import sha256

    assert first["states"] == {
        " ".join(names): sha256(patched("1.0.0", *names)[A]) for names in ((), ("two",), ("one",), ("one", "two"))
    }


# --- the command


def generate(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, check: bool, problem: Exception | None = None
) -> tuple[int, str]:
    def wheels(_cache: Path | None) -> object:
        if problem is not None:
            raise problem
        return sources()

    build_index = patch_index.build
    monkeypatch.setattr(patch_index, "wheels", wheels)
    monkeypatch.setattr(patch_index, "build", lambda found: build_index(found, folder, DEFECTS))
    monkeypatch.setattr(command, "PATCH_INDEX", folder / "index.json")
    monkeypatch.setattr(command, "ROOT", folder.parent)
    out = io.StringIO()
    code = command.generate_patches(argparse.Namespace(check=check, cache=None, no_color=True), out)
    monkeypatch.undo()
    return code, out.getvalue()


def test_the_command_writes_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "patches"
    write_patches(folder, patches())
    assert generate(monkeypatch, folder, check=True) == (1, "")
    assert "patches/index.json: error[patch-index]" in capsys.readouterr().err
    assert not (folder / "index.json").exists()
    assert generate(monkeypatch, folder, check=False) == (0, "wrote patches/index.json\n")
    assert generate(monkeypatch, folder, check=True) == (0, "")
    assert generate(monkeypatch, folder, check=False) == (0, "")
    before = (folder / "index.json").read_bytes()
    write_patches(folder, {ONE: patches()[ONE].replace(b"Author", b"Autor")})
    assert generate(monkeypatch, folder, check=False) == (1, "")
    assert (folder / "index.json").read_bytes() == before, "nothing is written with an error"
    assert "error[patch-header]: the header has no Author of the right form" in capsys.readouterr().err


def test_problems_have_their_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert generate(monkeypatch, tmp_path, check=True, problem=Refused([error("wheel-checksum", "x")])) == (1, "")
    problem = EnvironmentProblem([error("wheel-download", "x")])
    assert generate(monkeypatch, tmp_path, check=True, problem=problem) == (3, "")


# --- what is read from it


def test_verdicts_are_of_every_release_and_defect() -> None:
    assert list(load_verdicts()) == list(load_defects())
    for verdict in load_verdicts().values():
        assert list(verdict.status) == known_releases()
        assert verdict.in_release("9.9.9") == "unknown"
        assert verdict.patch_for("9.9.9") is None
        for version, status in verdict.status.items():
            patch = verdict.patch_for(version)
            assert (patch is not None) == (status == PRESENT and not load_defects()[verdict.id].why_unmended(version))
            assert patch is None or (PATCHES / patch.file).is_file()
            assert verdict.places[version] or status != PRESENT


def test_an_index_that_cannot_be_read_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mimo_gb10 import defects

    monkeypatch.setattr(defects, "ROOT", tmp_path)
    monkeypatch.setattr(defects, "PATCH_INDEX", tmp_path / "index.json")
    for text in (None, "", "{}", '{"defects": [{"id": 1}]}'):
        if text is not None:
            (tmp_path / "index.json").write_text(text)
        with pytest.raises(Refused) as refused:
            load_verdicts.__wrapped__()
        assert "generate.py patches" in refused.value.findings[0].help
