"""SGLang's source trees on disk: a release as published, and the same with patches of this repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path

from mimo_gb10.extract.wheel import default_cache_dir, fetch
from mimo_gb10.paths import RELEASES, ROOT
from mimo_gb10.release import in_range, known_releases
from mimo_gb10.text.document import read_document

PATCHES = ROOT / "patches"


def pristine(release: str) -> Path:
    """The folder that holds ``sglang/`` as the release's wheel does, without compiled libraries. Never write into it."""
    catalog = json.loads((RELEASES / f"sglang-{release}.json").read_text(encoding="utf-8"))
    digest = catalog["wheel"]["sha256"]
    folder = default_cache_dir().parent / "trees" / f"{release}-{digest[:16]}"
    if not folder.is_dir():
        wheel = fetch(release, None, digest)
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder.parent))
        try:
            with zipfile.ZipFile(wheel.path) as archive:
                names = [name for name in archive.namelist() if not name.endswith(".so")]
                archive.extractall(scratch, names)
            try:
                scratch.rename(folder)
            except OSError:  # another process was first
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def copy_of(release: str, target: Path) -> Path:
    """A tree of the release that may be changed file by file: hard links, so replace files, do not write into them."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(pristine(release) / "sglang", target / "sglang", copy_function=os.link)
    return target


def patches_for(release: str, only: Collection[str] | None = None) -> list[Path]:
    """The patch files for a release in application order.

    Args:
        release: The SGLang version.
        only: Ids of defects; None for all.
    """
    order = [entry["id"] for entry in read_document(PATCHES / "defects.yaml").value["defects"]]
    found = []
    for defect in order:
        if only is not None and defect not in only:
            continue
        for path in sorted((PATCHES / defect).glob("sglang-*.patch")):
            first, _, last = path.stem.removeprefix("sglang-").partition("..")
            if in_range(release, first, last):
                found.append(path)
    return found


def patched(release: str, target: Path, only: Collection[str] | None = None) -> Path:
    """A tree of the release in ``target`` with our patches, put on by ``git apply``, which takes no fuzz."""
    copy_of(release, target)
    for patch in patches_for(release, only):
        run = subprocess.run(
            ["git", "apply", "--unsafe-paths", f"--directory={target}", str(patch)],
            cwd="/", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, f"{patch}: {run.stderr}"
    return target


__all__ = ["copy_of", "known_releases", "patched", "patches_for", "pristine"]
