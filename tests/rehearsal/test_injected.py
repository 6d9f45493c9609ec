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
