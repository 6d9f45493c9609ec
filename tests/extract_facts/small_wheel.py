"""A release written for the tests: every module that the facts are read from, as small as it can be."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from mimo_gb10.extract.facts import Facts, build_from
from mimo_gb10.extract.modules import Modules

METADATA = """\
Metadata-Version: 2.1
Requires-Dist: torch==9.1.0
Requires-Dist: torchvision
Requires-Dist: transformers==5.0
Requires-Dist: flashinfer_python[cu13]==0.1
Requires-Dist: sglang-kernel==0.2
Requires-Dist: xgrammar<0.3,>=0.2
Requires-Dist: decord2; sys_platform == "linux" and (platform_machine == "aarch64" or platform_machine == "arm64")
Requires-Dist: torchcodec==1.0; sys_platform != "linux" or platform_machine != "aarch64"
Requires-Dist: av; extra == "video"

The text of the description.
Requires-Dist: triton==0.0
"""
TORCH = (
    'nvidia-nccl-cu13==2.0; platform_system == "Linux"',
    'triton~=4.0; platform_system == "Linux" and python_version < "3.15"',
    "filelock",
)

CHAT = "sglang/srt/entrypoints/openai/serving_chat.py"
REASONING = "sglang/srt/parser/reasoning_parser.py"
TOOLS = "sglang/srt/function_call/function_call_parser.py"
DETECTION = "sglang/srt/parser/template_detection.py"
SERVER_ARGS = "sglang/srt/server_args.py"
MODEL_HOOK = "sglang/srt/arg_groups/model_hook.py"
SPECULATIVE = "sglang/srt/arg_groups/speculative_hook.py"
OVERRIDES = "sglang/srt/arg_groups/model_overrides/mimo_v2.py"
CONFIG = "sglang/srt/configs/model_config.py"
MIMO = "sglang/srt/models/mimo_v2.py"
DRAFT = "sglang/srt/models/mimo_v2_nextn.py"
VISION_TOWER = "sglang/srt/models/mimo_vl.py"
AUDIO = "sglang/srt/models/mimo_audio.py"
VISION = "sglang/srt/layers/attention/vision.py"
TRITON = "sglang/srt/layers/attention/triton_backend.py"
ADAPTERS = "sglang/srt/entrypoints/openai/transcription_adapters/base.py"
SERVE = "sglang/cli/serve.py"

FILES: dict[str, str] = {
    CHAT: """
        import logging
        logger = logging.getLogger(__name__)

        class OpenAIServingChat:
            def _get_reasoning_from_request(self, request):
                logger.info("asked")
                if self.reasoning_parser == "own":
                    return request.reasoning_effort not in (None, "none")
                config = self.template_manager.reasoning_config
                if config is not None:
                    if config.special_case == "always":
                        return True
                    value = (request.chat_template_kwargs or {}).get(config.toggle_param)
                    return config.default_enabled if value is None else value
                mode = self._reasoning_detector.reasoning_default
                if mode in ("always", "never"):
                    return mode == "always"
                kwargs = request.chat_template_kwargs or {}
                if mode.startswith("ask_"):
                    return kwargs.get(mode.replace("ask_", "")) is True
                return kwargs.get(mode) is not False

            def answer(self, request):
                return self.template_manager.force_reasoning or self._get_reasoning_from_request(request)
    """,
    REASONING: """
        class Base:
            def __init__(self, force_reasoning=False, reasoning_default="always"):
                self._in_reasoning = force_reasoning
                self.reasoning_default = reasoning_default

        class Toggle(Base):
            def __init__(self, force_reasoning=False):
                super().__init__(force_reasoning, reasoning_default="enable_thinking")

        class Asked(Toggle):
            def __init__(self, force_reasoning=False):
                super().__init__(force_reasoning)
                self.reasoning_default = "ask_enable_thinking"

        class Inside(Base):
            def __init__(self, force_reasoning=True):
                super().__init__(force_reasoning=True)

        class WantsTokenizer:
            reasoning_default = "never"
            def __init__(self, force_reasoning=False, tokenizer=None):
                if tokenizer is None:
                    raise ValueError("no tokenizer")

        class ReasoningParser:
            DetectorMap: dict = {
                "plain": Base,
                "toggle": Toggle,
                "mimo": Asked,
                "inside": Inside,
                "tokenizer": WantsTokenizer,
                "own": Base,
            }

            def __init__(self, model_type=None, force_reasoning=None, request=None):
                kwargs = {}
                if force_reasoning is not None:
                    kwargs["force_reasoning"] = force_reasoning
                self.detector = self.DetectorMap.get(model_type.lower())(**kwargs)
    """,
    TOOLS: """
        class Base:
            def supports_structural_tag(self):
                return True

        class MiMo(Base):
            def supports_structural_tag(self):
                \"\"\"Not this one.\"\"\"
                return False

        class Depends(Base):
            def supports_structural_tag(self):
                return self.known

        class FunctionCallParser:
            ToolCallParserEnum: dict = {
                "base": Base,
                "mimo": MiMo,
                "depends": Depends,
            }
    """,
    DETECTION: """
        import re
        from dataclasses import dataclass
        from typing import Any, Optional

        @dataclass
        class Context:
            template: str
            def has(self, pattern, flags=0):
                return re.search(pattern, self.template, flags) is not None

        @dataclass
        class Config:
            toggle_param: Optional[str] = None
            default_enabled: Optional[bool] = None
            special_case: Optional[str] = None

        @dataclass
        class DetectionRule:
            name: str
            value: Any
            predicate: Any

        REASONING_MODE_RULES = (
            DetectionRule(name="forced", value=Config(special_case="always"), predicate=lambda c: c.has("<go>$")),
            DetectionRule(
                name="toggle",
                value=Config(toggle_param="enable_thinking", default_enabled=False),
                predicate=lambda c: c.has("if.*enable_thinking", re.DOTALL),
            ),
        )

        def detect_reasoning_pattern(template):
            context = Context(template=template)
            for rule in REASONING_MODE_RULES:
                if rule.predicate(context):
                    return True, rule.value
            return False, None
    """,
    CONFIG: """
        def get_mimo_v2_fused_qkv_expected_tp_size(hf_config):
            if getattr(hf_config, "attention_projection_layout", None) is None:
                return None
            return getattr(hf_config, "num_key_value_heads", None)
    """,
    SERVER_ARGS: """
        from sglang.srt.arg_groups.model_hook import handle_model_specific_adjustments
        from sglang.srt.arg_groups.speculative_hook import handle_speculative_decoding

        class ServerArgs:
            def __post_init__(self):
                handle_model_specific_adjustments(self)
                handle_speculative_decoding(self)

            def _get_default_attn_backend(self, use_mla_backend, model_config):
                from sglang.srt.platforms import current_platform
                if current_platform.is_out_of_tree():
                    return "other"
                if is_sm100_supported():
                    return "trtllm_mha"
                if is_hopper_with_cuda_12_3():
                    return "fa3"
                return "triton" if model_config.has_attention_sinks else "flashinfer"
    """,
    MODEL_HOOK: """
        def handle_model_specific_adjustments(server_args):
            if model_arch in ("Other",):
                pass
            elif model_arch in ("MiMoV2ForCausalLM", "MiMoV2FlashForCausalLM"):
                effective_attn_tp_size = server_args.tp_size
                if expected_attn_tp_size is not None and expected_attn_tp_size % effective_attn_tp_size != 0:
                    raise ValueError(f"requires effective attention TP ({server_args.tp_size}, {server_args.dp_size})")
                if server_args.enable_hierarchical_cache:
                    if not envs.SGLANG_TREE.get():
                        raise ValueError("set the variable")
            elif model_arch == "Step":
                if server_args.enable_hierarchical_cache:
                    server_args.swa_full_tokens_ratio = 1.0
    """,
    OVERRIDES: """
        @_register_for("MiMoV2ForCausalLM")
        def overrides(server_args, hf_config):
            found = {}
            if server_args.speculative_algorithm == "EAGLE":
                found["enable_multi_layer_eagle"] = True
            return found
    """,
    SPECULATIVE: """
        def _alias(speculative_algorithm):
            if speculative_algorithm == "NEXTN" or speculative_algorithm == "EAGLE":
                return "EAGLE"
            return speculative_algorithm

        def handle_speculative_decoding(server_args):
            server_args.speculative_algorithm = _alias(server_args.speculative_algorithm)

        def _handle_eagle_family(server_args):
            if server_args.max_running_requests is None:
                server_args.max_running_requests = 48

        def _handle_other(server_args):
            if server_args.max_running_requests is None:
                server_args.max_running_requests = 16
    """,
    MIMO: "class MiMoV2ForCausalLM: pass\nEntryClass = [MiMoV2ForCausalLM]\n",
    DRAFT: "class MiMoV2MTP: pass\nEntryClass = MiMoV2MTP\n",
    VISION_TOWER: """
        class Block:
            def __init__(self, dim, attn_implementation=None):
                if attn_implementation is None:
                    qkv_backend = None
                elif attn_implementation == "flash_attention_3":
                    qkv_backend = "fa3"
    """,
    AUDIO: "class Encoder:\n    def __init__(self):\n        self.attn = VisionAttention()\n",
    VISION: """
        class VisionAttention:
            def _determine_attention_backend(self, passed):
                backend = get_mm().mm_attention_backend or passed
                if backend is None:
                    major, _ = get_device_capability()
                    backend = "fa3" if major == 9 else "triton_attn"
                if backend == "fa3" and is_blackwell_supported():
                    raise ValueError("not on Blackwell")
                return backend
    """,
    TRITON: """
        class TritonAttnBackend:
            def _build_cuda_graph_forward_metadata(self, forward_mode, swa):
                if forward_mode.is_decode():
                    return ForwardMetadata(window_kv_indices=self.window if swa else None)
                elif forward_mode.is_draft_extend_v2():
                    return ForwardMetadata(window_kv_indices=None)
    """,
    ADAPTERS: """
        _DEFAULT_ADAPTER_KEY = "Whisper"

        @register_transcription_adapter("Whisper")
        class Whisper: pass

        @register_transcription_adapter("MiMoV2ASR")
        class MiMo: pass
    """,
    SERVE: """
        def _normalize_positional_model_path(argv):
            if argv and not argv[0].startswith("-"):
                return ["--model-path", argv[0], *argv[1:]], True
            return argv, False

        def serve(args, argv):
            pass
    """,
}


def modules(changes: Mapping[str, tuple[str, str]] | None = None, without: tuple[str, ...] = ()) -> Modules:
    """The small release; in each file of `changes` the first text is replaced by the second."""
    texts = {path: textwrap.dedent(text) for path, text in FILES.items() if path not in without}
    for path, (old, new) in (changes or {}).items():
        assert old in texts[path]
        texts[path] = texts[path].replace(old, new)
    return Modules(list(texts), texts.__getitem__)


def facts(
    changes: Mapping[str, tuple[str, str]] | None = None, metadata: str = METADATA, without: tuple[str, ...] = ()
) -> Facts:
    """The facts of the small release."""
    return build_from(modules(changes, without), "9.9.9", lambda: "2026-01-02", lambda: metadata, lambda _: TORCH)
