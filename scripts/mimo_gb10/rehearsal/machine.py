"""What a rehearsal runs on: GPUs, driver, libraries, and the installed SGLang. Read, never changed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_ASK_SECONDS = 120

# Runs in the Python that the ranks will run in. importlib.metadata gives a version without importing the package.
_PROGRAM = """
import importlib.metadata, json, pathlib
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
found = {"packages": {name: version(name) for name in NAMES}}
try:
    import torch
    found["torch_cuda"] = torch.version.cuda
    if torch.cuda.is_available():
        found["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
        found["gpus"] = [
            {"name": p.name, "capability": f"{p.major}.{p.minor}", "mib": p.total_memory >> 20}
            for p in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        ]
except ImportError:
    pass
import importlib.util
spec = importlib.util.find_spec("sglang")
if spec is not None:
    found["sglang"] = str(pathlib.Path(spec.origin or next(iter(spec.submodule_search_locations))).resolve())
print(json.dumps(found))
"""

PACKAGES = (
    "sglang", "sglang-kernel", "sgl-kernel", "torch", "triton", "flashinfer-python", "transformers", "tokenizers",
    "safetensors", "xgrammar", "torchcodec", "decord2", "nvidia-nccl-cu13", "nvidia-nccl-cu12", "numpy",
)  # fmt: skip
"""Distributions whose versions a receipt names."""


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: As CUDA names it.
        capability: Compute capability, as 12.1.
        mib: Its memory in MiB.
    """

    name: str
    capability: str
    mib: int


@dataclass(frozen=True)
class Machine:
    """One machine, as the ranks on it see it.

    Attributes:
        gpus: In CUDA's order.
        driver: The NVIDIA driver, or None.
        cuda: The CUDA release that PyTorch was built with, or None.
        nccl: NCCL as PyTorch loads it, or None.
        kernel: The operating system's kernel.
        architecture: x86_64 or aarch64.
        python: Version of the Python that runs the ranks.
        packages: Versions by distribution.
        sglang: The package's folder, or None where it is not installed.
    """

    gpus: tuple[Gpu, ...]
    driver: str | None
    cuda: str | None
    nccl: str | None
    kernel: str
    architecture: str
    python: str
    packages: Mapping[str, str]
    sglang: Path | None

    @property
    def version(self) -> str | None:
        """The installed SGLang release, or None."""
        return self.packages.get("sglang")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a receipt: no path of the machine in it."""
        return {name: value for name, value in asdict(self).items() if name != "sglang"}


def read_machine(env: Mapping[str, str] | None = None, python: str = sys.executable) -> Machine:
    """Ask the Python that will run the ranks, in the environment that they will get."""
    found = _ask(dict(os.environ if env is None else env), python)
    sglang = found.get("sglang")
    return Machine(
        gpus=tuple(Gpu(**gpu) for gpu in found.get("gpus", ())),
        driver=_driver(),
        cuda=found.get("torch_cuda"),
        nccl=found.get("nccl"),
        kernel=platform.release(),
        architecture=platform.machine(),
        python=platform.python_version(),
        packages={name: version for name, version in found.get("packages", {}).items() if version},
        sglang=Path(sglang).parent if sglang else None,
    )


def _ask(env: Mapping[str, str], python: str) -> dict[str, Any]:
    program = _PROGRAM.replace("NAMES", repr(PACKAGES))
    try:
        run = subprocess.run(
            [python, "-c", program], env=dict(env), capture_output=True, text=True, timeout=_ASK_SECONDS, check=True
        )
        found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {}
    return found


def _driver() -> str | None:
    return next(iter(nvidia_smi("--query-gpu=driver_version")), None)


def nvidia_smi(query: str) -> list[str]:
    """The lines that nvidia-smi answers a query with, numbers without units; none where it does not answer."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in run.stdout.splitlines() if line.strip()]
