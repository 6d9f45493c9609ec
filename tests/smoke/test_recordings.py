"""Recordings: those of real servers are replayed against today's smoke test, and recording itself loses nothing."""

from __future__ import annotations

import functools
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.findings import Refused
from mimo_gb10.paths import ROOT
from mimo_gb10.smoke.catalog import ALL_CHECKS, select
from mimo_gb10.smoke.check import Check, Session, together
from mimo_gb10.smoke.checks import chat
from mimo_gb10.smoke.client import Client, Failure, parse_url
from mimo_gb10.smoke.record import Recorder, dump, masked, normalised, readable, split_events
from mimo_gb10.smoke.runner import Result, run
from tests.smoke import replay as replaying
from tests.smoke.replay import Recording, differences, load, outcomes, replay
from tests.smoke.server import StandIn, serve
from tests.smoke.support import recipe

FOLDER = Path(__file__).parent / "recordings"
FILES = sorted(FOLDER.glob("*.jsonl.gz"))
assert FILES, "there are recordings of real servers"
MTP = {"speculative_algorithm": "EAGLE", "speculative_num_draft_tokens": 4}


# --- real servers


@pytest.mark.parametrize("file", FILES, ids=[file.name.partition(".jsonl")[0] for file in FILES])
def test_a_real_server_is_judged_as_it_was(file: Path) -> None:
    recording = load(file)
    with replay(recording) as server:
        found = outcomes(recording, server)
    assert not server.unknown, "\n\n".join(server.unknown)
    changed = differences(recording, found)
    anew = f"PYTHONPATH=scripts python -m tests.smoke.replay {file.relative_to(ROOT)}"
    assert not changed, "\n".join((*changed, f"If the judging changed on purpose: {anew}"))


# --- recording the stand-in


def record(
    server: StandIn,
    path: Path,
    *only: str,
    key: str | None = None,
    timeout: float = 5.0,
    scrub: dict[str, str] | None = None,
    before: Callable[[Check], None] = lambda check: None,
    **session: Any,
) -> list[Result]:
    """Run checks against the stand-in, and record them."""
    trained = session.setdefault("trained", True)
    checks = select(only, (), "full" if trained else "structural")
    with Recorder(path, about={"made_by": "a test"}, scrub=scrub) as recorder:
        made = Session(recorder.client(parse_url(server.url), key, timeout), **session)

        def started(check: Check) -> None:
            recorder.started(check)
            before(check)

        results = list(run(checks, made, started))
        recorder.results(made, results)
    return results


def replayed(path: Path) -> tuple[Recording, dict[str, dict[str, str]], list[str]]:
    """The recording, what its checks come to in a replay, and what was asked and not recorded."""
    recording = load(path)
    with replay(recording) as server:
        return recording, outcomes(recording, server), server.unknown


def exchanges(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line][1:-1]


@pytest.mark.parametrize("trained", [True, False])
def test_every_check_comes_to_the_same_in_a_replay(tmp_path: Path, trained: bool) -> None:
    file = tmp_path / "new" / "run.jsonl.gz"
    with serve("rates", chunked_prefill_size=8192, **MTP) as server:
        server.untrained = not trained
        record(server, file, recipe=recipe(), trained=trained)
    recording, found, unknown = replayed(file)
    assert not unknown
    assert not differences(recording, found)
    assert list(found) == [check.name for check in ALL_CHECKS if trained or not check.trained]
    assert {"ok", "skip"} == {result["status"] for result in found.values()}
    assert (recording.about["release"], recording.about["made_by"]) == ("0.5.23", "a test")
    assert recording.run["profile"] == ("full" if trained else "structural")


FAULTS = [
    ("all-500", "chat-exact", "HTTP 500"),
    ("wrong-type", "chat-exact", "content type"),
    ("wrong-type", "chat-stream", "content type"),
    ("short", "chat-exact", "cut off"),
    ("reset-mid-stream", "chat-stream", "broke"),
    ("truncated-stream", "chat-stream", "without [DONE]"),
    ("error-in-stream", "chat-stream", "error came inside"),
    ("no-done", "chat-stream", "without [DONE]"),
    ("hang-chat", "chat-exact", "no complete answer within # s"),
    ("drip", "chat-exact", "no complete answer within # s"),
    ("huge", "chat-exact", "larger than"),
    ("token-list", "transcribe-json", "HTTP 500"),
    ("crossed", "concurrency", "7 of 8"),
    ("unstable", "chat-stable", "part after"),
    ("die-of-it", "bad-role", "/health is 503"),
    ("wrong-sum", "chat-exact", "388"),
]


@pytest.mark.parametrize(("fault", "check", "words"), FAULTS, ids=[f"{fault[1]}-{fault[0]}" for fault in FAULTS])
def test_a_fault_is_the_same_in_a_replay(tmp_path: Path, fault: str, check: str, words: str) -> None:
    file = tmp_path / "run.jsonl"
    with serve(fault) as server:
        record(server, file, check, "bad-path", timeout=1.0)
    recording, found, unknown = replayed(file)
    assert not unknown
    assert words in recording.results[check]["says"]
    assert found[check] == recording.results[check]
    # After it, too: a server that is gone stays gone, one that recovered is tested on.
    assert found["bad-path"]["status"] == recording.results["bad-path"]["status"]


def test_what_speaks_no_http_does_not_in_a_replay(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve("not-http") as server:
        record(server, file, "chat-exact", timeout=0.5)
    recording, found, _ = replayed(file)
    assert "does not answer in HTTP" in found["chat-exact"]["says"]
    assert not differences(recording, found)


def test_a_server_that_died_dies_in_the_replay(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:

        def before(check: Check) -> None:
            if check.name == "image":
                server.shutdown()
                server.server_close()

        record(server, file, "chat", "image", "audio", "bad-role", before=before)
    recording, found, unknown = replayed(file)
    assert exchanges(file)[-1]["failure"]["kind"] == "refused"
    assert "nothing listens on HOST:PORT" in found["image"]["says"]
    assert "the server is gone" in found["audio"]["says"]
    assert found["chat-stream"]["status"] == "ok"
    assert not unknown
    assert not differences(recording, found)


def test_a_stall_does_not_take_its_time_in_a_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.jsonl"
    pauses: list[float] = []
    monkeypatch.setattr("mimo_gb10.smoke.runner.time.sleep", pauses.append)
    with serve("wrong-sum") as server:
        server.health = [503] * 5
        record(server, file, "chat-exact", "chat-shape")
    assert [line["status"] for line in exchanges(file) if line["path"] == "/health"] == [503] * 5 + [200]
    assert len(pauses) == 5
    pauses.clear()
    recording, found, _ = replayed(file)
    assert len(pauses) == 1
    assert not differences(recording, found)
    assert found["chat-shape"]["status"] == "ok"


def test_the_same_request_gets_its_answers_in_order(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server, Recorder(file) as recorder:
        client = recorder.client(parse_url(server.url))
        session = Session(client)
        server.health = [200, 404, 200, 418]
        for _ in range(4):
            client.get("/health")
        recorder.results(session, [])
    with replay(load(file)) as again:
        client = Client(parse_url(again.url))
        assert [client.get("/health").status for _ in range(6)] == [200, 404, 200, 418, 418, 418]


# --- nothing lost, nothing invented


def test_a_stream_is_kept_byte_for_byte(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:
        record(server, file, "transcribe-stream")
    line = next(line for line in exchanges(file) if "events" in line)
    assert line["events"][-1] == "data: [DONE]\n\n"
    assert all(re.fullmatch(r"data: .*\n\n", event) for event in line["events"])
    recording = load(file)
    with replay(recording) as server_again:
        key = next(item.key for item in recording.exchanges if item.events)
        exchange = server_again.next(key)
    assert exchange is not None
    assert exchange.body == "".join(line["events"]).encode()


def test_what_came_before_a_chunked_answer_broke_off_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(head + b"5\r\n[1, 2\r\n9\r\n, 3")

        thread = threading.Thread(target=answer)
        thread.start()
        with Recorder(file) as recorder:
            client = recorder.client(parse_url(f"http://127.0.0.1:{listener.getsockname()[1]}"))
            with pytest.raises(Failure, match="cut off"):
                client.get("/server_info")
            recorder.results(Session(Client(client.target, timeout=0.1)), [])
        thread.join()
    # Whole chunks: http.client does not hand over the part of one.
    assert exchanges(file)[0]["text"] == "[1, 2"
    with replay(load(file)) as server, pytest.raises(Failure, match="cut off"):
        Client(parse_url(server.url)).get("/server_info")


@pytest.mark.parametrize("text", ["", "data: a\n\n", "data: a\r\n\r\ndata: b\r\n\r\n: c", "data: a\n\n\n\ndata: b\n"])
def test_events_are_cut_and_nothing_is_lost(text: str) -> None:
    assert "".join(split_events(text)) == text


def test_many_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve("rates") as server:
        record(server, file, "concurrency", "rate-many", streams=32)
    lines = exchanges(file)
    assert len({line["sha256"] for line in lines if "sha256" in line}) == 96
    recording, found, unknown = replayed(file)
    assert not unknown
    assert found["concurrency"]["says"].startswith("32 sums at once, all right")
    assert not differences(recording, found)


def test_a_changed_request_is_found_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:
        record(server, file, "chat-exact", "chat-stream")
    monkeypatch.setattr(chat, "QUESTION", "What is 17 * 24?")
    recording, found, unknown = replayed(file)
    assert len(unknown) == 1
    assert "the nearest is of chat-exact" in unknown[0]
    assert '-   "content": "What is 17 * 23? Answer with the number only."' in unknown[0]
    assert '+   "content": "What is 17 * 24?"' in unknown[0]
    assert "record a real server anew: smoke_test.py --record" in unknown[0]
    assert found["chat-exact"] == {"status": "fail", "says": "HTTP 599 instead of 200"}
    assert found["chat-stream"] == recording.results["chat-stream"]


def test_another_path_is_found_and_named(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:
        record(server, file, "health")
    with replay(load(file)) as server_again:
        answer = Client(parse_url(server_again.url)).get("/v2/models")
    assert answer.status == 599
    assert "GET /v2/models was never recorded" in answer.json()["error"]["message"]


def test_a_changed_verdict_is_found_and_can_be_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.jsonl.gz"
    with serve() as server:
        record(server, file, "chat-exact")
    before = load(file)
    lines = [*before.lines[:-1], {"results": {**before.results, "chat-exact": {"status": "ok", "says": "23 * 17"}}}]
    dump(file, lines)
    recording, found, _ = replayed(file)
    assert differences(recording, found) == ["chat-exact: ok, '23 * 17' then; ok, '17 * 23 = 391' now"]
    assert replaying.main([str(file)]) == 0
    assert "1 results differ" in capsys.readouterr().out
    assert load(file) == before


def test_judging_anew_does_not_hide_a_changed_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:
        record(server, file, "chat-exact")
    before = file.read_bytes()
    monkeypatch.setattr(chat, "QUESTION", "What is 17 * 24?")
    assert replaying.main([str(file)]) == 1
    assert file.read_bytes() == before


def test_a_check_that_is_gone_is_said(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:
        record(server, file, "health")
    recording = load(file)
    dump(file, [*recording.lines[:-1], {"results": {"old-check": {"status": "ok", "says": ""}}}])
    recording, found, _ = replayed(file)
    assert differences(recording, found) == ["old-check: there is no such check any more"]


# --- what is written


def test_no_key_is_written(tmp_path: Path) -> None:
    key = 'sk-very-"secret"-42'
    file = tmp_path / "run.jsonl"
    with serve(admin_api_key="another\\one", ssl_keyfile_password="third") as server:
        server.key = key
        record(server, file, "server", "chat-exact", key=key)
        denied = tmp_path / "denied.jsonl"
        # The stand-in sends back what it got.
        record(server, denied, "models", key="sk-not-it")
    text = file.read_text() + denied.read_text()
    for secret in ("very", "another", "third", "sk-not", "Bearer sk", "uthorization"):
        assert secret not in text
    recording, found, _ = replayed(file)
    assert recording.results["chat-exact"]["status"] == "ok"
    assert not differences(recording, found)


def test_texts_are_replaced_on_the_way_out_and_back(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:
        record(server, file, "server", "chat-exact", "transcribe-json", "bad-file", scrub={"mimo-v2.5": "some-model"})
    text = file.read_text()
    assert "mimo-v2.5" not in text
    assert '\\"model\\": \\"some-model\\"' in text
    recording, found, unknown = replayed(file)
    assert not unknown
    assert not differences(recording, found)
    assert recording.about["model"] == "some-model"


def test_media_and_long_texts_are_named_not_written(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:
        record(server, file, "image", "transcribe-json", "long-prompt")
    bodies = [line.get("body", "") for line in exchanges(file)]
    assert max(map(len, bodies)) < 2100
    assert any(re.search(r"data:image/png;base64,<2\d{3} characters, sha256 [0-9a-f]{64}>", body) for body in bodies)
    assert any(re.fullmatch(r"<\d+ bytes, sha256 [0-9a-f]{64}>", body) for body in bodies)
    assert any("characters more>" in body for body in bodies)
    # The beginning and the end are there, and what is unlike in the middle counts all the same.
    assert readable(b"a " * 1000) == "a " * 1000
    assert readable(b"a " * 1001) != readable(b"a " * 1002)


def test_a_form_is_the_same_whatever_its_boundary() -> None:
    bodies = [f"--{mark}\r\nx\r\n--{mark}--\r\n".encode() for mark in ("0a1b", "ffff")]
    kinds = [f"multipart/form-data; boundary={mark}" for mark in ("0a1b", "ffff")]
    one, other = (normalised(body, kind, {}) for body, kind in zip(bodies, kinds, strict=True))
    assert one == other == b"--BOUNDARY\r\nx\r\n--BOUNDARY--\r\n"
    assert normalised(b"ffff", "application/json", {}) == b"ffff"


def test_what_is_no_utf_8_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server, Recorder(file) as recorder:
        server.info = {"x": "\ud800"}
        client = recorder.client(parse_url(server.url))
        client.get("/server_info")
        recorder.results(Session(client), [])
    assert exchanges(file)[0]["text"] == '{"x": "\\ud800", "api_key": null}'


def test_only_durations_are_masked() -> None:
    target = parse_url("http://10.0.0.1:30000")
    says = "first token 12 ms, 45.1 tokens/s a stream, 90.3 together (2 streams), in 0.3 s; HTTP 200, 5 sums, MTP 3"
    assert masked(says, target) == (
        "first token # ms, # tokens/s a stream, # together (2 streams), in # s; HTTP 200, 5 sums, MTP 3"
    )
    assert masked("nothing listens on 10.0.0.1:30000", target) == "nothing listens on HOST:PORT"


def test_a_recording_is_the_same_bytes_whenever_it_is_written(tmp_path: Path) -> None:
    with serve() as server:
        record(server, tmp_path / "one.jsonl.gz", "health")
    lines = load(tmp_path / "one.jsonl.gz").lines
    dump(tmp_path / "two.jsonl.gz", lines)
    data = (tmp_path / "one.jsonl.gz").read_bytes()
    assert data == (tmp_path / "two.jsonl.gz").read_bytes()
    # gzip's own time (RFC 1952): none.
    assert data[4:8] == bytes(4)


def test_what_an_exception_ends_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Recorder(tmp_path / "run.jsonl"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_request_that_no_answer_was_waited_for_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server:
        with Recorder(file) as recorder:
            client = recorder.client(parse_url(server.url))
            recorder.begin("GET", "/lost", None, None)
            session = Session(client)
            recorder.results(session, [])
            client.get("/health")
        assert exchanges(file) == []


def test_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(Refused, match="cannot write"), Recorder(tmp_path / "folder.jsonl"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["folder.jsonl"]


def test_threads_lose_no_exchange(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with serve() as server, Recorder(file) as recorder:
        client = recorder.client(parse_url(server.url))
        answers = together([functools.partial(client.get, f"/path-{number}") for number in range(100)])
        recorder.results(Session(client), [])
    assert not [answer for answer in answers if isinstance(answer, Failure)]
    assert {line["path"] for line in exchanges(file)} == {f"/path-{number}" for number in range(100)}


# --- the command


def smoke(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "smoke_test.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)


def test_the_command_records(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl.gz"
    with serve("wrong-sum") as server:
        done = smoke("--url", server.url, "--only", "server,chat", "--recipe", "gb10x4-mtp", "--record", str(file))
    assert done.returncode == 1
    recording, found, unknown = replayed(file)
    assert not unknown
    assert not differences(recording, found)
    assert found["chat-exact"]["status"] == "fail"
    assert recording.run["recipe"]["name"] == "gb10x4-mtp"
    # Looking whether it is up at all is not part of the run.
    assert recording.exchanges[0].check == "health"


def test_the_command_cannot_write_the_recording(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with serve() as server:
        done = smoke("--url", server.url, "--only", "chat-exact", "--record", str(tmp_path / "file" / "x.jsonl"))
    assert done.returncode == 1
    assert "error[out-unwritable]" in done.stderr
    assert "ok    chat-exact" in done.stdout


def test_two_servers_are_not_recorded() -> None:
    done = smoke("--reference-url", "http://127.0.0.1:1", "--record", "x.jsonl")
    assert (done.returncode, "leave --reference-url out" in done.stderr) == (2, True)
