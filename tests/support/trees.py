"""SGLang's source trees on disk: a release as published, and the same with patches of this repository.

Trees are kept in the user's cache folder under a name that tells their contents. ``MIMO_GB10_PATCHES`` names another
folder of patches, for tests that have to fail with it; its trees lie beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

from mimo_gb10.extract.wheel import default_cache_dir, fetch
from mimo_gb10.paths import RELEASES, ROOT
from mimo_gb10.release import in_range, known_releases
from mimo_gb10.text.document import read_document

OTHER_PATCHES = os.environ.get("MIMO_GB10_PATCHES")
PATCHES = Path(OTHER_PATCHES or ROOT / "patches")


def pristine(release: str) -> Path:
    """The folder that holds ``sglang/`` as the wheel does, without compiled libraries. Never write into it."""
    digest = _wheel_digest(release)

    def unpack(folder: Path) -> None:
        with zipfile.ZipFile(fetch(release, None, digest).path) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if not name.endswith(".so")])

    return _kept(trees_folder() / f"{release}-{digest[:16]}", unpack)


def copy_of(release: str, target: Path) -> Path:
    """A tree of the release that may be changed file by file: hard links, so replace files, do not write into them."""
    return _linked(pristine(release), target)


def unpatched(release: str) -> Path:
    """The release, to run: Python keeps its bytecode there."""
    name = f"{release}-run-{_wheel_digest(release)[:16]}"
    return _kept(trees_folder() / name, lambda folder: copy_of(release, folder))


def patched(release: str, only: Collection[str] | None = None) -> Path:
    """The release with our patches, to run. They are put on by ``git apply``, which takes no fuzz.

    Args:
        release: The SGLang version.
        only: Ids of defects; None for all.
    """
    patches = patches_for(release, only)
    assert patches, f"no patch for {release} of {only}"

    def put_on(folder: Path) -> None:
        # With the bytecode that is there: it serves for the files that stay as they are.
        _linked(unpatched(release), folder)
        for patch in patches:
            if b"\n@@ " not in patch.read_bytes():  # mutate.py left nothing of it
                continue
            command = ["git", "apply", "--unsafe-paths", f"--directory={folder}", str(patch)]
            run = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
            assert run.returncode == 0, f"{patch}: {run.stderr}"

    digest = hashlib.sha256(_wheel_digest(release).encode() + b"".join(patch.read_bytes() for patch in patches))
    trees = PATCHES.parent / "trees" if OTHER_PATCHES else trees_folder()
    return _kept(trees / f"{release}-patched-{digest.hexdigest()[:16]}", put_on)


def trees_folder() -> Path:
    """Where trees are kept."""
    return default_cache_dir().parent / "trees"


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


def _wheel_digest(release: str) -> str:
    catalog = json.loads((RELEASES / f"sglang-{release}.json").read_text(encoding="utf-8"))
    return str(catalog["wheel"]["sha256"])


def _linked(source: Path, target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    # Python, running there at this moment, writes bytecode under such a name before it renames it.
    unfinished = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(source / "sglang", target / "sglang", copy_function=os.link, ignore=unfinished)
    return target


def _kept(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, made first if it is not there; several processes may ask at once."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            make(scratch)
            try:
                scratch.rename(folder)
            except OSError:  # another process was first
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


__all__ = ["copy_of", "known_releases", "patched", "patches_for", "pristine", "trees_folder", "unpatched"]
