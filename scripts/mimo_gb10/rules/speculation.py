"""Rules about speculative decoding with the model's own MTP layers."""

from __future__ import annotations

from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, error, warning
from mimo_gb10.passage import Passage
from mimo_gb10.rules.base import Rule

_ARGS = "sglang/srt/server_args.py"
_SPEC = "sglang/srt/arg_groups/speculative_hook.py"
_MTP_ALGORITHMS = ("EAGLE", "NEXTN")


class DraftTokens(Rule):
    """With topk 1, the number of draft tokens is the number of steps plus one.

    A chain of n steps drafts n tokens beside the verified one. SGLang changes another number
    silently but for a log line, so the launch would not be what the recipe says.
    """

    code = "speculative-draft-tokens"
    options = ("speculative-num-steps", "speculative-eagle-topk", "speculative-num-draft-tokens")
    passages = (Passage((_ARGS, _SPEC), r"speculative_num_draft_tokens is adjusted to speculative_num_steps \+ 1"),)

    def check(self, context: Context) -> Iterator[Finding]:
        """Compare steps and draft tokens."""
        if context.speculative_algorithm not in _MTP_ALGORITHMS:
            return
        names = ("speculative-num-steps", "speculative-eagle-topk", "speculative-num-draft-tokens")
        given = [name for name in names if context.is_given(name)]
        if given and len(given) < len(names):
            missing = ", ".join(name for name in names if name not in given)
            yield error(
                self.code,
                f"of steps, topk and draft tokens only some are given; missing: {missing}",
                "Give all three or none.",
                context.flag_location(*given),
                self.source(context),
            )
            return
        steps, topk, tokens = (context.value(name) for name in names)
        if topk == 1 and isinstance(steps, int) and tokens != steps + 1:
            yield error(
                self.code,
                f"speculative-num-draft-tokens is {tokens}, but with topk 1 and {steps} steps it is {steps + 1}",
                f"Write {steps + 1}.",
                context.flag_location("speculative-num-draft-tokens"),
                self.source(context),
            )


class NextnNeedsMultiLayer(Rule):
    """NEXTN needs enable-multi-layer-eagle on this model.

    SGLang switches multi-layer EAGLE on by itself for MiMo-V2 only where the algorithm reads EAGLE; the
    alias NEXTN is resolved after that.
    """

    code = "nextn-multi-layer"
    options = ("speculative-algorithm", "enable-multi-layer-eagle")
    passages = (
        Passage(
            (_ARGS, "sglang/srt/arg_groups/model_overrides/mimo_v2.py", "sglang/srt/arg_groups/overrides.py"),
            r"Enable multi-layer EAGLE speculative decoding for MiMoV2 model",
        ),
    )

    def check(self, context: Context) -> Iterator[Finding]:
        """NEXTN without the switch."""
        if (
            context.speculative_algorithm == "NEXTN"
            and context.model.architecture.startswith("MiMoV2")
            and context.value("enable-multi-layer-eagle") is not True
        ):
            yield error(
                self.code,
                "NEXTN without enable-multi-layer-eagle uses one MTP layer in place of the model's three",
                "Add enable-multi-layer-eagle: true, or write EAGLE.",
                context.flag_location("speculative-algorithm"),
                self.source(context),
            )


class MtpOnTriton(Rule):
    """MTP with the triton attention backend needs a patch up to 0.5.22.

    The draft-extend CUDA graph gets no sliding-window indices, so every rank dies while capturing it: seen with 0.5.11
    and 0.5.17, and reported upstream (sglang issue 24481). Up to 0.5.15.post1 the path without graphs is no way out:
    all MTP layers but the first run with the attention metadata of the last prefill. The patch of the defect
    mtp-triton-window mends both; its proof is the attention backend's, on a CPU and an H100, and a rehearsal of 0.5.17
    with MTP on two H100. No run on GB10 is known, with the patch or with 0.5.23, which fills the indices itself.
    """

    code = "mtp-triton"
    options = (
        "attention-backend",
        "speculative-draft-attention-backend",
        "disable-cuda-graph",
        "cuda-graph-backend-decode",
    )
    passages = (
        Passage(
            ("sglang/srt/layers/attention/triton_backend.py",),
            r"window_kv_indices=None,|^\s+window_kv_indices = None",
            after=r"def (_build_cuda_graph_forward_metadata|init_forward_metadata_capture_cuda_graph)\b",
            last="0.5.22",
        ),
        Passage(
            ("sglang/srt/layers/attention/triton_backend.py",),
            r"window_kv_indices=self\.cuda_graph_window_kv_indices if swa else None",
            after=r"elif forward_mode\.is_draft_extend_v2\(\):",
            first="0.5.23",
        ),
    )

    def check(self, context: Context) -> Iterator[Finding]:
        """MTP on a sliding-window model with triton."""
        if context.speculative_algorithm not in _MTP_ALGORITHMS or not context.model.architecture.startswith("MiMoV2"):
            return
        draft = context.value("speculative-draft-attention-backend", context.attention_backend)
        if "triton" not in (context.attention_backend, draft):
            return
        place = context.flag_location("speculative-algorithm")
        source = self.source(context)
        version = context.release.version
        is_mended = "mtp-triton-window" in context.recipe.defects
        if context.release.is_from("0.5.23") or is_mended:
            what = "the patch mtp-triton-window" if is_mended else f"SGLang {version}"
            yield warning(
                self.code,
                f"no run of MTP with the triton backend on GB10 is known: what {what} does was proven on other "
                "hardware, or by reading",
                "See docs/patches/mtp-triton-window.md for what was seen. To serve tonight use gb10x4-omni.",
                place,
                source,
            )
        elif not context.decode_graphs_off:
            yield error(
                self.code,
                f"MTP with the triton backend dies at graph capture in SGLang {version}",
                "List the defect mtp-triton-window, so that its patch is put on. Or leave MTP out, or use 0.5.23.",
                place,
                source,
            )
        elif context.release.is_from("0.5.16"):
            yield warning(
                self.code,
                f"MTP with the triton backend and graphs off is slower, and SGLang {version} itself warns of "
                "wrong results",
                "List the defect mtp-triton-window and leave the graphs on. Or leave MTP out, or use 0.5.23.",
                place,
                source,
            )
        else:
            yield error(
                self.code,
                f"without graphs, SGLang {version} runs all MTP layers but the first with the attention metadata of "
                "the last prefill: they draft from memory that is not theirs",
                "List the defect mtp-triton-window, so that its patch is put on. Or leave MTP out, or use 0.5.23.",
                place,
                source,
            )


class MtpWithoutGrammar(Rule):
    """With MTP, answers in a given form are not held to it up to 0.5.15.post1.

    Where the worker of the model's MTP layers verifies draft tokens, it leaves the grammar's mask out. A required tool
    call, a JSON schema and every other grammar then end with finish_reason "abort" as soon as the model leaves the
    form: seen with 0.5.11, with our patches and without, on two H100 with random weights. The older worker, which
    0.5.11 to 0.5.12.post1 take without the overlap scheduler, has the mask (read, not run).
    """

    code = "mtp-structured-output"
    options = ("disable-overlap-schedule",)
    last = "0.5.15.post1"
    passages = (
        Passage(
            ("sglang/srt/speculative/multi_layer_eagle_worker_v2.py",),
            r"= (?:verify_input\.sample\(|eagle_sample\(verify_input, )batch, logits_output\)$",
            last="0.5.15.post1",
        ),
    )

    def check(self, context: Context) -> Iterator[Finding]:
        """MTP on a release whose worker has no mask."""
        if context.speculative_algorithm not in _MTP_ALGORITHMS or not context.model.architecture.startswith("MiMoV2"):
            return
        has_older_worker = not context.release.is_from("0.5.13")
        if has_older_worker and context.value("disable-overlap-schedule") is True:
            return
        yield warning(
            self.code,
            f"with MTP, SGLang {context.release.version} does not hold answers to a grammar: tool_choice required and "
            "response_format end with finish_reason abort",
            "Leave tool_choice at auto and send no response_format, or leave MTP out, or use 0.5.16 or newer.",
            context.flag_location("speculative-algorithm"),
            self.source(context),
        )


class SpecVariableAlone(Rule):
    """A speculative variable does nothing without a speculative algorithm.

    SGLANG_ENABLE_SPEC_V2 chooses between two schedulers for speculative decoding. It does not switch speculation on,
    and from 0.5.11 its default is what the cards set.
    """

    code = "spec-variable-alone"
    passages = (Passage(("sglang/srt/environ.py",), r"^\s+SGLANG_ENABLE_SPEC_V2\s*=", last="0.5.13.post1"),)

    def check(self, context: Context) -> Iterator[Finding]:
        """The variable without the flags."""
        name = "SGLANG_ENABLE_SPEC_V2"
        if context.recipe.env.get(name) is not None and context.speculative_algorithm is None:
            yield warning(
                self.code,
                f"{name} is set, but no speculative-* flag: MTP is off and the variable has nothing to act on",
                "Remove the variable. MTP needs the flags of the recipe gb10x4-mtp.",
                context.env_location(name),
                self.source(context),
            )
