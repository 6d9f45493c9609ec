"""Every tensor of the tiny checkpoint: name, shape, type, and how its random values are spread.

Names and shapes are those that SGLang's loaders read: sglang/srt/models/mimo_v2.py, mimo_v2_nextn.py, mimo_vl.py and
mimo_audio.py.

The spreads make a model whose text says something about the code that ran it. Each attention and MLP branch adds about
half an embedding's length to the residual stream, scores differ by several nats, and sinks take a noticeable share, so
that a mask, a window or a sink that is wrong changes the text. Channel 0 of the residual stream is a constant: the
embedding sets it and no branch adds to it. The router leans on it to make its sigmoids small, where they behave like
exponentials: the eighth expert then weighs little against the ninth, and rounding that swaps the two does not tell. The
language-model head leans on it to keep special tokens out of the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mimo_gb10.rehearsal.checkpoint.shape import FP8_BLOCK, Attention, Shape

CHANNEL = 8.0
"""What an embedding has in channel 0; the other channels are around 1."""
BRANCH = 0.55
"""Root mean square that one attention or MLP branch adds to the residual stream."""
SCORES = 2.0
"""Standard deviation of an attention score."""
NEVER = -12.0
"""What a token that must not be generated has in channel 0 of the language-model head; the others have 0."""
REPEAT = -0.03
"""Share of its embedding that a token's row of the language-model head gets: what was just written is unlikely to be
written again, or greedy text would end as one token over and over."""
FOLLOW, FOLLOW_BY = 0.036, 37
"""Share of a token's embedding that the row of the token `FOLLOW_BY` ids further gets: each token has one that often
follows it. The layers of multi-token prediction, which see little more than the token, guess that one, and are often
enough right for accepted drafts to occur."""


@dataclass(frozen=True, slots=True)
class Fill:
    """How a tensor's values are drawn: uniform, so that any machine draws the same bits.

    Attributes:
        std: Standard deviation.
        mean: Mean.
        row: Value of all of row 0, if it is not drawn.
        column: Value of all of column 0, if it is not drawn.
        identity: Share of the identity added to the first square of the matrix.
        block_gains: Whether each 128 x 128 block has a gain of its own, so that block scales differ.
    """

    std: float = 0.0
    mean: float = 0.0
    row: float | None = None
    column: float | None = None
    identity: float = 0.0
    block_gains: bool = False


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file.

    Attributes:
        name: Its name in the checkpoint.
        shape: Its dimensions.
        dtype: Its type as safetensors spells it: `BF16`, `F32` or `F8_E4M3`.
        fill: How its values are drawn.
        shards: For `F8_E4M3`: into how many equal parts its rows fall, each with scales of its own.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    fill: Fill
    shards: int = 1

    @property
    def scale_name(self) -> str:
        """Name of the tensor of its block scales; only an fp8 weight has one."""
        return f"{self.name}_scale_inv"

    @property
    def scale_shape(self) -> tuple[int, int]:
        """Shape of its block scales: a part whose rows are no multiple of the block ends with a smaller block."""
        rows, columns = self.shape
        return self.shards * math.ceil(rows / self.shards / FP8_BLOCK), math.ceil(columns / FP8_BLOCK)


def _weight(name: str, rows: int, columns: int, gain: float = 1.0) -> Tensor:
    """A bfloat16 matrix that turns inputs of length 1 a channel into outputs of length `gain` a channel."""
    return Tensor(f"{name}.weight", (rows, columns), "BF16", Fill(gain / math.sqrt(columns)))


def _fp8(name: str, rows: int, columns: int, gain: float, *, shards: int = 1, into_stream: bool = False) -> Tensor:
    fill = Fill(gain / math.sqrt(columns), row=0.0 if into_stream else None, block_gains=True)
    return Tensor(f"{name}.weight", (rows, columns), "F8_E4M3", fill, shards)


def _norm(name: str, size: int, *, keep_channel: bool = False) -> Tensor:
    return Tensor(f"{name}.weight", (size,), "BF16", Fill(0.12, 1.0, row=1.0 if keep_channel else None))


def _bias(name: str, size: int, std: float = 0.1, first: float | None = None) -> Tensor:
    return Tensor(f"{name}.bias", (size,), "BF16", Fill(std, row=first))


def _attention(prefix: str, shape: Shape, kind: Attention, branch: float) -> Iterator[Tensor]:
    rows = kind.qkv_rows
    # Queries and keys of this length give scores of that spread: the sum of head_dim products, over its root.
    yield _fp8(
        f"{prefix}.qkv_proj", rows, shape.hidden_size, math.sqrt(SCORES), shards=shape.tensor_parallel
    )  # fmt: skip
    columns = kind.query_heads * kind.value_head_dim
    # Averaging and the value scale leave about a third of a value's length.
    fill = Fill(branch / 0.45 / math.sqrt(columns), row=0.0)
    yield Tensor(f"{prefix}.o_proj.weight", (shape.hidden_size, columns), "BF16", fill)
    if kind.sinks:
        # The sum of 128 exponentials of such scores is about e^7, that of a few about e^3: between them, so that some
        # heads' sinks matter for short texts and some for long ones.
        yield Tensor(f"{prefix}.attention_sink_bias", (kind.query_heads,), "BF16", Fill(1.7, 5.0))


def _mlp(prefix: str, shape: Shape, inner: int, branch: float) -> Iterator[Tensor]:
    hidden = shape.hidden_size
    yield _fp8(f"{prefix}.gate_proj", inner, hidden, 1.5)
    yield _fp8(f"{prefix}.up_proj", inner, hidden, 1.5)
    # What comes out of the gate has a length of about 1.5.
    yield _fp8(f"{prefix}.down_proj", hidden, inner, branch / 1.5, into_stream=True)


def text_tensors(shape: Shape) -> Iterator[Tensor]:
    """The text model: what `MiMoV2ForCausalLM.load_weights` reads into `model` and `lm_head`."""
    hidden = shape.hidden_size
    yield Tensor("model.embed_tokens.weight", (shape.vocabulary, hidden), "BF16", Fill(1.0, column=CHANNEL))
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}"
        yield _norm(f"{prefix}.input_layernorm", hidden, keep_channel=True)
        # Faults of a late layer have fewer layers to grow in, so its attention adds more.
        yield from _attention(f"{prefix}.self_attn", shape, shape.attention(layer), BRANCH * (1 + layer / 6))
        yield _norm(f"{prefix}.post_attention_layernorm", hidden, keep_channel=True)
        if not shape.mixtures[layer]:
            yield from _mlp(f"{prefix}.mlp", shape, shape.intermediate_size, BRANCH)
            continue
        # Two branches a layer have been added by now, and one more.
        length = math.sqrt(1 + (2 * layer + 1) * BRANCH**2 + CHANNEL**2 / hidden)
        gate = Fill(2.2 / math.sqrt(hidden), column=-3.5 * length / CHANNEL)
        yield Tensor(f"{prefix}.mlp.gate.weight", (shape.experts, hidden), "F32", gate)
        yield Tensor(f"{prefix}.mlp.gate.e_score_correction_bias", (shape.experts,), "F32", Fill(0.02))
        for expert in range(shape.experts):
            name = f"{prefix}.mlp.experts.{expert}"
            # The weights of the chosen experts have a root sum of squares of about 0.5. A mixture adds less than other
            # branches: it is where rounding makes jumps, when it changes which experts are chosen.
            yield from _mlp(name, shape, shape.expert_intermediate_size, BRANCH / 0.7)
    yield _norm("model.norm", hidden, keep_channel=True)
    yield Tensor("lm_head.weight", (shape.vocabulary, hidden), "BF16", Fill(3.5 / math.sqrt(hidden), column=0.0))


def mtp_tensors(shape: Shape) -> Iterator[Tensor]:
    """The multi-token-prediction layers, as `MiMoV2MTP.load_weights` renames them.

    Each passes its token's embedding on and adds little, so that it predicts what the text model would if that had no
    layers: mostly the token that often follows.
    """
    hidden = shape.hidden_size
    for layer in range(shape.mtp_layers):
        prefix = f"model.mtp.layers.{layer}"
        yield _norm(f"{prefix}.enorm", hidden, keep_channel=True)
        yield _norm(f"{prefix}.hnorm", hidden, keep_channel=True)
        eh = Fill(0.15 / math.sqrt(hidden), row=None, identity=1.0)
        yield Tensor(f"{prefix}.eh_proj.weight", (hidden, 2 * hidden), "BF16", eh)
        yield _norm(f"{prefix}.input_layernorm", hidden, keep_channel=True)
        yield from _attention(f"{prefix}.self_attn", shape, shape.sliding, BRANCH / 3)
        yield _norm(f"{prefix}.pre_mlp_layernorm", hidden, keep_channel=True)
        yield from _mlp(f"{prefix}.mlp", shape, shape.intermediate_size, BRANCH / 3)
        yield _norm(f"{prefix}.final_layernorm", hidden, keep_channel=True)


def vision_tensors(shape: Shape) -> Iterator[Tensor]:
    """The vision tower, `visual` in the model."""
    vision, size = shape.vision, shape.vision.hidden_size
    kernel = (3, vision.temporal_patch, vision.patch, vision.patch)
    yield Tensor("visual.patch_embed.proj.weight", (size, *kernel), "BF16", Fill(1 / math.sqrt(math.prod(kernel))))
    for layer in range(vision.layers):
        prefix = f"visual.blocks.{layer}"
        rows = (vision.query_heads + 2 * vision.kv_heads) * vision.head_dim
        columns = vision.query_heads * vision.head_dim
        yield _norm(f"{prefix}.norm1", size)
        yield _weight(f"{prefix}.attn.qkv", rows, size, 1.2)
        yield _bias(f"{prefix}.attn.qkv", rows)
        yield _weight(f"{prefix}.attn.proj", size, columns)
        yield _bias(f"{prefix}.attn.proj", size)
        if layer not in vision.full_layers:
            yield Tensor(f"{prefix}.attn.sinks", (vision.query_heads,), "BF16", Fill(1.0, 2.0))
        yield _norm(f"{prefix}.norm2", size)
        for name in ("gate_proj", "up_proj"):
            yield _weight(f"{prefix}.mlp.{name}", vision.intermediate_size, size, 1.2)
            yield _bias(f"{prefix}.mlp.{name}", vision.intermediate_size)
        yield _weight(f"{prefix}.mlp.down_proj", size, vision.intermediate_size, 0.6)
        yield _bias(f"{prefix}.mlp.down_proj", size)
    merged = size * vision.merge**2
    yield _norm("visual.merger.ln_q", size)
    yield _weight("visual.merger.mlp.0", merged, merged, 1.4)
    yield _bias("visual.merger.mlp.0", merged)
    yield _weight("visual.merger.mlp.2", shape.hidden_size, merged, 1.2)
    yield _bias("visual.merger.mlp.2", shape.hidden_size, first=CHANNEL)


def audio_tensors(shape: Shape) -> Iterator[Tensor]:
    """The audio encoder behind the tokenizer: embeddings of speech tokens, a small transformer, a projection."""
    audio, size = shape.audio, shape.audio.local_size
    for channel in range(audio.quantizers):
        fill = Fill(1 / math.sqrt(audio.quantizers))
        name = f"audio_encoder.speech_embeddings.{channel}.weight"
        yield Tensor(name, (audio.speech_vocabulary, size), "BF16", fill)
    for layer in range(audio.local_layers):
        prefix = f"audio_encoder.input_local_transformer.layers.{layer}"
        yield _norm(f"{prefix}.input_layernorm", size)
        for name in ("q_proj", "k_proj", "v_proj"):
            yield _weight(f"{prefix}.self_attn.{name}", size, size, 1.2)
            yield _bias(f"{prefix}.self_attn.{name}", size)
        yield _weight(f"{prefix}.self_attn.o_proj", size, size, 0.8)
        yield _norm(f"{prefix}.post_attention_layernorm", size)
        yield _weight(f"{prefix}.mlp.gate_proj", audio.local_intermediate_size, size, 1.2)
        yield _weight(f"{prefix}.mlp.up_proj", audio.local_intermediate_size, size, 1.2)
        yield _weight(f"{prefix}.mlp.down_proj", size, audio.local_intermediate_size, 0.6)
    yield _norm("audio_encoder.input_local_transformer.norm", size)
    group = size * audio.group
    yield _weight("audio_encoder.projection.mlp.0", 4 * group, group, 1.4)
    yield _weight("audio_encoder.projection.mlp.2", shape.hidden_size, 4 * group, 1.2)


def audio_tokenizer_tensors(shape: Shape) -> Iterator[Tensor]:
    """What `audio_tokenizer/model.safetensors` holds: the state of SGLang's `MiMoAudioTokenizer` (release 0.5.11)."""
    audio, size = shape.audio, shape.audio.tokenizer_size

    def linear(name: str, rows: int, columns: int, gain: float = 1.0, bias: bool = True) -> Iterator[Tensor]:
        yield _weight(name, rows, columns, gain)
        if bias:
            yield _bias(name, rows)

    def norm(name: str) -> Iterator[Tensor]:
        yield _norm(name, size)
        yield _bias(name, size)

    # Logarithms of mel energies reach -16 in silence.
    for name, inputs, gain in (("conv1", audio.mels, 0.15), ("conv2", size, 1.4)):
        yield Tensor(f"encoder.{name}.weight", (size, inputs, 3), "BF16", Fill(gain / math.sqrt(3 * inputs)))
        yield _bias(f"encoder.{name}", size)
    for layer in range(audio.tokenizer_layers):
        prefix = f"encoder.layers.{layer}"
        yield from linear(f"{prefix}.self_attn.k_proj", size, size, 1.2, bias=False)
        yield from linear(f"{prefix}.self_attn.v_proj", size, size)
        yield from linear(f"{prefix}.self_attn.q_proj", size, size, 1.2)
        yield from linear(f"{prefix}.self_attn.out_proj", size, size)
        yield from norm(f"{prefix}.self_attn_layer_norm")
        yield from linear(f"{prefix}.fc1", audio.tokenizer_intermediate_size, size, 1.4)
        yield from linear(f"{prefix}.fc2", size, audio.tokenizer_intermediate_size, 0.8)
        yield from norm(f"{prefix}.final_layer_norm")
    yield from norm("encoder.layer_norm")
    pooled = Fill(1.4 / math.sqrt(2 * size))
    yield Tensor("encoder.down_sample_layer.0.weight", (size, size, 2), "BF16", pooled)
    yield from norm("encoder.down_sample_norm")
    for quantizer, entries in enumerate(audio.codebooks):
        prefix = f"encoder.quantizer.vq.layers.{quantizer}._codebook"
        # Each quantizer describes what the ones before it left over.
        residual = Fill(0.8**quantizer)
        yield Tensor(f"{prefix}.inited", (1,), "BF16", Fill(mean=1.0))
        yield Tensor(f"{prefix}.cluster_size", (entries,), "BF16", Fill(mean=1.0))
        yield Tensor(f"{prefix}.embed", (entries, size), "BF16", residual)
        yield Tensor(f"{prefix}.embed_avg", (entries, size), "BF16", residual)


def main_tensors(shape: Shape) -> list[Tensor]:
    """Everything in the sharded safetensors files, in their order; scales follow from the fp8 weights."""
    groups = (text_tensors, mtp_tensors, vision_tensors, audio_tensors)
    return [tensor for group in groups for tensor in group(shape)]
