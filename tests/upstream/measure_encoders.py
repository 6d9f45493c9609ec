"""Measure MiMo's encoders on a GPU, unpatched, patched and with FlashAttention 3, into one receipt.

    python3 tests/upstream/measure_encoders.py --out encoder-masks.json \\
        --site 0.5.11=site-0.5.11 --site 0.5.17=site-0.5.17

A site is a folder with an SGLang, as scripts/unpack_rehearsal.py leaves it. It is not changed: the patched tree is a
copy of its ``sglang/``. The error of an encoder is that of its final embeddings against float64, relative. A receipt
that is to be kept goes to docs/evidence/encoder-masks.json. What a receipt holds already is not run again, so a run
that was cut short goes on where it was. Needs Python 3.11 and what the sites hold.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CASE = ROOT / "tests" / "upstream" / "cases" / "encoders_measure.py"
DEFECTS = ("vision-sinks-window", "audio-causal-window")
FILES = (
    "sglang/srt/layers/attention/vision.py",
    "sglang/srt/layers/attention/vision_window.py",
    "sglang/srt/models/mimo_audio.py",
)
"""What the patches change."""
RUNS = (("unpatched", "triton_attn", ("--rounding",)), ("patched", "triton_attn", ()), ("unpatched", "fa3", ()))
WHAT = (
    "SGLang's vision tower and the audio tokenizer's encoder in MiMo-V2.5's shapes, on one rank, in bfloat16, with "
    "random weights and inputs. error: of the final embeddings against float64, relative. ms: the median of several "
    "runs. peak_mib: the most memory beyond weights and input. rounding: the error with attention in float64 and all "
    "else in bfloat16. With fa3 the audio layers call FlashAttention 3 with their masks, which SGLang does not do."
)


def within(site: Path) -> list[str]:
    """What stands before a command that is to run with a site's packages."""
    if (site / ".mimo-gb10-bundle").is_dir():
        return [sys.executable, str(ROOT / "scripts" / "unpack_rehearsal.py"), "--to", str(site), "--"]
    return ["env", f"PYTHONPATH={site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"]


def patched_copy(site: Path, folder: Path) -> Path:
    """A copy of a site's SGLang with the two patches on."""
    shutil.copytree(site / "sglang", folder / "sglang")
    command = [sys.executable, str(ROOT / "scripts" / "apply_patches.py"), "--sglang-dir", str(folder), *DEFECTS]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return folder


def digests(tree: Path) -> dict[str, str]:
    """Of the files that the patches change, where they are."""
    return {name: hashlib.sha256((tree / name).read_bytes()).hexdigest() for name in FILES if (tree / name).exists()}


def measure(site: Path, tree: Path, backend: str, expected: Path, more: Sequence[str], runs: int) -> dict[str, Any]:
    """What the case says of one tree; the reason under ``missing`` where it said nothing."""
    command = [
        *within(site), sys.executable, str(CASE), backend, "--tree", str(tree),
        "--expected", str(expected), "--runs", str(runs), *more,
    ]  # fmt: skip
    env = {**os.environ, "SGLANG_IS_FLASHINFER_AVAILABLE": "false", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        why = f"ended with {done.returncode}, see what it said"
        return {"rows": [], "missing": [{"encoder": name, "why": why} for name in ("vision", "audio")]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Patched over unpatched, and over FlashAttention 3 where that ran, for each release and input."""
    by = {(row["release"], row["input"], row["tree"], row["backend"]): row for row in rows}
    found = []
    for (release, name, tree, backend), row in by.items():
        if (tree, backend) != ("patched", "triton_attn"):
            continue
        entry: dict[str, Any] = {"release": release, "input": name}
        for over, key in (("unpatched", "triton_attn"), ("fa3", "fa3")):
            other = by.get((release, name, "unpatched", key))
            if other:
                entry[f"time_over_{over}"] = row["ms"] / other["ms"]
                if other["peak_mib"]:
                    entry[f"memory_over_{over}"] = row["peak_mib"] / other["peak_mib"]
        found.append(entry)
    return found


def versions(site: Path) -> dict[str, str]:
    """Of what the numbers depend on."""
    said = "import json, torch, triton; print(json.dumps([torch.__version__, torch.version.cuda, triton.__version__]))"
    command = [*within(site), sys.executable, "-c", said]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    torch, cuda, triton = json.loads(output.strip().splitlines()[-1])
    return {"torch": torch, "cuda": cuda or "", "triton": triton, "python": platform.python_version()}


def driver() -> str:
    """Of the GPU, or an empty string."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def main(arguments: Sequence[str]) -> int:
    """Run everything, and write the receipt after each run, so that a time limit leaves what there is."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--site", action="append", required=True, metavar="RELEASE=DIR")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--runs", type=int, default=10, help="timed runs of each input")
    made.add_argument("--tiny", action="store_true", help="tiny shapes and inputs: to try this without a GPU")
    options = made.parse_args(arguments)
    sites = {release: Path(folder).absolute() for release, _, folder in (text.partition("=") for text in options.site)}
    receipt: dict[str, Any] = {
        "$schema": "../../configs/schema/encoders.schema.json", "what": WHAT, "defects": list(DEFECTS),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {}, "patched_files": {}, "rounding": {}, "rows": [], "ratios": [], "missing": [],
    }  # fmt: skip
    if options.out.exists():
        receipt = json.loads(options.out.read_text(encoding="utf-8"))
    more = ["--tiny"] if options.tiny else []
    done = {(row["release"], row["tree"], row["backend"]) for row in [*receipt["rows"], *receipt["missing"]]}
    with tempfile.TemporaryDirectory() as folder:
        for release, site in sites.items():
            work = Path(folder) / release
            receipt["machine"] = receipt["machine"] or {**versions(site), "driver": driver()}
            trees = {"unpatched": site, "patched": patched_copy(site, work / "patched")}
            receipt["patched_files"][release] = {
                name: digest
                for name, digest in digests(trees["patched"]).items()
                if digests(site).get(name) != digest
            }  # fmt: skip
            for tree, backend, words in RUNS:
                if (release, tree, backend) in done:
                    continue
                print(f"{release}, {tree}, {backend}", file=sys.stderr, flush=True)
                found = measure(site, trees[tree], backend, work / "expected", [*words, *more], options.runs)
                about = {"release": release, "tree": tree, "backend": backend}
                receipt["rows"] += [{**about, **row} for row in found["rows"]]
                receipt["missing"] += [{**about, **one} for one in found["missing"]]
                if "rounding" in found:
                    receipt["rounding"][release] = found["rounding"]
                receipt["machine"] |= found.get("gpu", {})
                receipt["ratios"] = ratios(receipt["rows"])
                options.out.write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")
    return 0 if any(row["tree"] == "patched" for row in receipt["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
