"""SGLang's own ``/generate``: token ids in, token ids and log probabilities out.

Read in SGLang 0.5.11 and 0.5.17 (``managers/tokenizer_manager.py``, ``managers/scheduler_output_processor_mixin.py``
and what became of it in ``managers/scheduler_components/``, ``layers/utils/logprob.py``): log probabilities of the
output come with and without the overlap scheduler and from every EAGLE worker, multi-layer ones too (in
``compute_spec_v2_logprobs``; in 0.5.11 without overlap in ``add_output_logprobs_for_spec_v1``). Only DFLASH refuses
them. Those of the input come from ``logprob_start_len`` on; the first entry is null by design, and only what lies
before it is taken from the prefix cache. ``entrypoints/http_server.py`` answers through orjson, which writes NaN and
infinity as null; where SGLang clamps (spec v2, and the sampler of 0.5.11), minus infinity is the least float instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.smoke.client import Client, Failure

TOP = 16
"""How many of the likeliest tokens are asked for at each position."""

_LEAST = -1e4
"""A log probability below this is a clamped infinity: with logits of some nats spread nothing comes near."""

Top = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Generated:
    """One answer.

    Attributes:
        tokens: The ids that came.
        logprobs: Natural logarithm of each token's probability; None where it is no number. Empty if none came.
        tops: The likeliest tokens of each position with their log probabilities, likeliest first.
        cached: Prompt tokens that came from the prefix cache; None if the server does not say.
        bad: How many of the log probabilities, those of `tops` included, are no numbers.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    tops: tuple[Top, ...]
    cached: int | None
    bad: int

    def missing(self) -> list[int]:
        """The positions whose token has no log probability that is a number."""
        return [at for at, value in enumerate(self.logprobs) if value is None]

    def unlikely(self) -> list[int]:
        """The positions whose token is not the likeliest, by more than rounding: right for a sampled answer only."""
        return [
            at
            for at, (value, top) in enumerate(zip(self.logprobs, self.tops, strict=False))
            if value is not None and top and top[0][1] - value > 1e-3
        ]


def generate(
    client: Client,
    ids: Sequence[int],
    count: int,
    *,
    logprobs: bool = True,
    temperature: float = 0.0,
    timeout: float | None = None,
) -> Generated:
    """Continue a prompt by exactly `count` tokens, the end of the text notwithstanding.

    Args:
        client: The server.
        ids: Token ids of the prompt.
        count: How many tokens.
        logprobs: Whether to ask for log probabilities.
        temperature: 0 is greedy.
        timeout: Seconds; None is the client's.

    Raises:
        Failure: If there is no such answer. A missing or bad log probability is no failure here: it is counted.
    """
    body: dict[str, Any] = {
        "input_ids": list(ids),
        "sampling_params": {"temperature": temperature, "max_new_tokens": count, "ignore_eos": True},
    }
    if logprobs:
        body |= {"return_logprob": True, "top_logprobs_num": TOP}
    data, meta, seen = _post(client, body, timeout)
    tokens = data.get("output_ids")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise Failure("shape", "/generate gave no output_ids", seen)
    if len(tokens) != count:
        raise Failure("shape", f"{len(tokens)} tokens came where {count} were asked for", seen)
    cached = meta.get("cached_tokens")
    found = Generated(tuple(tokens), (), (), cached if isinstance(cached, int) else None, 0)
    if not logprobs:
        return found
    entries = _pairs(meta.get("output_token_logprobs"))[: len(tokens)]
    other = next((at for at, (token, _) in enumerate(entries) if token != tokens[at]), None)
    if other is not None:
        says = f"the log probability at {other} is of token {entries[other][0]}, and token {tokens[other]} came"
        raise Failure("shape", says, seen)
    values = tuple(value for _, value in entries)
    rows = [_pairs(row) for row in (meta.get("output_top_logprobs") or [])[: len(tokens)]]
    bad = sum(value is None for value in values) + sum(value is None for row in rows for _, value in row)
    if values:
        bad += len(tokens) - len(values)  # One that is missing is as good as null.
    return Generated(found.tokens, values, tuple(_top(row) for row in rows), found.cached, bad)


def input_logprobs(client: Client, ids: Sequence[int], start: int) -> tuple[float | None, ...]:
    """The log probabilities of ``ids[start:]``, each given all ids before it, as the prefill computes them.

    Args:
        client: The server.
        ids: Token ids.
        start: The first position wanted, 1 or more: nothing predicts position 0.

    Returns:
        A value for each position from `start` on; None where it is no number.

    Raises:
        Failure: If the server gives another number of values.
    """
    body = {
        "input_ids": list(ids),
        "sampling_params": {"temperature": 0, "max_new_tokens": 1, "ignore_eos": True},
        "return_logprob": True,
        "logprob_start_len": start - 1,
    }
    _, meta, seen = _post(client, body, None)
    # The token of each entry is not looked at: SGLang writes 0 for the last id of the vocabulary.
    values = [value for _, value in _pairs(meta.get("input_token_logprobs"))][1:]
    if len(values) != len(ids) - start:
        raise Failure("shape", f"{len(values)} input log probabilities came, {len(ids) - start} are due", seen)
    return tuple(values)


def flush(client: Client, timeout: float = 30.0) -> None:
    """Empty the prefix cache. SGLang refuses while a request runs, so it is told to wait for a quiet moment.

    Raises:
        Failure: If it does not do it.
    """
    client.request("POST", f"/flush_cache?timeout={timeout:g}", b"", timeout=timeout + 30).expect()


def refuses_logprobs(problem: Failure) -> bool:
    """Whether this is the refusal of a speculative algorithm that has no log probabilities."""
    return problem.kind == "status" and any("logprob" in text for text in (problem.says, *problem.evidence))


def _post(client: Client, body: Mapping[str, Any], timeout: float | None) -> tuple[Mapping[str, Any], Any, str]:
    answer = client.post("/generate", body, timeout).expect()
    data = answer.json()
    if not isinstance(data, dict) or not isinstance(data.get("meta_info"), dict):
        raise Failure("shape", "/generate gave no object with meta_info", answer.excerpt())
    return data, data["meta_info"], answer.excerpt()


def _pairs(entries: Any) -> list[tuple[Any, float | None]]:
    """``[logprob, token, text]`` lists as pairs of token and value, None for what is no log probability."""
    if not isinstance(entries, list):
        return []
    return [
        (entry[1], number(entry[0])) if isinstance(entry, list) and len(entry) > 1 else (None, None)
        for entry in entries
    ]


def number(value: Any) -> float | None:
    """A log probability that can be one: finite, and not above zero by more than rounding."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and _LEAST < value <= 1e-3 else None


def _top(row: Sequence[tuple[Any, float | None]]) -> Top:
    good = [(token, value) for token, value in row if isinstance(token, int) and value is not None]
    return tuple(sorted(good, key=lambda pair: -pair[1]))
