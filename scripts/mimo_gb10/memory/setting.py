"""What is planned: the choices of a launch that move memory."""

from __future__ import annotations

from dataclasses import dataclass

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, Refused, error, note
from mimo_gb10.release import Release, version_key

KV_BYTES = {"auto": 2.0, "bf16": 2.0, "bfloat16": 2.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0}
"""Bytes of one element of the KV cache by ``kv-cache-dtype``; this checkpoint computes in bfloat16."""

NOT_PLANNED = {
    "pp-size": 1,
    "dcp-size": 1,
    "attn-cp-size": 1,
    "cpu-offload-gb": 0,
    "enable-unified-memory": False,
    "disable-hybrid-swa-memory": False,
    "enable-dp-attention": False,
    "enable-kv-cache-sharding": False,
}
"""Flags that change the arithmetic in ways that are not modelled, with the value that leaves it alone."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Multi-token prediction.

    Attributes:
        steps: Draft steps; each has a model runner of its own with one MTP layer.
        tokens: Tokens that one verification looks at.
    """

    steps: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Setting:
    """One launch, as far as memory and speed depend on it.

    Attributes:
        name: Of the recipe.
        release: SGLang's catalog.
        tensor_parallel: Ranks that share each layer.
        kv_bytes: Bytes of one element of the KV cache.
        ratio: Tokens of the sliding-window pool for each token of the full pool.
        page: Tokens of a page.
        fraction: ``mem-fraction-static``; None where the recipe leaves it to SGLang.
        requests: ``max-running-requests``; None where SGLang derives it.
        chunk: Tokens of a prefill chunk.
        context: Longest request in tokens.
        token_limit: ``max-total-tokens``, or None.
        graph_requests: Requests of the largest decode graph, at least and at most; 0 without graphs.
        draft: Multi-token prediction, or None.
        radix: Whether the radix cache is on.
        overlap: Whether the overlap scheduler is on.
        whole_encoders: Whether each rank holds the whole vision encoder.
    """

    name: str
    release: Release
    tensor_parallel: int
    kv_bytes: float
    ratio: float
    page: int
    fraction: float | None
    requests: int | None
    chunk: int
    context: int
    token_limit: int | None
    graph_requests: tuple[int, int]
    draft: Draft | None
    radix: bool
    overlap: bool
    whole_encoders: bool

    def is_from(self, version: str) -> bool:
        """Whether the release is that one or a later one."""
        return version_key(self.release.version) >= version_key(version)


def setting_of(context: Context) -> tuple[Setting, list[Finding]]:
    """The setting of a checked recipe, and notes about what SGLang makes of it.

    Raises:
        Refused: If the recipe uses something that the plan does not model, or has no model of this kind.
    """
    _refuse_unplanned(context)
    notes: list[Finding] = []
    ratio = float(context.value("swa-full-tokens-ratio", 0.8))
    if context.value("enable-hierarchical-cache") is True and not context.release.is_from("0.5.14"):
        ratio = 1.0
        notes.append(
            _note(
                context,
                "enable-hierarchical-cache",
                "swa-full-tokens-ratio becomes 1.0: the hierarchical cache sets it",
            )
        )
    requests = context.value("max-running-requests")
    if requests is None and context.speculative_algorithm is not None:
        requests = 48
    fraction = context.value("mem-fraction-static")
    return Setting(
        name=context.recipe.name,
        release=context.release,
        tensor_parallel=context.number("tp-size", 1),
        kv_bytes=KV_BYTES[str(context.value("kv-cache-dtype", "auto"))],
        ratio=ratio,
        page=context.number("page-size", 1),
        fraction=float(fraction) if isinstance(fraction, int | float) else None,
        requests=requests if isinstance(requests, int) else None,
        chunk=_chunk(context),
        context=context.number("context-length", context.model.facts["text"]["context_length"]),
        token_limit=context.value("max-total-tokens"),
        graph_requests=_graph_requests(context, requests),
        draft=_draft(context),
        radix=context.value("disable-radix-cache") is not True,
        overlap=context.value("disable-overlap-schedule") is not True,
        whole_encoders=context.value("mm-enable-dp-encoder") is True,
    ), notes  # fmt: skip


def _refuse_unplanned(context: Context) -> None:
    if not context.is_gb10:
        gpus, place = context.cluster.gpus_per_node, context.cluster.document.location(("gpus_per_node",))
        what = f"the plan is of GB10 nodes, one GPU each with the node's own memory; these have {gpus} GPUs each"
        raise Refused([error("plan-not-gb10", what, "Name a cluster of GB10 nodes, and a recipe for them.", place)])
    problems = []
    for option, harmless in NOT_PLANNED.items():
        value = context.value(option, harmless)
        if context.is_given(option) and value not in (harmless, None):
            problems.append(_unplanned(context, option, f"{option} {value} is not modelled"))
    dtype = str(context.value("kv-cache-dtype", "auto"))
    if dtype not in KV_BYTES:
        problems.append(_unplanned(context, "kv-cache-dtype", f"a KV cache of {dtype} is not modelled"))
    if context.is_given("speculative-draft-model-path"):
        problems.append(_unplanned(context, "speculative-draft-model-path", "a draft model of its own is not modelled"))
    algorithm = context.speculative_algorithm
    if algorithm not in (None, "EAGLE", "NEXTN"):
        problems.append(_unplanned(context, "speculative-algorithm", f"{algorithm} is not modelled, only MTP is"))
    if not context.model.architecture.startswith("MiMoV2"):
        place = context.recipe.document.location(("model",))
        problems.append(error("plan-model", "only MiMo-V2 models have a memory plan", "Name mimo-v2.5.", place))
    if problems:
        raise Refused(problems)


def _unplanned(context: Context, option: str, message: str) -> Finding:
    return error(
        "plan-unmodelled", message, f"Plan without it: --set flags.{option}=...", context.flag_location(option)
    )


def _note(context: Context, option: str, message: str) -> Finding:
    return note("plan-changed", message, "", context.flag_location(option))


def _chunk(context: Context) -> int:
    chunk = context.number("chunked-prefill-size", 8192)
    # -1 switches chunking off: a whole prompt is one chunk, up to max-prefill-tokens.
    return chunk if chunk > 0 else context.number("max-prefill-tokens", 16384)


def _draft(context: Context) -> Draft | None:
    if context.speculative_algorithm is None:
        return None
    steps = context.number("speculative-num-steps", 3)
    return Draft(steps, context.number("speculative-num-draft-tokens", steps + 1))


def _graph_requests(context: Context, requests: int | None) -> tuple[int, int]:
    """Requests of the largest captured batch: never more than may run (``get_batch_sizes_to_capture``).

    Without the flag SGLang takes 160 to 512, by a memory size that nvidia-smi does not report on GB10.
    """
    if context.decode_graphs_off:
        return 0, 0
    given = context.value("cuda-graph-max-bs-decode", context.value("cuda-graph-max-bs"))
    low, high = (given, given) if isinstance(given, int) else (160, 512)
    return (low, high) if requests is None else (min(low, requests), min(high, requests))
