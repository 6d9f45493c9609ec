"""A small made-up world for the patch tool: three releases, two defects, their patches and the index of them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mimo_gb10.defects import Defect, Place, Thread
from mimo_gb10.extract import patch_index
from mimo_gb10.extract.patch_index import Source

HEADER = """Description: A made-up patch
 that mends a made-up defect.
Author: mimo-gb10 contributors
Origin: vendor
Bug: https://example.org/1
Forwarded: no
Last-Update: 2026-11-24
Drop-When: never
---
"""

Files = Mapping[str, bytes]


def lines(*numbers: int, **changed: str) -> bytes:
    """Numbered lines, some of them with another text: ``lines(1, 40, l7="x")``."""
    first, last = numbers
    return "".join(changed.get(f"l{number}", f"line {number}") + "\n" for number in range(first, last + 1)).encode()


A = "sglang/srt/a.py"
B = "sglang/srt/b.py"
NEW = "sglang/srt/aa_new.py"

COMMON: Files = {"sglang/__init__.py": b"", "sglang/srt/__init__.py": b"", "sglang/srt/c.py": b"untouched = 1\n"}
PRISTINE: dict[str, dict[str, bytes]] = {
    "1.0.0": {**COMMON, A: lines(1, 40, l10="bug one", l14="bug two"), B: lines(1, 20, l5="bug two in b")},
    "1.0.1": {**COMMON, A: lines(1, 40, l10="bug one", l14="bug two"), B: lines(1, 25, l5="bug two in b")},
    "1.0.2": {
        **COMMON,
        A: lines(1, 50, l10="bug one upstream mend", l14="bug two"),
        B: lines(1, 25, l6="bug two in b"),
    },
}
"""The two hunks in a.py overlap in their context; release 1.0.1 differs from 1.0.0 in b.py alone."""


def one(files: Files) -> dict[str, bytes]:
    """What the patch of the defect ``one`` makes: two lines in place of one."""
    return {A: files[A].replace(b"bug one\n", b"mended one\nand more\n")}


def two(files: Files) -> dict[str, bytes]:
    """What the patch of the defect ``two`` makes: two changed files and a new one."""
    return {
        A: files[A].replace(b"bug two\n", b"mended two\n"),
        B: files[B].replace(b"bug two in b\n", b"mended two in b\n"),
        NEW: b"new = 2\n",
    }


def diff(before: Files, after: Files) -> bytes:
    """A unified diff, as ``git diff`` writes it."""
    parts: list[bytes] = []
    for path, new in sorted(after.items()):
        old = before.get(path)
        parts += [b"--- /dev/null\n" if old is None else f"--- a/{path}\n".encode(), f"+++ b/{path}\n".encode()]
        a = [line.decode("latin-1") for line in (old or b"").splitlines(keepends=True)]
        b = [line.decode("latin-1") for line in new.splitlines(keepends=True)]
        for line in list(difflib.unified_diff(a, b))[2:]:
            parts.append(line.encode("latin-1"))
            if not line.endswith("\n"):
                parts.append(b"\n\\ No newline at end of file\n")
    return b"".join(parts)


def defect(name: str, file: str, present: str, fixed: str) -> Defect:
    return Defect(
        id=name,
        title=f"Defect {name}",
        symptom="It fails",
        log=(),
        cause="",
        places=(Place(file, present, None, "the bug", None, None),),
        probe={"file": file, "fixed": [fixed], "present": [present]},
        threads=(Thread("https://example.org/1", "open"),),
        mend="",
        check="",
        drop_when="",
        unmended=(),
        notes="",
    )


DEFECTS = {
    "one": defect("one", A, "^bug one$", "^(mended one|bug one upstream mend)$"),
    "two": defect("two", B, "^bug two in b$", "^mended two in b$"),
}


def patched(release: str, *names: str) -> dict[str, bytes]:
    """The files of a release with patches on."""
    files = dict(PRISTINE[release])
    for name, make in (("one", one), ("two", two)):
        if name in names:
            files |= make(files)
    return files


def patches() -> dict[str, bytes]:
    """Every patch file by its path under ``patches/``."""
    texts = {
        "one/sglang-1.0.0..1.0.1.patch": diff(PRISTINE["1.0.0"], one(PRISTINE["1.0.0"])),
        "two/sglang-1.0.2..1.0.2.patch": diff(PRISTINE["1.0.2"], two(PRISTINE["1.0.2"])),
    }
    for release in ("1.0.0", "1.0.1"):
        before = patched(release, "one")
        texts[f"two/sglang-{release}..{release}.patch"] = diff(before, two(before))
    return {name: HEADER.encode() + text for name, text in texts.items()}


def sources() -> dict[str, Source]:
    from apply_patches import sha256

    return {
        release: Source({path: str(sha256(data)) for path, data in files.items()}, files.__getitem__)
        for release, files in PRISTINE.items()
    }


@dataclass(frozen=True)
class World:
    """The made-up world on disk.

    Attributes:
        patches: The folder of patches with its index.
        site: A folder that holds ``sglang/``.
    """

    patches: Path
    site: Path

    @property
    def package(self) -> Path:
        return self.site / "sglang"

    def arguments(self, *more: str) -> list[str]:
        return [*more, "--sglang-dir", str(self.site), "--patches", str(self.patches)]

    def files(self) -> dict[str, bytes]:
        """What is in the tree now, temporary files and the store included."""
        return {
            str(path.relative_to(self.site)): path.read_bytes()
            for path in sorted(self.site.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """Everything that a failure has to leave as it was: content, mode, time, and the very same file."""
        found: dict[str, tuple[object, ...]] = {}
        for path in sorted(self.site.rglob("*")):
            status = path.lstat()
            name = str(path.relative_to(self.site))
            if path.is_symlink():
                found[name] = (path.readlink(), status.st_ino)
            elif path.is_dir():
                found[name] = (status.st_mode,)
            else:
                found[name] = (path.read_bytes(), status.st_mode, status.st_mtime_ns, status.st_ino)
        return found

    def install(self, files: Files) -> None:
        """Write files as an installer does: in place of what is there, by a rename."""
        for path, data in files.items():
            file = self.site / path
            file.parent.mkdir(parents=True, exist_ok=True)
            new = file.with_suffix(".installing")
            new.write_bytes(data)
            os.utime(new, (1_700_000_000, 1_700_000_000))
            new.replace(file)


def write_patches(folder: Path, texts: Mapping[str, bytes]) -> None:
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)


def make_world(folder: Path, release: str = "1.0.0") -> World:
    world = World(folder / "patches", folder / "site")
    write_patches(world.patches, patches())
    index, findings = patch_index.build(sources(), world.patches, DEFECTS)
    assert not findings, findings
    (world.patches / "index.json").write_text(patch_index.as_text(index), encoding="utf-8")
    world.install(PRISTINE[release])
    return world
