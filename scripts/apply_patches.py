#!/usr/bin/env python3
"""Put this repository's patches on an installed SGLang, say which are on, or take them off again.

This one file needs Python 3.10 and nothing else: copy or mount it into a container together with ``patches/``. It does
not import SGLang. Sources are recognised by their SHA-256 in ``patches/index.json``, never by a version number, and a
result is written only if its SHA-256 is the one that the index names.

How a change is made, so that a failure or a crash leaves nothing half done:

1. Every result is computed and verified before anything is written.
2. What a file was goes to ``sglang/.mimo-gb10/original/``; the new content is written beside the file it replaces.
3. ``journal.json`` says what is about to be renamed. From here on, the next run can finish the work.
4. The new files are renamed over the old ones. If one rename fails, the others are taken back.
5. The journal becomes ``manifest.json``, from which ``--revert`` restores.
"""

import argparse
import contextlib
import difflib
import fcntl
import fnmatch
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO

OK, REFUSED, USAGE, ENVIRONMENT = 0, 1, 2, 3

PRESENT, MENDED, FIXED, NOT_AFFECTED, UNKNOWN = "present", "mended", "fixed", "not-affected", "unknown"
STATUS_WORDS = {
    PRESENT: "present",
    MENDED: "mended by us",
    FIXED: "fixed upstream",
    NOT_AFFECTED: "not affected",
    UNKNOWN: "unknown source",
}
FORMAT = 1
"""The format of ``index.json`` and ``manifest.json`` that this file reads and writes."""

STORE = ".mimo-gb10"
"""The folder inside the package that holds the manifest and what the files were."""


# --- what goes wrong


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and its remedy.

    Attributes:
        code: A stable kebab-case name.
        what: What is wrong.
        help: What to do about it, or an empty string.
        place: The file or folder, or an empty string.
        severity: ``error``, ``warning`` or ``note``.
    """

    code: str
    what: str
    help: str = ""
    place: str = ""
    severity: str = "error"


class Refused(Exception):
    """Nothing was changed, or all of it was taken back; the problems say why.

    Attributes:
        problems: At least one.
        exit_code: The exit code of the command.
    """

    def __init__(self, problems: Iterable[Problem], exit_code: int = REFUSED) -> None:
        self.problems = tuple(problems)
        self.exit_code = exit_code
        super().__init__("; ".join(problem.what for problem in self.problems))


def refuse(code: str, what: str, help: str = "", place: str = "", exit_code: int = REFUSED) -> NoReturn:
    """Raise `Refused` with one problem."""
    raise Refused([Problem(code, what, help, place)], exit_code)


# --- unified diffs


class PatchError(Exception):
    """A patch cannot be read, or does not apply."""


@dataclass(frozen=True)
class Hunk:
    """One hunk: a run of lines and what replaces it. Lines keep their line ends.

    Attributes:
        old_at: Index of the first replaced line in the old file.
        new_at: Index of the first new line in the new file.
        old: The lines that must stand there, context included.
        new: The lines that stand there afterwards.
        trailing: How many lines of context end it; without any, it ends the file.
    """

    old_at: int
    new_at: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]
    trailing: int

    def reversed(self) -> "Hunk":
        """The hunk that undoes this one."""
        return Hunk(self.new_at, self.old_at, self.new, self.old, self.trailing)


@dataclass(frozen=True)
class FilePatch:
    """What a patch does to one file.

    Attributes:
        path: The path, ``sglang/...``.
        hunks: Its hunks in order.
        adds: Whether the file is not there before.
        removes: Whether it is not there afterwards; only the reverse of a patch does that.
    """

    path: str
    hunks: tuple[Hunk, ...]
    adds: bool = False
    removes: bool = False

    def reversed(self) -> "FilePatch":
        """The patch that undoes this one."""
        return FilePatch(self.path, tuple(hunk.reversed() for hunk in self.hunks), self.removes, self.adds)


_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_BETWEEN = (b"diff --git ", b"index ", b"new file mode 100644")
_PATH = re.compile(r"sglang(?:/[A-Za-z0-9_+-][A-Za-z0-9_.+-]*)+\Z")


def split_lines(data: bytes) -> list[bytes]:
    """The lines of a file with their line ends; only a line feed ends a line, as for git and patch."""
    lines = data.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def parse_patch(data: bytes) -> list[FilePatch]:
    """Read a unified diff, with or without a header before the first file.

    Raises:
        PatchError: If it is damaged, or does more than change and add files of ``sglang/``.
    """
    lines = split_lines(data)
    if lines and not lines[-1].endswith(b"\n"):
        raise PatchError("the last line has no end: the patch is cut off")
    found: list[FilePatch] = []
    number, begun = 0, False
    while number < len(lines):
        line = lines[number]
        following = lines[number + 1] if number + 1 < len(lines) else b""
        if line.startswith(b"--- ") and following.startswith(b"+++ "):
            patch, number = _parse_file(lines, number)
            found.append(patch)
            begun = True
        elif begun and not line.startswith(_BETWEEN):
            raise PatchError(f"line {number + 1} is neither a hunk nor a file: {_shown(line)}")
        else:
            begun = begun or line.startswith(_BETWEEN[0])
            number += 1
    if not found:
        raise PatchError("it changes no file")
    paths = [patch.path for patch in found]
    if len(set(paths)) < len(paths):
        raise PatchError("it names one file twice")
    return found


def _parse_file(lines: list[bytes], number: int) -> tuple[FilePatch, int]:
    old, new = (_path(lines[number + place], place, number + place + 1) for place in (0, 1))
    if new is None:
        raise PatchError(f"line {number + 2} removes a file; patches change and add only")
    if old is not None and old != new:
        raise PatchError(f"line {number + 1} renames a file; patches change and add only")
    number += 2
    hunks: list[Hunk] = []
    while number < len(lines) and lines[number].startswith(b"@@ "):
        hunk, number = _parse_hunk(lines, number)
        if hunks and hunk.old_at < hunks[-1].old_at + len(hunks[-1].old):
            raise PatchError(f"line {number}: this hunk and the one before overlap")
        hunks.append(hunk)
    if not hunks:
        raise PatchError(f"{new} has no hunk")
    if old is None and (len(hunks) > 1 or hunks[0].old):
        raise PatchError(f"{new} is added, but its hunks have old lines")
    return FilePatch(new, tuple(hunks), adds=old is None), number


def _path(line: bytes, place: int, number: int) -> str | None:
    name = line[4:].rstrip(b"\r\n").partition(b"\t")[0].decode("utf-8", "replace")
    if name == "/dev/null":
        return None
    prefix, _, path = name.partition("/")
    if prefix != "ab"[place] or not _PATH.match(path) or STORE in path.split("/"):
        raise PatchError(f"line {number} names {name!r}; paths are {'ab'[place]}/sglang/...")
    return path


def _parse_hunk(lines: list[bytes], number: int) -> tuple[Hunk, int]:
    match = _HUNK.match(lines[number])
    if not match:
        raise PatchError(f"line {number + 1} is no hunk header: {_shown(lines[number])}")
    old_start, old_count, new_start, new_count = (1 if part is None else int(part) for part in match.groups())
    first = number + 1
    number, trailing, changes = first, 0, 0
    old: list[bytes] = []
    new: list[bytes] = []
    while len(old) < old_count or len(new) < new_count or lines[number : number + 1] == [_NO_NEWLINE]:
        line = lines[number] if number < len(lines) else b""
        if line == _NO_NEWLINE and number > first:
            # The line before it ends its file without a line feed.
            for side, marks in ((old, b" -\n"), (new, b" +\n")):
                if lines[number - 1][:1] in (bytes([mark]) for mark in marks):
                    side[-1] = side[-1].removesuffix(b"\n")
        elif line[:1] in (b" ", b"\n"):
            # An editor may have taken the blank from an empty line of context.
            text = line[1:] or b"\n"
            old.append(text)
            new.append(text)
            trailing += 1
        elif line[:1] == b"-":
            old.append(line[1:])
            trailing, changes = 0, changes + 1
        elif line[:1] == b"+":
            new.append(line[1:])
            trailing, changes = 0, changes + 1
        else:
            raise PatchError(f"line {number + 1}: the hunk is shorter than its header says")
        number += 1
    if (len(old), len(new)) != (old_count, new_count) or not changes:
        raise PatchError(f"line {first}: the hunk does not fit its header")
    # A count of zero means "behind that line", any other "from that line on".
    hunk = Hunk(
        old_start - 1 if old_count else old_start,
        new_start - 1 if new_count else new_start,
        tuple(old),
        tuple(new),
        trailing,
    )
    if hunk.old_at < 0 or hunk.new_at < 0:
        raise PatchError(f"line {first}: lines are counted from 1")
    return hunk, number


_NO_NEWLINE = b"\\ No newline at end of file\n"


def _shown(line: bytes) -> str:
    return repr(line[:60].decode("utf-8", "replace").rstrip("\n"))


def apply_file(before: bytes | None, patch: FilePatch, *, offsets: bool = False) -> bytes | None:
    """A file's content after a patch.

    Args:
        before: The content, or None if there is no such file.
        patch: What to do.
        offsets: Whether a hunk may stand elsewhere than its header says, if all its lines match in exactly one place.
            Right only where the result is verified afterwards. Lines never match approximately.

    Raises:
        PatchError: If it does not apply.
    """
    if (before is None) != patch.adds:
        raise PatchError(f"{patch.path} {'is not there' if before is None else 'is there already'}")
    lines = split_lines(before or b"")
    result: list[bytes] = []
    position = shift = 0
    for number, hunk in enumerate(patch.hunks, 1):
        at = hunk.old_at + shift
        if not _matches(lines, hunk, at, position):
            places = range(position, len(lines) - len(hunk.old) + 1) if offsets else ()
            found = [place for place in places if _matches(lines, hunk, place, position)]
            if len(found) != 1:
                raise PatchError(f"{patch.path}: hunk {number} does not match at line {at + 1}")
            at = found[0]
            shift = at - hunk.old_at
        result += lines[position:at]
        result += hunk.new
        position = at + len(hunk.old)
    result += lines[position:]
    if patch.removes:
        if result:
            raise PatchError(f"{patch.path} holds more than the patch added")
        return None
    return b"".join(result)


def _matches(lines: list[bytes], hunk: Hunk, at: int, position: int) -> bool:
    end = at + len(hunk.old)
    if at < position or end > len(lines) or (hunk.old_at == 0 and at != 0) or (not hunk.trailing and end < len(lines)):
        return False
    return all(lines[at + place] == line for place, line in enumerate(hunk.old))


# --- probes


def probe_says(probe: Mapping[str, Any], texts: Sequence[str]) -> str:
    """What a probe sees in source texts: `FIXED`, `PRESENT`, `NOT_AFFECTED` (no text) or `UNKNOWN`."""
    if not texts:
        return NOT_AFFECTED
    text = "\n".join(texts).replace("\r\n", "\n")
    for status in (FIXED, PRESENT):
        patterns = probe.get(status, ())
        if patterns and all(re.search(pattern, text, re.MULTILINE) for pattern in patterns):
            return status
    return UNKNOWN


def probe_matches(probe: Mapping[str, Any], path: str) -> bool:
    """Whether a path is one that the probe reads; a star stays inside its folder."""
    folder, _, name = str(probe["file"]).rpartition("/")
    place, _, found = path.rpartition("/")
    return place == folder and fnmatch.fnmatchcase(found, name)


# --- the index


def sha256(data: bytes | None) -> str | None:
    """The hexadecimal digest, or None for a file that is not there."""
    return None if data is None else hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Group:
    """The releases for which one file reads the same and gets the same patches.

    Attributes:
        releases: Their versions.
        patches: The patch file by defect, of those that touch the file, in application order.
        states: The file's digest (None: not there) by the set of defects whose patches are on.
    """

    releases: frozenset[str]
    patches: Mapping[str, str]
    states: Mapping[frozenset[str], str | None]


@dataclass(frozen=True)
class Index:
    """``patches/index.json``, and the patches beside it.

    Attributes:
        folder: The folder of both.
        defects: The entries of the defects by id, in application order.
        releases: Every release, oldest first.
        groups: The groups of each touched file.
    """

    folder: Path
    defects: Mapping[str, Mapping[str, Any]]
    releases: Sequence[str]
    groups: Mapping[str, tuple[Group, ...]]
    _parsed: dict[str, Mapping[str, FilePatch]] = field(default_factory=dict)

    def watched(self, defect: str) -> list[str]:
        """The files by which a defect's release is told: those that its patches touch, and the one its probe reads."""
        entry = self.defects[defect]
        touched = {path for patch in entry["patches"] for path in patch["touches"]}
        return sorted(touched | ({entry["probe"]["file"]} & set(self.groups)))

    def patch_for(self, defect: str, release: str) -> Mapping[str, Any] | None:
        """The entry of the patch that mends a defect in a release."""
        entries: list[dict[str, Any]] = self.defects[defect]["patches"]
        return next((entry for entry in entries if release in entry["releases"]), None)

    def states(self, path: str, digest: str | None) -> Iterator[tuple[Group, frozenset[str]]]:
        """The groups in which a file can have that digest, each with the defects whose patches are on."""
        for group in self.groups.get(path, ()):
            for on, known in group.states.items():
                if known == digest:
                    yield group, on

    def patch_of(self, name: str, path: str) -> FilePatch:
        """What the patch file `name` does to a file.

        Raises:
            Refused: If the patch file is not the one that the index was made from.
        """
        if name not in self._parsed:
            expected = next(
                patch["sha256"]
                for entry in self.defects.values()
                for patch in entry["patches"]
                if patch["file"] == name
            )
            file = self.folder / name
            try:
                data = file.read_bytes()
            except OSError as problem:
                refuse("patch-unreadable", f"cannot be read: {_reason(problem)}", _WHOLE_FOLDER, str(file), ENVIRONMENT)
            if sha256(data) != expected:
                refuse("patch-changed", "is not the patch that index.json was made from", _WHOLE_FOLDER, str(file))
            self._parsed[name] = {patch.path: patch for patch in parse_patch(data)}
        return self._parsed[name][path]

    def result(self, path: str, group: Group, content: bytes | None, on: frozenset[str], wanted: frozenset[str]) -> Any:
        """A file with another set of patches: those that are on are undone, the wanted ones put on, in order.

        Returns:
            The content, or None where the file is not there afterwards. Its digest is the index's.

        Raises:
            Refused: If the set is not one that the index knows.
        """
        try:
            for defect in reversed(tuple(group.patches)):
                if defect in on:
                    undo = self.patch_of(group.patches[defect], path).reversed()
                    content = apply_file(content, undo, offsets=True)
            for defect in group.patches:
                if defect in wanted:
                    content = apply_file(content, self.patch_of(group.patches[defect], path), offsets=True)
        except PatchError as problem:
            refuse("patch-mismatch", str(problem), _WHOLE_FOLDER, path)
        if wanted not in group.states or group.states[wanted] != sha256(content):
            refuse("patch-mismatch", "the result is not the one that index.json names", _WHOLE_FOLDER, path)
        return content


_WHOLE_FOLDER = "Take patches/ and apply_patches.py together from one checkout."


def load_index(folder: Path) -> Index:
    """Read ``index.json``.

    Raises:
        Refused: If it is not there or of another format.
    """
    file = folder / "index.json"
    try:
        data = json.loads(file.read_bytes())
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            refuse("index-format", "is of another version of this project", _WHOLE_FOLDER, str(file), ENVIRONMENT)
        return index_of(data, folder)
    except FileNotFoundError:
        remedy = "Put patches/ beside the folder of this file, or name it: --patches DIR."
        refuse("index-missing", "there is no such file", remedy, str(file), ENVIRONMENT)
    except OSError as problem:
        refuse("index-unreadable", f"cannot be read: {_reason(problem)}", "", str(file), ENVIRONMENT)
    except (ValueError, LookupError, TypeError, AttributeError):
        refuse("index-damaged", "is no index of patches", _WHOLE_FOLDER, str(file), ENVIRONMENT)


def index_of(data: Mapping[str, Any], folder: Path) -> Index:
    """The index that a parsed ``index.json`` describes."""
    defects = {entry["id"]: entry for entry in data["defects"]}
    groups = {
        path: tuple(
            Group(
                frozenset(group["releases"]),
                {name: group["patches"][name] for name in defects if name in group["patches"]},
                {frozenset(on.split()): digest for on, digest in group["states"].items()},
            )
            for group in entries
        )
        for path, entries in data["files"].items()
    }
    return Index(folder, defects, list(data["releases"]), groups)


def releases_text(releases: Iterable[str], order: Sequence[str]) -> str:
    """Releases in words, neighbours joined: ``0.5.11 to 0.5.12.post1, 0.5.14``."""
    wanted = set(releases)
    runs: list[list[str]] = []
    for place, release in enumerate(order):
        if release not in wanted:
            continue
        if runs and place and order[place - 1] == runs[-1][-1]:
            runs[-1].append(release)
        else:
            runs.append([release])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


# --- the installed SGLang


@dataclass(frozen=True)
class Tree:
    """The Python files of one SGLang.

    Attributes:
        package: The package's folder, with links resolved.
        shown: The folder as people know it.
        version: What the installation calls itself, or None. It decides nothing.
    """

    package: Path
    shown: Path
    version: str | None = None

    def file(self, path: str) -> Path:
        """Where a path ``sglang/...`` lies."""
        return self.package.joinpath(*path.split("/")[1:])

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, or None if there is none.

        Raises:
            Refused: If it cannot be read.
        """
        try:
            return self.file(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            refuse(
                "tree-unreadable", f"cannot be read: {_reason(problem)}", _as_whom(), str(self.file(path)), ENVIRONMENT
            )

    def texts(self, probe: Mapping[str, Any]) -> list[str]:
        """The texts of the files that a probe reads."""
        folder, _, name = str(probe["file"]).rpartition("/")
        names = [name]
        if any(mark in name for mark in "*?["):
            try:
                names = sorted(fnmatch.filter((file.name for file in self.file(folder).iterdir()), name))
            except OSError:
                names = []
        found = (self.read(f"{folder}/{name}") for name in names)
        return [data.decode("utf-8", "replace") for data in found if data is not None]

    @property
    def store(self) -> Path:
        """Where the manifest lies."""
        return self.package / STORE


def is_package(folder: Path) -> bool:
    """Whether a folder is SGLang's package."""
    try:
        return (folder / "srt").is_dir() and (folder / "__init__.py").is_file()
    except OSError:  # a folder that may not be read
        return False


def tree_in(folder: Path) -> Tree:
    """The SGLang that a folder named by the user holds: site-packages, a repository's root, ``python/`` or the package.

    Raises:
        Refused: If it holds none, or two.
    """
    places = [folder, folder / "sglang", folder / "python" / "sglang"]
    try:
        if not folder.is_dir():
            refuse("sglang-missing", "there is no such folder", "", str(folder), ENVIRONMENT)
        found = [place for place in places if is_package(place)]
    except OSError as problem:
        refuse("sglang-missing", f"cannot be read: {_reason(problem)}", _as_whom(), str(folder), ENVIRONMENT)
    if not found:
        remedy = "Name site-packages, the repository's root, its python/ folder, or the package folder itself."
        refuse("sglang-missing", "holds no SGLang (no sglang/srt)", remedy, str(folder), ENVIRONMENT)
    return _only(found, None)


def find_tree() -> Tree:
    """The SGLang that this Python would import, found without importing it.

    Raises:
        Refused: If there is none, or if two could be meant.
    """
    own = Path(__file__).resolve().parent
    searched = list(sys.path)
    if not is_package(own / "sglang"):
        # This file's folder comes first on the path; a clone called "sglang" beside it is not what a server imports.
        sys.path[:] = [entry for entry in searched if Path(entry or ".").resolve() != own]
    try:
        spec = importlib.util.find_spec("sglang")
        spec_places = list(spec.submodule_search_locations or ()) if spec is not None else []
    except (ImportError, ValueError, AttributeError):
        spec_places = []
    finally:
        paths, sys.path[:] = list(sys.path), searched
    places = [Path(place) for place in spec_places] + [Path(entry or ".") / "sglang" for entry in paths]
    found = [place.absolute() for place in places if is_package(place)]
    if not found:
        refuse(
            "sglang-missing",
            f"{sys.executable} has no SGLang",
            "Run this with the Python that runs the server, or name the folder: --sglang-dir DIR.",
            exit_code=ENVIRONMENT,
        )
    version = None
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, OSError, KeyError):
        version = importlib.metadata.version("sglang")
    return _only(found, version)


def _only(found: Sequence[Path], version: str | None) -> Tree:
    different = {place.resolve(): place for place in reversed(found)}
    if len(different) > 1:
        listed = " and ".join(str(place) for place in sorted(different.values()))
        remedy = "Name the one you mean: --sglang-dir DIR."
        refuse("sglang-two", f"there are two SGLangs: {listed}", remedy, exit_code=ENVIRONMENT)
    package, shown = next(iter(different.items()))
    return Tree(package, shown, _version_beside(package) or version)


def _version_beside(package: Path) -> str | None:
    """The version by the metadata beside the package, or by the file that the build left in it."""
    with contextlib.suppress(OSError):
        infos = sorted(package.parent.glob("sglang-*.dist-info"))
        if len(infos) == 1:
            return infos[0].name.removesuffix(".dist-info").partition("-")[2]
    with contextlib.suppress(OSError):
        text = (package / "_version.py").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^(?:__version__|version)\b[^'\"\n]*['\"]([^'\"\n]+)['\"]", text, re.MULTILINE)
        if match:
            return match[1]
    return None


def _reason(problem: OSError) -> str:
    return problem.strerror or type(problem).__name__


def _as_whom() -> str:
    return f"This runs as user {os.geteuid()}; run it as the owner of SGLang's files (in a Dockerfile: USER root)."


# --- what is on


@dataclass(frozen=True)
class State:
    """One file of the tree, as the index and the manifest know it.

    Attributes:
        content: Its bytes, or None.
        digest: Their SHA-256.
        known: In which groups it can be, each with the defects whose patches are on. Empty for an unknown file.
        base: The bytes to start from: the content, or what the manifest saved if the content is of an older patch.
        older: The defects whose patches are on, if they are patches that this index does not know.
    """

    content: bytes | None
    digest: str | None
    known: tuple[tuple[Group, frozenset[str]], ...]
    base: bytes | None
    older: frozenset[str] = frozenset()

    @property
    def releases(self) -> frozenset[str]:
        """The releases that the file can be of."""
        return frozenset(release for group, _ in self.known for release in group.releases)

    def of(self, release: str) -> tuple[Group, frozenset[str]]:
        """The group and the set of patches for a release."""
        return next((group, on) for group, on in self.known if release in group.releases)


@dataclass(frozen=True)
class Seen:
    """What is known of one defect in a tree.

    Attributes:
        defect: Its id.
        status: One of the five.
        detail: Why, in words.
        releases: The releases whose sources these are, as far as this defect is concerned; empty if unknown.
        patch: The entry of the patch for them, if there is one.
        dirty: Files of no known release.
    """

    defect: str
    status: str
    detail: str
    releases: tuple[str, ...] = ()
    patch: Mapping[str, Any] | None = None
    dirty: tuple[str, ...] = ()


class Survey:
    """A tree looked at through an index."""

    def __init__(self, tree: Tree, index: Index, manifest: Mapping[str, Any] | None) -> None:
        self.tree = tree
        self.index = index
        self.manifest = manifest
        self._states: dict[str, State] = {}

    def state(self, path: str) -> State:
        """One file of the tree."""
        if path not in self._states:
            content = self.tree.read(path)
            digest = sha256(content)
            known = tuple(self.index.states(path, digest))
            base, older = content, frozenset[str]()
            entry = (self.manifest or {"files": {}})["files"].get(path)
            if not known and entry is not None and entry["after"] == digest:
                # A patch of another version of this project: what the file was is saved.
                original = original_of(self.tree, path, entry)
                known = tuple(self.index.states(path, sha256(original)))
                base, older = original, frozenset(entry["defects"] if known else ())
            self._states[path] = State(content, digest, known, base, older)
        return self._states[path]

    def look(self, defect: str) -> Seen:
        """What is known of one defect."""
        entry = self.index.defects[defect]
        watched = self.index.watched(defect)
        states = {path: self.state(path) for path in watched}
        dirty = tuple(path for path, state in states.items() if not state.known)
        common = set(self.index.releases if watched else ())
        for state in states.values():
            common &= state.releases
        releases = tuple(release for release in self.index.releases if release in common)
        if releases:
            seen = self._known(entry, releases, states)
            if seen is not None:
                return seen
        return self._probed(entry, dirty)

    def _known(self, entry: Mapping[str, Any], releases: tuple[str, ...], states: Mapping[str, State]) -> Seen | None:
        defect = entry["id"]
        text = f"SGLang {releases_text(releases, self.index.releases)}"
        # The generator makes sure that sources which read alike have one patch.
        patch = self.index.patch_for(defect, releases[0])
        if patch is None:
            says = {entry["releases"][release]["status"] for release in releases}
            if len(says) > 1:
                return None
            status = says.pop()
            detail = f"{text}; no patch for it" if status == PRESENT else text
            return Seen(defect, status, detail, releases)
        on = [path for path in patch["touches"] if defect in states[path].of(releases[0])[1]]
        older = [path for path in patch["touches"] if states[path].older]
        name = Path(patch["file"]).name
        if older:
            detail = f"a patch of another version of this project is on; run again to put on {name}"
            return Seen(defect, PRESENT, detail, releases, patch)
        if len(on) == len(patch["touches"]):
            return Seen(defect, MENDED, name, releases, patch)
        partly = f"; on {len(on)} of {len(patch['touches'])} files already" if on else ""
        return Seen(defect, PRESENT, f"{text}; to be mended by {name}{partly}", releases, patch)

    def _probed(self, entry: Mapping[str, Any], dirty: tuple[str, ...]) -> Seen:
        probe = entry["probe"]
        says = probe_says(probe, self.tree.texts(probe))
        if says == NOT_AFFECTED:
            return Seen(entry["id"], says, f"no {probe['file']}", dirty=dirty)
        files = ", ".join(dirty) or ", ".join(self.index.watched(entry["id"])) or probe["file"]
        if says == FIXED:
            return Seen(entry["id"], says, f"by the probe; of no known release: {files}", dirty=dirty)
        sees = "the probe sees the defect" if says == PRESENT else "the probe cannot tell"
        return Seen(entry["id"], UNKNOWN, f"{sees}; of no known release: {files}", dirty=dirty)


def original_of(tree: Tree, path: str, entry: Mapping[str, Any]) -> bytes | None:
    """What a file was before its first patch.

    Raises:
        Refused: If what was saved is not that.
    """
    if entry["before"] is None:
        return None
    saved = tree.store / "original" / path
    try:
        # A link was relative to where the file lies.
        source = tree.file(path).parent / saved.readlink() if saved.is_symlink() else saved
        data = source.read_bytes()
    except OSError as problem:
        refuse("original-missing", f"cannot be read: {_reason(problem)}", _REINSTALL, str(saved))
    if sha256(data) != entry["before"]:
        refuse("original-damaged", "is not what the file was", _REINSTALL, str(saved))
    return data


_REINSTALL = f"Reinstall SGLang, then remove its folder {STORE}."


# --- the plan


@dataclass(frozen=True)
class Move:
    """One file and what it becomes.

    Attributes:
        path: The path ``sglang/...``.
        before: The digest that it has, or None if it is not there.
        after: The digest that it gets, or None if it goes.
        content: The bytes that it gets.
        counts: How many lines come and go.
        restore: The saved original to put back with its mode and time, if that is what happens.
    """

    path: str
    before: str | None
    after: str | None
    content: bytes | None = None
    counts: tuple[int, int] = (0, 0)
    restore: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What applying does.

    Attributes:
        moves: The files that change.
        puts_on: For each defect that gets mended, its patch.
        manifest: The manifest afterwards.
    """

    moves: tuple[Move, ...]
    puts_on: Mapping[str, Mapping[str, Any]]
    manifest: Mapping[str, Any]


def make_plan(survey: Survey, seen: Sequence[Seen], named: bool) -> tuple[Plan, list[Problem]]:
    """Compute and verify every file before anything is written.

    Args:
        survey: The tree.
        seen: What is known of the defects to mend.
        named: Whether the user named them; then one without a patch is an error.

    Raises:
        Refused: If one defect cannot be mended.
    """
    problems = [problem for item in seen for problem in _cannot(survey, item, seen, named)]
    if any(problem.severity == "error" for problem in problems):
        raise Refused(problems)
    wanted = {item.defect: item for item in seen if item.status == PRESENT and item.patch is not None}
    paths = sorted({path for item in wanted.values() if item.patch is not None for path in item.patch["touches"]})
    moves: list[Move] = []
    errors: list[Problem] = []
    manifest = next_manifest(survey)
    for path in paths:
        try:
            move, on = _move(survey, path, wanted)
        except Refused as refused:
            errors += refused.problems
            continue
        if move.before == move.after:  # of a defect that is mended in part
            continue
        entry = manifest["files"].setdefault(path, {"before": move.before, "after": None, "defects": []})
        entry["after"], entry["defects"] = move.after, on
        moves.append(move)
    if errors:
        raise Refused(dict.fromkeys(errors))
    puts_on = {name: item.patch for name, item in wanted.items() if item.patch is not None}
    manifest["patches"].update(
        {name: {key: patch[key] for key in ("file", "sha256")} for name, patch in puts_on.items()}
    )
    manifest["patches"] = {
        name: manifest["patches"][name] for name in survey.index.defects if name in manifest["patches"]
    }
    return Plan(tuple(moves), puts_on, manifest), problems


def next_manifest(survey: Survey) -> dict[str, Any]:
    """The manifest as far as it still holds: entries of files that were replaced since, by a reinstall, are dropped."""
    old = survey.manifest or {"files": {}, "patches": {}}
    files = {}
    for path, entry in old["files"].items():
        state = survey.state(path)
        if state.digest == entry["after"] or not is_as_published(state):
            files[path] = dict(entry)
    kept = {name for entry in files.values() for name in entry["defects"]}
    return {
        "format": FORMAT,
        "about": "What apply_patches.py put on this SGLang. 'apply_patches.py --revert' takes it off.",
        "patches": {name: patch for name, patch in old["patches"].items() if name in kept},
        "files": files,
    }


def is_as_published(state: State) -> bool:
    """Whether a file is known and none of our patches is on."""
    return not state.older and any(not on for _, on in state.known)


def _move(survey: Survey, path: str, wanted: Mapping[str, Seen]) -> tuple[Move, list[str]]:
    index, state = survey.index, survey.state(path)
    # One release must explain all patches that meet in this file.
    releases = set(state.releases)
    for item in wanted.values():
        if item.patch is not None and path in item.patch["touches"]:
            releases &= set(item.releases)
    if not releases:
        remedy = "Mend one of the defects at a time."
        refuse("sources-mixed", "its patches are for different releases", remedy, str(survey.tree.file(path)))
    release = next(release for release in reversed(index.releases) if release in releases)
    group, on = state.of(release)
    target = frozenset(name for name in group.patches if name in on | state.older or name in wanted)
    if target not in group.states:
        supersets = sorted((known for known in group.states if known > target), key=len)
        missing = [name for name in index.defects if supersets and name in supersets[0] - target]
        remedy = f"Add {' '.join(missing)}." if missing else ""
        names = " ".join(name for name in index.defects if name in target)
        refuse("set-unknown", f"{names}: this set of patches is not prepared", remedy, str(survey.tree.file(path)))
    content = index.result(path, group, state.base, on, target)
    counts = _counts(state.content, content)
    after = sha256(content)
    return Move(path, state.digest, after, content, counts), [name for name in index.defects if name in target]


def _counts(before: bytes | None, after: bytes | None) -> tuple[int, int]:
    old, new = split_lines(before or b""), split_lines(after or b"")
    shorter = min(len(old), len(new))
    start = next((place for place in range(shorter) if old[place] != new[place]), shorter)
    end = next((place for place in range(shorter - start) if old[-1 - place] != new[-1 - place]), shorter - start)
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    gone = came = 0
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            gone, came = gone + b - a, came + d - c
    return came, gone


def _cannot(survey: Survey, item: Seen, seen: Sequence[Seen], named: bool) -> Iterator[Problem]:
    if item.status == UNKNOWN:
        others = [other.defect for other in seen if other.status == PRESENT and other.patch is not None]
        remedy = f"To leave it out: apply_patches.py {' '.join(others)}" if others else ""
        places = [str(survey.tree.file(path)) for path in item.dirty] or [str(survey.tree.shown)]
        reason = item.detail.partition(";")[0]
        for place in places:
            what = f"{item.defect}: this is no file of a known release, and patches go on exact sources only; {reason}"
            yield Problem("source-unknown", what, remedy, place)
    elif item.status == PRESENT and item.patch is None:
        what = f"{item.defect} is present, and there is no patch for SGLang {', '.join(item.releases)}"
        yield Problem("defect-unmended", what, severity="error" if named else "warning")


# --- changing the tree


def journal_text(data: Mapping[str, Any]) -> str:
    """JSON as it is written."""
    return json.dumps(data, indent=1) + "\n"


class Change:
    """A set of moves that happens as a whole or not at all."""

    def __init__(self, tree: Tree, moves: Sequence[Move], manifest: Mapping[str, Any] | None) -> None:
        self.tree = tree
        self.moves = moves
        self.manifest = manifest
        self.made_store = False
        self.saved: list[Path] = []
        self.done: list[Move] = []

    def run(self) -> None:
        """Do it.

        Raises:
            Refused: If it cannot be done; everything is as it was.
        """
        try:
            self._prepare()
            self._journal()
            for move in self.moves:
                self.done.append(move)
                swap(self.tree, move.path, move.after)
        except BaseException as problem:
            self._undo(problem)
            if isinstance(problem, OSError):
                place = str(problem.filename or self.tree.package)
                remedy = f"Nothing was changed. {_as_whom() if problem.errno in _DENIED else ''}".strip()
                refuse("tree-unwritable", f"cannot be written: {_reason(problem)}", remedy, place)
            raise
        settle(self.tree, [move.path for move in self.moves], self.manifest)

    def _prepare(self) -> None:
        store = self.tree.store
        if not store.is_dir():
            self.made_store = True
            make_folder(store, self.tree.package)
        for move in self.moves:
            path, new, old = self.tree.file(move.path), new_name(self.tree, move.path), old_name(self.tree, move.path)
            for left in (new, old):
                left.unlink(missing_ok=True)
            if move.before is not None:
                self._save(move, path)
                keep(path, old)
            if move.restore is not None:
                shutil.copy2(move.restore, new, follow_symlinks=False)
                own(new, move.restore)
            elif move.content is not None:
                write(new, move.content, like=path, folder=path.parent)
            if sha256(self.tree.read(move.path)) != move.before:
                raise OSError(0, "it changes while it is patched", str(path))
            if move.after is not None and sha256(new.read_bytes()) != move.after:
                raise OSError(0, "what was written is not what is there", str(new))

    def _save(self, move: Move, path: Path) -> None:
        entry = (self.manifest or {"files": {}})["files"].get(move.path)
        saved = self.tree.store / "original" / move.path
        if entry is None or entry["before"] != move.before:
            return
        if os.path.lexists(saved):
            if saved.is_file() and sha256(saved.read_bytes()) == move.before:
                return
            # Of an SGLang that was replaced since, or of a run that was killed.
            saved.unlink()
        for folder in reversed([saved.parent, *saved.parent.parents]):
            if self.tree.store in folder.parents and not folder.is_dir():
                make_folder(folder, self.tree.package)
        self.saved.append(saved)
        shutil.copy2(path, saved, follow_symlinks=False)
        own(saved, path)

    def _journal(self) -> None:
        moves = [{"path": move.path, "before": move.before, "after": move.after} for move in self.moves]
        data = {"format": FORMAT, "moves": moves, "manifest": self.manifest}
        write_whole(self.tree.store / "journal.json", journal_text(data))

    def _undo(self, problem: BaseException) -> None:
        try:
            for move in reversed(self.done):
                path, old = self.tree.file(move.path), old_name(self.tree, move.path)
                if move.before is not None:
                    if os.path.lexists(old):
                        old.replace(path)
                elif move.after is not None and not os.path.lexists(new_name(self.tree, move.path)):
                    path.unlink(missing_ok=True)
            for move in self.moves:
                for left in (new_name(self.tree, move.path), old_name(self.tree, move.path)):
                    left.unlink(missing_ok=True)
            for saved in self.saved:
                saved.unlink(missing_ok=True)
            (self.tree.store / "journal.json").unlink(missing_ok=True)
            (self.tree.store / "journal.json.new").unlink(missing_ok=True)
            if self.made_store:
                shutil.rmtree(self.tree.store, ignore_errors=True)
        except OSError as second:
            what = f"{_reason(second)}, while taking back what was done after: {problem}"
            remedy = "The files are half way. Make the folder writable and run this again: it finishes the work."
            refuse("tree-half-way", what, remedy, str(self.tree.package))


_DENIED = (1, 13, 30)  # EPERM, EACCES, EROFS


def new_name(tree: Tree, path: str) -> Path:
    """Where the new content of a file waits."""
    file = tree.file(path)
    return file.with_name(f".{file.name}.mimo-gb10-new")


def old_name(tree: Tree, path: str) -> Path:
    """Where the old file waits until all is done."""
    file = tree.file(path)
    return file.with_name(f".{file.name}.mimo-gb10-old")


def swap(tree: Tree, path: str, after: str | None) -> None:
    """Put the waiting content in place of a file, or remove it."""
    if after is None:
        tree.file(path).unlink(missing_ok=True)
    else:
        # A rename: a file that other trees share through a hard link is not written to.
        new_name(tree, path).replace(tree.file(path))


def settle(tree: Tree, paths: Iterable[str], manifest: Mapping[str, Any] | None) -> None:
    """Close a change whose files are all in place: manifest, then what is left over, the journal last."""
    paths = list(paths)
    store = tree.store
    try:
        if manifest is not None:
            write_whole(store / "manifest.json", journal_text(manifest))
        else:
            (store / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(store / "original", ignore_errors=True)
        for path in paths:
            for left in (new_name(tree, path), old_name(tree, path)):
                left.unlink(missing_ok=True)
            remove_bytecode(tree.file(path))
        (store / "journal.json").unlink(missing_ok=True)
        if manifest is None:
            shutil.rmtree(store)
    except OSError as problem:
        what = f"the files are in place, but the record is not: {_reason(problem)}"
        refuse("tree-half-way", what, "Run this again: it finishes the work.", str(problem.filename or store))


def remove_bytecode(source: Path) -> None:
    """Remove what Python compiled from the old text.

    Python itself compares time and size, unless the bytecode was made to be trusted unchecked.
    """
    for stale in (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"):
        with contextlib.suppress(OSError):
            stale.unlink()


def make_folder(folder: Path, like: Path) -> None:
    """Make a folder that others can read, whatever the umask says."""
    folder.mkdir()
    folder.chmod(0o755)
    own(folder, like)


def keep(path: Path, old: Path) -> None:
    """Keep a file under a second name: the very same one if the file system can."""
    try:
        os.link(path, old, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, old, follow_symlinks=False)
        own(old, path)


def write(new: Path, content: bytes, like: Path, folder: Path) -> None:
    """Write a file with the mode and owner of another one; a file that is new gets 0644 and the folder's owner."""
    _write(new, content)
    if like.exists():
        status = like.stat()
        new.chmod(status.st_mode & 0o7777)
        own(new, like)
        if int(new.stat().st_mtime) == int(status.st_mtime):
            # Python tells stale bytecode by whole seconds.
            os.utime(new, (status.st_mtime + 1, status.st_mtime + 1))
    else:
        new.chmod(0o644)
        own(new, folder)


def write_whole(file: Path, text: str) -> None:
    """Write a file through a second one and a rename."""
    new = file.with_name(f"{file.name}.new")
    _write(new, text.encode())
    new.chmod(0o644)
    own(new, file.parent)
    new.replace(file)


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def own(file: Path, like: Path) -> None:
    """Give a file the owner of another one, if this process may."""
    with contextlib.suppress(OSError):
        status = like.stat()
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(file, status.st_uid, status.st_gid, follow_symlinks=False)


@contextlib.contextmanager
def locked(tree: Tree) -> Iterator[None]:
    """Keep a second run away from the same SGLang."""
    try:
        handle = os.open(tree.package, os.O_RDONLY)
    except OSError as problem:
        refuse("tree-unreadable", f"cannot be read: {_reason(problem)}", _as_whom(), str(tree.package), ENVIRONMENT)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse("tree-busy", "another run is at work here", "Wait until it has ended.", str(tree.package))
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def read_record(tree: Tree, name: str) -> dict[str, Any] | None:
    """The manifest or the journal of a tree, or None.

    Raises:
        Refused: If it cannot be used.
    """
    file = tree.store / name
    try:
        data = json.loads(file.read_bytes())
        if data["format"] != FORMAT:
            refuse("manifest-format", "is of another version of this project", "Use that version to revert.", str(file))
        for path in [move["path"] for move in data.get("moves", ())] + list(
            (data.get("manifest") or data).get("files", ())
        ):
            if not _PATH.match(path):
                raise ValueError(path)
        return dict(data)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        refuse("manifest-unreadable", f"cannot be read: {_reason(problem)}", _as_whom(), str(file), ENVIRONMENT)
    except (ValueError, LookupError, TypeError, AttributeError):
        refuse("manifest-damaged", "is not what apply_patches.py writes", _REINSTALL, str(file))


def recover(tree: Tree, known_paths: Iterable[str]) -> bool:
    """Finish what an earlier run was killed over, and remove what it left; returns whether a run was finished.

    Raises:
        Refused: If the files were changed since.
    """
    journal = read_record(tree, "journal.json")
    if journal is None:
        # Killed before the first rename, at worst: the files are as they were.
        manifest = read_record(tree, "manifest.json")
        for path in {*known_paths, *(manifest or {"files": ()})["files"]}:
            for left in (new_name(tree, path), old_name(tree, path)):
                if os.path.lexists(left):
                    _remove(left)
        if manifest is None and tree.store.is_dir():
            shutil.rmtree(tree.store, ignore_errors=True)
        return False
    todo, problems = [], []
    for move in journal["moves"]:
        path, now = move["path"], sha256(tree.read(move["path"]))
        if now == move["after"]:
            continue
        new = new_name(tree, path)
        ready = move["after"] is None or (new.is_file() and sha256(new.read_bytes()) == move["after"])
        if now == move["before"] and ready:
            todo.append(move)
        else:
            what = "was changed after an earlier run had been interrupted"
            problems.append(Problem("changed-since", what, _REINSTALL, str(tree.file(path))))
    if problems:
        raise Refused(problems)
    try:
        for move in todo:
            swap(tree, move["path"], move["after"])
    except OSError as problem:
        place = str(problem.filename or tree.package)
        remedy = f"An earlier run was interrupted, and is still to be finished. {_as_whom()}"
        refuse("tree-unwritable", f"cannot be written: {_reason(problem)}", remedy, place)
    settle(tree, [move["path"] for move in journal["moves"]], journal["manifest"])
    return True


def _remove(file: Path) -> None:
    try:
        file.unlink()
    except PermissionError as problem:
        refuse("tree-unwritable", f"cannot be removed: {_reason(problem)}", _as_whom(), str(file))


# --- the commands


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        tree: The SGLang.
        index: The patches.
        defects: The defects that are meant, in application order.
        named: Whether the user named them.
        out: Where results go.
        again: The command to show for another run, up to its options.
        json: Whether the result is for a program.
        paint: Colours for the result.
    """

    tree: Tree
    index: Index
    defects: tuple[str, ...]
    named: bool
    out: TextIO
    again: str
    json: bool
    paint: Callable[[str, str], str]


def status(request: Request, require: bool) -> list[Problem]:
    """Show what is known of each defect; returns what keeps the requirement from being met."""
    tree = request.tree
    interrupted = read_record(tree, "journal.json") is not None
    survey = Survey(tree, request.index, read_record(tree, "manifest.json"))
    seen = [survey.look(defect) for defect in request.defects]
    problems = []
    if interrupted:
        what = "a run was interrupted here"
        remedy = f"{request.again} finishes it."
        severity = "error" if require else "warning"
        problems.append(Problem("interrupted", what, remedy, str(tree.shown), severity))
    if require:
        for item in seen:
            if item.status in (PRESENT, UNKNOWN):
                remedy = f"{request.again} {item.defect}" if item.patch is not None else ""
                what = f"{item.defect}: {STATUS_WORDS[item.status]} ({item.detail})"
                problems.append(Problem("defect-open", what, remedy, str(tree.shown)))
    if request.json:
        _show_json(request, seen, interrupted=interrupted, findings=[vars(problem) for problem in problems])
    else:
        _show_table(request, seen)
    return problems


def apply(request: Request, dry_run: bool) -> list[Problem]:
    """Mend what is present; returns what is worth knowing.

    Raises:
        Refused: If one defect cannot be mended: then nothing is.
    """
    tree, out = request.tree, request.out
    recovered = False
    with contextlib.nullcontext() if dry_run else locked(tree):
        if not dry_run:
            recovered = recover(tree, request.index.groups)
        elif read_record(tree, "journal.json") is not None:
            refuse("interrupted", "a run was interrupted here", f"{request.again} finishes it.", str(tree.shown))
        survey = Survey(tree, request.index, read_record(tree, "manifest.json"))
        seen = [survey.look(defect) for defect in request.defects]
        plan, problems = make_plan(survey, seen, request.named)
        if plan.moves and not dry_run:
            Change(tree, plan.moves, plan.manifest).run()
    if request.json:
        after = seen if dry_run else _again(request)
        moves = [{"path": move.path, "before": move.before, "after": move.after} for move in plan.moves]
        _show_json(request, after, applied=list(plan.puts_on), files=moves, dry_run=dry_run)
        return problems
    _show_place(request)
    if recovered:
        out.write("finished a run that had been interrupted\n")
    for defect, patch in plan.puts_on.items():
        out.write(
            f"{'would put on' if dry_run else 'put on'} {request.paint('bold', defect)} ({Path(patch['file']).name})\n"
        )
    for move in plan.moves:
        out.write(f"  {move.path} +{move.counts[0]} -{move.counts[1]}{'' if move.before else ' (new)'}\n")
    if not plan.moves:
        out.write("nothing to do\n")
    for item in seen:
        if item.defect not in plan.puts_on:
            out.write(f"{item.defect}: {STATUS_WORDS[item.status]} ({item.detail})\n")
    if plan.moves and not dry_run:
        out.write("A server that runs already keeps the old code: restart it.\n")
    if not dry_run and tree.store.is_dir():
        out.write(f"The way back: {request.again} --revert\n")
    return problems


def _again(request: Request) -> list[Seen]:
    survey = Survey(request.tree, request.index, read_record(request.tree, "manifest.json"))
    return [survey.look(defect) for defect in request.defects]


def revert(tree: Tree, index: Index | None, out: TextIO, again: str) -> list[Problem]:
    """Put back what the files were; returns what is worth knowing.

    Raises:
        Refused: If a file was changed since: then nothing is put back.
    """
    with locked(tree):
        recover(tree, index.groups if index is not None else ())
        manifest = read_record(tree, "manifest.json")
        if manifest is None:
            out.write(f"nothing to take off: this tool put nothing on {tree.shown}\n")
            return []
        moves, notes, problems = [], [], []
        for path, entry in manifest["files"].items():
            content = tree.read(path)
            digest = sha256(content)
            place = str(tree.file(path))
            if digest == entry["before"]:
                continue
            if digest == entry["after"]:
                original = original_of(tree, path, entry)
                saved = tree.store / "original" / path if entry["before"] is not None else None
                moves.append(Move(path, digest, entry["before"], None, _counts(content, original), saved))
            elif index is not None and is_as_published(
                State(content, digest, tuple(index.states(path, digest)), content)
            ):
                what = "was replaced since, by a file of a known release; it stays as it is"
                notes.append(Problem("replaced-since", what, "", place, "note"))
            else:
                what = "was changed since it was patched; taking the patch off would lose that"
                remedy = f"Undo that change and run {again} --revert again, or reinstall SGLang and remove {STORE}."
                problems.append(Problem("changed-since", what, remedy, place))
        if problems:
            raise Refused(problems)
        Change(tree, moves, None).run()
    for move in moves:
        gone = " (removed)" if move.after is None else ""
        out.write(f"put back {move.path} +{move.counts[0]} -{move.counts[1]}{gone}\n")
    names = " ".join(manifest["patches"])
    out.write(f"taken off: {names}\n")
    out.write(f"To put them on again: {again}{f' {names}' if names else ''}\n")
    return notes


def _show_place(request: Request) -> None:
    version = f" {request.tree.version}" if request.tree.version else ""
    request.out.write(f"SGLang{version} in {request.tree.shown}\n")


def _show_table(request: Request, seen: Sequence[Seen]) -> None:
    _show_place(request)
    width = max(len(item.defect) for item in seen)
    words = max(len(word) for word in STATUS_WORDS.values())
    style = {PRESENT: "error", UNKNOWN: "warning"}
    for item in seen:
        word = STATUS_WORDS[item.status].ljust(words)
        shown = request.paint(style.get(item.status, "help"), word)
        request.out.write(f"{item.defect.ljust(width)}  {shown}  {item.detail}\n")


def _show_json(request: Request, seen: Sequence[Seen], **more: Any) -> None:
    tree = request.tree
    defects = [
        {
            "id": item.defect,
            "status": item.status,
            "detail": item.detail,
            "releases": list(item.releases),
            "patch": item.patch["file"] if item.patch is not None else None,
        }
        for item in seen
    ]
    data = {"sglang": {"folder": str(tree.shown), "version": tree.version}, "defects": defects, **more}
    request.out.write(json.dumps(data, indent=2) + "\n")


# --- the command line

_STYLES = {"error": "1;31", "warning": "1;33", "note": "1;36", "bold": "1", "help": "1;32"}


def painter(stream: TextIO, no_color: bool) -> Callable[[str, str], str]:
    """Colour on a terminal, unless ``--no-color``, ``NO_COLOR`` or a dumb terminal says no."""
    wanted = not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
    return lambda style, text: f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if wanted else text


def show(problems: Iterable[Problem], no_color: bool) -> None:
    """Print problems to stderr, worst first."""
    order = list(_STYLES)
    paint = painter(sys.stderr, no_color)
    sys.stdout.flush()
    for problem in sorted(dict.fromkeys(problems), key=lambda item: order.index(item.severity)):
        place = f"{paint('bold', f'{_printable(problem.place)}: ')}" if problem.place else ""
        head = paint(problem.severity, f"{problem.severity}[{problem.code}]")
        sys.stderr.write(f"{place}{head}: {_printable(problem.what)}\n")
        if problem.help:
            sys.stderr.write(f"  {paint('help', 'help')}: {_printable(problem.help)}\n")


def _printable(text: str) -> str:
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape", "replace").decode() for ch in text)


def parser() -> argparse.ArgumentParser:
    """The command line of ``apply_patches.py``."""
    made = argparse.ArgumentParser(
        prog="apply_patches.py",
        description="Put this repository's patches on an installed SGLang. Without an action: mend every defect that "
        "is present, or the ones that are named; all of it or nothing, and what is mended already stays as it is.",
        epilog="Exit codes: 0 done, 1 refused or requirement not met, 2 usage, 3 environment (no SGLang, no patches).",
        allow_abbrev=False,
    )
    made.add_argument("defects", nargs="*", metavar="DEFECT", help="only these (default: all)")
    action = made.add_mutually_exclusive_group()
    action.add_argument("--status", action="store_true", help="change nothing; show what is known of each defect")
    action.add_argument(
        "--require", "--check", action="store_true", help="the same, and fail unless each is mended, fixed or absent"
    )
    action.add_argument("--dry-run", action="store_true", help="change nothing; show which files would change")
    action.add_argument("--revert", action="store_true", help="put every patched file back as it was")
    made.add_argument(
        "--sglang-dir",
        type=Path,
        metavar="DIR",
        help="site-packages, the repository, its python/ folder or the package (default: what this Python imports)",
    )
    made.add_argument(
        "--patches", type=Path, metavar="DIR", help="the patches (default: beside this file or its folder)"
    )
    made.add_argument("--json", action="store_true", help="print the result for programs")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if options.revert and (options.defects or options.json):
        made.error("--revert takes everything off, and no further argument; name what to keep in a second run")
    try:
        problems = _run(options)
    except Refused as refused:
        show(refused.problems, options.no_color)
        return refused.exit_code
    show(problems, options.no_color)
    return REFUSED if any(problem.severity == "error" for problem in problems) else OK


def _run(options: argparse.Namespace) -> list[Problem]:
    own_folder = Path(__file__).resolve().parent
    beside = [own_folder / "patches", own_folder.parent / "patches"]
    folder = options.patches or next((place for place in beside if (place / "index.json").is_file()), beside[-1])
    tree = tree_in(options.sglang_dir) if options.sglang_dir else find_tree()
    again = shlex.join(_command(options))
    if options.revert:
        # Reverting needs what was saved, not the patches.
        try:
            index: Index | None = load_index(folder)
        except Refused:
            index = None
        return revert(tree, index, sys.stdout, again)
    index = load_index(folder)
    unknown = [name for name in options.defects if name not in index.defects]
    if unknown:
        problems = []
        for name in unknown:
            close = difflib.get_close_matches(name, index.defects, 1)
            remedy = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(index.defects)}."
            problems.append(Problem("defect-unknown", f"there is no defect {name!r}", remedy))
        raise Refused(problems, USAGE)
    meant = tuple(name for name in index.defects if not options.defects or name in options.defects)
    request = Request(
        tree=tree,
        index=index,
        defects=meant,
        named=bool(options.defects),
        out=sys.stdout,
        again=again,
        json=options.json,
        paint=painter(sys.stdout, options.no_color),
    )
    if options.status or options.require:
        return status(request, options.require)
    return apply(request, options.dry_run)


def _command(options: argparse.Namespace) -> list[str]:
    words = ["python3", sys.argv[0] or "apply_patches.py"]
    if options.sglang_dir:
        words += ["--sglang-dir", str(options.sglang_dir)]
    if options.patches:
        words += ["--patches", str(options.patches)]
    return words


def run() -> NoReturn:
    """Run the command on the process's arguments, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stderr.write(f"error[output]: {problem.filename or 'the result'}: {_reason(problem)}\n")
        code = ENVIRONMENT
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    run()
