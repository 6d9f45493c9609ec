"""What the preflight tests share: recorded nodes, what is wanted of them, and stand-ins for programs."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mimo_gb10.paths import ROOT
from mimo_gb10.preflight.load import load_wanted
from mimo_gb10.preflight.node import NodeReport, examine
from mimo_gb10.preflight.recorded import Recorded, load_recording
from mimo_gb10.preflight.results import Result
from mimo_gb10.preflight.wanted import Wanted

NODES = Path(__file__).parent / "nodes"
CLUSTER = "example-4x-gb10"
RECIPE = str(ROOT / "tests" / "data" / "gb10x4-mtp.yaml")
SCRIPT = ROOT / "scripts" / "preflight.py"


def recording_names() -> list[str]:
    return sorted(path.stem for path in NODES.glob("*.json"))


@functools.cache
def wanted(cluster: str = CLUSTER, recipe: str | None = RECIPE) -> Wanted:
    return load_wanted(cluster, recipe, None)[0]


def recorded(name: str, *, image_checks: bool = False) -> Recorded:
    return Recorded(load_recording(str(NODES / f"{name}.json")), image_checks=image_checks)


def rank_of(name: str) -> int:
    return int(name[-1]) if name.startswith("healthy-") else 0


def examined(name: str, what: Wanted | None = None, *, image_checks: bool = False) -> NodeReport:
    what = what or wanted()
    if image_checks:
        what = dataclasses.replace(what, image_program="pass")
    return examine(recorded(name, image_checks=image_checks), what, rank_of(name))


def by_check(results: Sequence[Result]) -> dict[str, Result]:
    found = {result.check: result for result in results}
    assert len(found) == len(results)
    return found


def program(folder: Path, name: str, text: str) -> Path:
    """A stand-in for a program, in Python, for a folder that is put on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!{sys.executable} -I\n{text}", encoding="utf-8")
    file.chmod(0o755)
    return file


def run_preflight(
    *arguments: str, path: Sequence[Path] = (), env: Mapping[str, str] | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run the command, with folders in front of PATH."""
    search = os.pathsep.join([*(str(folder) for folder in path), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=seconds,
        cwd=ROOT,
        env={**os.environ, "PATH": search, **(env or {})},
    )
