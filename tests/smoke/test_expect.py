from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from mimo_gb10.release import known_releases, load_release
from mimo_gb10.smoke.expect import compare_flags, known_defect, promise
from tests.smoke.support import recipe


def _info(**changes: Any) -> dict[str, Any]:
    """What a server of the recipe shows."""
    used = recipe()
    release = load_release(used.sglang)
    found = {}
    for name, value in used.flags.items():
        flag = release.flag(name)
        assert flag is not None
        found[flag.dest] = value
    return found | changes


def _verdicts(info: dict[str, Any], **flags: Any) -> dict[str, str]:
    used = recipe()
    used = replace(used, flags={**used.flags, **{name.replace("_", "-"): value for name, value in flags.items()}})
    return {item.name: item.verdict for item in compare_flags(used, load_release(used.sglang), info)}


def test_a_server_of_the_recipe() -> None:
    assert set(_verdicts(_info()).values()) == {"same"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"tp_size": 2}, "tensor-parallel-size"),
        ({"mem_fraction_static": 0.83}, "mem-fraction-static"),
        ({"attention_backend": "flashinfer"}, "attention-backend"),
        ({"trust_remote_code": False}, "trust-remote-code"),
        ({"speculative_algorithm": None}, "speculative-algorithm"),
        ({"reasoning_parser": "qwen3"}, "reasoning-parser"),
    ],
)
def test_one_other_value(changes: dict[str, Any], name: str) -> None:
    found = _verdicts(_info(**changes))
    assert [key for key, verdict in found.items() if verdict == "differs"] == [name]


def test_values_that_mean_the_same() -> None:
    found = _verdicts(
        _info(speculative_algorithm="NEXTN", chunked_prefill_size="8192", mem_fraction_static=0.7800000000001)
    )
    assert set(found.values()) == {"same"}


def test_what_the_server_does_not_show() -> None:
    info = _info()
    del info["schedule_policy"]
    assert _verdicts(info)["schedule-policy"] == "hidden"


def test_what_was_left_to_sglang() -> None:
    assert _verdicts(_info(moe_runner_backend="triton"), moe_runner_backend="auto")["moe-runner-backend"] == "chosen"


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        ("launch_server --max-running-requests 24 --port 1", "chosen"),
        ("launch_server --max-running-requests=24", "chosen"),
        ("launch_server --max-running-requests 12", "differs"),
        ("launch_server --port 24", "differs"),
        ("launch_server --max-running-requests", "differs"),
        ("", "differs"),
    ],
)
def test_what_sglang_changed_itself(command: str, verdict: str) -> None:
    found = _verdicts(_info(max_running_requests=12, launch_command=command))
    assert found["max-running-requests"] == verdict


def test_a_switch_that_sglang_turned_off_again() -> None:
    info = _info(enable_multi_layer_eagle=False, launch_command="launch_server --port 1 --enable-multi-layer-eagle")
    assert _verdicts(info)["enable-multi-layer-eagle"] == "chosen"
    assert _verdicts(info | {"launch_command": ""})["enable-multi-layer-eagle"] == "differs"


def test_a_switch_with_two_spellings() -> None:
    flag = next(flag for flag in load_release(recipe().sglang).flags if flag.can_be_negated)
    negative = next(option for option in flag.options if option.startswith("--no-"))[2:]
    used = replace(recipe(), flags={negative: True})
    found = [compare_flags(used, load_release(used.sglang), {flag.dest: value})[0].verdict for value in (False, True)]
    assert found == ["same", "differs"]


# --- promises


def test_promises_are_those_of_the_catalogs() -> None:
    for version in known_releases():
        release = load_release(version)
        mimo = {thinking: promise(release, "mimo", thinking).expected for thinking in (True, False, None)}
        qwen = {thinking: promise(release, "qwen3", thinking).expected for thinking in (True, False, None)}
        assert mimo == {True: True, False: False, None: False}
        assert qwen == {True: True, False: False, None: True}


def test_where_unmarked_text_goes() -> None:
    release = load_release("0.5.23")
    assert promise(release, "mimo", True).inside is True
    assert promise(release, "mimo", False).inside is False
    assert "reasoning_parser.py" in promise(release, "mimo", True).source


def test_no_promise_is_made_up() -> None:
    assert promise(None, "mimo", True).expected is None
    assert promise(load_release("0.5.23"), "no-such-parser", True).expected is None
    assert promise(None, None, True).expected is False


# --- defects


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Internal server error: expected string or bytes-like object, got 'list'", "transcription-token-list"),
        ("SamplingParams.__init__() got an unexpected keyword argument '_detect_language'", "transcription-adapter"),
        ("Internal server error: Unexpected keyword argument 'language'", "transcription-adapter"),
        ("'Tensor' object has no attribute 'asnumpy'", "video-batch-tensor"),
        ("Video file is corrupted or cannot be decoded", "video-pin-memory"),
        ("cannot import name 'flash_attn_varlen_func'", "audio-encoder-flash-attn"),
    ],
)
def test_known_defects_are_named(text: str, name: str) -> None:
    from mimo_gb10.defects import load_defects

    assert f" {name}," not in known_defect([text])
    assert f"apply_patches.py {name};" in known_defect(["HTTP 500", text])
    document = load_defects()
    assert name in str(document)


def test_a_missing_program_is_named_without_a_patch() -> None:
    """The words are those of the symptom's log."""
    from mimo_gb10.diagnose.symptoms import load_symptoms

    text = 'HTTP 500 application/json: {"message":"Internal server error: ffprobe not found; install ffmpeg"}'
    help = known_defect(["HTTP 500 instead of 200", text])
    assert help.endswith("docs/troubleshooting/index.md#ffprobe-missing.")
    assert "apply_patches" not in help
    known = load_symptoms()
    assert "ffprobe-missing" in known.symptoms
    assert re.search(known.lines["ffprobe-missing"].pattern, text)


@pytest.mark.parametrize("text", ["Internal server error: boom", "unexpected keyword argument 'foo'", "", "pinned"])
def test_nothing_else_is_called_a_defect(text: str) -> None:
    assert known_defect([text]) == ""
