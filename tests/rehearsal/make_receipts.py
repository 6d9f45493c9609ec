"""Every rehearsal that the project's receipts come from, on one machine with two CUDA GPUs or more.

    python3 tests/rehearsal/make_receipts.py --out DIR --site 0.5.11=site-0.5.11 [--only NAME ...]

A site is a folder with an SGLang, as scripts/unpack_rehearsal.py leaves it. The runs of a wave share the GPUs, a few at
once; a wave begins when the one before has ended. A site with FlashAttention 3 is another one, with the library of
tests/upstream/trim_flash_ops.py in place of the stand-in; runs that need it are left out without it.

What comes out lies in DIR/NAME/ (receipt.json, the logs, the recording of the smoke test); a receipt that is to be kept
goes to docs/evidence/rehearsals/NAME.json, a recording to tests/smoke/recordings/NAME.jsonl.gz.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
MTP_RECIPE = "gb10x4-mtp"
RECEIPTS = ROOT / "docs" / "evidence" / "rehearsals"
PAUSE = 1.0
"""Seconds between two looks at the runs."""

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
        arguments: For rehearse.py; what stands in braces is filled in by `arguments_of`.
        recipe: The recipe; ``{mtp}`` is the one with MTP where it is for the release.
        ranks: How many. Four share the GPUs of a machine that has two.
        alone: Whether it gets its GPUs to itself: neighbours slow a race until it is not seen.
        only: The release that it is about, or an empty text for all.
    """

    name: str
    arguments: tuple[str, ...]
    recipe: str = "gb10x4-post"
    ranks: int = 2
    alone: bool = False
    only: str = ""

    @property
    def needs_fa3(self) -> bool:
        """Whether it needs a site with FlashAttention 3."""
        return "--fa3-encoders" in self.arguments

    def recipe_for(self, release: str) -> str:
        """The name of the recipe under a release."""
        own = yaml.safe_load((ROOT / "configs" / "recipes" / f"{MTP_RECIPE}.yaml").read_text(encoding="utf-8"))
        return self.recipe.format(mtp=MTP_RECIPE if own["sglang"] == release else "gb10x4-omni")


MTP = ("--mtp", "on", "--set", "flags.mem-fraction-static=0.78", "--base", "{base}")
FOUR = ("--gpus", "{four}", "--set", "env.NCCL_DEBUG=INFO", "--skip", "broken,stress")
RESHARDED = ("--model-ranks", "4", "--base", "{whole}", "--only", "server,chat,greedy")
SENSES = ("--base", "{base}", "--only", "server,greedy-senses")
WGMMA = ("--set", "env.DISABLE_MMA_V3=0", "--only", "server,transcription,stress")
EAGER = {
    "0.5.11": "flags.disable-cuda-graph=true",
    "0.5.17": "flags.cuda-graph-backend-decode=disabled",
}

HUNT = ("--unpatched", "--mtp", "on", "--gpus", "{own}", "--set", "{eager}")
HUNTS = {
    "mma-v2": ("--only", "server,transcription,stress"),
    "wgmma": WGMMA,
    "wgmma-blocking": ("--set", "env.CUDA_LAUNCH_BLOCKING=1", *WGMMA),
    "wgmma-bf16-kv": ("--set", "flags.kv-cache-dtype=auto", *WGMMA),
    "wgmma-no-overlap": ("--set", "flags.disable-overlap-schedule=true", *WGMMA),
    "wgmma-no-radix": ("--set", "flags.disable-radix-cache=true", *WGMMA),
    "wgmma-no-pdl": ("--fault", "pdl", *WGMMA),
}

WAVES: tuple[tuple[Run, ...], ...] = (
    (
        Run("unpatched", ("--unpatched", "--skip", "broken")),
        Run("patched", ("--skip", "broken")),
        Run("omni-patched", ("--skip", "broken"), recipe="gb10x4-omni"),
        Run("mtp-patched", (*MTP, "--skip", "broken"), recipe="{mtp}"),
        Run("mtp-unpatched-eager", ("--unpatched", *MTP, "--set", "{eager}", "--skip", "broken")),
        Run("mtp-unpatched", ("--unpatched", "--mtp", "on", "--only", "server")),
    ),
    (
        Run("broken-uploads", ("--only", "broken")),
        Run("pinning-fails-unpatched", ("--unpatched", "--fault", "pin-memory", "--only", "video")),
        Run("pinning-fails-patched", ("--fault", "pin-memory", "--only", "video")),
    ),
    (
        Run(
            "mtp-unpatched-eager-alone",
            ("--unpatched", *MTP, "--set", "{eager}", "--only", "server,stress"),
            alone=True,
        ),
    ),
    (
        # FlashAttention 3 has the encoders' masks: what it gives, the patched way of GB10 has to give as well.
        Run("senses-fa3", (*SENSES, "--fa3-encoders"), recipe="gb10x4-omni"),
        Run("senses-without-masks", SENSES),
    ),
    (
        Run("four-ranks", FOUR, recipe="gb10x4-omni", ranks=4),
        Run("four-ranks-mtp", ("--mtp", "on", *FOUR), recipe="{mtp}", ranks=4),
    ),
    (
        # The same weights over fewer ranks: not before 0.5.17, nor with MTP, whose loader does not split them anew.
        Run("two-ranks-of-four", RESHARDED, recipe="gb10x4-omni", only="0.5.17"),
        Run("one-rank-of-four", RESHARDED, recipe="gb10x4-omni", ranks=1, only="0.5.17"),
    ),
    # What ends 0.5.17 with MTP and without graphs, and what switches that off.
    tuple(Run(f"hunt-{name}", (*HUNT, *more), ranks=1, alone=True, only="0.5.17") for name, more in HUNTS.items()),
)


def arguments_of(run: Run, release: str, out: Path = RECEIPTS, gpus: int = 2, own: Sequence[int] = (0,)) -> list[str]:
    """A run's arguments for rehearse.py with everything filled in, but its recipe, release and place.

    Args:
        run: The run.
        release: Its SGLang.
        out: Where receipts of this time lie.
        gpus: How many the machine has.
        own: Those that a run which is alone gets to itself.
    """
    base, whole = _receipt_of(release, BASES, out), _receipt_of(release, ("four-ranks",), out)
    four = ",".join(str(rank * min(gpus, 4) // 4) for rank in range(4))
    fill = {
        "own": ",".join(map(str, own)),
        "base": base,
        "whole": whole,
        "four": four,
        "eager": EAGER.get(release, "flags.disable-cuda-graph=true"),
    }
    words = [argument.format(**fill) for argument in run.arguments]
    if "--base" in words and "None" in words:
        at = words.index("--base")
        del words[at : at + 2]
    return words


def _receipt_of(release: str, names: Sequence[str], out: Path) -> Path | None:
    """The first receipt with greedy text that there is of some runs: of this time, or kept."""
    places = [(out / f"{release}-{name}" / "receipt.json", RECEIPTS / f"{release}-{name}.json") for name in names]
    return next((place for pair in places for place in pair if place.exists() and _has_text(place)), None)


def _has_text(receipt: Path) -> bool:
    return bool(json.loads(receipt.read_bytes())["greedy"])


def incomplete(site: Path) -> str | None:
    """Why nothing can run with a site, or None."""
    command = [sys.executable, str(ROOT / "scripts" / "unpack_rehearsal.py"), "--to", str(site), "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


def at_once(wave: Sequence[Run], most: int, gpus: int) -> int:
    """How many runs of a wave go together."""
    return max(1, min(gpus // run.ranks for run in wave)) if any(run.alone for run in wave) else most


def start(
    run: Run, release: str, site: Path, port: int, out: Path, stress: str, gpus: int, own: Sequence[int]
) -> subprocess.Popen[bytes]:
    """One rehearsal as a process of its own; what it says goes to its folder."""
    folder = out / f"{release}-{run.name}"
    folder.mkdir(parents=True, exist_ok=True)
    words = arguments_of(run, release, out, gpus, own)
    notes = [word for note in stand_ins(site) for word in ("--stand-in", note)]
    command = [
        sys.executable, str(ROOT / "scripts" / "unpack_rehearsal.py"), "--to", str(site), "--",
        sys.executable, str(ROOT / "scripts" / "rehearse.py"), run.recipe_for(release), "--cluster", "post-4x-gb10",
        "--sglang", release, "--sglang-dir", str(site), "--ranks", str(run.ranks), "--port", str(port),
        "--out", str(folder), "--stress", stress, "--record", str(folder / "recording.jsonl.gz"), *words, *notes,
    ]  # fmt: skip
    env = {**os.environ, "SGLANG_IS_FLASHINFER_AVAILABLE": "false", "OMP_NUM_THREADS": "4"}
    # Servers that start while others grow would find the GPUs' memory unlike.
    env["SGLANG_ENABLE_TP_MEMORY_INBALANCE_CHECK"] = "0"
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=subprocess.STDOUT)


Begin = Callable[[str, Run, Sequence[int]], "subprocess.Popen[bytes]"]
"""Starts a run of a release on GPUs of its own."""


def play(wave: list[tuple[str, Run]], begin: Begin, most: int, gpus: int, end: float) -> None:
    """Run a wave, at most so many at once, and end what is left of it when the time is over.

    A run that is alone holds its GPUs: which are free depends on which of the others has died first.
    """
    most = at_once([run for _, run in wave], most, gpus) if wave else most
    running: dict[subprocess.Popen[bytes], Sequence[int]] = {}
    try:
        while (wave or running) and time.monotonic() < end:
            running = {process: own for process, own in running.items() if process.poll() is None}
            while wave and len(running) < most:
                release, run = wave.pop(0)
                free = [gpu for gpu in range(gpus) if not any(gpu in own for own in running.values())]
                own = free[: run.ranks] if run.alone else []
                running[begin(release, run, own)] = own
                print(f"started {release}-{run.name}", flush=True)
            time.sleep(PAUSE)
    finally:
        for process in running:
            # rehearse.py ends its ranks and writes what it has seen.
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()


def main(arguments: Sequence[str]) -> int:
    """Run wave after wave, or what of it is named."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--site", action="append", required=True, metavar="RELEASE=DIR")
    made.add_argument("--fa3-site", action="append", default=[], metavar="RELEASE=DIR", help="with FlashAttention 3")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--only", nargs="*", default=[], metavar="NAME", help="RELEASE-NAME of a run")
    made.add_argument("--stress", default="300")
    made.add_argument("--seconds", type=float, default=1e6, help="end everything after so long")
    made.add_argument("--port", type=int, default=11000, help="of the first run; each takes a thousand")
    made.add_argument("--gpus", type=int, default=2, help="how many the machine has; four ranks share fewer")
    made.add_argument("--at-once", type=int, default=5, metavar="N", help="runs that share the GPUs (default: 5)")
    made.add_argument("--list", action="store_true")
    options = made.parse_args(arguments)
    sites, fa3_sites = (
        {release: Path(folder).absolute() for release, _, folder in (text.partition("=") for text in texts)}
        for texts in (options.site, options.fa3_site)
    )
    waves = [
        [
            (release, run)
            for run in wave
            for release in sites
            if run.only in ("", release)
            and (release in fa3_sites or not run.needs_fa3)
            and (not options.only or f"{release}-{run.name}" in options.only)
        ]
        for wave in WAVES
    ]
    if options.list:
        for release, run in (one for wave in waves for one in wave):
            print(f"{release}-{run.name}: {' '.join(run.arguments)}")
        return 0
    for site in (*sites.values(), *fa3_sites.values()):
        # Before anything runs: a machine with GPUs is not to wait for a site that never comes.
        if problem := incomplete(site):
            print(problem, file=sys.stderr)
            return 1
    end = time.monotonic() + options.seconds
    # Ended by a signal, it ends its rehearsals in order, so that they write what they have seen.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ports = itertools.cycle(range(options.port, 53000, 1000))

    def begin(release: str, run: Run, own: Sequence[int]) -> subprocess.Popen[bytes]:
        site, out = (fa3_sites if run.needs_fa3 else sites)[release], options.out.absolute()
        return start(run, release, site, next(ports), out, options.stress, options.gpus, own)

    for wave in waves:
        play(wave, begin, options.at_once, options.gpus, end)
    for folder in sorted(options.out.iterdir()):
        if (folder / "said.txt").exists():
            last = [
                line for line in (folder / "said.txt").read_text(errors="replace").splitlines() if "receipt:" in line
            ]
            print(f"{folder.name}: {last[-1] if last else 'no receipt'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
