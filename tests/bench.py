"""Time the commands: `make bench`. Medians of process start to end, and peak memory, on this machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GEN = str(ROOT / "scripts" / "gen_launch.py")
CHECK = [str(ROOT / "scripts" / "check_command.py"), str(ROOT / "tests" / "data" / "post-launch.txt")]
COMPARE = str(ROOT / "scripts" / "compare_releases.py")
MEMORY = [str(ROOT / "scripts" / "plan_memory.py"), "gb10x4-omni"]
PREFLIGHT = [str(ROOT / "scripts" / "preflight.py"), "example-4x-gb10", "--recipe", "gb10x4-mtp", "--node", "0"]
RECORDED = ["--replay", str(ROOT / "tests" / "preflight" / "nodes" / "healthy.json")]
DIAGNOSE = [str(ROOT / "scripts" / "diagnose.py")]
HEALTHY_LOG = str(ROOT / "tests" / "diagnose" / "logs" / "healthy" / "recorded-0.5.17.log")

RECIPE = """name: bench
title: A launch over many nodes
model: mimo-v2.5
sglang: 0.5.11
image: lmsysorg/sglang:v0.5.11-cu130
nodes: {nodes}
flags:
  trust-remote-code: true
  tensor-parallel-size: {nodes}
  data-parallel-size: {groups}
  enable-dp-attention: true
  attention-backend: triton
  mm-attention-backend: triton_attn
  mem-fraction-static: 0.8
env:
  PYTORCH_CUDA_ALLOC_CONF: expandable_segments:True
defects: []
why: {{}}
evidence: []
"""
CLUSTER = """name: bench
model_path: /models/mimo-v2.5
rendezvous: {port: 29500}
serve: {host: 0.0.0.0, port: 30000}
fabric: {socket_interface: enP2p1s0f0np0, rdma_devices: [rocep1s0f0, roceP2p1s0f0]}
nodes:
"""


def timed(arguments: list[str], runs: int) -> tuple[float, float]:
    """Median seconds, and the highest peak memory in MiB, of some runs of a Python command."""
    seconds = []
    peak = 0.0
    for _ in range(runs):
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds.append(time.perf_counter() - start)
        if process.returncode != 0:
            raise SystemExit(f"{arguments} ended with {process.returncode}")
        peak = max(peak, usage.ru_maxrss / 1024)
    return statistics.median(seconds), peak


def many_nodes(folder: Path, nodes: int) -> list[str]:
    """Arguments for a launch over `nodes` nodes, attention in groups of four."""
    recipe, cluster = folder / f"recipe-{nodes}" / "bench.yaml", folder / f"cluster-{nodes}" / "bench.yaml"
    for path in (recipe, cluster):
        path.parent.mkdir()
    recipe.write_text(RECIPE.format(nodes=nodes, groups=nodes // 4), encoding="utf-8")
    lines = [f"  - {{address: 10.{i >> 16}.{i >> 8 & 255}.{i & 255}}}\n" for i in range(1, nodes + 1)]
    cluster.write_text(CLUSTER + "".join(lines), encoding="utf-8")
    return [GEN, str(recipe), "--cluster", str(cluster)]


def main() -> None:
    """Print one line per case; with --json, one JSON object."""
    results: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            "bare interpreter": (["-c", "pass"], 21),
            "--help": ([GEN, "--help"], 21),
            "4 ranks": ([GEN], 21),
            "1,000 ranks": (many_nodes(Path(folder), 1000), 5),
            "10,000 ranks": (many_nodes(Path(folder), 10_000), 3),
            "check, 1 release": (CHECK, 21),
            "check, with model": ([*CHECK, "--model", "mimo-v2.5"], 21),
            "check, all releases": ([*CHECK, "--all-releases"], 11),
            "compare releases": ([COMPARE], 11),
            "memory plan": (MEMORY, 11),
            "preflight, recorded": ([*PREFLIGHT, *RECORDED], 11),
            "diagnose, 36 kB": ([*DIAGNOSE, HEALTHY_LOG], 11),
        }
        for name, (arguments, runs) in cases.items():
            results[name] = timed(arguments, runs)
    if "--json" in sys.argv:
        json.dump({name: {"seconds": s, "peak_mib": m} for name, (s, m) in results.items()}, sys.stdout, indent=2)
        return
    print(f"{'case':<22}{'median':>10}{'peak memory':>14}")
    for name, (median, peak) in results.items():
        print(f"{name:<22}{median * 1000:>7.0f} ms{peak:>10.0f} MiB")
    print(f"cores: {os.cpu_count()}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
