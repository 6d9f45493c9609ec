"""The real patches on the real sources: every release, every set, by our tool, by git and by patch."""

from __future__ import annotations

import argparse
import functools
import io
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import apply_patches as tool
from mimo_gb10.commands.generate import generate_patches
from mimo_gb10.extract import patch_index
from mimo_gb10.extract.patch_index import is_source, tree_hash
from mimo_gb10.paths import PATCHES
from mimo_gb10.release import known_releases
from tests.support.patch_world import diff
from tests.support.trees import copy_of, pristine

RELEASES = known_releases()


@functools.cache
def index() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((PATCHES / "index.json").read_bytes())
    return data


def series(release: str) -> list[tuple[str, dict[str, Any]]]:
    """The defects that have a patch for a release, with it, in application order."""
    return [
        (entry["id"], patch)
        for entry in index()["defects"]
        for patch in entry["patches"]
        if release in patch["releases"]
    ]


def touched(release: str) -> list[str]:
    return sorted({path for _, patch in series(release) for path in patch["touches"]})


def small_copy(release: str, folder: Path) -> Path:
    """The files that the index knows, and what makes a package of them."""
    for path in [*index()["files"], "sglang/__init__.py", "sglang/srt/server_args.py"]:
        source = pristine(release) / path
        if source.is_file():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
    return folder


def contents(folder: Path, release: str) -> dict[str, bytes | None]:
    files = {path: folder / path for path in touched(release)}
    return {path: file.read_bytes() if file.is_file() else None for path, file in files.items()}


def run(folder: Path, *arguments: str) -> int:
    return tool.main([*arguments, "--sglang-dir", str(folder)])


@functools.cache
def digests(release: str) -> dict[str, tuple[int, str]]:
    """The inode and the digest of every source file of the pristine tree."""
    folder = pristine(release)
    found = {}
    for path in sorted((folder / "sglang").rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and is_source(name):
            found[name] = (path.stat().st_ino, str(tool.sha256(path.read_bytes())))
    return found


def hash_of(folder: Path, release: str) -> str:
    """The hash of a whole tree; files that are the pristine ones, by a hard link, are not read again."""
    known = digests(release)
    found = {}
    for path in sorted((folder / "sglang").rglob("*")):
        name = path.relative_to(folder).as_posix()
        if tool.STORE in path.parts or not path.is_file():
            continue
        inode, digest = known.get(name, (0, ""))
        found[name] = digest if path.stat().st_ino == inode else str(tool.sha256(path.read_bytes()))
    return tree_hash(found)


# --- the real series


@pytest.mark.parametrize("release", RELEASES)
def test_the_series_on_a_whole_tree_and_back(release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = index()["releases"][release]
    tree = copy_of(release, tmp_path)
    assert hash_of(tree, release) == expected["pristine_tree"]
    assert expected["patched_tree"] != expected["pristine_tree"]
    assert run(tree) == 0
    assert hash_of(tree, release) == expected["patched_tree"]
    before = {path: (tree / path).stat().st_ino for path in touched(release)}
    assert run(tree) == 0
    assert {path: (tree / path).stat().st_ino for path in touched(release)} == before, "applied twice"
    capsys.readouterr()
    assert run(tree, "--status", "--json") == 0
    found = {entry["id"]: entry["status"] for entry in json.loads(capsys.readouterr().out)["defects"]}
    assert found == {
        entry["id"]: "mended" if entry["id"] in dict(series(release)) else entry["releases"][release]["status"]
        for entry in index()["defects"]
    }
    assert run(tree, "--revert") == 0
    assert hash_of(tree, release) == expected["pristine_tree"]
    assert contents(tree, release) == contents(pristine(release), release)
    assert not (tree / "sglang" / tool.STORE).exists()


@pytest.mark.parametrize("release", RELEASES)
def test_git_and_patch_agree_with_our_tool(release: str, tmp_path: Path) -> None:
    ours, by_git, by_patch = (small_copy(release, tmp_path / name) for name in ("ours", "git", "patch"))
    assert run(ours) == 0
    for _, patch in series(release):
        file = PATCHES / patch["file"]
        done = subprocess.run(["git", "apply", str(file)], cwd=by_git, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), file
        words = ["patch", "-p1", "--fuzz=0", "--force", "-i", str(file)]
        done = subprocess.run(words, cwd=by_patch, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert not {"offset", "fuzz"} & set(done.stdout.replace("(", " ").split()), done.stdout
    assert contents(by_git, release) == contents(ours, release)
    assert contents(by_patch, release) == contents(ours, release)
    assert contents(ours, release) != contents(pristine(release), release)


def of_their_own() -> list[str]:
    """The releases, but for those that get the same patches as the one before."""
    files = {release: [patch["file"] for _, patch in series(release)] for release in RELEASES}
    return [release for old, release in itertools.pairwise(["", *RELEASES]) if files.get(old) != files[release]]


@pytest.mark.parametrize("release", of_their_own())
def test_every_set_that_the_index_knows(release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each set on a fresh tree gives what the index says, and adding the rest gives the whole series."""
    monkeypatch.setattr(os, "fsync", lambda _handle: None)
    names = [name for name, _ in series(release)]
    files = {
        path: group for path, groups in index()["files"].items() for group in groups if release in group["releases"]
    }
    possible: list[list[str]] = []
    for number, chosen in enumerate(itertools.product((False, True), repeat=len(names))):
        wanted = [name for name, on in zip(names, chosen, strict=True) if on]
        keys = {path: " ".join(name for name in group["patches"] if name in wanted) for path, group in files.items()}
        if not wanted or any(key not in files[path]["states"] for path, key in keys.items()):
            continue
        possible.append(wanted)
        tree = small_copy(release, tmp_path / str(number))
        assert run(tree, *wanted) == 0
        for path, key in keys.items():
            file = tree / path
            assert tool.sha256(file.read_bytes() if file.is_file() else None) == files[path]["states"][key]
        if len(possible) % 4 == 1:
            assert run(tree, "--require", *wanted) == 0
            assert run(tree, *names) == 0
            assert run(tree, "--require", *names) == 0
            assert run(tree, "--revert") == 0
            assert contents(tree, release) == contents(pristine(release), release)
    # Patches for neighbouring lines may need one another, but none needs a later one.
    assert all(names[:end] in possible for end in range(1, len(names) + 1))


def test_a_day_0_build_is_known_by_its_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = small_copy("0.5.11", tmp_path)
    (tree / "sglang" / "_version.py").unlink(missing_ok=True)
    (tree / "sglang" / "_version.py").write_text("__version__ = version = '0.0.0.dev1+g983cd01'\n", encoding="utf-8")
    assert run(tree) == 0
    assert capsys.readouterr().out.startswith("SGLang 0.0.0.dev1+g983cd01 in ")
    names = [name for name, _ in series("0.5.11")]
    assert names
    assert run(tree, "--require", *names) == 0


@pytest.mark.parametrize("path", sorted({path for release in RELEASES for path in touched(release)}))
def test_a_dirty_file_is_refused_and_nothing_changes(path: str, tmp_path: Path) -> None:
    release = next(release for release in RELEASES if path in touched(release))
    tree = small_copy(release, tmp_path)
    file = tree / path
    data = file.read_bytes() if file.is_file() else b""
    file.unlink(missing_ok=True)
    file.write_bytes(data + b"# mine\n")
    before = contents(tree, release)
    assert run(tree) == 1
    assert contents(tree, release) == before
    assert not (tree / "sglang" / tool.STORE).exists()


def test_the_index_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    code = generate_patches(argparse.Namespace(check=True, cache=None, no_color=True), out)
    assert (code, out.getvalue(), capsys.readouterr().err) == (0, "", "")
    assert patch_index.changed_since() == []


def test_any_change_of_a_patch_is_noticed_without_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "patches"
    shutil.copytree(PATCHES, folder)
    monkeypatch.setattr(patch_index, "PATCHES", folder)
    monkeypatch.setattr(patch_index, "PATCH_INDEX", folder / "index.json")
    monkeypatch.setattr(patch_index, "ROOT", tmp_path)
    assert patch_index.changed_since() == []
    for file in sorted(folder.glob("*/*.patch")):
        text = file.read_bytes()
        file.write_bytes(text.replace(b"\n+", b"\n+ ", 1))
        (finding,) = patch_index.changed_since()
        assert str(finding.location) == str(file.relative_to(tmp_path))
        assert finding.help == "Run: python scripts/generate.py patches"
        file.rename(file.with_suffix(".off"))
        (finding,) = patch_index.changed_since()
        assert file.name in finding.message
        file.write_bytes(text)
    (folder / "video-pin-memory" / "sglang-0.5.11..0.5.11.patch").write_bytes(b"")
    assert [finding.message for finding in patch_index.changed_since()] == ["is not in the index"]
    (folder / "index.json").write_text("{}")
    assert [finding.message for finding in patch_index.changed_since()] == ["cannot be read"]


# --- the reader and applier of unified diffs


WORDS = ["a", "b", "c", "", "  d", "--- x", "+++ y", "@@", "\\ z"]


def texts(words: list[str]) -> st.SearchStrategy[bytes]:
    listed = st.lists(st.sampled_from(words), max_size=14)
    return st.builds(
        lambda lines, end: ("\n".join(lines) + ("\n" if end and lines else "")).encode(), listed, st.booleans()
    )


TEXTS = texts(WORDS)
WITH_CRLF = texts([*WORDS, "e\r", "\r"])
PATH = "sglang/srt/x.py"


def made_by_git(folder: Path, before: bytes | None, after: bytes) -> bytes:
    for name, data in (("a", before), ("b", after)):
        file = folder / name / PATH
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        if data is not None:
            file.write_bytes(data)
    sides = [f"a/{PATH}" if before is not None else "/dev/null", f"b/{PATH}"]
    words = ["git", "-c", "core.autocrlf=false", "diff", "--no-index", "--no-prefix", "--text", *sides]
    run = subprocess.run(words, cwd=folder, capture_output=True, check=False)
    lines = tool.split_lines(run.stdout)
    keep = [line for line in lines if not line.startswith(b"diff --git")]
    return b"".join(keep)


def by(program: list[str], folder: Path, before: bytes | None, patch: bytes) -> bytes | None:
    """What git or patch makes of a file; None if it refuses, or says that it moved something."""
    file = folder / PATH
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    if before is not None:
        file.write_bytes(before)
    (folder / "x.patch").write_bytes(patch)
    run = subprocess.run([*program, "x.patch"], cwd=folder, capture_output=True, check=False)
    if run.returncode or b"offset" in run.stdout or b"fuzz" in run.stdout:
        return None
    return file.read_bytes()


GIT = ["git", "apply", "--whitespace=nowarn"]
GNU = ["patch", "-p1", "--fuzz=0", "--force", "--binary", "-s", "-i"]


@settings(max_examples=60, deadline=None, database=None)
@given(before=st.none() | WITH_CRLF, after=WITH_CRLF)
def test_we_read_what_git_writes_and_do_what_git_and_patch_do(
    tmp_path_factory: pytest.TempPathFactory, before: bytes | None, after: bytes
) -> None:
    assume(before != after and not (before is None and not after) and after)
    folder = tmp_path_factory.mktemp("git")
    patch = made_by_git(folder, before, after)
    (change,) = tool.parse_patch(patch)
    assert tool.apply_file(before, change) == after
    assert tool.apply_file(after, change.reversed()) == before
    assert by(GIT, folder, before, patch) == after
    assert by(GNU, folder, before, patch) == after


@settings(max_examples=300, deadline=None, database=None)
@given(before=TEXTS, after=TEXTS)
def test_there_and_back(before: bytes, after: bytes) -> None:
    assume(before != after)
    (change,) = tool.parse_patch(diff({PATH: before}, {PATH: after}))
    assert tool.apply_file(before, change) == after
    assert tool.apply_file(after, change.reversed()) == before


@settings(max_examples=60, deadline=None, database=None)
@given(before=TEXTS, after=TEXTS, other=TEXTS)
def test_what_git_refuses_we_refuse(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes, other: bytes
) -> None:
    """On a file that the patch was not made for: the same result as patch without offset and fuzz, or a refusal."""
    assume(before != after and after)
    patch = diff({PATH: before}, {PATH: after})
    (change,) = tool.parse_patch(patch)
    try:
        ours = tool.apply_file(other, change)
    except tool.PatchError:
        ours = None
    folder = tmp_path_factory.mktemp("git")
    if ours is not None:
        assert by(GIT, folder, other, patch) == ours
        assert by(GNU, folder, other, patch) in (ours, None)
    assert ours != other


def numbered(first: int, last: int) -> bytes:
    return "".join(f"line {number}\n" for number in range(first, last + 1)).encode()


def test_offsets_only_where_they_are_allowed_and_never_fuzz() -> None:
    before = numbered(1, 30)
    after = before.replace(b"line 15\n", b"mended\n")
    (change,) = tool.parse_patch(diff({PATH: before}, {PATH: after}))
    moved = b"more\n" + before
    with pytest.raises(tool.PatchError, match="hunk 1 does not match at line 12"):
        tool.apply_file(moved, change)
    assert tool.apply_file(moved, change, offsets=True) == b"more\n" + after
    with pytest.raises(tool.PatchError):
        tool.apply_file(before.replace(b"line 12\n", b"line twelve\n"), change, offsets=True)
    (first,) = tool.parse_patch(diff({PATH: before}, {PATH: before.replace(b"line 1\n", b"mended\n")}))
    with pytest.raises(tool.PatchError):
        tool.apply_file(moved, first, offsets=True)  # its context says that the file begins there
    with pytest.raises(tool.PatchError, match="does not match"):
        tool.apply_file(b"more\n" + numbered(10, 20) + numbered(10, 20), change, offsets=True)


GOOD = diff({PATH: numbered(1, 20)}, {PATH: numbered(1, 20).replace(b"line 5\n", b"x\n")})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"--- a/", b"--- ", "paths are a/sglang"),
        (b"+++ b/", b"+++ b/../", "paths are b/sglang"),
        (b"sglang/srt/x.py", b"/etc/passwd", "paths are a/sglang"),
        (b"sglang/srt/x.py", b"sglang/../../x.py", "paths are a/sglang"),
        (b"sglang/srt/x.py", b"sglang/.mimo-gb10/manifest.json", "paths are a/sglang"),
        (b"+++ b/sglang/srt/x.py", b"+++ /dev/null", "removes a file"),
        (b"+++ b/sglang/srt/x.py", b"+++ b/sglang/srt/y.py", "renames a file"),
        (b"@@ -2,7 +2,7 @@", b"@@ -2,8 +2,8 @@", "shorter than its header"),
        (b"@@ -2,7 +2,7 @@", b"@@ -2,6 +2,6 @@", "neither a hunk nor a file"),
        (b"@@ -2,7 +2,7 @@", b"@@ -2,7 @@", "no hunk header"),
        (b"@@ -2,7 +2,7 @@\n", b"", "has no hunk"),
        (b"-line 5\n+x\n", b" line 5\n", "does not fit its header"),
        (b" line 8\n", b" line 8\n-- \n2.39.5\n", "neither a hunk nor a file"),
        (b"--- a/", b"diff --git a/x b/x\nrename from x\n--- a/", "neither a hunk nor a file"),
        (b"--- a/", b"diff --git a/x b/x\nold mode 100644\n--- a/", "neither a hunk nor a file"),
    ],
)
def test_a_patch_that_is_not_one_is_refused(old: bytes, new: bytes, says: str) -> None:
    assert tool.parse_patch(GOOD)
    assert old in GOOD
    with pytest.raises(tool.PatchError, match=says):
        tool.parse_patch(GOOD.replace(old, new))


def test_more_patches_that_are_not() -> None:
    for text, says in (
        (b"", "changes no file"),
        (GOOD[:-1], "cut off"),
        (GOOD + GOOD, "names one file twice"),
        (GOOD + GOOD.partition(b"@@")[2].join([b"@@", b""]), "overlap"),
    ):
        with pytest.raises(tool.PatchError, match=says):
            tool.parse_patch(text)
