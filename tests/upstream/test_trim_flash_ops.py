"""The library that is made small, on a shared library of our own with two fatbins."""

from __future__ import annotations

import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.upstream import trim_flash_ops as module

KEPT = ".text._ZN7cutlass13device_kernelI25CollectiveMainloopFwdSm90ILi2EEELi64ENS_10bfloat16_tEfNS_4arch4Sm90EEE"
DROPPED = KEPT.replace("bfloat16_t", "half_t")
WIDE = KEPT.replace("Li64E", "Li128E")
SMALL = ".text._Z20FlashAttnFwdCombinev"
CODE = bytes(range(40))


def elf(parts: dict[str, bytes]) -> bytearray:
    """A 64-bit ELF file with these sections."""
    names = b"\0"
    rows, body, at = [struct.pack("<IIQQQQ", 0, 0, 0, 0, 0, 0)], b"", 64
    for name, data in parts.items():
        rows.append(struct.pack("<IIQQQQ", len(names), 1, 0, 0, at, len(data)))
        names += name.encode() + b"\0"
        body += data
        at += len(data)
    rows.append(struct.pack("<IIQQQQ", len(names), 3, 0, 0, at, len(names) + 10))
    names += b".shstrtab\0"
    table = b"".join(row.ljust(64, b"\0") for row in rows)
    header = bytearray(64)
    header[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", header, 0x28, at + len(names))
    struct.pack_into("<HHH", header, 0x3A, 64, len(rows), len(rows) - 1)
    return header + body + names + table


def fatbin(cubin: bytes | bytearray, architecture: int, packed: bytes | None = None) -> bytes:
    """A fatbin with one cubin, compressed if `packed` is given."""
    flags, size = (module.ZSTD, len(packed)) if packed is not None else (0, 0)
    data = bytes(cubin if packed is None else packed).ljust(len(cubin) + 64, b"\0")
    numbers = (module.CUBIN, 0, 64, len(data), size, 0, 0, 0, architecture, 0, 0, flags, 0, len(cubin) if flags else 0)
    entry = struct.pack("<HHIQIIHHIIIQQQ", *numbers)
    entry = entry.ljust(64, b"\0") + data
    return struct.pack("<IHHQ", module.FATBIN, 1, 16, len(entry)) + entry


def code_of(image: bytes | bytearray, start: int = 0) -> dict[str, bytes]:
    found = module.sections(bytearray(image), start)
    return {part.name: bytes(image[part.start : part.start + part.size]) for part in found if ".text" in part.name}


def test_only_the_kernels_of_mimos_encoders_keep_their_code(tmp_path: Path) -> None:
    hopper = elf({KEPT: CODE, DROPPED: CODE, WIDE: CODE, SMALL: CODE, ".nv.info": CODE})
    older = elf({KEPT.replace("Sm90", "Sm80"): CODE, SMALL: CODE})
    library = elf({".text": CODE, ".nv_fatbin": fatbin(hopper, 90) + bytes(8) + fatbin(older, 80)})
    wheel = tmp_path / "made.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(module.LIBRARY, bytes(library))
    assert module.main([str(wheel), "--out", str(tmp_path / "out")]) == 0
    made = (tmp_path / "out" / module.LIBRARY).read_bytes()
    trapped = module.TRAP * 2 + bytes(8)
    first, second = module.entries(bytearray(made))
    assert code_of(made, first.start) == {KEPT: CODE, DROPPED: trapped, WIDE: trapped, SMALL: CODE}
    assert set(code_of(made, second.start).values()) == {trapped}
    # All else is as it was: undone, the traps leave the library.
    assert len(made) == len(library)
    assert made.replace(trapped, CODE) == library
    assert code_of(made)[".text"] == CODE


def test_a_compressed_cubin_is_packed_anew() -> None:
    try:
        packed = module.zstd(["-19"], bytes(elf({DROPPED: CODE * 9})))
    except SystemExit:
        pytest.skip("the program zstd is not installed")
    cubin = elf({DROPPED: CODE * 9})
    library = elf({".nv_fatbin": fatbin(bytes(cubin), 90, packed)})
    told = module.trim(library)
    assert (told["trapped"], told["packed anew"]) == (1, 1)
    (entry,) = module.entries(library)
    again = subprocess.run(
        ["zstd", "-d", "-c"],
        input=library[entry.start : entry.start + entry.packed],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert set(code_of(again).values()) == {module.TRAP * 22 + bytes(8)}


def test_what_it_cannot_read_is_said() -> None:
    with pytest.raises(SystemExit, match="no 64-bit ELF"):
        module.trim(bytearray(b"MZ" * 40))
    with pytest.raises(SystemExit, match="no fatbin"):
        module.trim(elf({".nv_fatbin": b"nonsense" * 4}))
    odd = bytearray(fatbin(bytes(64), 90))
    struct.pack_into("<H", odd, 16, 1)
    with pytest.raises(SystemExit, match="kind 1"):
        module.trim(elf({".nv_fatbin": bytes(odd)}))
