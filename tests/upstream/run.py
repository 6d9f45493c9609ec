"""Run SGLang's own code from a source tree, in the environment that has CPU torch.

A case is a script in ``cases/``. It gets the tree first on ``PYTHONPATH``, calls the function under test, and prints
one JSON object as its last line. What it may replace: a GPU, a compiled kernel, model weights. Never the function under
test.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from mimo_gb10.paths import ROOT

HERE = Path(__file__).resolve().parent
PYTHON = ROOT / ".upstream" / "bin" / "python"


def on_one_worker(module: str, releases: Iterable[str]) -> list[ParameterSet]:
    """Parameters for tests that share runs: with ``--dist loadgroup`` those of a module and a release stay together."""
    return [
        pytest.param(release, marks=pytest.mark.xdist_group(f"{module.rpartition('.')[2]}-{release}"))
        for release in releases
    ]


def run_case(name: str, tree: Path, *arguments: str, timeout: float = 600, **env: str) -> dict[str, Any]:
    """What a case printed; ``{"died": ...}`` with the end of its error output if it did not get that far."""
    assert PYTHON.exists(), f"{PYTHON} is missing: `make test-full` builds it"
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("SGL", "HF_", "PYTHON"))}
    paths = os.pathsep.join([str(tree), str(HERE / "stand_ins")])
    variables |= {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **env}
    run = subprocess.run(
        [str(PYTHON), str(HERE / "cases" / f"{name}.py"), *arguments],
        env=variables, capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        return {"died": run.stderr[-4000:], "exit": run.returncode}
    found: dict[str, Any] = json.loads(lines[-1])
    return found
