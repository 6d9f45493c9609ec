"""The tool that puts the patches on: a small made-up SGLang, with everything that can go wrong."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import apply_patches as tool
from mimo_gb10.paths import ROOT
from tests.support.patch_world import NEW, PRISTINE, A, B, World, lines, make_world, patched, write_patches

SCRIPT = ROOT / "scripts" / "apply_patches.py"
BOTH = ("one", "two")
SHOWN = {
    "present": "present",
    "mended": "mended by us",
    "fixed": "fixed upstream",
    "not-affected": "not affected",
    "unknown": "unknown source",
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def run(world: World, *arguments: str) -> int:
    return tool.main(world.arguments(*arguments))


def statuses(world: World, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert run(world, "--status", "--json") == 0
    return {entry["id"]: entry["status"] for entry in json.loads(capsys.readouterr().out)["defects"]}


def sources(world: World) -> dict[str, bytes]:
    return {path: data for path, data in world.files().items() if tool.STORE not in path}


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [
        line.partition("error[")[2].partition("]")[0]
        for line in capsys.readouterr().err.splitlines()
        if "error[" in line
    ]


# --- the ordinary ways


@pytest.mark.parametrize("release", list(PRISTINE))
def test_apply_status_and_the_way_back(tmp_path: Path, release: str, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path, release)
    before = world.snapshot()
    has_one = release != "1.0.2"
    assert statuses(world, capsys) == {"one": "present" if has_one else "fixed", "two": "present"}
    assert run(world, "--require") == 1
    assert run(world) == 0
    assert f"--sglang-dir {world.site} --patches {world.patches} --revert" in capsys.readouterr().out
    assert sources(world) == patched(release, *(BOTH if has_one else ("two",)))
    assert statuses(world, capsys) == {"one": "mended" if has_one else "fixed", "two": "mended"}
    assert run(world, "--require") == 0
    assert run(world, "--revert") == 0
    after = world.snapshot()
    assert {path: entry[:-1] for path, entry in after.items()} == {path: entry[:-1] for path, entry in before.items()}


def test_applying_twice_changes_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(world)
    once = world.snapshot()
    assert run(world) == 0
    assert world.snapshot() == once
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_one_after_the_other_gives_the_same(world: World, order: tuple[str, str]) -> None:
    for name in order:
        assert run(world, name) == 0
    assert sources(world) == patched("1.0.0", *BOTH)
    manifest = json.loads((world.package / tool.STORE / "manifest.json").read_text())
    assert list(manifest["patches"]) == ["one", "two"]
    assert run(world, "--revert") == 0
    assert world.files() == PRISTINE["1.0.0"]


@pytest.mark.parametrize("name", BOTH)
def test_one_alone(world: World, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world, name) == 0
    assert sources(world) == patched("1.0.0", name)
    assert run(world, "--require", name) == 0
    assert run(world, "--require") == 1
    shown = capsys.readouterr()
    other = next(word for word in BOTH if word != name)
    assert f"error[defect-open]: {other}: present" in shown.err
    assert f"{world.patches} {other}\n" in shown.err


def test_patches_put_on_by_hand_are_recognised(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    patch = world.patches / "one" / "sglang-1.0.0..1.0.1.patch"
    subprocess.run(["patch", "-s", "-p1", "-d", world.site, "-i", patch], check=True)
    by_hand = world.files()
    assert statuses(world, capsys) == {"one": "mended", "two": "present"}
    assert run(world) == 0
    assert sources(world) == patched("1.0.0", *BOTH)
    assert run(world, "--revert") == 0
    assert world.files() == by_hand


def test_a_defect_mended_in_part_is_completed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.install({NEW: patched("1.0.0", "two")[NEW]})
    assert run(world, "--status") == 0
    assert "on 1 of 3 files already" in capsys.readouterr().out
    assert run(world) == 0
    assert sources(world) == patched("1.0.0", *BOTH)


def test_dry_run_changes_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.snapshot()
    assert run(world, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "would put on one (sglang-1.0.0..1.0.1.patch)" in shown
    assert f"{A} +3 -2" in shown
    assert f"{NEW} +1 -0 (new)" in shown
    assert world.snapshot() == before


def test_json_of_an_application(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world, "--json", "two") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["applied"] == ["two"]
    assert [entry["path"] for entry in result["files"]] == [A, NEW, B]
    assert result["files"][1]["before"] is None
    (entry,) = result["defects"]
    assert (entry["status"], entry["patch"]) == ("mended", "two/sglang-1.0.0..1.0.0.patch")


def test_nothing_to_revert(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.snapshot()
    assert run(world, "--revert") == 0
    assert "nothing to take off" in capsys.readouterr().out
    assert world.snapshot() == before


# --- what it refuses


@pytest.mark.parametrize(
    "dirty",
    [
        lambda data: data + b"# mine\n",
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.removesuffix(b"\n"),
        lambda data: b"\n" + data,
        lambda data: data.replace(b"line 30\n", b"line  30\n"),
    ],
    ids=["line", "crlf", "no-newline", "shifted", "blank"],
)
def test_an_unknown_file_is_refused(
    world: World, dirty: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    world.install({A: dirty(PRISTINE["1.0.0"][A])})
    before = world.snapshot()
    assert statuses(world, capsys) == {"one": "unknown", "two": "unknown"}
    assert run(world, "--status") == 0
    assert "the probe sees the defect" in capsys.readouterr().out
    assert run(world) == 1
    shown = capsys.readouterr().err
    assert f"{world.package}/srt/a.py: error[source-unknown]: one: " in shown
    assert world.snapshot() == before
    assert run(world, "--require") == 1


def test_what_is_known_can_still_be_mended(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.install({B: b"something else\n"})
    assert run(world) == 1
    assert "To leave it out: apply_patches.py one" in capsys.readouterr().err
    assert sources(world)[A] == PRISTINE["1.0.0"][A]
    assert run(world, "one") == 0
    assert sources(world)[A] == patched("1.0.0", "one")[A]


def test_an_unknown_file_can_be_fixed_upstream(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.install({A: b"bug one upstream mend\n"})
    assert statuses(world, capsys)["one"] == "fixed"
    assert run(world, "--require", "one") == 0
    assert "by the probe; of no known release: sglang/srt/a.py" in capsys.readouterr().out


def test_an_absent_file_is_not_affected(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.site / A).unlink()
    assert statuses(world, capsys)["one"] == "not-affected"
    assert run(world, "--require", "one") == 0
    (world.site / B).unlink()
    capsys.readouterr()
    assert run(world) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_files_of_two_releases_are_told_apart(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A day-0 build is no release: what a defect needs decides for it alone."""
    world.install({B: PRISTINE["1.0.2"][B]})
    assert statuses(world, capsys) == {"one": "present", "two": "unknown"}


def test_each_status_has_its_word() -> None:
    assert tool.STATUS_WORDS == SHOWN


def test_a_changed_patch_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    patch = world.patches / "one" / "sglang-1.0.0..1.0.1.patch"
    patch.write_bytes(patch.read_bytes().replace(b"and more", b"and evil"))
    before = world.snapshot()
    assert run(world) == 1
    assert "patch-changed" in errors(capsys)
    assert world.snapshot() == before


def test_a_result_that_the_index_does_not_name_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    index = world.patches / "index.json"
    digest = str(tool.sha256(patched("1.0.0", "one")[A]))
    index.write_text(index.read_text().replace(digest, "0" * 64))
    before = world.snapshot()
    assert run(world, "one") == 1
    assert errors(capsys) == ["patch-mismatch"]
    assert world.snapshot() == before


def test_a_set_that_is_not_prepared_names_what_to_add(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    index = world.patches / "index.json"
    data = json.loads(index.read_text())
    for group in data["files"][A]:
        group["states"].pop("two")
    index.write_text(json.dumps(data))
    before = world.snapshot()
    assert run(world, "two") == 1
    shown = capsys.readouterr().err
    assert "error[set-unknown]" in shown
    assert "help: Add one." in shown
    assert world.snapshot() == before
    assert run(world) == 0


def test_a_defect_without_a_patch(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    index = world.patches / "index.json"
    data = json.loads(index.read_text())
    data["defects"][1]["patches"] = []
    index.write_text(json.dumps(data))
    assert run(world, "two") == 1
    assert errors(capsys) == ["defect-unmended"]
    assert run(world) == 0
    assert "warning[defect-unmended]: two is present" in capsys.readouterr().err
    assert sources(world) == patched("1.0.0", "one")
    assert run(world, "--require") == 1


def test_revert_refuses_what_was_changed_since(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(world)
    world.install({B: sources(world)[B] + b"# mine\n"})
    before = world.snapshot()
    assert run(world, "--revert") == 1
    assert errors(capsys) == ["changed-since"]
    assert world.snapshot() == before


def test_revert_refuses_a_damaged_original(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(world)
    (world.package / tool.STORE / "original" / A).write_bytes(b"")
    before = world.snapshot()
    assert run(world, "--revert") == 1
    assert errors(capsys) == ["original-damaged"]
    assert world.snapshot() == before


def test_revert_needs_no_patches(world: World) -> None:
    run(world)
    shutil.rmtree(world.patches)
    assert run(world, "--revert") == 0
    assert world.files() == PRISTINE["1.0.0"]


# --- installations change under it


@pytest.mark.parametrize("leftover", [True, False])
def test_another_release_installed_over_it(world: World, leftover: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """pip leaves what it did not install: the new file of the patch, and the manifest."""
    run(world)
    if not leftover:
        (world.site / NEW).unlink()
    newer = PRISTINE["1.0.2"]
    world.install(newer)
    assert statuses(world, capsys) == {"one": "fixed", "two": "present"}
    assert run(world) == 0
    assert sources(world) == patched("1.0.2", "two")
    assert run(world, "--revert") == 0
    assert world.files() == newer


def test_revert_leaves_a_reinstalled_file_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(world)
    world.install(PRISTINE["1.0.2"])
    assert run(world, "--revert") == 0
    assert world.files() == PRISTINE["1.0.2"]
    assert "note[replaced-since]" in capsys.readouterr().err


def test_older_patches_are_renewed(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tree was patched with another version of this project: its manifest says what the files were."""
    run(world)
    newer = tmp_path / "newer"
    shutil.copytree(world.patches, newer)
    for path in newer.glob("*/*.patch"):
        path.write_bytes(
            path.read_bytes().replace(b"+mended", b"+mended better").replace(b" mended one", b" mended better one")
        )
    from mimo_gb10.extract import patch_index
    from tests.support.patch_world import DEFECTS
    from tests.support.patch_world import sources as all_sources

    index, _ = patch_index.build(all_sources(), newer, DEFECTS)
    (newer / "index.json").write_text(patch_index.as_text(index))
    other = World(newer, world.site)
    assert statuses(other, capsys)["two"] == "present"
    assert run(other, "--require") == 1
    assert run(other, "two") == 0, "what was on a file stays on, in its new form"
    wanted = {path: data.replace(b"mended", b"mended better") for path, data in patched("1.0.0", *BOTH).items()}
    assert sources(other) == wanted
    assert run(other) == 0
    assert run(other, "--revert") == 0
    assert world.files() == PRISTINE["1.0.0"]


# --- files are more than bytes


def test_mode_is_kept_and_a_new_file_can_be_read(world: World) -> None:
    (world.site / A).chmod(0o640)
    (world.site / B).chmod(0o444)
    old = os.umask(0o077)
    try:
        assert run(world) == 0
    finally:
        os.umask(old)
    modes = {path: (world.site / path).stat().st_mode & 0o777 for path in (A, B, NEW)}
    assert modes == {A: 0o640, B: 0o444, NEW: 0o644}
    store = world.package / tool.STORE
    assert store.stat().st_mode & 0o777 == 0o755
    assert (store / "manifest.json").stat().st_mode & 0o777 == 0o644
    assert run(world, "--revert") == 0
    assert {path: (world.site / path).stat().st_mode & 0o777 for path in (A, B)} == {A: 0o640, B: 0o444}


def test_hard_links_are_not_written_through(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in (A, B):
        os.link(world.site / path, other / Path(path).name)
    run(world)
    assert (other / "a.py").read_bytes() == PRISTINE["1.0.0"][A]
    run(world, "--revert")
    assert (other / "a.py").read_bytes() == PRISTINE["1.0.0"][A]
    run(world)
    assert (other / "b.py").read_bytes() == PRISTINE["1.0.0"][B]


def test_a_linked_file_becomes_a_file_and_a_link_again(world: World, tmp_path: Path) -> None:
    real = tmp_path / "cache" / "a.py"
    real.parent.mkdir()
    (world.site / A).rename(real)
    (world.site / A).symlink_to(os.path.relpath(real, (world.site / A).parent))
    assert run(world) == 0
    assert not (world.site / A).is_symlink()
    assert real.read_bytes() == PRISTINE["1.0.0"][A]
    assert sources(world) == patched("1.0.0", *BOTH)
    assert run(world, "--revert") == 0
    assert (world.site / A).is_symlink()
    assert world.files() == PRISTINE["1.0.0"]


def test_a_linked_package_works(world: World, tmp_path: Path) -> None:
    clone = tmp_path / "repository" / "python" / "sglang"
    clone.parent.mkdir(parents=True)
    world.package.rename(clone)
    world.package.symlink_to(clone)
    assert run(world) == 0
    assert world.package.is_symlink()
    assert (clone / "srt" / "a.py").read_bytes() == patched("1.0.0", *BOTH)[A]
    assert tool.main(["--sglang-dir", str(tmp_path / "repository"), "--patches", str(world.patches), "--revert"]) == 0
    assert {path: (clone.parent / path).read_bytes() for path in PRISTINE["1.0.0"]} == PRISTINE["1.0.0"]


def test_stale_bytecode_is_not_used(world: World) -> None:
    """Bytecode may be of the kind that Python takes without looking at the source."""
    cache = world.package / "srt" / "__pycache__"
    cache.mkdir()
    stale = cache / f"a.{sys.implementation.cache_tag}.pyc"
    others = [cache / f"{name}.{sys.implementation.cache_tag}.pyc" for name in ("c", "ab")]
    for arguments in ([], ["--revert"]):
        for file in (stale, *others):
            file.write_bytes(b"stale")
        assert run(world, *arguments) == 0
        assert not stale.exists()
        assert all(file.exists() for file in others)


def test_the_time_differs_by_a_second_at_least(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bytecode cannot be removed, Python tells it by whole seconds and the size."""
    same = 1_700_000_000  # when the world's installer wrote its files

    def at_the_same_time(handle: int) -> None:
        os.utime(handle, (same, same))

    monkeypatch.setattr(os, "fsync", at_the_same_time)
    assert (world.site / A).stat().st_mtime == same
    run(world)
    assert int((world.site / A).stat().st_mtime) != same


# --- failures


Step = tuple[Any, str]
STEPS: list[Step] = [
    (Path, "replace"),
    (Path, "chmod"),
    (Path, "mkdir"),
    (os, "fsync"),
    (os, "link"),
    (shutil, "copy2"),
]


def failing(monkeypatch: pytest.MonkeyPatch, step: Step, at: int) -> Callable[[], bool]:
    """Make the nth call of a step fail, once; says whether it did."""
    owner, name = step
    real = getattr(owner, name)
    calls = 0

    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(28, "No space left on device", str(arguments[0]))
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, wrapped)
    return lambda: calls >= at


@pytest.mark.parametrize("action", ["apply", "second", "revert"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path, step: Step, action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every call in turn fails once. What fails behind the last rename is finished by the next run."""
    outcomes = set()
    for at in range(1, 60):
        world = make_world(tmp_path / str(at))
        if action != "apply":
            assert run(world, *(["one"] if action == "second" else [])) == 0
        goal = PRISTINE["1.0.0"] if action == "revert" else patched("1.0.0", *BOTH)
        arguments = ["--revert"] if action == "revert" else []
        before = world.snapshot()
        with monkeypatch.context() as patching:
            reached = failing(patching, step, at)
            code = run(world, *arguments)
            failed = reached()
        if not failed:
            assert code == 0
            assert sources(world) == goal
            break
        found = errors(capsys)
        if code == 1 and found == ["tree-unwritable"]:
            assert world.snapshot() == before
            outcomes.add("undone")
        elif code == 1:
            assert found == ["tree-half-way"]
            outcomes.add("to be finished")
        else:
            assert step[1] == "link", "another way was open"
        assert run(world, *arguments) == 0
        assert sources(world) == goal
        assert not [path for path in world.files() if path.endswith((".mimo-gb10-new", ".mimo-gb10-old", ".new"))]
        if action != "revert":
            assert run(world, "--revert") == 0
        assert world.files() == PRISTINE["1.0.0"]
    else:
        pytest.fail("the calls have no end")
    if step[1] == "replace":
        assert outcomes >= {"undone"}


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, {scripts!r})
import apply_patches
at, calls = int(sys.argv[1]), 0
def wrap(owner, name):
    real = getattr(owner, name)
    def wrapped(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os._exit(9)
        return real(*arguments, **options)
    setattr(owner, name, wrapped)
for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (os, "link"), (Path, "chmod")):
    wrap(owner, name)
sys.exit(apply_patches.main(sys.argv[2:]))
"""


def forked(at: int, arguments: list[str]) -> int:
    """Run the tool in a process that dies at the nth step; its exit code."""
    program = CRASH.format(scripts=str(SCRIPT.parent))
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            sys.argv = ["crash", str(at), *arguments]
            exec(compile(program, "crash", "exec"), {"__name__": "crash"})
        except SystemExit as ended:
            os._exit(int(str(ended.code or 0)))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("first", ["apply", "revert"])
@pytest.mark.parametrize("then", ["apply", "revert"])
def test_a_crash_at_any_step_is_recovered(
    tmp_path: Path, first: str, then: str, capsys: pytest.CaptureFixture[str]
) -> None:
    crashes, interrupted = 0, False
    for at in range(1, 120):
        world = make_world(tmp_path / str(at))
        if first == "revert":
            run(world)
        code = forked(at, world.arguments(*(["--revert"] if first == "revert" else [])))
        assert code in (0, 9)
        half_way = (world.package / tool.STORE / "journal.json").is_file()
        interrupted |= half_way
        # Every file is one or the other, whatever happened.
        for path, data in sources(world).items():
            if "mimo-gb10-" not in path:
                assert data in (PRISTINE["1.0.0"].get(path), patched("1.0.0", *BOTH).get(path))
        if half_way:
            capsys.readouterr()
            assert run(world, "--require") == 1
            assert "interrupted" in errors(capsys)
        assert run(world, *(["--revert"] if then == "revert" else [])) == 0
        goal = patched("1.0.0", *BOTH) if then == "apply" else PRISTINE["1.0.0"]
        assert sources(world) == goal
        if then == "apply":
            assert run(world, "--revert") == 0
        assert world.files() == PRISTINE["1.0.0"], at
        if code == 0:
            break
        crashes += 1
    else:
        pytest.fail("the steps have no end")
    assert crashes > 10
    assert interrupted


def test_a_change_after_a_crash_is_not_overwritten(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    def no_settling(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patching, contextlib.suppress(KeyboardInterrupt):
        patching.setattr(tool, "settle", no_settling)
        run(world)
    assert (world.package / tool.STORE / "journal.json").is_file()
    world.install({B: b"mine\n"})
    before = world.snapshot()
    assert run(world) == 1
    assert errors(capsys) == ["changed-since"]
    assert world.snapshot() == before
    assert run(world, "--dry-run") == 1
    assert errors(capsys) == ["interrupted"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_file_changed_before_its_turn_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run was killed between two renames, and the file whose turn had not come was changed since."""
    for at in range(1, 120):
        world = make_world(tmp_path / str(at))
        forked(at, world.arguments())
        waiting = (world.package / "srt" / ".b.py.mimo-gb10-new").is_file()
        if waiting and (world.package / tool.STORE / "journal.json").is_file():
            break
    else:
        pytest.fail("no step lies between the journal and the last rename")
    world.install({B: b"mine\n"})
    before = world.snapshot()
    for arguments in ([], ["--revert"]):
        assert run(world, *arguments) == 1
        assert errors(capsys) == ["changed-since"]
        assert world.snapshot() == before


def test_a_failed_undo_is_said_and_finished_later(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    real, calls = Path.replace, 0

    def broken(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls >= 3:  # the journal and the first file go well
            raise OSError(30, "Read-only file system", str(self))
        return real(self, target)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(Path, "replace", broken)
        assert run(world) == 1
    assert errors(capsys) == ["tree-half-way"]
    assert run(world) == 0
    assert "finished a run that had been interrupted" in capsys.readouterr().out
    assert sources(world) == patched("1.0.0", *BOTH)


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def command(world: World, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SCRIPT), *world.arguments(*arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


def test_a_full_disk(world: World) -> None:
    before = world.snapshot()
    done = command(world, preexec_fn=limit_file_size)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[tree-unwritable]: cannot be written: File too large" in done.stderr
    assert "Nothing was changed." in done.stderr
    assert world.snapshot() == before


@pytest.fixture
def open_world() -> Iterator[World]:
    """A world that another user can reach: pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield make_world(folder)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user(open_world: World) -> None:
    before = open_world.snapshot()
    script = shutil.copy(SCRIPT, open_world.site.parent)
    words = ["/usr/bin/env", "python3", script, *open_world.arguments()]

    def run_as_nobody(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_any_python(), *words[2:], *more], capture_output=True, text=True, check=False, user=65534, group=65534
        )

    done = run_as_nobody()
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[tree-unwritable]: cannot be written: Permission denied" in done.stderr
    assert "This runs as user 65534" in done.stderr
    assert open_world.snapshot() == before
    assert run_as_nobody("--status").returncode == 0
    (open_world.site / A).chmod(0)
    unreadable = run_as_nobody("--status")
    assert unreadable.returncode == 3
    assert "error[tree-unreadable]" in unreadable.stderr


def _any_python() -> str:
    """A Python that any user can run; a virtual environment may lie in a private folder."""
    found = [path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(path).exists()]
    if not found:
        pytest.skip("no Python for everybody")
    return found[0]


def test_a_second_run_waits_outside(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    handle = os.open(world.package, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert run(world) == 1
        assert errors(capsys) == ["tree-busy"]
        assert run(world, "--status") == 0
    finally:
        os.close(handle)
    assert run(world) == 0


# --- finding SGLang


def find(
    world: World, *paths: Path, script: Path = SCRIPT, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, paths))}
    words = [sys.executable, "-S", str(script), "--status", "--patches", str(world.patches)]
    return subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_installed_one_is_found_without_importing_it(world: World) -> None:
    world.install({"sglang/__init__.py": b"raise SystemExit('imported')\n"})
    done = find(world, world.site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"SGLang in {world.package}\n")


def test_none_and_two(world: World, tmp_path: Path) -> None:
    done = find(world, tmp_path)
    assert done.returncode == 3
    assert "error[sglang-missing]" in done.stderr
    second = tmp_path / "second"
    shutil.copytree(world.package, second / "sglang")
    done = find(world, world.site, second)
    assert done.returncode == 3
    assert f"error[sglang-two]: there are two SGLangs: {second}/sglang and {world.package}" in done.stderr
    (tmp_path / "third").symlink_to(world.site)
    assert find(world, world.site, tmp_path / "third").returncode == 0, "one by two names"


def test_a_clone_beside_the_script_is_not_the_installed_one(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.package, tmp_path / "work" / "sglang" / "python" / "sglang")
    script = tmp_path / "work" / "apply_patches.py"
    shutil.copy(SCRIPT, script)
    done = find(world, world.site, script=script, cwd=script.parent)
    assert done.stdout.startswith(f"SGLang in {world.package}\n"), done.stderr


def test_a_copy_in_site_packages_finds_its_neighbour(world: World) -> None:
    script = Path(shutil.copy(SCRIPT, world.site))
    done = find(world, script=script)
    assert done.stdout.startswith(f"SGLang in {world.package}\n"), done.stderr


def test_an_editable_install_is_found(world: World, tmp_path: Path) -> None:
    """Such an install is a finder, not a folder on the path; a clone beside the script would come before it."""
    script = tmp_path / "work" / "apply_patches.py"
    (script.parent / "sglang" / "docs").mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import sys, importlib.util\n"
        "class Finder:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'sglang':\n"
        f"            folder = {str(world.package)!r}\n"
        "            return importlib.util.spec_from_file_location(\n"
        "                name, folder + '/__init__.py', submodule_search_locations=[folder])\n"
        "sys.meta_path.append(Finder)\n"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(hook)}
    words = [sys.executable, str(script), "--status", "--patches", str(world.patches)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"SGLang in {world.package}\n"), done.stderr


@pytest.mark.parametrize("place", ["", "sglang", "python"])
def test_each_kind_of_folder(world: World, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "sglang-clone" / place
    folder.mkdir(parents=True)
    world.package.rename(folder if place == "sglang" and not folder.rmdir() else folder / "sglang")  # type: ignore[func-returns-value]
    named = {"": folder, "sglang": folder, "python": tmp_path / "sglang-clone"}[place]
    assert tool.main(["--status", "--sglang-dir", str(named), "--patches", str(world.patches)]) == 0
    assert "SGLang in" in capsys.readouterr().out


def test_wrong_folders(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path / "nowhere", tmp_path, world.site / A):
        assert tool.main(["--status", "--sglang-dir", str(folder), "--patches", str(world.patches)]) == 3
        assert errors(capsys) == ["sglang-missing"]
    shutil.copytree(world.package, world.site / "python" / "sglang")
    assert run(world, "--status") == 3
    assert errors(capsys) == ["sglang-two"]


@pytest.mark.parametrize("where", ["dist-info", "_version", "none"])
def test_the_version_is_shown_and_decides_nothing(world: World, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    if where == "dist-info":
        (world.site / "sglang-9.9.9.dist-info").mkdir()
    if where == "_version":
        text = "__version__ = version = '0.0.0.dev1+g983cd01'\n"
        (world.package / "_version.py").write_text(text)
    assert run(world) == 0
    version = {"dist-info": " 9.9.9", "_version": " 0.0.0.dev1+g983cd01", "none": ""}[where]
    assert capsys.readouterr().out.startswith(f"SGLang{version} in ")
    assert sources(world)[A] == patched("1.0.0", *BOTH)[A]


# --- the command


def test_patches_beside_the_file_or_its_folder(world: World, tmp_path: Path) -> None:
    flat = tmp_path / "elsewhere" / "flat"
    for place in (flat, tmp_path / "checkout" / "scripts"):
        place.mkdir(parents=True)
        shutil.copy(SCRIPT, place)
        shutil.copytree(world.patches, (place if place.name == "flat" else place.parent) / "patches")
        words = [sys.executable, "-I", str(place / "apply_patches.py"), "--status", "--sglang-dir", str(world.site)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    shutil.rmtree(flat / "patches")
    words[2] = str(flat / "apply_patches.py")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "error[index-missing]" in done.stderr


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "index-damaged"),
        ("[]", "index-format"),
        ('{"format": 2}', "index-format"),
        ('{"format": 1}', "index-damaged"),
        ('{"format": 1, "defects": 3, "files": {}}', "index-damaged"),
        ("\x00", "index-damaged"),
    ],
)
def test_an_index_that_cannot_be_used(world: World, text: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    (world.patches / "index.json").write_text(text)
    assert run(world) == 3
    assert errors(capsys) == [code]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "manifest-damaged"),
        ("{}", "manifest-damaged"),
        ("[]", "manifest-damaged"),
        ('{"format": 1, "files": {"../../etc/passwd": {}}}', "manifest-damaged"),
        ('{"format": 2}', "manifest-format"),
    ],
)
def test_a_manifest_that_cannot_be_used(world: World, text: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(world)
    (world.package / tool.STORE / "manifest.json").write_text(text)
    before = world.snapshot()
    for arguments in ([], ["--revert"], ["--status"]):
        assert run(world, *arguments) == 1
        assert errors(capsys) == [code]
    assert world.snapshot() == before


def test_usage(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world, "on", "--status") == 2
    assert "error[defect-unknown]: there is no defect 'on'\n  help: Did you mean 'one'?" in capsys.readouterr().err
    for arguments in (["--revert", "one"], ["--status", "--revert"], ["--stat"], ["--revert", "--json"]):
        with pytest.raises(SystemExit) as ended:
            run(world, *arguments)
        assert ended.value.code == 2


def test_a_status_in_json(world: World) -> None:
    done = command(world, "--require", "--json")
    assert done.returncode == 1
    data = json.loads(done.stdout)
    assert [finding["code"] for finding in data["findings"]] == ["defect-open", "defect-open"]
    assert data["interrupted"] is False
    assert data["defects"][0]["releases"] == ["1.0.0", "1.0.1"]


def on_terminal(world: World, **env: str) -> str:
    parent, child = pty.openpty()
    words = [sys.executable, str(SCRIPT), *world.arguments("--status")]
    subprocess.run(words, stdout=child, stderr=child, check=True, env={"PATH": "/usr/bin", "TERM": "xterm", **env})
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(parent, 4096):
            shown += data
    os.close(parent)
    return shown.decode()


def test_colour_only_where_it_is_wanted(world: World) -> None:
    assert "\x1b[" in on_terminal(world)
    assert "\x1b[" not in on_terminal(world, NO_COLOR="1")
    assert "\x1b[" not in command(world, "--status").stdout


def test_a_name_that_could_move_the_cursor_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--sglang-dir", "/nowhere\x1b[2J"]) == 3
    assert "\x1b" not in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_error(world: World) -> None:
    words = [sys.executable, str(SCRIPT), *world.arguments("--status")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


# --- it runs where SGLang runs


def test_it_is_python_3_10_and_standard_library_only() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 10))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    assert names <= set(sys.stdlib_module_names)
    newer = {"file_digest", "UTC", "StrEnum", "Self", "tomllib", "walk_up", "ExceptionGroup", "assert_never"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not newer & (names | used | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def _pythons() -> list[str]:
    found = [shutil.which(f"python3.{minor}") for minor in (10, 12, 13)]
    found += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.1[023].*/bin/python3"))]
    return sorted({path for path in found if path})


def test_it_runs_on_the_oldest_and_the_newest_python(tmp_path: Path) -> None:
    pythons = [python for python in _pythons() if _works(python)]
    if not pythons:
        pytest.skip("only the Python of the tests is here")
    for number, python in enumerate(pythons):
        world = make_world(tmp_path / str(number))
        for arguments in ([], ["--require"], ["--revert"]):
            words = [python, "-I", "-W", "error", str(SCRIPT), *world.arguments(*arguments)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), python
        assert world.files() == PRISTINE["1.0.0"]


def _works(python: str) -> bool:
    # A name on the path can be a stub of a version manager that stands for nothing.
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def test_the_made_up_world_is_sound() -> None:
    """Both patches touch neighbouring lines of one file, and releases differ where the tests need it."""
    assert PRISTINE["1.0.0"][A] == PRISTINE["1.0.1"][A]
    assert PRISTINE["1.0.0"][B] != PRISTINE["1.0.1"][B]
    assert lines(1, 2, l2="x") == b"line 1\nx\n"
    assert write_patches.__doc__ is None
