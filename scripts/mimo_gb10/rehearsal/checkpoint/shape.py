"""The tiny model's dimensions: the real model's, shrunk, for one attention tensor-parallel size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.model import load_model
from mimo_gb10.paths import MODELS

FP8_BLOCK = 128
"""Rows and columns of a weight that share one scale; also the columns of an activation that do."""


@dataclass(frozen=True, slots=True)
class Attention:
    """One kind of attention layer.

    Attributes:
        query_heads: Query heads, over all ranks.
        kv_heads: Key and value heads, over all ranks.
        head_dim: Width of a query or key.
        value_head_dim: Width of a value.
        rope_theta: Base of the rotary frequencies.
        window: Keys before a token's own that it sees; None for all.
        sinks: Whether each head has a sink, a logit without a value.
    """

    query_heads: int
    kv_heads: int
    head_dim: int
    value_head_dim: int
    rope_theta: int
    window: int | None
    sinks: bool

    @property
    def qkv_rows(self) -> int:
        """Rows of the fused projection, over all ranks."""
        return (self.query_heads + self.kv_heads) * self.head_dim + self.kv_heads * self.value_head_dim


@dataclass(frozen=True, slots=True)
class Vision:
    """The vision tower. Every length is in units of the model, patches or merged tokens as the field says."""

    hidden_size: int
    layers: int
    query_heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    patch: int
    merge: int
    temporal_patch: int
    full_layers: tuple[int, ...]
    window_types: tuple[int, ...]
    window: int


SIZES = (1, 2, 4)
"""Tensor-parallel sizes that there is a tiny model for."""


@dataclass(frozen=True, slots=True)
class Audio:
    """The audio encoder and the tokenizer in front of it, which has its own folder in a checkpoint."""

    quantizers: int
    codebooks: tuple[int, ...]
    speech_vocabulary: int
    group: int
    local_layers: int
    local_size: int
    local_heads: int
    local_intermediate_size: int
    tokenizer_layers: int
    tokenizer_size: int
    tokenizer_heads: int
    tokenizer_intermediate_size: int
    tokenizer_window: tuple[int, int]
    mels: int


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that the files of a tiny checkpoint depend on.

    Attributes:
        tensor_parallel: Attention tensor-parallel size that the fused qkv weights are laid out for.
        pattern: For each layer 0 for full attention and 1 for a sliding window, as `hybrid_layer_pattern` has it.
        mixtures: For each layer 1 for a mixture of experts and 0 for a dense MLP, as `moe_layer_freq` has it.
    """

    tensor_parallel: int
    hidden_size: int
    intermediate_size: int
    vocabulary: int
    context_length: int
    pattern: tuple[int, ...]
    mixtures: tuple[int, ...]
    full: Attention
    sliding: Attention
    partial_rotary: float
    experts: int
    experts_per_token: int
    expert_intermediate_size: int
    mtp_layers: int
    vision: Vision
    audio: Audio

    @property
    def layers(self) -> int:
        """Layers of the text model."""
        return len(self.pattern)

    def attention(self, layer: int) -> Attention:
        """The kind of attention that a layer has."""
        return self.sliding if self.pattern[layer] else self.full


def tiny_shape(tensor_parallel: int, mtp_layers: int = 3, facts: Mapping[str, Any] | None = None) -> Shape:
    """Shrink the real model.

    What decides which code runs is kept: head widths, window, rotary share, sinks, the order "dense full layer first,
    full layer last", queries per key head that differ between full and sliding layers, one KV head a rank in full
    layers and two in sliding ones, a rank's qkv rows that are no multiple of the block. What only costs memory is cut.

    Args:
        tensor_parallel: 1, 2 or 4; the checkpoint loads at this attention tensor-parallel size.
        mtp_layers: Multi-token-prediction layers.
        facts: A model file's content; `configs/models/mimo-v2.5.yaml` if not given.

    Raises:
        ValueError: If `tensor_parallel` is another number.
    """
    if tensor_parallel not in SIZES:
        raise ValueError(f"tensor_parallel must be 1, 2 or 4, not {tensor_parallel}")
    facts = facts or load_model(MODELS / "mimo-v2.5.yaml", validate=False).facts
    attention, vision, audio = facts["attention"], facts["vision"], facts["audio"]
    full, sliding = attention["full"], attention["sliding_window"]
    common = {
        "query_heads": 4 * tensor_parallel,
        "head_dim": attention["head_dim"],
        "value_head_dim": attention["value_head_dim"],
    }
    pattern = (0, 1, 1, 0)
    return Shape(
        tensor_parallel=tensor_parallel,
        hidden_size=512,
        intermediate_size=1024,
        vocabulary=640,
        context_length=32768,
        pattern=pattern,
        mixtures=tuple(int(layer not in facts["text"]["dense_layers"]) for layer in range(len(pattern))),
        full=Attention(
            **common, kv_heads=tensor_parallel, rope_theta=full["rope_theta"], window=None, sinks=full["sinks"]
        ),
        sliding=Attention(
            **common,
            kv_heads=tensor_parallel * sliding["kv_heads"] // full["kv_heads"],
            rope_theta=sliding["rope_theta"],
            window=sliding["window"],
            sinks=sliding["sinks"],
        ),
        partial_rotary=attention["partial_rotary"],
        # More than 32 makes SGLang choose experts with a function that torch.compile builds first.
        experts=32,
        experts_per_token=facts["moe"]["experts_per_token"],
        # Each rank's share is a whole number of blocks.
        expert_intermediate_size=max(2 * FP8_BLOCK, tensor_parallel * FP8_BLOCK),
        mtp_layers=mtp_layers,
        vision=Vision(
            hidden_size=256,
            layers=4,
            query_heads=8,
            kv_heads=4,
            head_dim=vision["head_dim"],
            intermediate_size=512,
            patch=vision["patch"],
            merge=vision["merge"],
            temporal_patch=2,
            full_layers=(0, 3),
            # -1 full, 0 a window along rows, 1 a window along columns.
            window_types=(-1, 0, 1, -1),
            window=vision["window"],
        ),
        audio=Audio(
            quantizers=audio["quantizers"],
            codebooks=(1024, 1024, 256) + (128,) * (audio["quantizers"] - 3),
            speech_vocabulary=1280,
            group=4,
            local_layers=2,
            local_size=128,
            local_heads=4,
            local_intermediate_size=256,
            tokenizer_layers=4,
            tokenizer_size=256,
            tokenizer_heads=4,
            tokenizer_intermediate_size=512,
            tokenizer_window=(audio["window"][0], audio["window"][1]),
            mels=128,
        ),
    )
