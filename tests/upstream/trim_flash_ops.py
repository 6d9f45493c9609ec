"""Make a copy of sgl_kernel's FlashAttention 3 library that packs small, for a Hopper GPU that a wheel cannot reach.

    python3 tests/upstream/trim_flash_ops.py sglang_kernel-0.4.2-cp310-abi3-manylinux2014_x86_64.whl --out fa3
    tar -C fa3 -c sgl_kernel | xz -T2 -9 > fa3.tar.xz

The copy is as large as the library, 1.1 GB, but xz makes 12 MB of it (0.4.2) or 23 MB (0.4.5). It runs attention with a
head size of 64 in bfloat16 on compute capability 9.0, which MiMo's encoders need, and nothing else: the code of all
other kernels is overwritten with traps, so that calling one fails rather than computes something wrong. All else stays
where it was, host code, symbols and the kernels' metadata, because the CUDA driver reads a whole cubin as soon as one
of its kernels is used. With the copy of 0.4.5 SGLang 0.5.17 answered on an H100. Needs the program ``zstd`` for wheels
with compressed cubins (0.4.5 has some; 0.4.2 has none).
"""

from __future__ import annotations

import argparse
import mmap
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

LIBRARY = "sgl_kernel/flash_ops.abi3.so"
TRAP = bytes.fromhex("5c79000004000000 0000300000ea0f00")
"""One instruction, ``BPT.TRAP 0x1``, as ptxas encodes PTX's ``trap`` for sm_80 and sm_90a."""
FORWARD = re.compile("CollectiveMainloopFwdSm[0-9]+I")
"""In the mangled names of the large kernels. What has no such name is small: combine, varlen preparation."""
KEPT = re.compile("CollectiveMainloopFwdSm90I.*EEELi64ENS_10bfloat16_tEfNS_4arch4Sm90E")
"""Of those, the ones to keep. The 64 is the head size of V; no kernel has it with another head size of Q and K."""
FATBIN, CUBIN = 0xBA55ED50, 2
LZ4, ZSTD = 0x2000, 0x8000

Image = mmap.mmap | bytearray


class Section(NamedTuple):
    """Of an ELF file; ``start`` counts from the start of what holds the file."""

    name: str
    start: int
    size: int


class Entry(NamedTuple):
    """A cubin in a fatbin. ``room`` is what it may fill, ``packed`` and ``unpacked`` are 0 unless it is compressed."""

    header: int
    start: int
    room: int
    packed: int
    architecture: int
    flags: int
    unpacked: int


def sections(image: Image, start: int = 0) -> list[Section]:
    """Of the 64-bit ELF file that starts at ``start``."""
    if image[start : start + 5] != b"\x7fELF\x02":
        raise SystemExit(f"no 64-bit ELF file at {start:#x}")
    (table,) = struct.unpack_from("<Q", image, start + 0x28)
    width, count, names = struct.unpack_from("<HHH", image, start + 0x3A)
    rows = [struct.unpack_from("<IIQQQQ", image, start + table + width * number) for number in range(count)]
    found = []
    for row in rows:
        at = start + rows[names][4] + row[0]
        found.append(Section(image[at : image.find(b"\0", at)].decode(), start + row[4], row[5]))
    return found


def entries(image: Image) -> Iterator[Entry]:
    """The cubins of all fatbins in a shared library."""
    where = next(section for section in sections(image) if section.name == ".nv_fatbin")
    at = where.start
    while at < where.start + where.size:
        magic, _, header, size = struct.unpack_from("<IHHQ", image, at)
        if magic == 0:  # between two fatbins
            at += 8
            continue
        if magic != FATBIN:
            raise SystemExit(f"no fatbin at {at:#x}")
        at, end = at + header, at + header + size
        while at < end:
            kind, _, header, room, packed, _, _, _, architecture, _, _, flags, _, unpacked = struct.unpack_from(
                "<HHIQIIHHIIIQQQ", image, at
            )
            if kind != CUBIN or flags & LZ4:
                raise SystemExit(f"cannot read the fatbin's entry at {at:#x}: kind {kind}, flags {flags:#x}")
            yield Entry(at, at + header, room, packed, architecture, flags, unpacked)
            at += header + room


def trap(image: Image, start: int, architecture: int, told: Counter[str]) -> None:
    """Overwrite the code that is not needed in the cubin that starts at ``start``."""
    for section in sections(image, start):
        if not section.name.startswith(".text."):
            continue
        large = FORWARD.search(section.name) and not KEPT.search(section.name)
        if architecture == 90 and not large:
            told["kept"] += 1
            told["kept bytes"] += section.size
            continue
        whole, rest = divmod(section.size, len(TRAP))
        image[section.start : section.start + section.size] = TRAP * whole + bytes(rest)
        told["trapped" if architecture == 90 else "trapped elsewhere"] += 1


def zstd(words: Sequence[str], data: bytes | bytearray) -> bytes:
    """What the program makes of ``data``."""
    try:
        return subprocess.run(["zstd", "-q", "-c", *words], input=data, stdout=subprocess.PIPE, check=True).stdout
    except FileNotFoundError:
        raise SystemExit("this wheel has compressed cubins: install the program zstd") from None


def trim(image: Image) -> Counter[str]:
    """Overwrite, in place, and say how much of what."""
    told: Counter[str] = Counter()
    for entry in entries(image):
        if not entry.flags & ZSTD:
            trap(image, entry.start, entry.architecture, told)
            continue
        cubin = bytearray(zstd(["-d"], image[entry.start : entry.start + entry.packed]))
        if len(cubin) != entry.unpacked:
            raise SystemExit(f"the cubin at {entry.start:#x} unpacks to {len(cubin)} bytes, not {entry.unpacked}")
        trap(cubin, 0, entry.architecture, told)
        # The window, the size in the frame and no checksum are as nvcc has them.
        packed = zstd(["-19", "--zstd=wlog=21", "--no-check", f"--stream-size={len(cubin)}"], cubin)
        if len(packed) > entry.room:
            raise SystemExit(f"the cubin at {entry.start:#x} no longer fits")
        image[entry.start : entry.start + entry.room] = packed.ljust(entry.room, b"\0")
        # A decoder may take what follows the frame for another one, so the header has to say where it ends.
        struct.pack_into("<I", image, entry.header + 16, len(packed))
        told["packed anew"] += 1
    return told


def main(arguments: Sequence[str]) -> int:
    """Unpack the library from the wheel and trim it where it lies: it need not fit into memory."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("wheel", type=Path)
    made.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = made.parse_args(arguments)
    to = options.out / LIBRARY
    to.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(options.wheel) as wheel, wheel.open(LIBRARY) as source, to.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    with to.open("r+b") as file, mmap.mmap(file.fileno(), 0) as image:
        told = trim(image)
    print(
        f"{to}: kept {told['kept']} kernels of compute capability 9.0 ({told['kept bytes'] / 1e6:.1f} MB of code), "
        f"trapped {told['trapped']}, and {told['trapped elsewhere']} of others; "
        f"packed {told['packed anew']} cubins anew"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
