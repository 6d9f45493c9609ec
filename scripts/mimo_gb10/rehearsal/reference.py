"""The text model of a tiny checkpoint in plain torch on a CPU, to judge what a server answers.

The arithmetic is that of SGLang's sglang/srt/models/mimo_v2.py with the triton attention backend
(sglang/srt/layers/attention/triton_backend.py and triton_ops), releases 0.5.11 and 0.5.17. Three of its habits matter:

* A prompt and a generated token see windows of different widths. `extend_attention.py` lets a query see the keys whose
  position plus the window reaches its own: the window and itself, 129 keys. Decoding takes the last 128 places of the
  cache, the token's own among them (`update_sliding_window_buffer`).
* The tokens of one forward pass see each other's keys and values as computed, and older ones as the cache keeps them.
  Decoding reads everything from the cache. With an fp8 cache the two differ.
* With an fp8 cache the kernels also round attention weights to fp8 before they multiply cached values, and a prompt's
  queries before they multiply cached keys.
"""

from __future__ import annotations

import heapq
import importlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mimo_gb10.rehearsal.checkpoint.shape import FP8_BLOCK

Tensor = Any
"""A torch.Tensor; torch itself is imported only when a reference is made."""
FP8_MAX = 448.0


@dataclass(slots=True)
class State:
    """What a text has left in the cache: keys and values of each layer, rounded as the cache rounds them."""

    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0


@dataclass(frozen=True, slots=True)
class _Linear:
    """A weight of shape (outputs, inputs); `fp8` if the server multiplies fp8 by fp8."""

    weight: Tensor
    fp8: bool


_Mlp = tuple[_Linear, _Linear, _Linear]
"""Gate, up and down projection."""


@dataclass(frozen=True, slots=True)
class _Layer:
    input_norm: Tensor
    post_norm: Tensor
    query: _Linear
    key: _Linear
    value: _Linear
    output: _Linear
    sinks: Tensor | None
    query_heads: int
    kv_heads: int
    head_dim: int
    value_head_dim: int
    window: int | None
    rope_theta: float
    router: tuple[Tensor, Tensor] | None
    experts: list[_Mlp]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a served text's log-probabilities are from a reference's.

    Attributes:
        tokens: Tokens compared.
        worst: Largest absolute difference, in nats; NaN if a served number is NaN or infinite.
        mean: Mean absolute difference, in nats.
        not_finite: Served log-probabilities that are NaN or infinite.
        not_greedy: Positions whose served token is not the reference's most probable one.
        decided: Those of them where the reference's best two are further apart than the tolerance: rounding doesn't
            explain them.
    """

    tokens: int
    worst: float
    mean: float
    not_finite: int
    not_greedy: tuple[int, ...]
    decided: tuple[int, ...]


class Reference:
    """A tiny checkpoint's text model."""

    def __init__(
        self,
        folder: Path,
        *,
        dtype: Literal["float32", "float64"] = "float32",
        activations: Literal["exact", "fp8"] = "exact",
        kv: Literal["exact", "fp8"] = "exact",
        rounding: Literal["exact", "bf16"] = "exact",
    ) -> None:
        """Load it.

        Args:
            folder: The checkpoint.
            dtype: What to calculate with.
            activations: `fp8` rounds the inputs of fp8 weights as the server does: 128 channels share a scale, their
                largest / 448.
            kv: `fp8` rounds cached keys and values to e4m3 with scale 1.
            rounding: `bf16` rounds what the server's kernels write in bfloat16.

        Raises:
            OSError: If a file is missing.
            ImportError: If torch or safetensors is missing.
        """
        self._torch: Any = importlib.import_module("torch")
        self._dtype = getattr(self._torch, dtype)
        self._fp8_activations = activations == "fp8"
        self._fp8_cache = kv == "fp8"
        self._bf16 = rounding == "bf16"
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        load: Any = importlib.import_module("safetensors.torch").load_file
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        self._weights: dict[str, Tensor] = {}
        for file in sorted(set(index["weight_map"].values())):
            for name, tensor in load(folder / file).items():
                if name.startswith(("model.", "lm_head.")) and ".mtp." not in name:
                    self._weights[name] = tensor
        self._embedding = self._plain("model.embed_tokens.weight")
        self._norm_weight = self._plain("model.norm.weight")
        self._head = self._plain("lm_head.weight")
        self._layers = [self._layer(number) for number in range(self.config["num_hidden_layers"])]
        self._weights.clear()

    def logprobs(self, token_ids: Sequence[int], extends: Sequence[int] | None = None) -> Tensor:
        """Log-probabilities of what follows each token.

        Args:
            token_ids: A text.
            extends: Lengths of the first pieces of the text that the server calculates in one forward pass each: a
                prompt's chunks, or its cached prefix and the rest. The tokens after them count as decoded one by one.
                The whole text is one piece if not given.

        Returns:
            Natural logarithms of shape (len(token_ids), vocabulary): row i is for token i + 1.

        Raises:
            ValueError: If the pieces are longer than the text.
        """
        pieces = [len(token_ids)] if extends is None else list(extends)
        if sum(pieces) > len(token_ids):
            raise ValueError(f"pieces of {sum(pieces)} tokens in a text of {len(token_ids)}")
        state, rows, at = self.empty(), [], 0
        for length in pieces:
            if length:
                rows.append(self.extend(token_ids[at : at + length], state))
            at += length
        rows.extend(self.decode(token, state) for token in token_ids[at:])
        return self._torch.cat(rows) if rows else self._torch.zeros(0, self._head.shape[0], dtype=self._dtype)

    def greedy(self, prompt_ids: Sequence[int], count: int, extends: Sequence[int] | None = None) -> list[int]:
        """The `count` tokens that follow a prompt if the most probable one is taken each time.

        Args:
            prompt_ids: The prompt, not empty.
            count: Tokens to generate; no token ends the text.
            extends: Lengths of the prompt's pieces, see `logprobs`; together the whole prompt.
        """
        state, at = self.empty(), 0
        row: Tensor = None
        for length in extends or [len(prompt_ids)]:
            row = self.extend(prompt_ids[at : at + length], state)
            at += length
        tokens: list[int] = []
        while len(tokens) < count:
            tokens.append(int(row[-1].argmax()))
            row = self.decode(tokens[-1], state)
        return tokens

    def empty(self) -> State:
        """The state before the first token."""
        shapes = [(layer.kv_heads, layer.head_dim, layer.value_head_dim) for layer in self._layers]
        zeros = self._torch.zeros
        return State(
            keys=[zeros(0, heads, key, dtype=self._dtype) for heads, key, _ in shapes],
            values=[zeros(0, heads, value, dtype=self._dtype) for heads, _, value in shapes],
        )

    def extend(self, token_ids: Sequence[int], state: State) -> Tensor:
        """Process tokens as one piece of a prompt; log-probabilities after each, keys and values in `state`."""
        return self._forward(token_ids, state, decoding=False)

    def decode(self, token_id: int, state: State) -> Tensor:
        """Process one generated token; log-probabilities of shape (1, vocabulary), key and value in `state`."""
        return self._forward([token_id], state, decoding=True)

    def _forward(self, token_ids: Sequence[int], state: State, *, decoding: bool) -> Tensor:
        torch = self._torch
        with torch.no_grad():
            stream = self._embedding[torch.tensor(list(token_ids), dtype=torch.int64)]
            branch: Tensor = None
            for number, layer in enumerate(self._layers):
                stream, normed = self._add_and_norm(stream, branch, layer.input_norm)
                branch = self._attention(layer, number, normed, state, decoding=decoding)
                stream, normed = self._add_and_norm(stream, branch, layer.post_norm)
                branch = self._round(
                    self._mixture(layer, normed) if layer.router else self._mlp(layer.experts[0], normed)
                )
            _, normed = self._add_and_norm(stream, branch, self._norm_weight)
            state.length += len(token_ids)
            return torch.log_softmax(self._round(normed @ self._head.T), dim=-1)

    def _add_and_norm(self, stream: Tensor, branch: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
        total = stream if branch is None else stream + branch
        root = self._torch.rsqrt(total.pow(2).mean(-1, keepdim=True) + self.config["layernorm_epsilon"])
        return self._round(total), self._round(total * root * weight)

    def _attention(self, layer: _Layer, number: int, normed: Tensor, state: State, *, decoding: bool) -> Tensor:
        torch, rows = self._torch, normed.shape[0]
        normed = self._fp8_input(normed, layer.query)
        query = self._round(normed @ layer.query.weight.T).view(rows, layer.query_heads, layer.head_dim)
        key = self._round(normed @ layer.key.weight.T).view(rows, layer.kv_heads, layer.head_dim)
        value = self._round(normed @ layer.value.weight.T).view(rows, layer.kv_heads, layer.value_head_dim)
        positions = torch.arange(state.length, state.length + rows)
        query, key = self._rotate(query, positions, layer), self._rotate(key, positions, layer)
        value = self._round(value * self.config["attention_value_scale"])
        old_keys, old_values = state.keys[number], state.values[number]
        cached_key, cached_value = (self._fp8(key), self._fp8(value)) if self._fp8_cache else (key, value)
        state.keys[number] = torch.cat([old_keys, cached_key])
        state.values[number] = torch.cat([old_values, cached_value])
        if decoding:
            old_keys, old_values = state.keys[number], state.values[number]
            key, value = key[:0], value[:0]

        group = layer.query_heads // layer.kv_heads
        old = old_keys.shape[0]
        scale = layer.head_dim**-0.5
        # An extend kernel turns queries into the cache's type, a decode kernel turns keys into the queries'.
        to_old = self._fp8(query) if self._fp8_cache and not decoding else query
        scores = torch.cat([_scores(to_old, old_keys, group), _scores(query, key, group)], dim=-1) * scale
        distance = positions[:, None] - torch.arange(old + key.shape[0])[None]
        hidden = distance < 0
        if layer.window is not None:
            hidden |= distance > (layer.window - 1 if decoding else layer.window)
        scores = scores.masked_fill(hidden, -math.inf)
        highest = scores.amax(-1, keepdim=True)
        weights = torch.exp(scores - highest)
        total = weights.sum(-1, keepdim=True)
        if layer.sinks is not None:
            total = total + torch.exp(layer.sinks[:, None, None] - highest)
        old_weights, new_weights = weights[..., :old], self._round(weights[..., old:])
        # The kernel for one query head per key head multiplies in float32.
        if self._fp8_cache and not (decoding and group == 1):
            old_weights = self._fp8(old_weights)
        elif not (decoding and group == 1):
            old_weights = self._round(old_weights)
        mixed = _mix(old_weights, old_values, group) + _mix(new_weights, value, group)
        mixed = self._round((mixed / total).transpose(0, 1).reshape(rows, -1))
        return self._linear(mixed, layer.output)

    def _rotate(self, heads: Tensor, positions: Tensor, layer: _Layer) -> Tensor:
        """Rotary embedding of the first channels of each head, first half against second half."""
        torch = self._torch
        size = int(layer.head_dim * self.config["partial_rotary_factor"])
        steps = torch.arange(0, size, 2, dtype=torch.float32) / size
        # SGLang tabulates these in float32; at position 30000 that is 1e-3 from the exact angle.
        angles = positions.to(torch.float32)[:, None] * (1.0 / layer.rope_theta**steps)[None]
        cosine, sine = (table.to(self._dtype)[:, None] for table in (angles.cos(), angles.sin()))
        first, second, rest = heads[..., : size // 2], heads[..., size // 2 : size], heads[..., size:]
        turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine, rest], dim=-1)
        return self._round(turned)

    def _mlp(self, mlp: _Mlp, normed: Tensor) -> Tensor:
        gate, up, down = mlp
        normed = self._fp8_input(normed, gate)
        gated = self._round(normed @ gate.weight.T)
        raised = self._round(normed @ up.weight.T)
        inner = self._round(self._torch.nn.functional.silu(gated) * raised)
        return self._fp8_input(inner, down) @ down.weight.T

    def _mixture(self, layer: _Layer, normed: Tensor) -> Tensor:
        assert layer.router is not None
        torch, config = self._torch, self.config
        weight, bias = layer.router
        scores = torch.sigmoid(normed @ weight.T)
        # The bias takes part in the choice alone. n_group is 1: all experts compete.
        chosen = torch.topk(scores + bias, config["num_experts_per_tok"], dim=-1).indices
        shares = scores.gather(-1, chosen)
        shares = shares / shares.sum(-1, keepdim=True)
        result = torch.zeros_like(normed)
        for number in chosen.unique().tolist():
            tokens, places = torch.where(chosen == number)
            part = self._mlp(layer.experts[number], normed[tokens]) * shares[tokens, places][:, None]
            result.index_add_(0, tokens, self._round(part))
        return result

    def _linear(self, inputs: Tensor, linear: _Linear) -> Tensor:
        return self._round(self._fp8_input(inputs, linear) @ linear.weight.T)

    def _fp8_input(self, inputs: Tensor, linear: _Linear) -> Tensor:
        if not (self._fp8_activations and linear.fp8):
            return inputs
        groups = inputs.unflatten(-1, (-1, FP8_BLOCK))
        scale = groups.abs().amax(-1, keepdim=True).clamp(min=1e-10) / FP8_MAX
        return (self._fp8(groups / scale) * scale).flatten(-2)

    def _fp8(self, values: Tensor) -> Tensor:
        return values.clamp(-FP8_MAX, FP8_MAX).to(self._torch.float8_e4m3fn).to(self._dtype)

    def _round(self, values: Tensor) -> Tensor:
        return values.to(self._torch.bfloat16).to(self._dtype) if self._bf16 else values

    def _plain(self, name: str) -> Tensor:
        return self._weights[name].to(self._dtype)

    def _fp8_weight(self, name: str, shards: int = 1) -> Tensor:
        """A weight times its block scales; each shard's blocks start at its first row."""
        torch = self._torch
        weight, scale = self._weights[name].to(self._dtype), self._weights[f"{name}_scale_inv"].to(self._dtype)
        parts = []
        for rows, factors in zip(weight.chunk(shards), scale.chunk(shards), strict=True):
            wide = factors.repeat_interleave(FP8_BLOCK, 0).repeat_interleave(FP8_BLOCK, 1)
            parts.append(rows * wide[: rows.shape[0], : rows.shape[1]])
        return torch.cat(parts)

    def _layer(self, number: int) -> _Layer:
        config, prefix = self.config, f"model.layers.{number}"
        sliding = config["hybrid_layer_pattern"][number] == 1
        kind = "swa_" if sliding else ""
        query_heads, kv_heads = config[f"{kind}num_attention_heads"], config[f"{kind}num_key_value_heads"]
        head_dim, value_head_dim = config[f"{kind}head_dim"], config[f"{kind}v_head_dim"]
        query, key, value = self._split_qkv(f"{prefix}.self_attn.qkv_proj.weight", query_heads, kv_heads, kind)
        sinks = self._weights.get(f"{prefix}.self_attn.attention_sink_bias")
        router, experts = None, [f"{prefix}.mlp"]
        if config["moe_layer_freq"][number]:
            names = (f"{prefix}.mlp.gate.weight", f"{prefix}.mlp.gate.e_score_correction_bias")
            router = (self._plain(names[0]), self._plain(names[1]))
            experts = [f"{prefix}.mlp.experts.{expert}" for expert in range(config["n_routed_experts"])]

        def linear(name: str) -> _Linear:
            return _Linear(self._fp8_weight(f"{name}.weight"), fp8=True)

        return _Layer(
            input_norm=self._plain(f"{prefix}.input_layernorm.weight"),
            post_norm=self._plain(f"{prefix}.post_attention_layernorm.weight"),
            query=query,
            key=key,
            value=value,
            output=_Linear(self._plain(f"{prefix}.self_attn.o_proj.weight"), fp8=False),
            sinks=None if sinks is None else sinks.to(self._dtype),
            query_heads=query_heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            value_head_dim=value_head_dim,
            window=config["sliding_window_size"] if sliding else None,
            rope_theta=config["swa_rope_theta" if sliding else "rope_theta"],
            router=router,
            experts=[
                (linear(f"{name}.gate_proj"), linear(f"{name}.up_proj"), linear(f"{name}.down_proj"))
                for name in experts
            ],
        )

    def _split_qkv(self, name: str, query_heads: int, kv_heads: int, kind: str) -> Iterator[_Linear]:
        """Queries, keys and values over all ranks from the fused layout: each rank's queries, keys, values in turn."""
        ranks = self.config["num_key_value_heads"]
        head_dim, value_head_dim = self.config[f"{kind}head_dim"], self.config[f"{kind}v_head_dim"]
        sizes = [query_heads // ranks * head_dim, kv_heads // ranks * head_dim, kv_heads // ranks * value_head_dim]
        parts = [rank.split(sizes) for rank in self._fp8_weight(name, ranks).chunk(ranks)]
        return (_Linear(self._torch.cat([part[i] for part in parts]), fp8=True) for i in range(3))


def _scores(query: Tensor, key: Tensor, group: int) -> Tensor:
    """Products of shape (heads, queries, keys); each key head serves `group` query heads in a row."""
    return query.transpose(0, 1) @ key.repeat_interleave(group, 1).permute(1, 2, 0)


def _mix(weights: Tensor, value: Tensor, group: int) -> Tensor:
    return weights @ value.repeat_interleave(group, 1).transpose(0, 1)


def compare(
    reference_logprobs: Tensor | Sequence[Sequence[float]],
    served_tokens: Sequence[int],
    served_logprobs: Sequence[float],
    tolerance: float = 1.5,
) -> Comparison:
    """Judge served tokens and their log-probabilities.

    Over some 200 greedy tokens of the tiny model, rounding alone (fp8 and bfloat16 against float32) gives a mean of
    about 0.11 nats, of 0.09 against a reference that rounds as well, and swaps no gap above 1.2. Sinks or a window
    missing in one layer give a mean of 0.3 and more. A window that is wrong by one key can't be told from rounding.

    Args:
        reference_logprobs: Shape (tokens, vocabulary): row i is the reference's distribution of served token i.
        served_tokens: What the server generated, or a prompt's tokens from the second on.
        served_logprobs: The server's natural logarithms of their probabilities.
        tolerance: Gap of the reference's best two, in nats, up to which rounding may swap them.

    Raises:
        ValueError: If the three differ in length.
    """
    rows: list[list[float]]
    rows = reference_logprobs.tolist() if hasattr(reference_logprobs, "tolist") else list(map(list, reference_logprobs))
    if not len(rows) == len(served_tokens) == len(served_logprobs):
        raise ValueError(f"{len(rows)} rows, {len(served_tokens)} tokens, {len(served_logprobs)} log-probabilities")
    differences = [
        abs(served - row[token]) for row, token, served in zip(rows, served_tokens, served_logprobs, strict=True)
    ]
    best = [heapq.nlargest(2, row) for row in rows]
    swapped = tuple(
        i for i, (row, token) in enumerate(zip(rows, served_tokens, strict=True)) if row[token] < best[i][0]
    )
    not_finite = sum(not math.isfinite(value) for value in served_logprobs)
    return Comparison(
        tokens=len(rows),
        worst=math.nan if not_finite else max(differences, default=0.0),
        mean=math.nan if not_finite else sum(differences) / max(len(rows), 1),
        not_finite=not_finite,
        not_greedy=swapped,
        decided=tuple(i for i in swapped if best[i][0] - best[i][1] > tolerance),
    )
