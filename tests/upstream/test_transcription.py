"""transcription-token-list and transcription-adapter: POST /v1/audio/transcriptions for MiMo-V2.5."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.trees import known_releases, patched, unpatched
from tests.upstream.run import on_one_worker, run_case

pytestmark = pytest.mark.upstream

TOKEN_LIST = "transcription-token-list"
ADAPTER = "transcription-adapter"
# The first release of each group of releases in which all files that the two patches touch are alike.
GROUPS = ["0.5.11", "0.5.13", "0.5.14", "0.5.18", "0.5.19", "0.5.20", "0.5.21", "0.5.22"]
# The tokenizer manager and the sampling parameters differ inside a group as well.
RELEASES = [release for release in known_releases() if release not in GROUPS]
# SamplingParams is a plain class there, a msgspec.Struct afterwards; they word the same refusal differently.
PLAIN_CLASS = ["0.5.11", "0.5.13", "0.5.14"]
# MiMo-V2-ASR came afterwards.
WITHOUT_ASR = ["0.5.11", "0.5.13"]

MIMO = "MiMoV2ForCausalLM"
ASR = "MiMoV2ASRForCausalLM"
WHISPER = "WhisperForConditionalGeneration"
QWEN = "Qwen3ASRForConditionalGeneration"
OTHERS = {
    "MiMoV2FlashForCausalLM": "WhisperAdapter",
    ASR: "MiMoV2ASRAdapter",
    WHISPER: "WhisperAdapter",
    QWEN: "Qwen3ASRAdapter",
}
PLACEHOLDER = "<|mimo_audio_start|><|audio_pad|><|mimo_audio_end|>"
EXPANDED = PLACEHOLDER.replace("<|audio_pad|>", "<|audio_pad|>" * 5)
AUDIO_TOKENS = 9  # 1.3 s are 131 frames of the mel spectrogram
THOUGHT = "<think>hm</think>"
THINKING = ["", "<thi", "<think>hm", THOUGHT, f"{THOUGHT}\n\nhello", f"{THOUGHT}\n\nhello you\n"]
INSTRUCTION = "Transcribe the speech in this audio. Output only the transcript."

PROCESSOR: list[dict[str, Any]] = [
    {"value": []},
    {"ids": "hi"},
    {"ids": f"hi{EXPANDED}you"},
    {"value": ["a", "b"]},
]
# What worked before must give the same after.
UNTOUCHED: list[dict[str, Any]] = [
    {"value": ""},
    {"value": "hi"},
    {"value": f"hi{PLACEHOLDER}you"},
    {"ids": "hi", "audio": False},
    {"value": "hi", "audio": False},
]
ENDPOINT: dict[str, dict[str, Any]] = {
    "plain": {},
    "text": {"form": {"response_format": "text"}},
    "verbose": {"form": {"response_format": "verbose_json", "timestamp_granularities[]": "segment"}},
    "verbose in German": {"form": {"response_format": "verbose_json", "language": "de"}},
    "srt": {"form": {"response_format": "srt"}},
    "vtt": {"form": {"response_format": "vtt"}},
    "in English": {"form": {"language": "en"}},
    "in a language without a code": {"form": {"language": "Klingon"}},
    "prompt": {"form": {"prompt": "Xiaomi, GB10"}},
    "warm": {"form": {"temperature": "0.5"}},
    "stream": {"form": {"stream": "true"}, "answer": ["hel", "hello", "hello you"]},
    "stream in English": {"form": {"stream": "true", "language": "en"}},
    "thinking": {"answer": THINKING},
    "thinking, stream": {"form": {"stream": "true"}, "answer": THINKING},
    "unfinished thinking": {"answer": ["<think>hm"]},
    "long": {"seconds": 61},
    "unreadable": {"unreadable": True},
    "text-only model": {"text_only": True},
}
# Requests to other models. Their own processors are not here, so what counts is what the handler sends.
NEIGHBOURS: dict[str, dict[str, Any]] = {
    "Whisper": {"architecture": WHISPER},
    "Whisper in English": {"architecture": WHISPER, "form": {"language": "en", "prompt": "Xiaomi"}},
    "Whisper, stream": {
        "architecture": WHISPER,
        "form": {"stream": "true", "language": "en"},
        "answer": THINKING,
        "tokenize": False,
    },
    "Qwen3 ASR, stream": {"architecture": QWEN, "form": {"stream": "true"}, "answer": THINKING},
    "ASR": {"architecture": ASR, "form": {"prompt": "Xiaomi"}, "answer": THINKING},
    "ASR, stream": {"architecture": ASR, "form": {"stream": "true"}, "answer": THINKING},
}
WANTED = {
    "adapters": [MIMO, *OTHERS],
    "processor": PROCESSOR + UNTOUCHED,
    "generate": ["hi", f"hi{PLACEHOLDER}you"],
    "endpoint": ENDPOINT | NEIGHBOURS,
}

each_group = pytest.mark.parametrize("release", on_one_worker(__name__, GROUPS))
each_end = pytest.mark.parametrize("release", on_one_worker(__name__, [GROUPS[0], GROUPS[-1]]))
each_release = pytest.mark.parametrize("release", on_one_worker(__name__, [*GROUPS, *RELEASES]))
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run() -> Run:
    """Runs the case in a release's tree with the patches of these defects; once each."""

    @functools.cache
    def run(release: str, *defects: str) -> dict[str, Any]:
        tree = patched(release, only=defects) if defects else unpatched(release)
        found = run_case("transcription", tree, json.dumps(WANTED))
        assert "died" not in found, found["died"]
        return found

    return run


def chat(instruction: str = INSTRUCTION) -> str:
    return (
        "<|im_start|>system\nYou are MiMo.<|im_end|>"
        f"<|im_start|>user\n{PLACEHOLDER}{instruction}<|im_end|><|im_start|>assistant\n<think></think>"
    )


def error(message: str) -> dict[str, Any]:
    body = {"object": "error", "message": message, "type": "InternalServerError", "param": None, "code": 500}
    return {"status": 500, "type": "application/json", "body": body}


def has(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compares only the keys that are expected."""
    assert {key: found.get(key) for key in expected} == expected


# The token list


@each_group
def test_unpatched_a_list_is_a_type_error(run: Run, release: str) -> None:
    found = run(release)
    refused = {"raised": "TypeError", "message": "expected string or bytes-like object, got 'list'"}
    assert found["processor"][: len(PROCESSOR)] == [refused] * len(PROCESSOR)
    assert found["generate"] == [refused] * 2


@each_group
@pytest.mark.parametrize("name", ["plain", "text", "verbose", "in English", "prompt", "warm"])
def test_unpatched_every_transcription_is_a_500(run: Run, release: str, name: str) -> None:
    found = run(release)["endpoint"][name]
    has(found, error("Internal server error: expected string or bytes-like object, got 'list'"))
    assert found["log"] == ["Error in request: expected string or bytes-like object, got 'list'"]
    assert found["sent"]["text"] == ""


@each_group
@pytest.mark.parametrize("defects", [(), (TOKEN_LIST,)])
def test_without_both_a_stream_ends_before_it_begins(run: Run, release: str, defects: tuple[str, ...]) -> None:
    """The headers are sent already, so the error becomes an empty 200."""
    for name in ("stream", "stream in English"):
        has(run(release, *defects)["endpoint"][name], {"status": 200, "type": "text/event-stream", "body": []})


@each_group
def test_patched_a_list_becomes_its_text(run: Run, release: str) -> None:
    found = run(release, TOKEN_LIST)
    texts = [PLACEHOLDER, f"{PLACEHOLDER}hi", f"hi{PLACEHOLDER}you", f"{PLACEHOLDER}ab"]
    assert found["processor"][: len(PROCESSOR)] == [
        {"text": text, "audio": AUDIO_TOKENS, "items": ["AUDIO"]} for text in texts
    ]
    assert found["generate"] == [{"text": text, "audio": AUDIO_TOKENS} for text in texts[1:3]]


@each_group
def test_token_list_text_and_requests_without_audio_are_as_before(run: Run, release: str) -> None:
    before, after = (run(release, *defects)["processor"][len(PROCESSOR) :] for defects in ((), (TOKEN_LIST,)))
    assert before == after
    assert [found["audio"] for found in before] == [AUDIO_TOKENS] * 3 + [0] * 2


@each_group
def test_with_the_token_list_alone_whispers_parameters_are_refused(run: Run, release: str) -> None:
    found = run(release, TOKEN_LIST)
    assert found["adapters"][MIMO] == "WhisperAdapter"
    said = "SamplingParams.__init__() got an unexpected" if release in PLAIN_CLASS else "Unexpected"
    for name, keyword in (("plain", "_detect_language"), ("in English", "language"), ("verbose in German", "language")):
        refused = found["endpoint"][name]
        has(refused, error(f"Internal server error: {said} keyword argument '{keyword}'"))
        assert refused["log"] == [f"Error in request: {said} keyword argument '{keyword}'"]


# The adapter


@each_group
def test_only_mimo_gets_another_adapter(run: Run, release: str) -> None:
    before, after = run(release, TOKEN_LIST)["adapters"], run(release, TOKEN_LIST, ADAPTER)["adapters"]
    assert after == before | {MIMO: "MiMoV2Adapter"}
    known = OTHERS if release not in WITHOUT_ASR else OTHERS | {ASR: "WhisperAdapter"}
    assert before == known | {MIMO: "WhisperAdapter"}


@each_group
def test_other_models_requests_and_answers_are_as_before(run: Run, release: str) -> None:
    before, after = (run(release, TOKEN_LIST, *more)["endpoint"] for more in ((), (ADAPTER,)))
    for name in NEIGHBOURS:
        assert after[name] == before[name]
        assert (after[name]["sent"]["text"] == "") == ("Qwen3" not in name)
    assert "".join(text for text, _ in after["Whisper, stream"]["body"][:-2]) == THINKING[-1]
    assert "".join(text for text, _ in after["Qwen3 ASR, stream"]["body"][:-2]) == f"{THOUGHT} hello you"
    if release not in WITHOUT_ASR:
        assert after["ASR"]["body"]["text"] == THINKING[-1]
        assert "".join(text for text, _ in after["ASR, stream"]["body"][:-2]) == THINKING[-1]


@each_end
def test_the_adapter_does_not_need_the_token_list(run: Run, release: str) -> None:
    alone, both = run(release, ADAPTER), run(release, TOKEN_LIST, ADAPTER)
    for name in ENDPOINT:
        assert alone["endpoint"][name] == both["endpoint"][name]
    assert alone["processor"] == run(release)["processor"]


@each_group
@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_formats_with_times_are_refused(run: Run, release: str, name: str) -> None:
    """By the route, patched or not; the model emits no times."""
    refused = {"error": {"message": "Only 'json', 'text', and 'verbose_json' formats supported"}}
    for defects in ((), (TOKEN_LIST, ADAPTER)):
        found = run(release, *defects)["endpoint"][name]
        has(found, {"status": 400, "body": refused})
        assert "sent" not in found


@each_release
class TestTranscribes:
    """Every release, with both patches."""

    @pytest.fixture
    def answers(self, run: Run, release: str) -> dict[str, Any]:
        found: dict[str, Any] = run(release, TOKEN_LIST, ADAPTER)["endpoint"]
        return found

    def test_json(self, answers: dict[str, Any]) -> None:
        body = {"text": "hello", "usage": {"type": "duration", "seconds": 2}}
        has(answers["plain"], {"status": 200, "type": "application/json", "body": body, "log": []})

    def test_text(self, answers: dict[str, Any]) -> None:
        has(answers["text"], {"status": 200, "type": "text/plain", "body": "hello"})

    @pytest.mark.parametrize(("name", "language"), [("verbose", None), ("verbose in German", "de")])
    def test_verbose_json(self, answers: dict[str, Any], name: str, language: str | None) -> None:
        body: dict[str, Any] = {
            "task": "transcribe",
            "language": language,
            "duration": 1.3,
            "text": "hello",
            "segments": [],
        }
        usage = {"type": "duration", "seconds": 2}
        has(answers[name], {"status": 200, "body": body | {"usage": usage}})

    @pytest.mark.parametrize(
        ("name", "instruction"),
        [
            ("plain", INSTRUCTION),
            ("stream", INSTRUCTION),
            ("in English", f"{INSTRUCTION} The language is english."),
            ("stream in English", f"{INSTRUCTION} The language is english."),
            ("verbose in German", f"{INSTRUCTION} The language is german."),
            ("in a language without a code", f"{INSTRUCTION} The language is Klingon."),
            (
                "prompt",
                f"{INSTRUCTION} Follow the names, spelling and style of this text, but do not repeat it:\nXiaomi, GB10",
            ),
        ],
    )
    def test_the_model_sees_a_chat_turn(self, answers: dict[str, Any], name: str, instruction: str) -> None:
        has(answers[name]["tokenized"], {"text": chat(instruction), "audio": AUDIO_TOKENS})

    def test_temperature(self, answers: dict[str, Any]) -> None:
        """0 is greedy: SGLang turns it into top_k 1."""
        has(answers["plain"]["tokenized"], {"temperature": 1.0, "top_k": 1})
        has(answers["warm"]["tokenized"], {"temperature": 0.5, "top_k": 1 << 30})

    @pytest.mark.parametrize(("name", "tokens"), [("plain", 448), ("long", 915), ("unreadable", 4096)])
    def test_length(self, answers: dict[str, Any], name: str, tokens: int) -> None:
        assert answers[name]["status"] == 200
        assert answers[name]["tokenized"]["max_new_tokens"] == tokens

    def test_long_audio_is_one_request(self, answers: dict[str, Any]) -> None:
        """61 s, twice Whisper's window; 6.25 tokens a second."""
        assert answers["long"]["body"] == {"text": "hello", "usage": {"type": "duration", "seconds": 61}}
        assert answers["long"]["tokenized"]["audio"] == 382

    def test_stream(self, answers: dict[str, Any]) -> None:
        body = [["hel", None], ["lo", None], [" you", None], [None, "stop"], "[DONE]"]
        has(answers["stream"], {"status": 200, "type": "text/event-stream", "body": body})

    def test_reasoning_is_no_transcript(self, answers: dict[str, Any]) -> None:
        assert answers["thinking"]["body"]["text"] == "hello you"
        assert answers["unfinished thinking"]["body"]["text"] == ""
        streamed = answers["thinking, stream"]["body"]
        assert streamed == [["hello", None], [" you\n", None], [None, "stop"], "[DONE]"]

    def test_a_model_without_audio_refuses(self, answers: dict[str, Any]) -> None:
        has(answers["text-only model"], {"status": 400})
        assert answers["text-only model"]["body"]["message"] == "This model does not support audio input."
        assert "sent" not in answers["text-only model"]
