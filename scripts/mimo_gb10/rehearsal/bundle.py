"""The offline bundle: what SGLang needs beyond an image that has PyTorch, as archives to carry there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_gb10.findings import Finding
from mimo_gb10.rehearsal import bundle_pack
from mimo_gb10.rehearsal.bundle_files import SCRIPTS, members, plain_names
from mimo_gb10.rehearsal.bundle_needs import unmet
from mimo_gb10.rehearsal.bundle_spec import Spec, carried, check_image
from mimo_gb10.rehearsal.bundle_wheels import wheels

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Made:
    """What was written.

    Attributes:
        parts: Size in bytes by path of the archives.
        packages: Version by name of the packages that are carried.
        unpacked: Bytes of all files.
        findings: What the image lacks.
    """

    parts: Mapping[Path, int]
    packages: Mapping[str, str]
    unpacked: int
    findings: tuple[Finding, ...]


def build(
    spec: Spec,
    *,
    have: Mapping[str, str | None] | None,
    python: str,
    arch: str,
    cache: Path,
    out: Path,
    limit: int,
    tell: Callable[[str], None],
    preset: int = bundle_pack.PRESET,
) -> Made:
    """Collect wheels, choose files, compress, and write the parts.

    Args:
        spec: What is wanted.
        have: What the image has, as `bundle_spec.read_have` gives it; None if that is not known.
        python: The image's Python, for example ``3.12``.
        arch: ``x86_64`` or ``aarch64``.
        cache: Folder of downloaded wheels.
        out: Folder for the archives.
        limit: Most bytes of one archive.
        tell: Takes lines of progress.
        preset: Compression level of xz.

    Raises:
        Refused: If something cannot be had or written; no archive is written then.
    """
    findings = [] if have is None else check_image(spec, have)
    packages = carried(spec.packages, have or {}, arch)
    tell(f"{len(packages)} packages to carry; wheels are kept in {cache}")
    found = wheels(packages, python, arch, cache)
    if have is not None:
        findings += unmet(found, have, spec, python, arch)
    files = members(packages, found, spec)
    links: dict[str, str] = {}
    folders = []
    for package in packages:
        if package.links is not None:
            links.update(plain_names(package.links, [file.path for file in files[package.name]]))
            folders.append(package.links.folder)
    parts = bundle_pack.fill(bundle_pack.segments(files, tell, preset), limit)
    stem = f"sglang-{spec.release}-cp{python.replace('.', '')}-{arch}"
    about: dict[str, Any] = {
        "format": FORMAT,
        "bundle": stem,
        "release": spec.release,
        "python": python,
        "platform": arch,
        "torch": spec.torch,
        "parts": len(parts),
        "environment": {"PYTHONPATH": ["."], "LD_LIBRARY_PATH": folders, "PATH": [SCRIPTS]},
        "wheels": {name: {"file": path.name, "sha256": _digest(path)} for name, path in sorted(found.items())},
        "stubs": dict(spec.stubs),
        "left_out": dict(spec.left_out),
    }
    everything = {path: digest for part in parts for segment in part.segments for path, digest in segment.files.items()}
    about["id"] = hashlib.sha256(repr((sorted(everything.items()), sorted(links.items()))).encode()).hexdigest()
    archives = {}
    for number, part in enumerate(parts, start=1):
        name = f"{stem}.tar.xz" if len(parts) == 1 else f"{stem}.part{number}.tar.xz"
        own = {path: list(digest) for segment in part.segments for path, digest in segment.files.items()}
        there = {link: target for link, target in links.items() if f"{link.rpartition('/')[0]}/{target}" in own}
        manifest = {**about, "part": number, "files": own, "links": there}
        archives[name] = bundle_pack.archive(part, manifest, f"part{number}.json")
    pattern = re.compile(rf"{re.escape(stem)}(\.part\d+)?\.tar\.xz")
    bundle_pack.write_parts(out, archives, lambda name: pattern.fullmatch(name) is not None)
    return Made(
        parts={out / name: len(data) for name, data in archives.items()},
        packages={package.name: package.version for package in packages},
        unpacked=sum(size for _, size in everything.values()),
        findings=tuple(findings),
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
