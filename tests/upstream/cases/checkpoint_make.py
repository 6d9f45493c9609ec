"""Tiny checkpoints, made with torch: ``checkpoint_make.py FOLDER SEED TENSOR_PARALLEL...``.

Writes FOLDER/tpN for each size. For the first one also: whether a second making has the same bytes and another seed
others, how far block quantisation is from the drawn values, and how often block scales differ.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))
import torch

from mimo_gb10.rehearsal.checkpoint.layout import main_tensors
from mimo_gb10.rehearsal.checkpoint.make import make_checkpoint
from mimo_gb10.rehearsal.checkpoint.shape import tiny_shape
from mimo_gb10.rehearsal.checkpoint.weights import draw, quantise


def quantisation():
    """Of a ragged matrix in two shards: largest error of an element over its block's step, and the scales' shape."""
    generator = torch.Generator().manual_seed(2)
    matrix = torch.randn(2 * 200, 300, generator=generator) * torch.rand(400, 1, generator=generator)
    values, scales = quantise(matrix, shards=2)
    worst = 0.0
    for shard in range(2):
        for row in range(0, 200, 128):
            for column in range(0, 300, 128):
                where = slice(shard * 200 + row, shard * 200 + min(row + 128, 200)), slice(column, column + 128)
                scale = scales[shard * 2 + row // 128, column // 128]
                error = (values[where].float() * scale - matrix[where]).abs()
                # e4m3 has three bits after the first; below 2^-6 its steps are 2^-9.
                step = (matrix[where].abs() / scale).clamp(min=2**-6).log2().floor().exp2() / 8 * scale
                worst = max(worst, (error / step).max().item())
    return {"worst_error_in_steps": worst, "scales": list(scales.shape), "dtype": str(values.dtype)}


def main():
    folder, seed, sizes = Path(sys.argv[1]), int(sys.argv[2]), list(map(int, sys.argv[3:]))
    found = {}
    for size in sizes:
        began = time.monotonic()
        made = make_checkpoint(folder / f"tp{size}", size, seed)
        found[size] = {"bytes": made.bytes, "seconds": time.monotonic() - began, "files": dict(made.files)}
    again = make_checkpoint(folder / "again", sizes[0], seed)
    other = make_checkpoint(folder / "other", sizes[0], seed + 1)
    without = make_checkpoint(folder / "without-mtp", sizes[0], seed, mtp_layers=0)
    tensors = [
        tensor for tensor in main_tensors(tiny_shape(sizes[0])) if tensor.name.endswith("layers.1.mlp.gate.weight")
    ]
    scales = draw(
        [t for t in main_tensors(tiny_shape(sizes[0])) if t.name == "model.layers.0.mlp.gate_proj.weight"], seed
    )
    print(json.dumps({
        "made": found, "again": dict(again.files), "other": dict(other.files), "without_mtp": without.bytes,
        "quantisation": quantisation(), "router": str(draw(tensors, seed)[tensors[0].name].dtype),
        "scale_spread": (lambda s: (s.max() / s.min()).item())(scales["model.layers.0.mlp.gate_proj.weight_scale_inv"]),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
