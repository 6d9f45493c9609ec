"""Logs as they come: files, standard input, streams that go on, several at a time."""

from __future__ import annotations

import codecs
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mimo_gb10.findings import Location, Refused, error

BLOCK = 256 * 1024
"""Bytes read at a time; a block stays in a core's cache while it is searched for one text after another."""

Decode = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Input:
    """One log to read.

    Attributes:
        rank: The rank's name, as it is shown.
        file: The file's name, as it is shown.
        descriptor: Where to read.
        goes_on: Whether it is a pipe or a terminal, which may wait for more.
    """

    rank: str
    file: str
    descriptor: int
    goes_on: bool


def open_inputs(named: Sequence[tuple[str, str]]) -> list[Input]:
    """Open logs for reading.

    Args:
        named: Rank and path of each; the path ``-`` is standard input.

    Raises:
        Refused: If one cannot be read; the others are closed.
    """
    opened: list[Input] = []
    problems = []
    for rank, path in named:
        shown = "<stdin>" if path == "-" else path
        try:
            descriptor = sys.stdin.fileno() if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(21, "it is a folder")
            opened.append(Input(rank, shown, descriptor, not stat.S_ISREG(mode)))
        except (OSError, ValueError, AttributeError) as problem:
            reason = getattr(problem, "strerror", None) or "it is not open"
            remedy = "Check the path: docker logs NAME > rank0.log 2>&1 writes a log to a file."
            problems.append(error("file-unreadable", f"{shown!r} cannot be read: {reason}", remedy, Location(shown)))
    if problems:
        raise Refused(problems)
    return opened


def read(inputs: Sequence[Input], quiet_after: float) -> Iterator[tuple[Input | None, bytes]]:
    """What the inputs hold, in blocks: files one after another, then the streams as their text arrives.

    Yields the input with a block; with no bytes at its end; and no input, whenever no stream has said anything for
    `quiet_after` seconds.

    Raises:
        Refused: If an input breaks off with an error.
    """
    decoders: dict[int, Decode] = {}
    for one in inputs:
        if not one.goes_on:
            while block := _block(one, decoders):
                yield one, block
            yield one, b""
    waiting = {one.descriptor: one for one in inputs if one.goes_on}
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], quiet_after)
        if not ready:
            yield None, b""
        for descriptor in ready:
            block = _block(waiting[descriptor], decoders)
            if block:
                yield waiting[descriptor], block
            else:
                yield waiting.pop(descriptor), b""


def _block(one: Input, decoders: dict[int, Decode]) -> bytes:
    """The next block as UTF-8; empty only at the end."""
    while True:
        try:
            block = os.read(one.descriptor, BLOCK)
        except OSError as problem:
            message = f"{one.file!r} breaks off: {problem.strerror or type(problem).__name__}"
            raise Refused([error("file-unreadable", message, "Copy it to a local disk.", Location(one.file))]) from None
        if not block:
            return b""
        if one.descriptor not in decoders:
            decoders[one.descriptor] = _decoder(block)
        try:
            decoded = decoders[one.descriptor](block)
        except zlib.error:
            message = f"{one.file!r} is a damaged gzip file"
            raise Refused([error("file-damaged", message, "Copy it again.", Location(one.file))]) from None
        if decoded:
            return decoded


def _decoder(first: bytes) -> Decode:
    """What makes UTF-8 of a log, by how it starts: gzip (a rotated log), UTF-16 (PowerShell), or as it is."""
    if first.startswith(b"\x1f\x8b"):
        return _gunzip()
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if first.startswith(mark):
            step = codecs.getincrementaldecoder(name)("replace")
            return lambda block: step.decode(block).encode("utf-8", "replace")
    return lambda block: block


def _gunzip() -> Decode:
    # A gzip file may hold several members, one after another. A block of zeros unpacks to a thousand times its size.
    box = [zlib.decompressobj(31)]

    def decode(block: bytes) -> bytes:
        parts = []
        while block:
            parts.append(box[0].decompress(block))
            block = box[0].unused_data
            if box[0].eof:
                box[0] = zlib.decompressobj(31)
                block = block.lstrip(b"\0")
        return b"".join(parts)

    return decode
