"""Random values for the tensors that `layout` lists, quantised where the real checkpoint is. Needs torch."""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Iterable
from typing import Any

from mimo_gb10.rehearsal.checkpoint.layout import FOLLOW, FOLLOW_BY, NEVER, REPEAT, Fill, Tensor
from mimo_gb10.rehearsal.checkpoint.shape import FP8_BLOCK

FP8_MAX = 448.0
_DTYPES = {"BF16": "bfloat16", "F32": "float32"}


def draw(tensors: Iterable[Tensor], seed: int, never: Iterable[int] = ()) -> dict[str, Any]:
    """Values for every tensor.

    Only uniform numbers and single arithmetic operations, which every machine rounds alike: the same seed makes the
    same bytes on x86 and Arm, in any order, with any torch that this project uses.

    Args:
        tensors: What to draw.
        seed: Which random weights.
        never: Token ids that the language-model head must keep out of the text.

    Returns:
        torch tensors by name, the scales of fp8 weights among them.
    """
    torch: Any = importlib.import_module("torch")
    found: dict[str, Any] = {}
    for tensor in tensors:
        value = _values(tensor, seed)
        if tensor.name == "lm_head.weight":
            embedding = found["model.embed_tokens.weight"].float()
            value += embedding * REPEAT
            value += embedding.roll(FOLLOW_BY, 0) * FOLLOW
            value[:, 0] = 0.0
            value[sorted(never), 0] = NEVER
        if tensor.dtype == "F8_E4M3":
            found[tensor.name], found[tensor.scale_name] = quantise(value, tensor.shards)
        else:
            found[tensor.name] = value.to(getattr(torch, _DTYPES[tensor.dtype]))
    return found


def quantise(matrix: Any, shards: int = 1) -> tuple[Any, Any]:
    """A float32 matrix as fp8 e4m3 with one float32 scale for each 128 x 128 block: block maximum / 448.

    Args:
        matrix: Shape (rows, columns).
        shards: Equal parts of the rows, each cut into blocks from its own first row, as the fused qkv weights are.

    Returns:
        The fp8 matrix, and the scales of shape (shards * ceil(rows / shards / 128), ceil(columns / 128)). A matrix
        element is about its fp8 value times its block's scale.
    """
    torch: Any = importlib.import_module("torch")
    parts, scales = [], []
    for part in matrix.chunk(shards):
        rows, columns = part.shape
        padded = torch.nn.functional.pad(part, (0, -columns % FP8_BLOCK, 0, -rows % FP8_BLOCK))
        blocks = padded.view(padded.shape[0] // FP8_BLOCK, FP8_BLOCK, padded.shape[1] // FP8_BLOCK, FP8_BLOCK)
        # A block of zeros gets a scale too: a zero one would divide by zero.
        scale = blocks.abs().amax(dim=(1, 3), keepdim=True).clamp(min=1e-12) / FP8_MAX
        scaled = (blocks / scale).clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn)
        parts.append(scaled.view(padded.shape)[:rows, :columns])
        scales.append(scale.view(scale.shape[0], scale.shape[2]))
    return torch.cat(parts), torch.cat(scales)


def _values(tensor: Tensor, seed: int) -> Any:
    torch: Any = importlib.import_module("torch")
    digest = hashlib.sha256(f"{seed} {tensor.name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    fill: Fill = tensor.fill
    value = torch.rand(tensor.shape, generator=generator, dtype=torch.float32)
    value = (value - 0.5) * (fill.std * math.sqrt(12))
    if fill.block_gains:
        rows, columns = (math.ceil(size / FP8_BLOCK) for size in tensor.shape)
        # Uniform in [0.5, 1.5], which has a root mean square of 1.04.
        gains = torch.rand(rows, columns, generator=generator) + 0.5
        gains = gains.repeat_interleave(FP8_BLOCK, 0).repeat_interleave(FP8_BLOCK, 1)
        value *= gains[: tensor.shape[0], : tensor.shape[1]]
    value += fill.mean
    if fill.identity:
        size = tensor.shape[0]
        value[:, :size] += torch.eye(size) * fill.identity
    if fill.row is not None:
        value[0] = fill.row
    if fill.column is not None:
        value[:, 0] = fill.column
    return value
