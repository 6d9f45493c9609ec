"""Rules about the KV pools and how many requests share them."""

from __future__ import annotations

from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, error, note, warning
from mimo_gb10.passage import Passage
from mimo_gb10.rules.base import Rule

_ARGS = "sglang/srt/server_args.py"
_KV = "sglang/srt/arg_groups/kv_cache_hook.py"
_SPEC = "sglang/srt/arg_groups/speculative_hook.py"
_BYTES = {"fp8_e4m3": 1, "fp8_e5m2": 1}


class SwaRatio(Rule):
    """swa-full-tokens-ratio lies above 0 and at most at 1, and decides what a token of context costs.

    The sliding-window layers get a pool of that fraction of the full layers' tokens. MiMo-V2.5 has 39 of them with
    twice the KV heads, so at the default of 0.8 they take nearly nine tenths of the KV memory, although their window is
    128 tokens.
    """

    code = "swa-ratio"
    options = ("swa-full-tokens-ratio", "kv-cache-dtype", "tp-size")
    passages = (Passage((_ARGS, _KV), r"--swa-full-tokens-ratio should be in range|not \(0 < .*swa_full_tokens_ratio"),)

    def check(self, context: Context) -> Iterator[Finding]:
        """Range of the ratio; its cost where the recipe leaves it at the default."""
        ratio = context.value("swa-full-tokens-ratio")
        if not isinstance(ratio, int | float) or isinstance(ratio, bool):
            return
        if not 0 < ratio <= 1:
            yield error(
                self.code,
                f"swa-full-tokens-ratio is {ratio}, not above 0 and at most 1",
                "Write 0.3, for example.",
                context.flag_location("swa-full-tokens-ratio"),
                self.source(context),
            )
            return
        per_token = kv_bytes_per_token(context, float(ratio))
        smaller = kv_bytes_per_token(context, 0.3)
        if per_token and smaller and not context.is_given("swa-full-tokens-ratio"):
            yield note(
                self.code,
                f"swa-full-tokens-ratio is left at {ratio}: a token of context costs {per_token:,} bytes of KV a rank, "
                f"at 0.3 it costs {smaller:,}",
                "Set swa-full-tokens-ratio if you want more context.",
                context.flag_location("swa-full-tokens-ratio"),
                self.source(context),
            )


def kv_bytes_per_token(context: Context, ratio: float) -> int | None:
    """KV bytes that one token of context costs on one rank; None where the model or the split is unknown.

    The formula is SGLang's own (0.5.11, sglang/srt/model_executor/pool_configurator.py, class
    HybridSWAPoolConfigurator): full layers plus the ratio times the sliding-window layers.
    """
    attention = context.model.facts.get("attention")
    split = context.attention_tensor_parallel
    if not attention or not split or split < 1:
        return None
    width = attention["head_dim"] + attention["value_head_dim"]
    size = _BYTES.get(str(context.value("kv-cache-dtype")), 2)
    full, window = attention["full"], attention["sliding_window"]
    full_bytes = max(1, full["kv_heads"] // split) * width * size * len(full["layers"])
    window_bytes = max(1, window["kv_heads"] // split) * width * size * window["layers"]
    return int(full_bytes + ratio * window_bytes + 0.5)


class HierarchicalCacheResetsRatio(Rule):
    """Up to 0.5.13.post1 the hierarchical cache sets swa-full-tokens-ratio to 1.0 on this model.

    The ratio of the recipe is then lost: a token of context costs what it costs without a window.
    """

    code = "hierarchical-cache-swa"
    options = ("enable-hierarchical-cache", "swa-full-tokens-ratio")
    last = "0.5.13.post1"
    passages = (Passage((_ARGS,), r"Reset swa_full_tokens_ratio to 1\.0 for MiMoV2 model", last=last),)

    def check(self, context: Context) -> Iterator[Finding]:
        """Both flags together."""
        if (
            context.model.architecture.startswith("MiMoV2")
            and context.value("enable-hierarchical-cache") is True
            and context.value("swa-full-tokens-ratio") != 1
        ):
            yield warning(
                self.code,
                f"SGLang {context.release.version} sets swa-full-tokens-ratio to 1.0 when the hierarchical cache is on",
                "Leave the hierarchical cache out, or use 0.5.19 or later.",
                context.flag_location("enable-hierarchical-cache"),
                self.source(context),
            )


class HierarchicalCacheNeedsUnifiedTree(Rule):
    """From 0.5.14 to 0.5.18 the hierarchical cache needs SGLANG_ENABLE_UNIFIED_RADIX_TREE on this model.

    Without the variable SGLang refuses to start. From 0.5.19 the unified tree is the default.
    """

    code = "hierarchical-cache-tree"
    options = ("enable-hierarchical-cache",)
    first = "0.5.14"
    last = "0.5.18"
    passages = (Passage((_ARGS,), r'"Hierarchical cache for MiMoV2 requires the unified "', first=first, last=last),)

    def check(self, context: Context) -> Iterator[Finding]:
        """The flag without the variable."""
        variable = context.recipe.env.get("SGLANG_ENABLE_UNIFIED_RADIX_TREE") or ""
        if (
            context.model.architecture.startswith("MiMoV2")
            and context.value("enable-hierarchical-cache") is True
            and variable.lower() not in ("1", "true", "yes", "y")
        ):
            yield error(
                self.code,
                f"SGLang {context.release.version} refuses the hierarchical cache for this model "
                "without the unified radix tree",
                'Set SGLANG_ENABLE_UNIFIED_RADIX_TREE: "1".',
                context.flag_location("enable-hierarchical-cache"),
                self.source(context),
            )


class SpeculationCapsRequests(Rule):
    """With speculation and no max-running-requests, SGLang takes 48.

    Without speculation it derives the number from the KV pool. A recipe that adds MTP and says nothing changes its
    concurrency.
    """

    code = "speculation-max-requests"
    options = ("max-running-requests", "speculative-algorithm")
    passages = (Passage((_ARGS, _SPEC), r"max_running_requests ?= ?48"),)

    def check(self, context: Context) -> Iterator[Finding]:
        """Speculation without the number."""
        if context.speculative_algorithm is not None and not context.is_given("max-running-requests"):
            yield warning(
                self.code,
                "max-running-requests is not given; with speculation SGLang takes 48",
                "Write the number that you mean.",
                context.flag_location("speculative-algorithm"),
                self.source(context),
            )
