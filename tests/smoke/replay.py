"""A server that answers as a recording says, over real HTTP on loopback.

What it proves: that the smoke test still asks what was asked of a real server, and reads what that server answered as
it did then. What a changed request would be answered it cannot know; it says so (599), and the test fails.

    PYTHONPATH=scripts python -m tests.smoke.replay FILE...

runs the checks of each recording against it, shows which results differ from the recorded ones, and writes the new
ones into the file: for a change in the judging. For a change in the requests, record a real server anew:

    python scripts/smoke_test.py --url URL --record FILE
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import gzip
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mimo_gb10.recipe import Recipe
from mimo_gb10.smoke.catalog import ALL_CHECKS
from mimo_gb10.smoke.check import Session
from mimo_gb10.smoke.client import MAX_BYTES, Client, parse_url
from mimo_gb10.smoke.record import FORMAT, dump, fingerprint, masked, normalised, readable
from mimo_gb10.smoke.runner import run
from mimo_gb10.text.document import Document

UNKNOWN = 599
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it; `failure` is a kind of `Failure`, or an empty string."""

    check: str | None
    key: Key
    asked: str
    status: int | None
    headers: Mapping[str, str]
    body: bytes
    events: tuple[bytes, ...] | None
    failure: str
    says: str

    @property
    def is_bad(self) -> bool:
        return bool(self.failure) or (self.status or 0) >= 500


@dataclass(frozen=True)
class Recording:
    """A file as data."""

    about: Mapping[str, Any]
    run: Mapping[str, Any]
    exchanges: tuple[Exchange, ...]
    results: Mapping[str, Mapping[str, str]]
    lines: tuple[Any, ...] = field(repr=False)


def load(path: Path) -> Recording:
    """Read a recording that has results."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    # Not splitlines(): a recorded text may hold U+2028.
    head, *exchanges, last = lines = [json.loads(line) for line in text.split("\n") if line]
    assert head["recording"] == FORMAT, f"{path.name} has format {head['recording']}; record it anew"
    return Recording(head["about"], head["run"], tuple(map(_exchange, exchanges)), last["results"], tuple(lines))


def _exchange(line: Mapping[str, Any]) -> Exchange:
    failure = line.get("failure") or {}
    events = [event.encode() for event in line["events"]] if "events" in line else None
    body = base64.b64decode(line["base64"]) if "base64" in line else line.get("text", "").encode()
    return Exchange(
        check=line["check"],
        key=(line["method"], line["path"], line.get("sha256", fingerprint(b""))),
        asked=line.get("body", ""),
        status=line.get("status"),
        headers=line.get("headers", {}),
        body=body if events is None else b"".join(events),
        events=None if events is None else tuple(events),
        failure=failure.get("kind", ""),
        says=failure.get("says", ""),
    )


class Replay(ThreadingHTTPServer):
    """Answers each request with what was recorded for it, in order; the last answer to a request repeats.

    Attributes:
        unknown: What was asked and never recorded, a text each.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, recording: Recording) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.recording = recording
        self.unknown: list[str] = []
        self._lock = threading.Lock()
        self._answers: dict[Key, list[int]] = {}
        exchanges = recording.exchanges
        for number, exchange in enumerate(exchanges):
            queue = self._answers.setdefault(exchange.key, [])
            # How often a server that is stuck was polled is a matter of time; here time passes more quickly.
            if exchange.key[1] == "/health" and queue and exchange.is_bad:
                before = exchanges[queue[-1]]
                if (before.status, before.failure) == (exchange.status, exchange.failure):
                    continue
            queue.append(number)
        # From here on nothing listened any more.
        gone = len(exchanges)
        while gone and exchanges[gone - 1].failure == "refused":
            gone -= 1
        self._awaited = {
            number
            for queue in self._answers.values()
            for number in queue
            if number < gone and exchanges[number].check in recording.results
        }
        self._ends = gone < len(exchanges)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def timeout_of_client(self) -> float:
        """Seconds for one request; also for how long the runner asks whether a server lives.

        Where nobody waited then, nobody is to be hurried now. Where somebody did, little of it is enough.
        """
        exchanges = self.recording.exchanges
        health = [exchange for exchange in exchanges if exchange.key[1] == "/health"]
        stuck = bool(health) and health[-1].is_bad and not self._ends
        waited = stuck or any(exchange.failure == "timeout" for exchange in exchanges)
        return min(float(self.recording.run["timeout"]), 3.0) if waited else 60.0

    def next(self, key: Key) -> Exchange | None:
        """The answer to a request; None if it was never recorded."""
        with self._lock:
            queue = self._answers.get(key)
            if not queue:
                return None
            number = queue.pop(0) if len(queue) > 1 else queue[0]
            self._awaited.discard(number)
            over = self._ends and not self._awaited
            self._ends = self._ends and not over
        if over:
            # Before the answer goes out: what is asked next is to be refused.
            self.shutdown()
            self.socket.close()
        return self.recording.exchanges[number]

    def never_recorded(self, method: str, path: str, body: bytes) -> str:
        """Note a request that was never recorded; what to say of it."""
        text = f"{method} {path} was never recorded with this body"
        alike = [item for item in self.recording.exchanges if item.key[:2] == (method, path)]
        asked = readable(body)
        best = max(alike, key=lambda item: difflib.SequenceMatcher(None, item.asked, asked).quick_ratio(), default=None)
        if best is None:
            text = f"{method} {path} was never recorded"
        else:
            text += f"; the nearest is of {best.check}:\n{_difference(best.asked, asked)}"
        text += "\nWhere the requests changed on purpose, record a real server anew: smoke_test.py --record FILE"
        with self._lock:
            self.unknown.append(text)
        return text

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to report."""


def _difference(old: str, new: str) -> str:
    """Two bodies side by side, a JSON field a line."""
    then, now = _pretty(old).splitlines(), _pretty(new).splitlines()
    return "\n".join(difflib.unified_diff(then, now, "recorded", "asked now", n=1, lineterm=""))


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except ValueError:
        return text


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Replay

    def log_message(self, *_: Any) -> None:
        """Nothing; `Replay.unknown` has what matters."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = normalised(raw, self.headers.get("Content-Type"), {})
        exchange = self.server.next((method, self.path, fingerprint(body)))
        if exchange is not None:
            self._send(exchange)
        elif self.path == "/health":
            # It is asked only after a failure: then one happened here that did not happen there, and will be shown.
            self._whole(200, {}, b"")
        else:
            says = self.server.never_recorded(method, self.path, body)
            text = json.dumps({"error": {"message": says}}).encode()
            self._whole(UNKNOWN, {"content-type": "application/json"}, text)

    def _whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._head(status, {**headers, "content-length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status, "Not Recorded" if status == UNKNOWN else None)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, exchange: Exchange) -> None:
        match exchange.failure:
            case "" if exchange.events is None:
                self._whole(exchange.status or 0, exchange.headers, exchange.body)
            case "":
                self._events(exchange, ended=True)
            case "too-large":
                self._head(exchange.status or 0, {**exchange.headers, "content-length": str(MAX_BYTES + 1)})
                self.wfile.write(bytes(MAX_BYTES + 1))
            case "not-http":
                self.wfile.write(b"this is not HTTP\r\n\r\n")
                self.close_connection = True
            case "timeout":
                self._part(exchange)
                # Until the client has enough of it.
                self.connection.settimeout(60)
                self.rfile.read(1)
                self.close_connection = True
            case _:
                self._part(exchange)
                self.close_connection = True
                if exchange.failure != "cut" or "reset" in exchange.says:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()

    def _part(self, exchange: Exchange) -> None:
        """What had come before the answer broke off."""
        if exchange.status is None:
            return
        if "transfer-encoding" in exchange.headers or exchange.events is not None:
            self._events(exchange, ended=False)
        else:
            self._head(exchange.status, exchange.headers)
            self.wfile.write(exchange.body)

    def _events(self, exchange: Exchange, *, ended: bool) -> None:
        self._head(exchange.status or 0, {**exchange.headers, "transfer-encoding": "chunked"})
        for event in (exchange.body,) if exchange.events is None else exchange.events:
            if event:
                self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                self.wfile.flush()
        if ended:
            self.wfile.write(b"0\r\n\r\n")


@contextlib.contextmanager
def replay(recording: Recording) -> Iterator[Replay]:
    """A running server."""
    server = Replay(recording)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def session_of(recording: Recording, server: Replay) -> Session:
    """The session of then, with the server of now."""
    said = recording.run
    target = parse_url(server.url)
    return Session(
        Client(target, None, server.timeout_of_client),
        recipe=_recipe(said["recipe"]) if said["recipe"] else None,
        trained=said["profile"] == "full",
        streams=said["streams"],
        salt=said["salt"],
    )


def _recipe(said: Mapping[str, Any]) -> Recipe:
    unseen: Any = {"title": "", "summary": "", "nodes": 1, "env": {}, "defects": (), "why": {}, "evidence": ()}
    return Recipe(**said, **unseen, document=Document("recorded", {}))


def outcomes(recording: Recording, server: Replay) -> dict[str, dict[str, str]]:
    """What the checks of the recording come to now, in the shape of its results."""
    checks = [check for check in ALL_CHECKS if check.name in recording.results]
    session = session_of(recording, server)
    return {
        result.check.name: {
            "status": str(result.outcome.status),
            "says": masked(result.outcome.says, session.client.target),
        }
        for result in run(checks, session)
    }


def differences(recording: Recording, found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What came out otherwise than recorded, a line each; empty when nothing did."""
    lines = []
    for name, then in recording.results.items():
        now = found.get(name)
        if now is None:
            lines.append(f"{name}: there is no such check any more")
        elif now != then:
            lines.append(f"{name}: {then['status']}, {then['says']!r} then; {now['status']}, {now['says']!r} now")
    return lines


def main(names: list[str]) -> int:
    """Judge recordings anew; returns the exit code."""
    code = 0
    for path in map(Path, names):
        recording = load(path)
        with replay(recording) as server:
            found = outcomes(recording, server)
        if server.unknown:
            print(
                f"{path}: left as it is, {len(server.unknown)} requests were never recorded", *server.unknown, sep="\n"
            )
            code = 1
            continue
        lines = differences(recording, found)
        print(f"{path}: {len(lines)} results differ", *lines, sep="\n  ")
        if lines:
            dump(path, [*recording.lines[:-1], {"results": found}])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
