"""Rules about the encoders."""

from __future__ import annotations

from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, error, warning
from mimo_gb10.passage import Passage
from mimo_gb10.rules.base import Rule

_VISION = "sglang/srt/models/mimo_vl.py"


class VisionBackendOnGb10(Rule):
    """On GB10, mm-attention-backend must be given up to 0.5.15.post1, and fa3 never works.

    Those releases ask for flash_attention_3 in MiMo's vision tower unless the flag says otherwise, and refuse it
    on every Blackwell GPU. From 0.5.16 SGLang
    chooses by GPU and takes triton_attn on GB10.
    """

    code = "vision-backend"
    options = ("mm-attention-backend",)
    passages = (
        Passage((_VISION,), r'attn_implementation="flash_attention_3"', last="0.5.15.post1"),
        Passage((_VISION,), r"attn_implementation=None,", first="0.5.16"),
    )

    def check(self, context: Context) -> Iterator[Finding]:
        """No backend, or Hopper's, on GB10."""
        if not context.is_gb10 or context.model.architecture != "MiMoV2ForCausalLM":
            return
        if context.value("language-model-only") is True:
            return
        backend = context.value("mm-attention-backend")
        if backend is None and not context.release.is_from("0.5.16"):
            yield error(
                self.code,
                f"mm-attention-backend is not given, and SGLang {context.release.version} then asks for "
                "flash_attention_3, which GB10 does not have",
                "Write mm-attention-backend: triton_attn.",
                context.flag_location("mm-attention-backend"),
                self.source(context),
            )
        elif backend == "fa3":
            yield error(
                self.code,
                "mm-attention-backend is fa3, which runs on Hopper only",
                "Write mm-attention-backend: triton_attn.",
                context.flag_location("mm-attention-backend"),
                self.source(context),
            )


class AudioUnderDpAttention(Rule):
    """From 0.5.16 audio is encoded wrongly where attention is split over fewer ranks than the rest.

    The audio encoder is then split like attention, over the ranks of one DP group, and its parts are summed over all
    ranks. Upstream's comment says that the output is wrong, and leaves it so for the documented launch with tensor
    parallel size 8 (0.5.23; read, not run). Up to 0.5.15.post1 each rank holds the whole encoder. On four GB10
    attention has all ranks, so nothing of it is met.
    """

    code = "audio-dp-attention"
    options = ("tp-size", "dp-size", "enable-dp-attention", "attn-dp-size")
    first = "0.5.16"
    passages = (
        Passage(
            ("sglang/srt/models/mimo_audio.py",),
            r"^\s+self\.attn = VisionAttention\($",
            after=r"^class AudioEncoderAttention\b",
            first="0.5.16",
        ),
    )

    def check(self, context: Context) -> Iterator[Finding]:
        """DP attention on a model that hears."""
        if context.model.architecture != "MiMoV2ForCausalLM" or context.value("language-model-only") is True:
            return
        split, ranks = context.attention_tensor_parallel, context.number("tp-size", 1)
        if context.uses_dp_attention and split is not None and split < ranks:
            yield warning(
                self.code,
                f"SGLang {context.release.version} encodes audio wrongly with attention over {split} of {ranks} ranks",
                "Send no audio, or use 0.5.15.post1 or older, or as many ranks as attention takes.",
                context.flag_location("attn-dp-size", "dp-size"),
                self.source(context),
            )


class TorchcodecOnAarch64(Rule):
    """MiMo's processor needs torchcodec up to 0.5.21, and SGLang does not install it on aarch64.

    The import stands at the top of the processor's module. Without the package the module is skipped with a warning,
    and start-up ends with "No processor registered for architecture": seen with 0.5.11, on x86_64 without the package.
    SGLang's metadata excludes torchcodec on Linux aarch64. Wheels for it exist from torchcodec 0.13
    (meta-pytorch/torchcodec issue 1251, reported), newer than what the first releases pin elsewhere. An image can
    have it.
    """

    code = "torchcodec-aarch64"
    last = "0.5.21"
    passages = (
        Passage(
            ("sglang/srt/multimodal/processors/mimo_v2.py",),
            r"^from torchcodec\.decoders import AudioDecoder",
            last="0.5.21",
        ),
    )

    def check(self, context: Context) -> Iterator[Finding]:
        """A release whose processor cannot be imported from a plain installation on GB10."""
        is_text_only = context.value("language-model-only") is True
        if context.is_gb10 and context.model.architecture == "MiMoV2ForCausalLM" and not is_text_only:
            yield warning(
                self.code,
                f"the MiMo processor of SGLang {context.release.version} needs torchcodec, "
                "which SGLang does not install on aarch64",
                "Check that the image brings it: python3 -c 'import torchcodec.decoders'. "
                "Without it the server does not start.",
                context.recipe.document.location(("sglang",)),
                self.source(context),
            )
