#!/usr/bin/env python3
"""Unpack a bundle of pack_rehearsal.py, check it, and run a command with it. Needs Python 3.10 and nothing else."""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import shlex
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

OK, ERRORS, USAGE, ENVIRONMENT = 0, 1, 2, 3

MANIFESTS = ".mimo-gb10-bundle"
FORMAT = 1
_LARGEST = 2**31


class Problem(Exception):
    """The bundle cannot be used: what is wrong, what to do, and the exit code."""

    def __init__(self, code: str, message: str, help_text: str, status: int = ERRORS) -> None:
        super().__init__(message)
        self.code, self.message, self.help, self.status = code, message, help_text, status


def parser() -> argparse.ArgumentParser:
    """The command line of ``unpack_rehearsal.py``."""
    made = argparse.ArgumentParser(
        prog="unpack_rehearsal.py",
        description="Unpack the parts of a bundle into a folder, check every file, and print what to export, or run "
        "the command after -- with it. Parts may come in several runs. What is there and right is not unpacked again.",
        epilog="Exit codes: 0 unpacked, 1 errors, 2 usage, 3 the folder cannot be written; a command's own code.",
        allow_abbrev=False,
    )
    made.add_argument("parts", nargs="*", type=Path, metavar="PART", help="archives of one bundle; none to use --to")
    made.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder to unpack into")
    made.add_argument("--verify", action="store_true", help="read every file in the folder again and check it")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    arguments = list(arguments)
    command: list[str] = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
        if not command:
            parser().error("a command must follow --")
    options = parser().parse_args(arguments)
    try:
        for path in options.parts:
            unpack(path, options.to)
        manifests = unpacked(options.to)
        if options.verify:
            verify(manifests, options.to)
        missing = sorted(set(range(1, manifests[0]["parts"] + 1)) - {manifest["part"] for manifest in manifests})
        if missing:
            named = " and ".join(str(number) for number in missing)
            if command:
                message = f"part {named} of {manifests[0]['parts']} is not unpacked yet"
                raise Problem("part-missing", message, f"Name it too: {manifests[0]['bundle']}.part{missing[0]}.tar.xz")
            sys.stderr.write(f"unpacked; part {named} of {manifests[0]['parts']} is still to come\n")
            return OK
        environment = exports(manifests[0], options.to)
    except Problem as problem:
        sys.stderr.write(f"error[{problem.code}]: {problem.message}\n  help: {problem.help}\n")
        return problem.status
    except OSError as problem:
        sys.stderr.write(f"error[folder]: {problem.strerror}: {problem.filename}\n  help: Name another folder.\n")
        return ENVIRONMENT
    note(manifests[0])
    if not command:
        for name, value in environment.items():
            # What is already set stays behind it.
            sys.stdout.write(f"export {name}={shlex.quote(value)}${{{name}:+:${name}}}\n")
        return OK
    return run(command, environment)


def note(manifest: dict[str, Any]) -> None:
    """Say so where this Python is not the one that the bundle is for: its compiled modules would not be found."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if manifest["python"] != here:
        sys.stderr.write(f"warning[python]: the bundle is for Python {manifest['python']}, this is {here}\n")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack one part; its manifest is written last, so that a run that was cut short leaves none.

    Raises:
        Problem: If it is no part, is damaged, or is of another bundle than the folder.
    """
    try:
        # Not "r|xz": that stops at the end of the first of the joined xz streams. The manifest is the first member.
        with tarfile.open(archive, "r:xz") as tar:
            first = tar.next()
            manifest, name = _manifest(tar, first, archive)
            present = _others(folder, manifest)
            if manifest["part"] in present and complete(manifest, folder):
                return
            left = dict(manifest["files"])
            while (member := tar.next()) is not None:
                if member.name not in left or not member.isreg() or member.size != left[member.name][1]:
                    raise _damaged(archive, f"{member.name} is not in its manifest")
                _write(tar, member, left.pop(member.name)[0], folder, archive)
            if left:
                raise _damaged(archive, f"{min(left)} is missing")
    except FileNotFoundError as problem:
        if problem.filename is not None and Path(problem.filename) != archive:
            raise
        raise Problem("part-unreadable", f"there is no {archive}", "Name the archives.") from None
    except (tarfile.TarError, lzma.LZMAError, EOFError) as problem:
        raise _damaged(archive, str(problem)) from None
    for link, target in manifest["links"].items():
        path = folder / link
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    _whole(folder / MANIFESTS / name, json.dumps(manifest).encode())


def _manifest(tar: tarfile.TarFile, member: tarfile.TarInfo | None, archive: Path) -> tuple[dict[str, Any], str]:
    path = PurePosixPath(member.name) if member else PurePosixPath()
    if member is None or path.parent.name != MANIFESTS or len(path.parts) != 2:
        raise Problem("part-unknown", f"{archive} is no part of a bundle", "Name archives of pack_rehearsal.py.")
    file = tar.extractfile(member)
    manifest: dict[str, Any] = json.loads(file.read()) if file else {}
    if manifest.get("format") != FORMAT:
        help_text = "Take unpack_rehearsal.py from the checkout that packed it."
        raise Problem("part-format", f"{archive} has the format {manifest.get('format')}, not {FORMAT}", help_text)
    links = [(link, str(PurePosixPath(link).parent / target)) for link, target in manifest["links"].items()]
    for name in [*manifest["files"], *(name for pair in links for name in pair)]:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or not parts or parts[0] == MANIFESTS or "\0" in name:
            raise _damaged(archive, f"it names the path {name!r}")
    return manifest, path.name


def _damaged(archive: Path, reason: str) -> Problem:
    return Problem("part-damaged", f"{archive} is damaged: {reason}", "Copy it again, or pack it again.")


def _others(folder: Path, manifest: dict[str, Any]) -> set[int]:
    """The numbers of the parts that the folder has of this bundle."""
    if not (folder / MANIFESTS).is_dir():
        if folder.is_dir() and any(folder.iterdir()):
            known = any((folder / path).exists() for path in manifest["files"])
            if not known:
                raise Problem("folder-not-empty", f"{folder} holds something else", "Name a new folder with --to.")
        return set()
    others = [_load(path) for path in sorted((folder / MANIFESTS).glob("*.json"))]
    for other in others:
        if other["id"] != manifest["id"]:
            message = f"{folder} holds another bundle, {other['bundle']} {other['id'][:12]}"
            raise Problem("folder-other-bundle", message, "Name a new folder with --to, or delete that one.")
    return {other["part"] for other in others}


def _load(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError:
        raise Problem("folder-damaged", f"{path} is damaged", "Delete the folder, and unpack again.") from None
    return manifest


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, digest: str, folder: Path, archive: Path) -> None:
    source = tar.extractfile(member)
    data = source.read() if source and member.size < _LARGEST else b""
    if hashlib.sha256(data).hexdigest() != digest:
        raise _damaged(archive, f"{member.name} has another SHA-256 than its manifest says")
    _whole(folder / member.name, data, executable=bool(member.mode & 0o100))


def _whole(path: Path, data: bytes, *, executable: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(data)
    temporary.chmod(0o755 if executable else 0o644)
    temporary.replace(path)


def complete(manifest: dict[str, Any], folder: Path) -> bool:
    """Whether every file of a part is there with its size."""
    for name, (_, size) in manifest["files"].items():
        try:
            if (folder / name).stat().st_size != size:
                return False
        except OSError:
            return False
    return all((folder / link).is_symlink() for link in manifest["links"])


def unpacked(folder: Path) -> list[dict[str, Any]]:
    """The manifests of the parts that a folder holds.

    Raises:
        Problem: If it holds none.
    """
    manifests = [_load(path) for path in sorted((folder / MANIFESTS).glob("*.json"))]
    if not manifests:
        raise Problem("bundle-absent", f"{folder} holds no bundle", "Name the archives to unpack.")
    return manifests


def verify(manifests: Sequence[dict[str, Any]], folder: Path) -> None:
    """Read every file again.

    Raises:
        Problem: If one differs from its manifest, a patched SGLang for example.
    """
    for manifest in manifests:
        for name, (digest, _) in manifest["files"].items():
            try:
                right = hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
            except FileNotFoundError:
                right = False
            if not right:
                raise Problem("file-differs", f"{folder / name} is not as packed", "Unpack into a new folder.")


def exports(manifest: dict[str, Any], folder: Path) -> dict[str, str]:
    """The folders that each variable gets in front."""
    root = folder.resolve()
    return {
        name: os.pathsep.join(str((root / path).resolve()) for path in paths)
        for name, paths in manifest["environment"].items()
        if paths
    }


def run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Become the command; returns only if it cannot be run."""
    full = dict(os.environ)
    for name, value in environment.items():
        full[name] = f"{value}{os.pathsep}{full[name]}" if full.get(name) else value
    try:
        os.execvpe(command[0], list(command), full)
    except OSError as problem:
        sys.stderr.write(f"error[command]: cannot run {command[0]}: {problem.strerror}\n")
        return 127


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
