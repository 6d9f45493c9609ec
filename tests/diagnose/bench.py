"""Time `scripts/diagnose.py` over large made-up logs: `python tests/diagnose/bench.py [MEGABYTES]`.

Each log repeats a real one, or lines made for the purpose, up to the size. Times are of the whole process, start and
report included; the speed goes by the processor's time, which other programs on the machine do not change much.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOGS = Path(__file__).parent / "logs"
COMMAND = [sys.executable, str(ROOT / "scripts" / "diagnose.py")]


def everyday() -> bytes:
    """What a server prints all day: batches and requests, with other numbers each time."""
    generator = random.Random(1)
    text = (LOGS / "healthy" / "recorded-0.5.17.log").read_bytes()
    lines = [line for line in text.split(b"\n") if b" batch, #" in line or b"HTTP/1.1" in line]
    made = []
    for _ in range(20_000):
        digits = b"%020d" % generator.getrandbits(64)
        line = generator.choice(lines)
        made.append(bytes(digits[i % 20] if 48 <= byte <= 57 and i > 20 else byte for i, byte in enumerate(line)))
    return b"\n".join(made) + b"\n"


def crash() -> bytes:
    """A log of a server that started, served and died, over and over."""
    return (LOGS / "fp8-kv-on-hopper" / "match-recorded-nan.log").read_bytes()


def requests() -> bytes:
    """Logged requests: no two lines are alike even without their digits."""
    generator = random.Random(2)
    words = [bytes(generator.choices(b"abcdefghijklmnopqrstuvwxyz", k=generator.randint(2, 9))) for _ in range(5000)]
    made = []
    for _ in range(20_000):
        said = b" ".join(generator.choices(words, k=30))
        made.append(
            b"[2026-11-24 07:42:44] Receive: obj=GenerateReqInput(rid='%032x', text='%s')"
            % (generator.getrandbits(128), said)
        )
    return b"\n".join(made) + b"\n"


def one_symptom() -> bytes:
    """The worst case: every line is a symptom."""
    line = next(
        line for line in (LOGS / "kernel-build-stall" / "near.log").read_bytes().split(b"\n") if b"Health check" in line
    )
    return line + b"\n"


def one_line() -> bytes:
    """A log without any line end."""
    return everyday().replace(b"\n", b" ")


CASES: dict[str, Callable[[], bytes]] = {
    "everyday": everyday,
    "crash, over and over": crash,
    "logged requests": requests,
    "one symptom a line": one_symptom,
    "one endless line": one_line,
}


def timed(path: Path) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and peak memory in MiB of one run over a file."""
    with path.open("rb") as stream:  # into the page cache
        while stream.read(1 << 24):
            pass
    start = time.perf_counter()
    process = subprocess.Popen([*COMMAND, str(path)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{path} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print one line per case; with --json, one JSON object."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    size = (numbers or [200])[0] * 1_000_000
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in CASES.items():
            path = Path(folder) / "bench.log"
            text = make()
            with path.open("wb") as stream:
                written = 0
                while written < size:
                    written += stream.write(text * max(1, 4_000_000 // len(text)))
            wall, processor, peak = timed(path)
            results[name] = {
                "megabytes": written / 1e6,
                "seconds": wall,
                "processor_seconds": processor,
                "mb_per_s": written / 1e6 / processor,
                "peak_mib": peak,
            }
    if "--json" in sys.argv:
        json.dump(results, sys.stdout, indent=2)
        return
    print(f"{'log':<24}{'size':>9}{'time':>9}{'processor':>11}{'speed':>12}{'peak memory':>13}")
    for name, one in results.items():
        times = f"{one['megabytes']:>6.0f} MB{one['seconds']:>7.2f} s{one['processor_seconds']:>9.2f} s"
        print(f"{name:<24}{times}{one['mb_per_s']:>7.0f} MB/s{one['peak_mib']:>9.0f} MiB")
    print(f"one process, cores: {os.cpu_count()}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
