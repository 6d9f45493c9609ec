"""The scanner against a reading line by line that is too simple to be wrong."""

from __future__ import annotations

import random
import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_gb10.diagnose import scan
from mimo_gb10.diagnose.pattern import compiled
from mimo_gb10.diagnose.scan import LONGEST_CARRY, WINDOW, Feeder, Scanner
from mimo_gb10.diagnose.state import RankLog
from mimo_gb10.diagnose.symptoms import load_symptoms
from tests.diagnose.cases import LOGS, diagnose, ids, read

PATTERNS = {name: line.pattern for name, line in load_symptoms().lines.items()}
Simple = dict[str, tuple[int, int]]


def simple(text: bytes) -> Simple:
    """For each name the number of its first line and how many parts of lines match it."""
    found: Simple = {}
    for number, line in enumerate(re.sub(rb"\x1b\[[0-9;]*m", b"", text).split(b"\n"), 1):
        for part in line.decode("utf-8", "replace").split("\r"):
            for name, pattern in PATTERNS.items():
                if compiled(pattern).search(part):
                    first, count = found.get(name, (number, 0))
                    found[name] = (first, count + 1)
    return found


def shown(log: RankLog) -> Simple:
    return {name: (seen.first.line, seen.count) for name, seen in log.seen.items()}


@pytest.mark.parametrize("file", sorted(LOGS.rglob("*.log")), ids=lambda path: str(path.relative_to(LOGS)))
def test_the_scanner_finds_what_a_simple_reading_finds(file: object) -> None:
    data = file.read_bytes()  # type: ignore[attr-defined]
    [log] = read({"0": [data]})
    assert shown(log) == simple(data)
    assert log.lines == data.count(b"\n")
    assert log.bytes == len(data)


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 4096])
def test_it_does_not_matter_where_blocks_end(size: int) -> None:
    data = (LOGS / "fp8-kv-on-hopper" / "match-recorded-nan.log").read_bytes()
    if size == 1:
        data = data[-4000:]
    [whole] = read({"0": [data]})
    [cut] = read({"0": [data[at : at + size] for at in range(0, len(data), size)]})
    assert shown(cut) == shown(whole)
    assert (cut.lines, cut.bytes, cut.last_line, cut.last_hits) == (
        whole.lines,
        whole.bytes,
        whole.last_line,
        whole.last_hits,
    )


LINES = st.lists(
    st.sampled_from(
        [
            b"Scheduler hit an exception: x",
            b"[x TP0] Scheduler watchdog timeout (self.watchdog_timeout=300, self.soft=False)",
            b"sglang is using nccl==2.28.9",
            b"sglang is using nccl==2.30.7",
            b"progress 1\rCapturing batches (bs=24)\rprogress 2",
            b"\x1b[31mReceived sigquit from a child process.\x1b[0m",
            b"Received sig\x1b[1mquit from a child process.",
            b"\xff\xfe broken \x00 text",
            b"an everyday line 123",
            b"an everyday line 124",
            b"",
            b"\r",
            b"CUDA error: an illegal memory access was encountered\r",
        ]
    )
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(lines=LINES, end=st.booleans(), cuts=st.lists(st.integers(0, 2000), max_size=6))
def test_any_lines_in_any_blocks(lines: list[bytes], end: bool, cuts: list[int]) -> None:
    data = b"\n".join(lines) + (b"\n" if end else b"")
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    [log] = read({"0": [data[a:b] for a, b in pairwise(places)]})
    assert shown(log) == simple(data)
    assert log.lines == data.count(b"\n")


def test_a_line_that_never_ends_is_taken_in_by_parts() -> None:
    """Nothing is lost at the seams, and what waits is bounded."""
    text = b"CUDA error: an illegal memory access was encountered"
    # Blocks of 100,000 bytes: the first part ends at 1,100,000, the second at 2,200,000.
    assert 1_000_000 < LONGEST_CARRY < 1_100_000
    seams = [seam + shift for seam in (1_100_000, 2_200_000) for shift in (-WINDOW, 0)]
    places = [10, *(seam + shift for seam in seams for shift in (-60, -20, 5)), 4 * LONGEST_CARRY - 60]
    for place in places:
        only = bytearray(b"x" * (4 * LONGEST_CARRY))
        only[place : place + len(text)] = text
        [log] = read({"0": [bytes(only[at : at + 100_000]) for at in range(0, len(only), 100_000)]})
        assert log.seen["illegal-access"].first.line == 1, place
        assert len(log.seen["illegal-access"].first.text) < 500


def test_memory_does_not_grow_with_the_log() -> None:
    """200 MB of lines no two of which are alike, 50 MB without a line end: some MB."""
    generator = random.Random(7)
    known = load_symptoms()
    scanner = Scanner(PATTERNS)
    log = RankLog("0", "x", known.orders())
    feeder = Feeder(scanner, log)
    words = [bytes(generator.choices(b"abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(2000)]
    tracemalloc.start()
    for _ in range(60):
        feeder.take(b"\n".join(b" ".join(generator.choices(words, k=12)) for _ in range(2000)))
    for _ in range(100):
        feeder.take(b"y" * 100_000)
    feeder.end()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


def test_the_store_of_shapes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_MOST_SHAPES", 10)
    lines = [f"line {'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10 % 10]}{'uvwxyz'[i // 100 % 6]}" for i in range(600)]
    data = "\n".join([*lines, "Scheduler hit an exception: x", *lines]).encode()
    known = load_symptoms()
    scanner, log = Scanner(PATTERNS), RankLog("0", "x", known.orders())
    feeder = Feeder(scanner, log)
    for at in range(0, len(data), 300):
        feeder.take(data[at : at + 300])
        # One block's worth comes on top before it is emptied.
        assert len(scanner._shapes) < 10 + 300
    feeder.end()
    assert log.seen["scheduler-exception"].first.line == 601
    assert len(scanner._shapes) < 100


def test_the_last_line_is_the_last_that_is_not_empty() -> None:
    [log] = read({"0": [b"sglang is using nccl==2.28.9\n\n  \n"]})
    assert log.last_line == (1, "sglang is using nccl==2.28.9")
    assert ids(diagnose(b"sglang is using nccl==2.28.9\n\n")) == ["nccl-init-stuck"]
    assert ids(diagnose(b"sglang is using nccl==2.28.9\nmore")) == []
    assert ids(diagnose(b"sglang is using nccl==2.28.9\rprogress")) == []
    assert ids(diagnose(b"progress\rsglang is using nccl==2.28.9")) == ["nccl-init-stuck"]
    # Known only at the end.
    assert ids(diagnose(b"sglang is using nccl==2.28.9\n", ended=False)) == []


def test_an_order_is_an_order() -> None:
    first, second, third = (
        b"Capture draft extend CUDA graph begin.",
        b"triton.compiler.errors.CompilationError: x",
        b"AttributeError(\"'NoneType' object has no attribute 'type'\")",
    )
    assert "mtp-triton-window" in ids(diagnose(b"\n".join((first, second, third))))
    assert "mtp-triton-window" in ids(
        diagnose(b"\n".join((third, second, first, b"", second, b".", third, b".", b".")))
    )
    assert "mtp-triton-window" not in ids(diagnose(b"\n".join((second, first, third))))
    assert "mtp-triton-window" not in ids(diagnose(b" ".join((first, second, third)))), "one line is no order"
