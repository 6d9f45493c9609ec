"""Requests that are wrong: each gets a 4xx that says why, never a 500, and the server lives."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mimo_gb10.release import version_key
from mimo_gb10.smoke.chat import CHAT, request, text_part, url_part
from mimo_gb10.smoke.check import Check, Outcome, Session, fail, ok, skip, warn
from mimo_gb10.smoke.client import Answer, Failure, form

JSON = "application/json"
TRANSCRIPTIONS = "/v1/audio/transcriptions"


@dataclass(frozen=True)
class Bad:
    """One wrong request.

    Attributes:
        name: Kebab-case, without the ``bad-`` that its check gets.
        what: What is wrong with it.
        make: ``(method, path, body, content type)`` from the session; None where it cannot be made.
    """

    name: str
    what: str
    make: Callable[[Session], tuple[str, str, bytes | None, str | None] | None]


def _chat(**changes: Any) -> Callable[[Session], tuple[str, str, bytes | None, str | None]]:
    """A chat request with fields changed; None takes a field away."""

    def make(session: Session) -> tuple[str, str, bytes | None, str | None]:
        body = request(session.model, "Say yes.", max_tokens=8) | changes
        body = {key: value for key, value in body.items() if value is not None}
        return "POST", CHAT, json.dumps(body).encode(), JSON

    return make


def _raw(body: bytes, content_type: str) -> Callable[[Session], tuple[str, str, bytes | None, str | None]]:
    return lambda _: ("POST", CHAT, body, content_type)


def _parts(*parts: dict[str, Any]) -> Callable[[Session], tuple[str, str, bytes | None, str | None]]:
    return _chat(messages=[{"role": "user", "content": [*parts, text_part("What is this?")]}])


def _too_long(session: Session) -> tuple[str, str, bytes | None, str | None] | None:
    length = session.context_length
    return None if length is None else _chat(max_tokens=length + 1)(session)


def _form(name: str, content: bytes, **fields: str) -> Callable[[Session], tuple[str, str, bytes | None, str | None]]:
    def make(session: Session) -> tuple[str, str, bytes | None, str | None]:
        body, content_type = form({"model": session.model, **fields}, name, content, "audio/wav")
        return "POST", TRANSCRIPTIONS, body, content_type

    return make


_BROKEN_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "no-such-type"}}}
_BROKEN_FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no-such-type"}}}
_HEADER_ONLY = b"RIFF\x24\x00\x00\x00WAVE"

BAD = (
    Bad("json", "a body that is no JSON", _raw(b'{"model": "x", "messages": [', JSON)),
    Bad("type", "a content type that is not JSON", _raw(b"model=x", "application/x-www-form-urlencoded")),
    Bad("no-messages", "no messages at all", _chat(messages=None)),
    Bad("empty-messages", "an empty list of messages", _chat(messages=[])),
    Bad("role", "a role that does not exist", _chat(messages=[{"role": "wizard", "content": "hi"}])),
    Bad("part", "a content part of an unknown type", _parts({"type": "smell_url", "smell_url": {"url": "x"}})),
    Bad("max-tokens", "max_tokens below zero", _chat(max_tokens=-5)),
    Bad("too-long", "more tokens than the context holds", _too_long),
    Bad("temperature", "a negative temperature", _chat(temperature=-1)),
    Bad("top-p", "top_p above 1", _chat(top_p=1.5)),
    Bad("stream", "the same, streamed", _chat(temperature=-1, stream=True)),
    Bad("tool-choice", "a call required, and no tools", _chat(tool_choice="required", tools=[])),
    Bad("tool-schema", "a tool whose schema is none", _chat(tools=[_BROKEN_TOOL])),
    Bad("json-schema", "a response format whose schema is none", _chat(response_format=_BROKEN_FORM)),
    Bad("image", "a picture that is none", _parts(url_part("image", "data:image/png;base64,aGVsbG8="))),
    Bad("audio", "sound that is none", _parts(url_part("audio", "data:audio/wav;base64,aGVsbG8="))),
    Bad("video", "a video that is none", _parts(url_part("video", "data:video/mp4;base64,aGVsbG8="))),
    Bad("file", "a transcription of a broken file", _form("x.wav", _HEADER_ONLY)),
    Bad("empty-file", "a transcription of an empty file", _form("x.wav", b"")),
    Bad(
        "format", "a transcription as subtitles, which SGLang does not make", _form("x.wav", b"", response_format="srt")
    ),
    Bad("path", "a path that does not exist", lambda _: ("GET", "/v1/no-such-path", None, None)),
    Bad("model", "a model that is not served", lambda _: ("GET", "/v1/models/no-such-model", None, None)),
)


def refused(session: Session, bad: Bad) -> Outcome:
    """Make one wrong request, then ask for the health."""
    made = bad.make(session)
    if made is None:
        return skip("the server does not say its context length")
    method, path, body, content_type = made
    try:
        answer = session.client.request(method, path, body, content_type)
    except Failure as problem:
        if not problem.is_silence:
            raise
        return fail(f"no answer to {bad.what}: {problem.says}", *problem.evidence, help=_GONE)
    catalog = session.release
    outcome = judge(answer, bad.what, catalog.version if catalog else None)
    try:
        health = session.client.get("/health")
    except Failure as problem:
        return fail(f"the server is gone after {bad.what}: {problem.says}", answer.excerpt(), help=_GONE)
    if health.status != 200:
        return fail(f"/health is {health.status} after {bad.what}", answer.excerpt(), help=_GONE)
    return outcome


_GONE = "One wrong request ends the service for everybody: keep the port behind something that checks requests first."


def judge(answer: Answer, what: str, release: str | None) -> Outcome:
    """Whether an answer refuses a wrong request in the right way.

    Media that cannot be decoded are a RuntimeError in 0.5.11 and 0.5.12, which the server turns into a 500; from 0.5.13
    on they are a ValueError, and a 400 (``multimodal/processors/base_processor.py:545`` and ``:557``; read, not run).
    """
    if 400 <= answer.status < 500:
        if not answer.body.strip():
            return warn(f"HTTP {answer.status} without a reason", answer.excerpt())
        return ok(f"HTTP {answer.status}", answer.excerpt())
    if answer.status == 200 and answer.media_type == "text/event-stream" and '"error"' in answer.text:
        return warn("HTTP 200, and the error inside the stream", answer.excerpt())
    if answer.status == 500 and "Error while loading data" in answer.text and _is_before_0_5_13(release):
        return warn(f"HTTP 500 with the reason, as SGLang {release} does; 0.5.13 and later say 400", answer.excerpt())
    if answer.status >= 500:
        return fail(
            f"HTTP {answer.status} for {what}: that is the client's mistake, not the server's", answer.excerpt()
        )
    return fail(f"HTTP {answer.status} for {what}: it should be refused", answer.excerpt())


def _is_before_0_5_13(release: str | None) -> bool:
    return release is not None and version_key(release) < version_key("0.5.13")


CHECKS = tuple(Check(f"bad-{bad.name}", "refusals", bad.what, functools.partial(refused, bad=bad)) for bad in BAD)
