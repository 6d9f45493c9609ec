"""From wheels to the files of a bundle: which ones, and where they go."""

from __future__ import annotations

import fnmatch
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimo_gb10.findings import Refused, error
from mimo_gb10.rehearsal.bundle_spec import STUBS, Links, Package, Spec

SCRIPTS = "bin"
"""Where a wheel's programs go in the bundle."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle.

    Attributes:
        path: Where it goes, relative to the bundle's folder.
        source: The wheel, or the file itself.
        inside: The path inside the wheel, or None where `source` is the file.
        size: Bytes.
        executable: Whether it is a program.
    """

    path: str
    source: Path
    inside: str | None
    size: int
    executable: bool = False


def members(packages: Sequence[Package], wheels: Mapping[str, Path], spec: Spec) -> dict[str, list[Member]]:
    """The files of every package and of the stubs, by package.

    Raises:
        Refused: If a wheel cannot be read, or two packages bring the same file with a different size.
    """
    found = {package.name: list(_of_wheel(package, wheels[package.name])) for package in packages}
    found["stubs"] = [
        Member(path, STUBS / path, None, (STUBS / path).stat().st_size, executable=path.startswith("bin/"))
        for path in spec.stubs
    ]
    owner: dict[str, tuple[str, int]] = {}
    for name, files in found.items():
        kept = []
        for file in files:
            if file.path not in owner:
                owner[file.path] = (name, file.size)
                kept.append(file)
            elif owner[file.path][1] != file.size:
                message = f"{owner[file.path][0]} and {name} both bring {file.path}"
                raise Refused([error("bundle-conflict", message, "Drop it from one of them in the bundle's data.")])
        found[name] = kept
    return found


def _of_wheel(package: Package, wheel: Path) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            infos = archive.infolist()
    except (OSError, zipfile.BadZipFile):
        raise Refused(
            [error("wheel-damaged", f"{wheel.name} is not a readable wheel", f"Delete {wheel} and try again.")]
        ) from None
    for info in infos:
        path = None if info.is_dir() else _place(info.filename)
        if path is not None and _wanted(info.filename, package):
            yield Member(path, wheel, info.filename, info.file_size, path.startswith(f"{SCRIPTS}/"))


def _wanted(name: str, package: Package) -> bool:
    # In these patterns * also matches slashes, and case counts.
    kept = not package.keep or any(fnmatch.fnmatchcase(name, pattern) for pattern in package.keep)
    return kept and not any(fnmatch.fnmatchcase(name, pattern) for pattern in package.drop)


def _place(name: str) -> str | None:
    """Where an installer would put a member of a wheel, or None for what is not needed to run."""
    head, _, rest = name.partition("/")
    if not head.endswith(".data"):
        return name
    kind, _, rest = rest.partition("/")
    if kind in ("purelib", "platlib", "data"):
        return rest
    return f"{SCRIPTS}/{rest}" if kind == "scripts" else None


def plain_names(links: Links, paths: Sequence[str]) -> dict[str, str]:
    """Symbolic links that give bundled libraries the names by which others load them.

    Wheels carry libraries under a name with a hash, ``libavcodec-c3f15378.so.62.28.101``, so that two wheels do not
    disturb each other. Who links against FFmpeg asks for ``libavcodec.so.62``.

    Returns:
        The target, a name in the same folder, by the link's path.

    Raises:
        Refused: If a library is not there.
    """
    made = {}
    for library in links.libraries:
        pattern = re.compile(rf"{re.escape(links.folder)}/(lib{re.escape(library)}-[0-9a-f]{{8}}\.so\.(\d+)[.\d]*)")
        matches = [match for path in paths if (match := pattern.fullmatch(path))]
        if not matches:
            message = f"no lib{library} lies in {links.folder}"
            raise Refused([error("library-missing", message, "Another version of the wheel brings other libraries.")])
        made[f"{links.folder}/lib{library}.so.{matches[0][2]}"] = matches[0][1]
    return made
