"""Every rehearsal that the project's receipts come from, on one machine with two CUDA GPUs or more.

    python3 tests/rehearsal/make_receipts.py --out DIR --site 0.5.11=site-0.5.11 [--only NAME ...]

A site is a folder with an SGLang, as scripts/unpack_rehearsal.py leaves it. The runs of a wave share the GPUs. What
comes out lies in DIR/NAME/ (receipt.json, the logs, the recording of the smoke test); a receipt that is to be kept goes
to docs/evidence/rehearsals/NAME.json, a recording to tests/smoke/recordings/NAME.jsonl.gz.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECEIPTS = ROOT / "docs" / "evidence" / "rehearsals"
BASES = ("omni-patched", "unpatched", "patched")
"""Runs whose text may be compared with: MTP must not change it. The first that there is, of this time or kept."""


def stand_ins(site: Path) -> tuple[str, ...]:
    """What stands in for something in a site, in words."""
    absent = (site / "sgl_kernel" / "flash_ops.py").exists()
    flash_ops = "Of that, bin/ffprobe and sgl_kernel.flash_ops are stand-ins."
    cut = "Of that, bin/ffprobe is a stand-in, and sgl_kernel.flash_ops lacks the kernels that MiMo does not call."
    return (
        "SGLang and what it needs came from scripts/pack_rehearsal.py.",
        flash_ops if absent else cut,
        "flashinfer was switched off (SGLANG_IS_FLASHINFER_AVAILABLE=false).",
    )


@dataclass(frozen=True)
class Run:
    """One rehearsal.

    Attributes:
        name: Of its folder and its receipt, behind the release.
        arguments: For rehearse.py; ``{base}``, ``{eager}`` and ``{four}`` are filled in.
        recipe: The recipe.
        ranks: How many. Four share the GPUs of a machine that has two.
    """

    name: str
    arguments: tuple[str, ...]
    recipe: str = "gb10x4-post"
    ranks: int = 2


MTP = ("--mtp", "on", "--set", "flags.mem-fraction-static=0.78", "--base", "{base}")
FOUR = ("--gpus", "{four}", "--skip", "broken,stress")
SENSES = ("--base", "{base}", "--only", "server,greedy-senses")
EAGER = {
    "0.5.11": "flags.disable-cuda-graph=true",
    "0.5.17": "flags.cuda-graph-backend-decode=disabled",
}

WAVES: tuple[tuple[Run, ...], ...] = (
    (
        Run("unpatched", ("--unpatched", "--skip", "broken")),
        Run("patched", ("--skip", "broken")),
        Run("omni-patched", ("--skip", "broken"), recipe="gb10x4-omni"),
        Run("mtp-patched", (*MTP, "--skip", "broken"), recipe="gb10x4-omni"),
        Run("mtp-unpatched-eager", ("--unpatched", *MTP, "--set", "{eager}", "--skip", "broken")),
        Run("mtp-unpatched", ("--unpatched", "--mtp", "on", "--only", "server")),
    ),
    (
        Run("broken-uploads", ("--only", "broken")),
        Run("pinning-fails-unpatched", ("--unpatched", "--fault", "pin-memory", "--only", "video")),
        Run("pinning-fails-patched", ("--fault", "pin-memory", "--only", "video")),
    ),
    (
        # By itself, since neighbours slow a race until it is not seen.
        Run("mtp-unpatched-eager-alone", ("--unpatched", *MTP, "--set", "{eager}", "--only", "server,stress")),
    ),
    (
        # FlashAttention 3 has the encoders' masks: what it gives, the patched way of GB10 has to give as well.
        Run("senses-fa3", (*SENSES, "--fa3-encoders"), recipe="gb10x4-omni"),
        Run("senses-without-masks", SENSES),
    ),
    (
        Run("four-ranks", FOUR, recipe="gb10x4-omni", ranks=4),
        Run("four-ranks-mtp", ("--mtp", "on", *FOUR), recipe="gb10x4-omni", ranks=4),
    ),
)


def arguments_of(run: Run, release: str, out: Path = RECEIPTS, gpus: int = 2) -> list[str]:
    """A run's arguments for rehearse.py with everything filled in, but its recipe, release and place."""
    places = [(out / f"{release}-{name}" / "receipt.json", RECEIPTS / f"{release}-{name}.json") for name in BASES]
    base = next((place for pair in places for place in pair if place.exists()), None)
    four = ",".join(str(rank * min(gpus, 4) // 4) for rank in range(4))
    fill = {"base": base, "four": four, "eager": EAGER.get(release, "flags.disable-cuda-graph=true")}
    words = [argument.format(**fill) for argument in run.arguments]
    if "--base" in words and base is None:
        at = words.index("--base")
        del words[at : at + 2]
    return words


def start(run: Run, release: str, site: Path, port: int, out: Path, stress: str, gpus: int) -> subprocess.Popen[bytes]:
    """One rehearsal as a process of its own; what it says goes to its folder."""
    folder = out / f"{release}-{run.name}"
    folder.mkdir(parents=True, exist_ok=True)
    words = arguments_of(run, release, out, gpus)
    notes = [word for note in stand_ins(site) for word in ("--stand-in", note)]
    command = [
        sys.executable, str(ROOT / "scripts" / "unpack_rehearsal.py"), "--to", str(site), "--",
        sys.executable, str(ROOT / "scripts" / "rehearse.py"), run.recipe, "--cluster", "post-4x-gb10",
        "--sglang", release, "--sglang-dir", str(site), "--ranks", str(run.ranks), "--port", str(port),
        "--out", str(folder), "--stress", stress, "--record", str(folder / "recording.jsonl.gz"), *words, *notes,
    ]  # fmt: skip
    env = {**os.environ, "SGLANG_IS_FLASHINFER_AVAILABLE": "false", "OMP_NUM_THREADS": "4"}
    # Servers that start while others grow would find the GPUs' memory unlike.
    env["SGLANG_ENABLE_TP_MEMORY_INBALANCE_CHECK"] = "0"
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=subprocess.STDOUT)


def main(arguments: Sequence[str]) -> int:
    """Run waves one after another, or only the runs that are named all at once."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--site", action="append", required=True, metavar="RELEASE=DIR")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--only", nargs="*", default=[], metavar="NAME", help="RELEASE-NAME of a run")
    made.add_argument("--stress", default="300")
    made.add_argument("--seconds", type=float, default=1e6, help="end everything after so long")
    made.add_argument("--port", type=int, default=11000, help="of the first run; each takes a thousand")
    made.add_argument("--gpus", type=int, default=2, help="how many the machine has; four ranks share fewer")
    made.add_argument("--list", action="store_true")
    options = made.parse_args(arguments)
    sites = {release: Path(folder).absolute() for release, _, folder in (text.partition("=") for text in options.site)}
    waves = [[(release, run) for run in wave] for release in sites for wave in WAVES]
    if options.only:
        waves = [[one for wave in waves for one in wave if f"{one[0]}-{one[1].name}" in options.only]]
    if options.list:
        for release, run in (one for wave in waves for one in wave):
            print(f"{release}-{run.name}: {' '.join(run.arguments)}")
        return 0
    end = time.monotonic() + options.seconds
    # Ended by a signal, it ends its rehearsals in order, so that they write what they have seen.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    port = options.port
    for wave in waves:
        running: list[subprocess.Popen[bytes]] = []
        try:
            for release, run in wave:
                out = options.out.absolute()
                running.append(start(run, release, sites[release], port, out, options.stress, options.gpus))
                port += 1000
            while any(process.poll() is None for process in running) and time.monotonic() < end:
                time.sleep(1)
        finally:
            for process in running:
                # rehearse.py ends its ranks and writes what it has seen.
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait()
    for folder in sorted(options.out.iterdir()):
        if (folder / "said.txt").exists():
            last = [
                line for line in (folder / "said.txt").read_text(errors="replace").splitlines() if "receipt:" in line
            ]
            print(f"{folder.name}: {last[-1] if last else 'no receipt'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
