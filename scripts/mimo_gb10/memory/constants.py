"""What is known about a GB10 node and its fabric: each constant with its source and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

from mimo_gb10.memory.basis import gibibytes


@dataclass(frozen=True, slots=True)
class Constant:
    """A number from outside SGLang.

    Attributes:
        value: In the unit that its name says.
        source: Where it comes from.
        sure: ``checked``, ``reported`` or ``inferred``.
    """

    value: float
    source: str
    sure: str


BANDWIDTH = Constant(273e9, "NVIDIA's data sheet of DGX Spark: 273 GB/s", "reported")
"""Memory bandwidth of one node in bytes per second, shared by CPU and GPU."""

TOTAL_GIB = Constant(121.69, "MemTotal of a GB10: github.com/Syllo/nvtop/issues/449", "reported")
"""Memory that Linux reports."""

AVAILABLE = gibibytes(101.3, 113.2)
"""Available when SGLang measures it before it loads the weights."""

BEFORE = gibibytes(0.5, 2.0)
"""CUDA context, NCCL and Python of a rank: taken before SGLang measures, after a user read MemAvailable. Estimate."""

AVAILABLE_SOURCE = "published, see below"

AVAILABLE_SOURCES = (
    "101.3 to 102.2 GiB free at start on two kits, 110.4 on another: "
    "github.com/MiaAI-Lab/GLM-5.3-Flash-EXL3-2x-DGX-Sparks/issues/47",
    "8.0 GiB in use on an idle system: github.com/Syllo/nvtop/issues/449; 0.5 more for CUDA and NCCL (estimate)",
)
"""The lower end is CUDA's free memory, without page cache: MemAvailable, which SGLang reads, is not below it."""

ALL_REDUCE_BEST = Constant(
    30.3e-6, "8 KB, two GB10, nccl-tests: github.com/NVIDIA/dgx-spark-playbooks/pull/103", "reported"
)
"""Seconds of the quickest published NCCL all-reduce of one token's size between GB10 nodes."""

ALL_REDUCE_SEEN = Constant(
    59e-6, "48 KB, four GB10, NCCL in a decode step: github.com/local-inference-lab/b12x/pull/295", "reported"
)
"""Seconds of an NCCL all-reduce in a real decode step over four nodes."""

CUDA_MODULES = gibibytes(0.2, 1.0)
GRAPHS = gibibytes(0.3, 1.5)
ENCODERS = gibibytes(0.3, 2.0)
PINNED = gibibytes(0.1, 1.5)
PROCESSES = gibibytes(2.5, 6.0)
FRAGMENTS = gibibytes(0.3, 2.0)
LOADING = gibibytes(1.0, 12.0)
"""Copies of shards on their way to the GPU; page cache beyond them is given up by itself."""

LOADING_SOURCE = "a 76 GB load on GB10 was killed by its copies: github.com/sgl-project/sglang/issues/37931"

ACCEPT_LENGTH = Constant(2.95, "MiMo-V2.5 on H200, SGLang cookbook: 2.95 to 3.08", "reported")
"""Tokens a step with three MTP layers on natural text, where nothing else is given."""

SAFETY = gibibytes(2.0)
"""What Linux needs to stay free: below it reclaim stalls the node before anything is killed."""

ACTIVATION_SPREAD = 1.8
"""The largest buffers of a prefill chunk are known by shape; all live ones together are at most so many times that."""

AUDIO_TOKENIZER_SPREAD = 1.3
"""Codebooks, convolutions and norms on top of the layers of the audio tokenizer, at most."""
