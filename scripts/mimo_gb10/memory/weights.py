"""What is loaded on a rank: the checkpoint's parts by their shapes, split as SGLang's model code splits them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.memory import constants
from mimo_gb10.memory.basis import Amount, Basis, Item, exactly
from mimo_gb10.memory.citations import source
from mimo_gb10.memory.setting import Setting


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes of one parameter, its scales included, by the kind of layer.

    Attributes:
        name: Of the checkpoint's format.
        experts: Routed experts.
        linear: Fused qkv and dense MLP layers.
        output: Output projection of attention.
        head: Embedding and language-model head.
        router: Router of the experts.
        encoders: Vision and audio.
    """

    name: str
    experts: float
    linear: float
    output: float = 2.0
    head: float = 2.0
    router: float = 4.0
    encoders: float = 2.0


def checkpoint_storage(facts: Mapping[str, Any]) -> Storage:
    """The checkpoint's own format: FP8 with a float32 scale a block, the rest as the model file says."""
    rows, columns = facts["weights"]["block"]
    scaled = 1 + 4 / (rows * columns)
    return Storage("fp8", experts=scaled, linear=scaled)


NVFP4_MXFP8 = Storage("nvfp4 experts, mxfp8 linear layers", experts=0.5 + 1 / 16, linear=1 + 1 / 32, output=1 + 1 / 32)
"""The community's NVFP4 checkpoint (lukealonso/MiMo-V2.5-NVFP4), at the least that it can take: one FP8 scale for 16
values of FP4, one for 32 of FP8, nothing else kept wider than it must be."""


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of tensors of the checkpoint.

    Attributes:
        key: Stable name.
        title: For people.
        size: Bytes in the checkpoint.
        split: Whether tensor parallelism splits it.
        step: Whether a decode step reads all of it.
        cited: Key of the upstream line that decides about the split.
    """

    key: str
    title: str
    size: float
    split: bool
    step: bool
    cited: str

    def on_rank(self, ranks: int) -> float:
        """Bytes on one rank."""
        return self.size / ranks if self.split else self.size


def experts_of(facts: Mapping[str, Any], storage: Storage) -> float:
    """Bytes of one routed expert of one layer: gate, up and down projection."""
    return float(3 * facts["text"]["hidden_size"] * facts["moe"]["intermediate_size"] * storage.experts)


def parts(facts: Mapping[str, Any], storage: Storage) -> list[Part]:
    """The checkpoint's parts without the MTP layers. Norms and sinks, some 2 MB together, are left out."""
    text, attention, moe = facts["text"], facts["attention"], facts["moe"]
    hidden, layers, dense = text["hidden_size"], text["layers"], len(text["dense_layers"])
    sparse = layers - dense
    full, window = attention["full"], attention["sliding_window"]
    qkv = len(full["layers"]) * _qkv(facts, full["kv_heads"]) + window["layers"] * _qkv(facts, window["kv_heads"])
    output = layers * attention["query_heads"] * attention["value_head_dim"] * hidden
    vocabulary = text["vocabulary"] * hidden * storage.head
    router = sparse * (hidden + 1) * moe["experts"] * storage.router
    return [
        Part(
            "experts",
            "routed experts",
            sparse * moe["experts"] * experts_of(facts, storage),
            True,
            False,
            "memory-experts",
        ),
        Part("qkv", "attention, q k v", qkv * storage.linear, True, True, "memory-qkv"),
        Part("output", "attention, output", output * storage.output, True, True, "memory-output"),
        Part(
            "dense",
            "dense layer",
            dense * 3 * hidden * text["intermediate_size"] * storage.linear,
            True,
            True,
            "memory-dense",
        ),
        Part("embedding", "embedding", vocabulary, True, False, "memory-embedding"),
        Part("head", "language-model head", vocabulary, True, True, "memory-head"),
        Part("router", "routers, float32", router, False, True, "memory-router"),
        Part(
            "vision", "vision encoder", facts["vision"]["parameters"] * storage.encoders, True, False, "memory-vision"
        ),
        Part("audio", "audio encoder", facts["audio"]["parameters"] * storage.encoders, False, False, "memory-audio"),
    ]


def mtp_parts(facts: Mapping[str, Any], storage: Storage) -> list[Part]:
    """One MTP layer: a dense sliding-window layer, and the projection that every rank holds whole."""
    text, attention = facts["text"], facts["attention"]
    hidden = text["hidden_size"]
    output = attention["query_heads"] * attention["value_head_dim"] * hidden * storage.output
    block = (
        _qkv(facts, attention["sliding_window"]["kv_heads"]) + 3 * hidden * text["intermediate_size"]
    ) * storage.linear
    return [
        Part("mtp", "MTP layers", block + output, True, True, "memory-mtp"),
        Part("mtp-projection", "MTP projections", 2 * hidden * hidden * 2, False, True, "memory-mtp"),
    ]


def _qkv(facts: Mapping[str, Any], kv_heads: int) -> int:
    attention = facts["attention"]
    key, value = attention["head_dim"], attention["value_head_dim"]
    return int(facts["text"]["hidden_size"] * (attention["query_heads"] * key + kv_heads * (key + value)))


def weight_items(facts: Mapping[str, Any], setting: Setting, storage: Storage) -> Iterator[Item]:
    """What loading the checkpoint takes on one rank, without MTP."""
    ranks = setting.tensor_parallel
    for part in parts(facts, storage):
        split = part.split and not (part.key == "vision" and setting.whole_encoders)
        amount = exactly(part.size / ranks if split else part.size)
        yield Item(
            f"weights-{part.key}",
            part.title,
            amount,
            Basis.FORMULA,
            source(setting.release, part.cited),
            ranks if split else 1,
        )
    yield Item(
        "rope",
        "rotary tables of two bases",
        exactly(rope_bytes(facts, setting.context)),
        Basis.FORMULA,
        source(setting.release, "memory-rope"),
    )
    yield Item(
        "audio-tokenizer",
        "audio tokenizer, not in the shards",
        audio_tokenizer(facts),
        Basis.ESTIMATE,
        f"from its layers' shapes; loaded at {source(setting.release, 'memory-audio-tokenizer')}",
    )
    yield Item(
        "modules",
        "CUDA modules, leftovers of the loader",
        constants.CUDA_MODULES,
        Basis.ESTIMATE,
        "not measured on GB10",
    )


def mtp_items(facts: Mapping[str, Any], setting: Setting, storage: Storage) -> Iterator[Item]:
    """The weights of the MTP layers in use; embedding and head are the target's."""
    if setting.draft is None:
        return
    count = min(setting.draft.steps, facts["mtp"]["layers"])
    for part in mtp_parts(facts, storage):
        amount = exactly(count * part.on_rank(setting.tensor_parallel))
        split = setting.tensor_parallel if part.split else 1
        yield Item(f"weights-{part.key}", part.title, amount, Basis.FORMULA, source(setting.release, part.cited), split)


def rope_bytes(facts: Mapping[str, Any], context: int) -> float:
    """Cosines and sines in float32 for each position, one table for each base: full and sliding-window layers.

    The table is as long as the model's context, whatever ``context-length`` says below it.
    """
    attention = facts["attention"]
    width = int(attention["head_dim"] * attention["partial_rotary"])
    positions: int = max(context, facts["text"]["context_length"])
    return float(2 * positions * width * 4)


def audio_tokenizer(facts: Mapping[str, Any]) -> Amount:
    """The audio tokenizer in bfloat16: its layers alone at least."""
    audio = facts["audio"]
    hidden = audio["hidden_size"]
    layers = audio["layers"] * (4 * hidden * hidden + 2 * hidden * audio["intermediate_size"]) * 2
    return Amount(layers, layers * constants.AUDIO_TOKENIZER_SPREAD)
