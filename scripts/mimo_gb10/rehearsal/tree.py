"""The SGLang that the ranks import: as it is installed, or a patched copy in the rehearsal's own folder."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_gb10.findings import Finding, Location, Refused, error
from mimo_gb10.paths import ROOT

_APPLY = ROOT / "scripts" / "apply_patches.py"


@dataclass(frozen=True)
class Tree:
    """An SGLang to run.

    Attributes:
        path: The folder that holds the package ``sglang``; it goes first on PYTHONPATH.
        version: The installed release, or None where no metadata says it.
        defects: The status of each defect by id, as ``apply_patches.py --status`` says it.
    """

    path: Path
    version: str | None
    defects: Mapping[str, str]

    def lacks(self, wanted: Sequence[str]) -> list[str]:
        """The wanted defects that are still there."""
        return [name for name in wanted if self.defects.get(name) == "present"]

    def patched(self) -> list[str]:
        """The defects that our patches mended."""
        return [name for name, status in self.defects.items() if status == "mended"]

    def present(self) -> list[str]:
        """The defects that are there."""
        return [name for name, status in self.defects.items() if status == "present"]


def read_tree(path: Path) -> Tree:
    """What an installed SGLang is.

    Raises:
        Refused: If there is none, or the state of its patches cannot be told.
    """
    data = _apply(path, "--status")
    statuses = {entry["id"]: entry["status"] for entry in data["defects"]}
    return Tree(path, data["sglang"]["version"], statuses)


def patched_copy(tree: Tree, folder: Path, defects: Sequence[str]) -> Tree:
    """A copy of an SGLang with patches on it; the installed one stays as it is.

    Args:
        tree: What to copy.
        folder: Where to; a copy of an earlier run there is replaced.
        defects: What to mend.

    Raises:
        Refused: If the patches do not fit.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    shutil.copytree(tree.path / "sglang", folder / "sglang", ignore=shutil.ignore_patterns("__pycache__"))
    for info in tree.path.glob("sglang-*.dist-info"):
        shutil.copytree(info, folder / info.name)
    _apply(folder, *defects)
    return read_tree(folder)


def _apply(path: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(_APPLY), "--json", "--sglang-dir", str(path), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        data: dict[str, Any] = json.loads(run.stdout)
    except ValueError:
        data = {}
    if run.returncode or "defects" not in data:
        problems = data.get("findings") or []
        says = "; ".join(str(item.get("message", "")) for item in problems) or run.stderr.strip()
        remedy = f"Look at it with: python scripts/apply_patches.py --status --sglang-dir {path}"
        raise Refused([error("sglang-tree", f"the patches cannot be used on this SGLang: {says}", remedy)])
    return data


def source_digest(tree: Tree) -> str:
    """SHA-256 over path and content of every Python file of the package: the same for the same sources anywhere."""
    digest = hashlib.sha256()
    for file in sorted((tree.path / "sglang").rglob("*.py")):
        digest.update(f"{file.relative_to(tree.path).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def differing_files(tree: Tree) -> list[str] | None:
    """Files of the package that are not as the wheel's own list says; None where there is no such list."""
    records = sorted(tree.path.glob("sglang-*.dist-info/RECORD"))
    if not records:
        return None
    differ = []
    with records[-1].open(newline="", encoding="utf-8") as stream:
        for row in csv.reader(stream):
            name, digest = row[0], row[1]
            file = tree.path / name
            if not name.startswith("sglang/") or not digest.startswith("sha256=") or not file.is_file():
                continue
            value = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()
            if value != digest.removeprefix("sha256="):
                differ.append(name)
    return differ


def as_data(tree: Tree) -> dict[str, Any]:
    """What a receipt says of it: release, sources, files that differ from the wheel, what is mended and what is not."""
    return {
        "version": tree.version,
        "sources_sha256": source_digest(tree),
        "differs_from_wheel": differing_files(tree),
        "mended": tree.patched(),
        "present": tree.present(),
    }


def wrong_release(tree: Tree, wanted: str) -> Finding | None:
    """A finding if another release is installed than the recipe is for."""
    if tree.version in (None, wanted):
        return None
    return error(
        "sglang-release",
        f"SGLang {tree.version} is installed, the recipe is for {wanted}",
        f"Run it in the recipe's image, give another --sglang-dir, or rehearse that release: --sglang {tree.version}",
        Location(str(tree.path)),
    )
