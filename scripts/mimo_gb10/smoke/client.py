"""HTTP to the server under test: one request, one answer, and a plain word for everything that can go wrong.

The standard library is enough: requests are small, and what matters here (when each event arrived, what a broken
answer looked like) is what a client library hides. That the `openai` library can make the same requests is a test of
its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from mimo_gb10.smoke.sse import data_of_events

MAX_BYTES = 8 * 1024 * 1024
"""The longest answer that is read. The longest that a check asks for has some hundred kB."""

_CHUNK = 65536
_EXCERPT = 300


class Failure(Exception):
    """A request that did not end in a usable answer.

    Attributes:
        kind: ``refused``, ``unresolved``, ``unreachable``, ``timeout``, ``cut``, ``too-large``, ``not-http``,
            ``tls``, ``status``, ``content-type``, ``not-json``, ``shape`` or ``server-error``.
        says: What happened, in one sentence.
        evidence: What was seen.
    """

    def __init__(self, kind: str, says: str, *evidence: str) -> None:
        self.kind = kind
        self.says = says
        self.evidence = evidence
        super().__init__(says)

    @property
    def is_silence(self) -> bool:
        """Whether the server may be gone or stuck: it gave no answer, or stopped in the middle."""
        return self.kind in ("refused", "unreachable", "timeout", "cut")


@dataclass(frozen=True)
class Answer:
    """A complete answer.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        body: The content.
        seconds: From sending the request to the last byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def media_type(self) -> str:
        """The content type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The body as text; a byte that is no UTF-8 reads as U+FFFD."""
        return self.body.decode("utf-8", errors="replace")

    def excerpt(self) -> str:
        """Status, type and the beginning of the body: evidence in one line."""
        return f"HTTP {self.status} {self.media_type or '(no type)'}: {shorten(self.text)}"

    def expect(self, status: int = 200) -> Answer:
        """The answer itself.

        Raises:
            Failure: If it has another status.
        """
        if self.status != status:
            raise Failure("status", f"HTTP {self.status} instead of {status}", self.excerpt())
        return self

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            Failure: If the type is not JSON, or the body does not parse.
        """
        if self.media_type != "application/json":
            raise Failure("content-type", f"content type {self.media_type or '(none)'}, not JSON", self.excerpt())
        return parse_json(self.text)


@dataclass
class Stream:
    """The events of a streamed answer, read as they arrive.

    Attributes:
        events: ``(seconds since the request, data)``, filled while it is read.
        done: Whether ``[DONE]`` ended it.
    """

    events: list[tuple[float, Any]] = field(default_factory=list)
    done: bool = False


def shorten(text: str, length: int = _EXCERPT) -> str:
    """`text` in one line of at most `length` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else f"{flat[: length - 4]} ..."


def parse_json(text: str) -> Any:
    """A JSON text as data.

    Raises:
        Failure: If it does not parse.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise Failure("not-json", f"the body is not JSON: {shorten(str(problem), 80)}", shorten(text)) from None


@dataclass(frozen=True)
class Target:
    """Where the server is.

    Attributes:
        url: As the user gave it, without a trailing slash.
        host: Host name or address.
        port: TCP port.
        prefix: Path before SGLang's own paths, or an empty string.
        tls: Whether it is https.
    """

    url: str
    host: str
    port: int
    prefix: str
    tls: bool


def parse_url(url: str) -> Target:
    """Read the address of a server.

    Raises:
        ValueError: If it is none, or holds a password.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{parts.scheme!r} is not http or https")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL is seen in process lists: put the key into SGLANG_API_KEY instead")
    if not parts.hostname or parts.query or parts.fragment or any(not ch.isprintable() or ch == " " for ch in url):
        raise ValueError("it must look like http://HOST:PORT")
    tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/")
    if prefix == "/v1":
        prefix = ""
    port = parts.port or (443 if tls else 80)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Target(f"{parts.scheme}://{host}:{port}{prefix}", parts.hostname, port, prefix, tls)


class Incoming(Protocol):
    """What is read of an answer that arrives: the part of `http.client.HTTPResponse` that is used here."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def length(self) -> int | None:
        """Bytes that are still to come, where the header said how many."""

    def getheaders(self) -> list[tuple[str, str]]:
        """Names and values."""

    def read(self, amt: int, /) -> bytes:
        """Up to `amt` bytes of the body; none at its end."""

    def readline(self, limit: int, /) -> bytes:
        """One line of the body with its end; none at its end."""


class Client:
    """Makes requests to one server.

    `_sent` is the one way to the wire; what wants to see every request and answer overrides it (`record`).

    Args:
        target: Where it is.
        key: The API key, or None. It is sent, and shown nowhere.
        timeout: Seconds that one request may take from the first byte sent to the last one read.
    """

    def __init__(self, target: Target, key: str | None = None, timeout: float = 180.0) -> None:
        self.target = target
        self.timeout = timeout
        self._key = key

    def redacted(self, text: str) -> str:
        """`text` without the key, should a server have sent it back."""
        return text.replace(self._key, "***") if self._key else text

    def get(self, path: str, timeout: float | None = None) -> Answer:
        """GET one path."""
        return self.request("GET", path, timeout=timeout)

    def post(self, path: str, body: Any, timeout: float | None = None) -> Answer:
        """POST a JSON body."""
        return self.request("POST", path, json.dumps(body).encode(), "application/json", timeout)

    def upload(self, path: str, fields: Mapping[str, str], name: str, content: bytes, media_type: str) -> Answer:
        """POST a form with one file."""
        body, content_type = form(fields, name, content, media_type)
        return self.request("POST", path, body, content_type)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """One request and its whole answer, whatever the status.

        Raises:
            Failure: If there is no complete answer within the time.
        """
        start = time.monotonic()
        with self._sent(method, path, body, content_type, timeout or self.timeout) as response:
            content = _read(response)
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, content, time.monotonic() - start)

    def stream(self, path: str, body: Any, *, upload: tuple[bytes, str] | None = None) -> Stream:
        """POST, and read the answer as server-sent events; `upload` is a form instead of a JSON body.

        Raises:
            Failure: If the answer is no stream of events, is cut off, or an event says that something failed.
        """
        data, content_type = upload or (json.dumps(body).encode(), "application/json")
        start = time.monotonic()
        found = Stream()
        with self._sent("POST", path, data, content_type, self.timeout) as response:
            headers = {name.lower(): value for name, value in response.getheaders()}
            media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status != 200 or media_type != "text/event-stream":
                answer = Answer(response.status, headers, _read(response), time.monotonic() - start)
                answer.expect()
                raise Failure("content-type", f"content type {media_type or '(none)'}, not an event stream",
                              answer.excerpt())  # fmt: skip
            for event in data_of_events(_lines(response)):
                if event == "[DONE]":
                    found.done = True
                    break
                value = parse_json(event)
                if isinstance(value, dict) and value.get("error"):
                    raise Failure("server-error", "an error came inside the stream", shorten(event))
                found.events.append((time.monotonic() - start, value))
        if not found.done:
            raise Failure("cut", f"the stream ended without [DONE], after {len(found.events)} events")
        return found

    @contextlib.contextmanager
    def _sent(
        self, method: str, path: str, body: bytes | None, content_type: str | None, timeout: float
    ) -> Iterator[Incoming]:
        """A response whose headers were read; what goes wrong until the end of the block becomes a `Failure`."""
        kind = http.client.HTTPSConnection if self.target.tls else http.client.HTTPConnection
        connection = kind(self.target.host, self.target.port, timeout=timeout)
        headers = {"Accept": "*/*", "Connection": "close"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        watch = _Watch(connection, timeout)
        try:
            connection.connect()
            with watch:
                connection.request(method, self.target.prefix + path, body, headers)
                yield connection.getresponse()
        except Failure:
            # A socket that the watch closed looks like many things; the cause is the time.
            if watch.fired:
                raise _timeout(timeout) from None
            raise
        except (OSError, http.client.HTTPException, ValueError) as problem:
            if watch.fired:
                raise _timeout(timeout) from None
            raise _failure(problem, self.target, timeout) from None
        finally:
            connection.close()


class _Watch:
    """Ends a connection after some time: a socket's own timeout starts anew with every byte that drips in."""

    def __init__(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        self.fired = False
        self._connection = connection
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True

    def _fire(self) -> None:
        self.fired = True
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _timeout(seconds: float) -> Failure:
    return Failure("timeout", f"no complete answer within {seconds:g} s")


def _failure(problem: Exception, target: Target, timeout: float) -> Failure:
    place = f"{target.host}:{target.port}"
    match problem:
        case TimeoutError():
            return _timeout(timeout)
        case ConnectionRefusedError():
            return Failure("refused", f"nothing listens on {place} (connection refused)")
        case socket.gaierror():
            return Failure("unresolved", f"the name {target.host!r} is unknown: {problem.strerror}")
        case ssl.SSLError():
            return Failure("tls", f"no TLS with {place}: {problem.reason or problem}")
        case http.client.IncompleteRead():
            return Failure("cut", f"the answer was cut off after {len(problem.partial)} bytes")
        case http.client.RemoteDisconnected() | ConnectionError():
            return Failure("cut", f"the connection broke before the answer was complete ({_reason(problem)})")
        case http.client.BadStatusLine() | http.client.HTTPException():
            return Failure("not-http", f"{place} does not answer in HTTP", shorten(repr(problem)))
        case OSError():
            return Failure("unreachable", f"{place} cannot be reached: {_reason(problem)}")
        case _:
            return Failure("not-http", f"{place} gave an answer that is not HTTP", shorten(repr(problem)))


def _reason(problem: Exception) -> str:
    return str(getattr(problem, "strerror", None) or str(problem) or type(problem).__name__)


def _read(response: Incoming) -> bytes:
    parts, size = [], 0
    while chunk := response.read(_CHUNK):
        parts.append(chunk)
        size += len(chunk)
        _limit(size)
    # With a Content-Length that promised more, read() returns less without a word.
    if response.length:
        raise Failure("cut", f"the answer was cut off: {response.length} of {size + response.length} bytes missing")
    return b"".join(parts)


def _lines(response: Incoming) -> Iterator[bytes]:
    size = 0
    while line := response.readline(MAX_BYTES + 1):
        size += len(line)
        _limit(size)
        yield line


def _limit(size: int) -> None:
    if size > MAX_BYTES:
        raise Failure(
            "too-large", f"the answer is larger than {MAX_BYTES // 1024 // 1024} MiB; it was not read further"
        )


def form(fields: Mapping[str, str], name: str, content: bytes, media_type: str) -> tuple[bytes, str]:
    """A ``multipart/form-data`` body with one file called ``file``, and its content type."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    parts.append(f"{head}Content-Type: {media_type}\r\n\r\n".encode() + content + f"\r\n--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"
