"""Second tier: the smoke test's requests and the stand-in's answers against SGLang's own definitions, and the same
requests made with the ``openai`` library."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.release import known_releases
from mimo_gb10.smoke import media
from mimo_gb10.smoke.chat import ChatAnswer, ask, ask_stream
from tests.smoke.server import completion, serve, stream_chunks
from tests.smoke.support import client_of, outcomes
from tests.support.trees import pristine
from tests.upstream.run import PYTHON

pytestmark = pytest.mark.upstream

CASES = Path(__file__).resolve().parent / "cases"
STAND_INS = Path(__file__).resolve().parents[1] / "upstream" / "stand_ins"


def run(case: str, *arguments: str, paths: tuple[Path, ...] = (), given: object = None) -> dict[str, Any]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SGL", "HF_", "PYTHON", "OPENAI"))}
    env |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [str(PYTHON), str(CASES / f"{case}.py"), *arguments],
        env=env, input=json.dumps(given), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def requests(release: str, *only: str, trained: bool = True) -> list[dict[str, Any]]:
    """The chat requests that the checks make to a server of that release."""
    with serve(version=release, speculative_algorithm="EAGLE") as server:
        outcomes(server, *only, trained=trained)
    return [json.loads(body) for _, path, body in server.seen if path == "/v1/chat/completions"]


def distinct(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One of each set of fields and kinds of content: many differ in the text alone."""
    found = {}
    for body in bodies:
        kinds = [
            part["type"] for item in body["messages"] if isinstance(item["content"], list) for part in item["content"]
        ]
        roles = [item["role"] for item in body["messages"]]
        found[json.dumps([sorted(body), kinds, roles])] = body
    return list(found.values())


GOOD = ("chat", "reasoning", "tools", "media", "load", "rates")


@pytest.mark.parametrize("release", known_releases())
def test_every_release_takes_the_requests(release: str) -> None:
    bodies = distinct(requests(release, *GOOD))
    assert len(bodies) > 12
    found = run("protocol", paths=(pristine(release), STAND_INS), given={"ChatCompletionRequest": bodies})
    wrong = [(body, said) for body, said in zip(bodies, found["ChatCompletionRequest"], strict=True) if said]
    assert not wrong


def test_a_misspelt_field_is_seen() -> None:
    bodies = [requests("0.5.23", "chat-shape")[0] | {"max_token": 3}, {"messages": 1}]
    found = run("protocol", paths=(pristine("0.5.23"), STAND_INS), given={"ChatCompletionRequest": bodies})
    first, second = found["ChatCompletionRequest"]
    assert "max_token" in first
    assert "messages" in second


def answers() -> dict[str, list[Any]]:
    """Answers of the stand-in, by SGLang's class for each."""
    found: dict[str, list[Any]] = {"ChatCompletionResponse": [], "ChatCompletionStreamResponse": []}
    from tests.smoke import brain
    from tests.smoke.server import limit

    for body in distinct(requests("0.5.23", *GOOD)):
        reply = brain.think(body, frozenset(), untrained=False)
        limit(body, reply, frozenset())
        if body.get("stream"):
            found["ChatCompletionStreamResponse"] += stream_chunks(body, reply, frozenset())
        else:
            logprobs: list[float | None] | None = [-0.1] if body.get("logprobs") else None
            found["ChatCompletionResponse"].append(completion(body, reply, logprobs))
    with serve() as server:
        client = client_of(server)
        found["ModelList"] = [client.get("/v1/models").json()]
        found["ErrorResponse"] = [client.get("/nothing").json()]
        for response_format, name in (
            ("json", "TranscriptionResponse"),
            ("verbose_json", "TranscriptionVerboseResponse"),
        ):
            fields = {"model": "m", "response_format": response_format}
            content = media.content(media.WAV)
            answer = client.upload("/v1/audio/transcriptions", fields, media.WAV, content, "audio/wav")
            found[name] = [answer.json()]
    return found


def test_the_stand_in_answers_as_sglang_defines_it() -> None:
    given = answers()
    assert all(given.values())
    found = run("protocol", paths=(pristine("0.5.23"), STAND_INS), given=given)
    wrong = {name: [said for said in problems if said] for name, problems in found.items()}
    assert not any(wrong.values()), wrong


def as_list(answer: ChatAnswer) -> list[Any]:
    calls = [[call.id, call.name, call.arguments] for call in answer.tool_calls]
    return [answer.content, answer.reasoning, calls, answer.finish, answer.total_tokens]


def test_the_openai_library_gets_the_same() -> None:
    bodies = [body for body in distinct(requests("0.5.23", *GOOD)) if body["max_tokens"] > 1]
    chat = [body for body in bodies if not body.get("stream")]
    stream = [
        {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
        for body in bodies if body.get("stream")
    ]  # fmt: skip
    assert len(chat) > 10
    assert len(stream) >= 3
    file = str(media.HERE / media.MP3)
    forms = [{"model": "m"}, {"model": "m", "response_format": "text"}]
    forms += [{"model": "m", "response_format": "verbose_json", "language": "en"}]
    plan = {"chat": chat, "stream": stream, "transcribe": [[file, form] for form in forms]}
    with serve() as server:
        found = run("openai_library", server.url, given=plan)
        client = client_of(server)
        assert found["chat"] == [as_list(ask(client, body)) for body in chat]
        assert found["stream"] == [as_list(ask_stream(client, body)) for body in stream]
    assert found["models"] == ["mimo-v2.5"]
    assert len(found["transcribe"]) == 3
    assert all("green boats" in text for text in found["transcribe"])
