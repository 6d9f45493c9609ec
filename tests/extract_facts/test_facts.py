from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.extract import parsers, pins
from mimo_gb10.extract.facts import as_json_lines, build, build_from
from mimo_gb10.extract.model_code import FACTS
from mimo_gb10.extract.release_date import release_date
from mimo_gb10.extract.values import Unresolved
from mimo_gb10.extract.wheel import EnvironmentProblem, Wheel
from mimo_gb10.findings import error
from tests.extract_facts import small_wheel as small


def test_the_small_release_is_complete() -> None:
    found = small.facts()
    assert found.findings == ()
    assert [entry.data["fact"] for entry in found.model_code] == list(FACTS)


def test_lines_are_the_facts_with_each_source_alone_on_its_line() -> None:
    found = small.facts()
    lines = as_json_lines(found)
    assert json.loads("{" + "\n".join(lines).rstrip(",") + "}") == found.as_json()
    sources = [line for line in lines if '"source"' in line]
    assert sources
    assert all(line.strip().startswith('"source": ') for line in sources)


def test_an_empty_list_is_still_json() -> None:
    found = small.facts(without=(small.TOOLS,))
    assert json.loads("{" + "\n".join(as_json_lines(found)).rstrip(",") + "}")["tool_call_parsers"] == []


def test_the_date_is_that_of_the_record(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("sglang/a.py", (2020, 1, 1, 0, 0, 0)), "")
        archive.writestr(zipfile.ZipInfo("sglang-1.dist-info/RECORD", (2026, 5, 7, 0, 5, 0)), "")
    assert release_date(path) == "2026-05-07"


def test_a_wheel_without_anything_gives_findings_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "sglang-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sglang/a.py", "")
    found = build(Wheel("9.9.9", path, ""))
    assert found.date == ""
    assert not found.pins
    assert len(found.findings) >= len(FACTS)
    assert all(finding.code == "fact-unresolved" and "9.9.9" in finding.message for finding in found.findings)


# Parsers


def parser(name: str, changes: Any = None) -> dict[str, Any]:
    found = small.facts(changes)
    assert found.findings == ()
    return next(entry.as_json() for entry in found.reasoning_parsers if entry.data["name"] == name)


@pytest.mark.parametrize(
    ("name", "cls", "when", "key", "inside"),
    [
        ("plain", "Base", "always", None, (True, False)),
        ("toggle", "Toggle", "unless-off", "enable_thinking", (True, False)),
        ("mimo", "Asked", "asked", "enable_thinking", (True, False)),
        ("inside", "Inside", "always", None, (True, True)),
        ("tokenizer", "WantsTokenizer", "never", None, (None, None)),
        ("own", "Base", "effort", None, (True, False)),
    ],
)
def test_reasoning_parsers(name: str, cls: str, when: str, key: str | None, inside: tuple[Any, Any]) -> None:
    found = parser(name)
    assert (found["class"], found["thinking"]["when"], found["thinking"]["key"]) == (cls, when, key)
    assert (found["starts_inside"]["expected"], found["starts_inside"]["not_expected"]) == inside


def test_outcomes_and_line_of_a_reasoning_parser() -> None:
    found = parser("mimo")
    expected = [case for case, outcome in found["thinking"]["expects"].items() if outcome]
    assert expected == ["enable_thinking=true"]
    path, number = found["source"].split(":")
    assert small.modules().text(path).splitlines()[int(number) - 1].strip() == '"mimo": Asked,'


def test_a_key_that_reasoning_follows_by_another_rule_has_no_word() -> None:
    with pytest.raises(Unresolved, match="without a word"):
        parsers.summary({"absent": True, "enable_thinking=true": False, "thinking=true": True})


def test_two_keys_that_do_the_same_are_both_named() -> None:
    cases = {"absent": True, "enable_thinking=false": False, "thinking=false": False, "thinking=true": True}
    assert parsers.summary(cases) == ("unless-off", "enable_thinking, thinking")


def test_the_template_comes_first_except_for_names_with_a_rule_of_their_own() -> None:
    rule = small.facts().reasoning_rule
    assert rule is not None
    assert rule.data == {"template_first": True, "own_rule": ["own"], "template_forces": True}


def test_a_rule_that_never_looks_at_the_template() -> None:
    found = small.facts({small.CHAT: ("if config is not None:", "if False:")})
    assert found.reasoning_rule is not None
    assert found.reasoning_rule.data["template_first"] is False
    assert found.findings == ()


def test_template_rules_and_what_they_conclude() -> None:
    found = small.facts()
    assert [entry.data["name"] for entry in found.template_rules] == ["forced", "toggle"]
    run = parsers.evaluator(small.modules())
    toggle = {"toggle_param": "enable_thinking", "default_enabled": False, "special_case": None}
    assert parsers.detect_template(run, "{% if not\nenable_thinking %}") == toggle
    assert parsers.detect_template(run, "assistant<go>")["special_case"] == "always"  # type: ignore[index]
    assert parsers.detect_template(run, "nothing") is None


def test_tool_call_parsers() -> None:
    found = [(entry.data["name"], entry.data["structural_tag"]) for entry in small.facts().tool_call_parsers]
    assert found == [("base", True), ("mimo", False), ("depends", None)]


@pytest.mark.parametrize(
    ("path", "old", "new", "says"),
    [
        (
            small.REASONING,
            "class WantsTokenizer:\n    reasoning_default",
            "class WantsTokenizer:\n    other",
            "tokenizer",
        ),
        (small.REASONING, '"own": Base,', '"own": Unknown,', "reasoning parser own"),
        (small.REASONING, "DetectorMap: dict", "Detectors: dict", "DetectorMap"),
        (small.CHAT, "def _get_reasoning_from_request", "def _other", "_get_reasoning_from_request"),
        (small.CHAT, "logger.info", "self.metrics.count", "metrics"),
        (small.TOOLS, "def supports_structural_tag", "def supports", "tool call parser base"),
        (small.TOOLS, '"mimo": MiMo', '"mimo": Missing', "tool call parser mimo: its class cannot be computed"),
        (small.DETECTION, "REASONING_MODE_RULES = (", "REASONING_MODE_RULES = load(", "chat template rules"),
    ],
)
def test_parsers_in_a_form_that_is_not_known_are_findings(path: str, old: str, new: str, says: str) -> None:
    found = small.facts({path: (old, new)})
    assert any(says in finding.message for finding in found.findings), found.findings


# The model's code


def fact(name: str, changes: Any = None) -> dict[str, Any]:
    found = small.facts(changes)
    assert found.findings == ()
    return next(entry.data for entry in found.model_code if entry.data["fact"] == name)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("architectures", {"model": ["MiMoV2ForCausalLM"], "draft": ["MiMoV2MTP"]}),
        (
            "attention-tp",
            {
                "relation": "divides",
                "number": "num_key_value_heads",
                "only_with": "attention_projection_layout=fused_qkv",
                "computed_from": ["tp_size", "dp_size"],
            },
        ),
        ("multi-layer-eagle", {"switched_on_by": ["EAGLE"]}),
        (
            "nextn",
            {
                "alias_of": "EAGLE",
                "resolved": "after the model's adjustments",
                "switches_multi_layer_eagle_on": False,
            },
        ),
        (
            "hierarchical-cache",
            {
                "swa_full_tokens_ratio": None,
                "disable_hybrid_swa_memory": None,
                "requires_variable": "SGLANG_TREE",
            },
        ),
        ("vision-backend", {"hard_coded": None, "sm90": "fa3", "sm100": "triton_attn", "sm121": "triton_attn"}),
        ("attention-backend", {"sm90": "fa3", "sm100": "trtllm_mha", "sm121": "triton"}),
        ("audio-attention", {"attention": "VisionAttention", "from": None}),
        ("max-running-requests", {"default": 48}),
        ("draft-extend-window", {"filled": False}),
        ("transcription", {"keys": ["MiMoV2ASR", "Whisper"], "default": "Whisper", "chosen": "Whisper"}),
    ],
)
def test_model_code(name: str, data: dict[str, Any]) -> None:
    assert fact(name) == {"fact": name, **data}


@pytest.mark.parametrize(
    ("name", "path", "old", "new", "key", "value"),
    [
        (
            "attention-tp",
            small.MODEL_HOOK,
            "expected_attn_tp_size % effective_attn_tp_size != 0",
            "effective_attn_tp_size != expected_attn_tp_size",
            "relation",
            "equals",
        ),
        (
            "multi-layer-eagle",
            small.OVERRIDES,
            '== "EAGLE"',
            'in ("EAGLE", "NEXTN")',
            "switched_on_by",
            ["EAGLE", "NEXTN"],
        ),
        ("nextn", small.OVERRIDES, '== "EAGLE"', 'in ("EAGLE", "NEXTN")', "switches_multi_layer_eagle_on", True),
        (
            "nextn",
            small.SERVER_ARGS,
            "handle_model_specific_adjustments(self)\n        handle_speculative_decoding(self)",
            "handle_speculative_decoding(self)\n        handle_model_specific_adjustments(self)",
            "resolved",
            "before the model's adjustments",
        ),
        (
            "hierarchical-cache",
            small.MODEL_HOOK,
            'if not envs.SGLANG_TREE.get():\n                raise ValueError("set the variable")',
            "server_args.swa_full_tokens_ratio = 1.0",
            "swa_full_tokens_ratio",
            1.0,
        ),
        (
            "hierarchical-cache",
            small.MODEL_HOOK,
            "if server_args.enable_hierarchical_cache:\n            if not envs.SGLANG_TREE.get():\n"
            '                raise ValueError("set the variable")',
            "pass",
            "requires_variable",
            None,
        ),
        (
            "vision-backend",
            small.VISION_TOWER,
            'qkv_backend = "fa3"',
            'qkv_backend = "fa3"\nBLOCK = Block(1, attn_implementation="flash_attention_3")',
            "sm121",
            None,
        ),
        ("audio-attention", small.AUDIO, "class E", "from k import flash_attn_varlen_func\nclass E", "from", "k"),
        (
            "draft-extend-window",
            small.TRITON,
            "window_kv_indices=None)",
            "window_kv_indices=self.window if swa else None)",
            "filled",
            True,
        ),
        ("transcription", small.ADAPTERS, '"MiMoV2ASR"', '"MiMoV2"', "chosen", "MiMoV2"),
    ],
)
def test_model_code_of_another_release(name: str, path: str, old: str, new: str, key: str, value: Any) -> None:
    assert fact(name, {path: (old, new)})[key] == value


@pytest.mark.parametrize(
    ("name", "path", "old", "new"),
    [
        ("architectures", small.MIMO, "EntryClass = [", "Models = ["),
        (
            "attention-tp",
            small.MODEL_HOOK,
            "expected_attn_tp_size % effective",
            "odd(expected_attn_tp_size) % effective",
        ),
        ("attention-tp", small.MODEL_HOOK, "requires effective attention TP", "needs another TP"),
        ("attention-tp", small.CONFIG, '"num_key_value_heads"', '"num_groups"'),
        ("multi-layer-eagle", small.OVERRIDES, "enable_multi_layer_eagle", "another_name"),
        ("multi-layer-eagle", small.OVERRIDES, 'server_args.speculative_algorithm == "EAGLE"', "is_eagle(server_args)"),
        ("nextn", small.SPECULATIVE, '"NEXTN"', '"NEXT"'),
        ("nextn", small.SPECULATIVE, "def handle_speculative_decoding", "def something_else"),
        ("nextn", small.SERVER_ARGS, "handle_speculative_decoding(self)", "pass"),
        ("hierarchical-cache", small.MODEL_HOOK, "if not envs.SGLANG_TREE.get():", "if not ready():"),
        ("vision-backend", small.VISION, "get_device_capability()", "unheard_of()"),
        ("vision-backend", small.VISION_TOWER, "attn_implementation=None", "implementation=None"),
        ("attention-backend", small.SERVER_ARGS, "is_sm100_supported()", "is_new_gpu()"),
        ("attention-backend", small.SERVER_ARGS, "def _get_default_attn_backend", "def _choose"),
        ("audio-attention", small.AUDIO, "VisionAttention", "AudioAttention"),
        ("max-running-requests", small.SPECULATIVE, "_handle_eagle_family", "_handle_trees"),
        ("draft-extend-window", small.TRITON, "window_kv_indices=None", "window=None"),
        ("draft-extend-window", small.TRITON, "is_draft_extend_v2", "is_extend"),
        ("transcription", small.ADAPTERS, 'adapter("Whisper")', 'adapter("Other")'),
        ("sglang serve", small.SERVE, "def serve", "def run"),
    ],
)
def test_model_code_in_a_form_that_is_not_known_is_a_finding(name: str, path: str, old: str, new: str) -> None:
    found = small.facts({path: (old, new)})
    assert any(f"9.9.9: {name}: " in finding.message for finding in found.findings), found.findings
    assert all(entry.data["fact"] != name for entry in found.model_code)


def test_a_positional_model_is_taken_only_where_the_release_reads_it() -> None:
    changes = {small.SERVE: ("_normalize_positional_model_path", "_other")}
    assert small.facts().as_json()["serve"]["positional_model"] is True
    assert small.facts(changes).as_json()["serve"]["positional_model"] is False


# Pins


def test_pins_by_machine() -> None:
    found = [(pin.data["package"], pin.data["requirement"], pin.data["platform"]) for pin in small.facts().pins]
    assert found == [
        ("torch", "==9.1.0", None),
        ("torchvision", "", None),
        ("transformers", "==5.0", None),
        ("flashinfer_python", "==0.1", None),
        ("sglang-kernel", "==0.2", None),
        ("xgrammar", "<0.3,>=0.2", None),
        ("decord2", "", "aarch64"),
        ("torchcodec", "==1.0", "x86_64"),
        ("triton", "~=4.0", "aarch64"),
        ("nvidia-nccl-cu13", "==2.0", "aarch64"),
    ]
    assert small.facts().pins[-1].source == "requirement of torch 9.1.0 (aarch64, Python 3.12)"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("torch==9.1.0", "torch>=9", "not pinned to one version"),
        ("transformers==5.0", "other==5.0", "requires no transformers"),
        ('platform_machine == "arm64")', "platform_machine ~= 'a')", "marker"),
        ('platform_machine == "arm64")', 'machine == "arm64")', "marker"),
    ],
)
def test_requirements_that_are_not_understood_are_a_finding(old: str, new: str, says: str) -> None:
    assert old in small.METADATA
    found = small.facts(metadata=small.METADATA.replace(old, new))
    assert not found.pins
    assert [says in finding.message for finding in found.findings] == [True]


def test_a_torch_without_nccl_is_refused() -> None:
    with pytest.raises(Unresolved, match="nvidia-nccl-cu13 0 times"):
        pins.read_pins(small.METADATA, lambda _: small.TORCH[1:])


def test_without_the_requirements_of_torch_nothing_is_built() -> None:
    def unavailable(_: str) -> list[str]:
        raise EnvironmentProblem([error("torch-requirements", "no network")])

    with pytest.raises(EnvironmentProblem, match="no network"):
        build_from(small.modules(), "9.9.9", lambda: "2026-01-02", lambda: small.METADATA, unavailable)


def test_all_of_it_is_quick() -> None:
    start = time.perf_counter()
    small.facts()
    assert time.perf_counter() - start < 2
