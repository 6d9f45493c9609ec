"""The archives of a bundle: parts that each are a ``.tar.xz`` by themselves, none above a given size.

A tar file is a row of blocks, and xz files may be joined end to end. So every segment, a few files of one package,
is compressed once by itself (all processors at once), its size is then known, and a part is some segments joined.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimo_gb10.findings import Refused, error
from mimo_gb10.rehearsal.bundle_files import Member

MANIFESTS = ".mimo-gb10-bundle"
"""The folder, in the bundle, of the manifests."""

PRESET = 9
_SEGMENT = 40 * 2**20
_TIME = 315532800
"""1980-01-01: every file of a bundle has the same age, so that the same input gives the same archive."""

_PER_FILE = 64
_MANIFEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Segment:
    """Some files, compressed.

    Attributes:
        data: An xz stream of tar blocks.
        files: SHA-256 and size in bytes, by path.
    """

    data: bytes
    files: Mapping[str, tuple[str, int]]

    @property
    def room(self) -> int:
        """Bytes that it takes in a part, with its lines in the manifest."""
        return len(self.data) + _PER_FILE * len(self.files)


@dataclass(slots=True)
class Part:
    """What goes into one archive."""

    segments: list[Segment] = field(default_factory=list)
    room: int = _MANIFEST


def segments(
    packages: Mapping[str, Sequence[Member]], tell: Callable[[str], None], preset: int = PRESET
) -> list[Segment]:
    """Compress the files of all packages."""
    batches = [(name, batch) for name, files in packages.items() for batch in _batches(files)]
    # The large ones first, or the last one would run alone.
    batches.sort(key=lambda item: -sum(file.size for file in item[1]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = []
        for (name, batch), segment in zip(
            batches, pool.map(lambda item: _compress(item[1], preset), batches), strict=True
        ):
            size = sum(file.size for file in batch)
            tell(f"{name}: {len(batch)} files, {mib(size)} packed in {mib(len(segment.data))}")
            made.append(segment)
    return made


def _batches(files: Sequence[Member]) -> Iterator[list[Member]]:
    batch: list[Member] = []
    size = 0
    for file in files:
        if batch and size + file.size > _SEGMENT:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _compress(batch: Sequence[Member], preset: int) -> Segment:
    packer = lzma.LZMACompressor(lzma.FORMAT_XZ, preset=preset)
    pieces, files = [], {}
    for file in batch:
        data = _read(file)
        files[file.path] = (hashlib.sha256(data).hexdigest(), len(data))
        pieces.append(packer.compress(tar_member(file.path, data, executable=file.executable)))
    pieces.append(packer.flush())
    return Segment(b"".join(pieces), files)


def _read(file: Member) -> bytes:
    if file.inside is None:
        return file.source.read_bytes()
    try:
        with zipfile.ZipFile(file.source) as archive:
            return archive.read(file.inside)
    except (OSError, zipfile.BadZipFile):
        help_text = f"Delete {file.source} and try again."
        raise Refused([error("wheel-damaged", f"{file.source.name} cannot be read", help_text)]) from None


def tar_member(path: str, data: bytes, *, executable: bool = False) -> bytes:
    """The tar blocks of one file."""
    info = tarfile.TarInfo(path)
    info.size = len(data)
    info.mode = 0o755 if executable else 0o644
    info.mtime = _TIME
    head = info.tobuf(tarfile.PAX_FORMAT)
    return head + data + b"\0" * (-len(data) % tarfile.BLOCKSIZE)


def fill(found: Sequence[Segment], limit: int) -> list[Part]:
    """Put segments into as few parts as a simple rule gives: the largest first, each into the first part with room.

    Args:
        found: The segments.
        limit: Most bytes of one part.

    Raises:
        Refused: If one segment alone is too large.
    """
    parts: list[Part] = []
    for segment in sorted(found, key=lambda segment: (-segment.room, min(segment.files))):
        if segment.room + _MANIFEST > limit:
            path = max(segment.files, key=lambda path: segment.files[path][1])
            message = f"{path} and {len(segment.files) - 1} other files take {mib(segment.room + _MANIFEST)} in a part"
            raise Refused([error("part-size", message, f"The limit is {mib(limit)}: give a larger --part-size.")])
        part = next((part for part in parts if part.room + segment.room <= limit), None)
        if part is None:
            part = Part()
            parts.append(part)
        part.segments.append(segment)
        part.room += segment.room
    return parts


def archive(part: Part, manifest: Mapping[str, Any], name: str) -> bytes:
    """One part as a ``.tar.xz``: the manifest, the segments, and the end that tar expects."""
    text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
    head = lzma.compress(tar_member(f"{MANIFESTS}/{name}", text), preset=6)
    tail = lzma.compress(b"\0" * 2 * tarfile.BLOCKSIZE, preset=0)
    return b"".join([head, *(segment.data for segment in part.segments), tail])


def write_parts(folder: Path, parts: Mapping[str, bytes], stale: Callable[[str], bool]) -> None:
    """Write all archives or none, and then delete those that an earlier run left and that are no longer part of it.

    Raises:
        Refused: If the folder cannot be written.
    """
    waiting = {folder / f".{name}.new": folder / name for name in parts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (temporary, _), data in zip(waiting.items(), parts.values(), strict=True):
            temporary.write_bytes(data)
        for path in waiting.values():
            if path.is_dir():
                raise IsADirectoryError(21, "a folder is in the way", str(path))
        for temporary, path in waiting.items():
            temporary.replace(path)
        for path in folder.iterdir():
            if path.name not in parts and stale(path.name):
                path.unlink()
    except OSError as problem:
        message = f"cannot write to {str(folder)!r}: {problem.strerror}"
        raise Refused([error("out-unwritable", message, "Name a folder that you can write to.")]) from None
    finally:
        with contextlib.suppress(OSError):
            for temporary in waiting:
                temporary.unlink(missing_ok=True)


def mib(size: int) -> str:
    """A size in bytes for people."""
    return f"{size / 2**20:.1f} MiB"
