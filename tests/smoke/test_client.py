from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimo_gb10.smoke.chat import CHAT, ask, ask_stream, read_stream, request
from mimo_gb10.smoke.client import MAX_BYTES, Client, Failure, Stream, form, parse_json, parse_url, shorten
from mimo_gb10.smoke.sse import data_of_events
from tests.smoke.server import read_form, serve
from tests.smoke.support import client_of

BODY = request("m", "What is 1 + 1?", max_tokens=8)


# --- addresses


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://head:30000", "http://head:30000"),
        ("head:30000", "http://head:30000"),
        ("http://head", "http://head:80"),
        ("https://head/", "https://head:443"),
        ("http://head:30000/v1", "http://head:30000"),
        ("http://head:30000/v1/", "http://head:30000"),
        ("http://head:1/llm", "http://head:1/llm"),
        ("http://[fd00::1]:30000", "http://[fd00::1]:30000"),
    ],
)
def test_addresses(given: str, url: str) -> None:
    assert parse_url(given).url == url


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ftp://head", "not http"),
        ("http://user:secret@head:30000", "process lists"),
        ("http://", "look like"),
        ("http://head:30000?key=1", "look like"),
        ("http://head:99999", "Port"),
        ("http://he ad:1", "look like"),
        ("http://head:30000/a\nb", "look like"),
        ("", "look like"),
    ],
)
def test_no_addresses(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_url(given)


# --- events


def test_events() -> None:
    lines = [b": hello\n", b"\n", b"data: one\n", b"\n", b"event: x\n", b"data:two\r\n", b"data:  three\n", b"\r\n"]
    assert list(data_of_events(lines)) == ["one", "two\n three"]


@pytest.mark.parametrize("lines", [[b"data: one"], [b"data: one\n"], [b"data: one\n", b"data: tw"], []])
def test_an_event_that_is_cut_off_is_none(lines: list[bytes]) -> None:
    assert list(data_of_events(lines)) == []


@given(st.lists(st.binary()))
def test_any_bytes_can_be_read(lines: list[bytes]) -> None:
    assert all(isinstance(event, str) for event in data_of_events(lines))


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=9), max_size=9))
def test_what_is_sent_is_read(values: list[str]) -> None:
    sent = "".join(f"data: {value}\n\n" for value in values).encode().splitlines(keepends=True)
    # str.splitlines knows more line ends than the protocol does; bytes.splitlines knows the same.
    assert list(data_of_events(sent)) == values


# --- faults


def _kind(client: Client, *, stream: bool) -> str:
    with pytest.raises(Failure) as found:
        (ask_stream if stream else ask)(client, BODY)
    assert found.value.says
    return found.value.kind


@pytest.mark.parametrize(
    ("fault", "whole", "streamed"),
    [
        ("all-500", "status", "status"),
        ("hang", "timeout", "timeout"),
        ("drip", "timeout", "timeout"),
        ("huge", "too-large", "too-large"),
        ("not-http", "not-http", "not-http"),
        ("wrong-type", "content-type", "content-type"),
        ("short", "cut", None),
        ("reset-mid-stream", None, "cut"),
        ("truncated-stream", None, "cut"),
        ("no-done", None, "cut"),
        ("error-in-stream", None, "server-error"),
    ],
)
def test_faults_have_names(fault: str, whole: str | None, streamed: str | None) -> None:
    with serve(fault) as server:
        client = client_of(server, timeout=0.5)
        if whole:
            assert _kind(client, stream=False) == whole
        if streamed:
            assert _kind(client, stream=True) == streamed


def test_a_server_that_drips_is_not_waited_for() -> None:
    with serve("drip") as server:
        start = time.monotonic()
        assert _kind(client_of(server, timeout=0.4), stream=False) == "timeout"
    assert time.monotonic() - start < 2


def test_ten_megabytes_are_not_read_to_the_end() -> None:
    with serve("huge") as server, pytest.raises(Failure, match="larger than 8 MiB"):
        client_of(server).get("/v1/models")
    assert MAX_BYTES < 10 * 1024 * 1024


def test_nothing_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert _kind(Client(parse_url(f"http://127.0.0.1:{port}")), stream=False) == "refused"


def test_a_name_that_is_unknown() -> None:
    assert _kind(Client(parse_url("http://no-such-host.invalid:1")), stream=False) == "unresolved"


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_a_port_that_says_nothing(silent: int) -> None:
    assert _kind(Client(parse_url(f"http://127.0.0.1:{silent}"), timeout=0.3), stream=True) == "timeout"


def test_tls_where_there_is_none() -> None:
    with serve() as server:
        client = Client(parse_url(server.url.replace("http:", "https:")), timeout=1)
        assert _kind(client, stream=False) in ("tls", "cut")


def test_a_thread_is_not_left_behind() -> None:
    with serve() as server:
        client = client_of(server, timeout=60)
        before = threading.active_count()
        for _ in range(20):
            client.get("/v1/models")
        time.sleep(0.05)
        assert threading.active_count() <= before + 2


# --- answers


def test_a_key_is_sent_and_not_shown() -> None:
    with serve() as server:
        server.key = "sk-secret-1"
        assert client_of(server, key="sk-secret-1").get("/v1/models").status == 200
        refused = client_of(server, key="sk-other").get("/v1/models")
        assert refused.status == 401
        assert "sk-other" in refused.text
        assert "sk-other" not in client_of(server, key="sk-other").redacted(refused.excerpt())


def test_one_answer() -> None:
    with serve() as server:
        answer = ask(client_of(server), BODY)
    assert (answer.content, answer.finish, answer.total_tokens) == ("2", "stop", (answer.prompt_tokens or 0) + 1)


@pytest.mark.parametrize(
    "event",
    [
        1,
        None,
        [],
        {},
        {"object": "chat.completion.chunk", "choices": [1]},
        {"object": "chat.completion.chunk", "choices": [{"delta": 1}]},
        {"object": "chat.completion.chunk", "choices": [{"delta": {"content": 1}}]},
        {"object": "chat.completion.chunk", "choices": [{"delta": {"tool_calls": [{"function": {}}]}}]},
        {"object": "chat.completion.chunk", "choices": [{"delta": {"tool_calls": [1]}}]},
    ],
)
def test_a_stream_of_another_shape(event: object) -> None:
    with pytest.raises(Failure) as found:
        read_stream(Stream([(0.1, event)], done=True))
    assert found.value.kind == "shape"


def test_an_empty_stream() -> None:
    with pytest.raises(Failure, match="0 ids"):
        read_stream(Stream([], done=True))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "<html>", "{'a': 1}"])
def test_no_json(text: str) -> None:
    with pytest.raises(Failure) as found:
        parse_json(text)
    assert found.value.kind == "not-json"


def test_a_form_is_read_as_it_was_made() -> None:
    content = bytes(range(256)) * 3 + b"\r\n--x\r\n"
    body, content_type = form({"model": "m", "language": "en"}, "a.wav", content, "audio/wav")
    assert read_form(content_type, body) == ({"model": "m", "language": "en"}, "a.wav", content)


def test_excerpts_are_short() -> None:
    assert shorten("a  b\n c") == "a b c"
    assert len(shorten("x" * 1000)) == 300


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serve() as server:
        assert client_of(server).get("/v1/models").status == 200


def test_what_is_asked_for_is_utf8() -> None:
    with serve() as server:
        ask(client_of(server), request("m", "ünï", max_tokens=8))
    path, body = server.seen[-1][1:]
    assert path == CHAT
    assert body.isascii()
