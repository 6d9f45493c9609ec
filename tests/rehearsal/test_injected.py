"""What a rehearsal changes inside the ranks' processes, with small packages under the real names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimo_gb10.paths import ROOT

INJECTED = ROOT / "scripts" / "mimo_gb10" / "rehearsal" / "injected"

TORCH = """
class Tensor:
    def __init__(self, size): self.size = size
    def numel(self): return self.size
    def element_size(self): return 1
    def pin_memory(self): return "pinned"
"""
AUDIO = """
from sglang.srt.utils import get_device_capability
seen = get_device_capability()
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    (tmp_path / "torch.py").write_text(TORCH)
    models = tmp_path / "sglang" / "srt" / "models"
    models.mkdir(parents=True)
    (tmp_path / "sglang" / "srt" / "utils.py").write_text("def get_device_capability(device_id=0): return 9, 0")
    (models / "mimo_audio.py").write_text(AUDIO)
    return tmp_path


def said(packages: Path, program: str, **env: str) -> str:
    path = os.pathsep.join([str(INJECTED), str(packages)])
    command = [sys.executable, "-B", "-c", program]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path, **env}
    )
    return run.stdout.strip()


PIN = """
import torch
for size in (2**16 - 1, 2**16):
    try:
        print(torch.Tensor(size).pin_memory())
    except RuntimeError as problem:
        print(problem)
"""


def test_large_tensors_are_not_pinned(packages: Path) -> None:
    small, large = said(packages, PIN, REHEARSAL_FAULT="pin-memory").splitlines()
    assert small == "pinned"
    assert large.startswith("CUDA error: out of memory")
    assert said(packages, PIN) == "pinned\npinned"


CAPABILITY = """
from sglang.srt.models import mimo_audio
from sglang.srt import utils
print(mimo_audio.seen, utils.get_device_capability(0), mimo_audio.__loader__.__class__.__name__)
"""


def test_only_the_audio_encoder_is_told_another_capability(packages: Path) -> None:
    told = said(packages, CAPABILITY, REHEARSAL_AUDIO_CAPABILITY="12.1")
    assert told == "(12, 1) (9, 0) SourceFileLoader"
    assert said(packages, CAPABILITY) == "(9, 0) (9, 0) SourceFileLoader"


PDL = """
from sgl_kernel import utils
from sglang.kernels.jit.utils import is_arch_support_pdl
print(utils.is_arch_support_pdl(), is_arch_support_pdl())
"""


def test_programmatic_dependent_launch_is_off_in_both_packages(packages: Path) -> None:
    says_yes = "def is_arch_support_pdl(): return True"
    kernels, jit = packages / "sgl_kernel", packages / "sglang" / "kernels" / "jit" / "utils"
    kernels.mkdir()
    jit.mkdir(parents=True)
    (kernels / "utils.py").write_text(says_yes)
    (jit / "arch.py").write_text(says_yes)
    (jit / "__init__.py").write_text("from sglang.kernels.jit.utils.arch import is_arch_support_pdl")
    assert said(packages, PDL, REHEARSAL_FAULT="pdl") == "False False"
    assert said(packages, PDL) == "True True"


def test_a_release_that_decides_elsewhere_ends_at_once(packages: Path) -> None:
    (packages / "sgl_kernel").mkdir()
    (packages / "sgl_kernel" / "utils.py").write_text("")
    with pytest.raises(subprocess.CalledProcessError) as ended:
        said(packages, "import sgl_kernel.utils", REHEARSAL_FAULT="pdl")
    assert "has no is_arch_support_pdl" in ended.value.stderr
