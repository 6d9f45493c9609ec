"""Recording what a server was asked and what it answered, so that a run can be replayed without it.

A recording is JSON Lines, gzipped where its name ends in ``.gz``:

1. the head: ``{"recording": 1, "about": {...}, "run": {...}}``. ``about`` is for people; ``run`` is what a replay needs
   to make the same requests again (salt, profile, streams, timeout, recipe);
2. one line an exchange, in the order in which the requests were sent (`RecordingClient` has the fields);
3. the results: ``{"results": {check: {"status": ..., "says": ...}}}``, what a replay must come to. Durations in
   ``says`` are masked (`masked`).

Keys are not recorded: request headers but the content type are left out, and the key is masked in what came back.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from mimo_gb10.findings import Location, Refused, error
from mimo_gb10.recipe import Recipe
from mimo_gb10.smoke.check import Check, Session
from mimo_gb10.smoke.client import Client, Failure, Incoming, Target
from mimo_gb10.smoke.runner import Result

FORMAT = 1
EVENTS = "text/event-stream"

_KEPT_HEADERS = ("content-type", "allow", "location", "retry-after", "www-authenticate")
# What a cut answer promised; a whole one is sent anew with its own length.
_LENGTH_HEADERS = ("content-length", "transfer-encoding")

_BROKEN = {"refused", "unresolved", "unreachable", "timeout", "cut", "too-large", "not-http", "tls"}
"""Kinds of `Failure` that are about the connection. The others are a reader's opinion of an answer that came."""

_LONG_BASE64 = re.compile(r"[A-Za-z0-9+/]{400,}={0,2}")
_MOST_TEXT = 2000
_SECRET = re.compile(r'("[a-z_]*(?:api_key|password|hf_token|secret)"\s*:\s*)"(?:[^"\\]|\\.)*"')
_DURATION = re.compile(r"\d+(?:\.\d+)?(?= (?:s|ms|tokens/s|together)\b)|(?<=after )\d+(?= bytes)")


def masked(says: str, target: Target) -> str:
    """A sentence of a result without what differs from run to run: durations, rates and the server's address."""
    return _DURATION.sub("#", says.replace(f"{target.host}:{target.port}", "HOST:PORT"))


def normalised(body: bytes, content_type: str | None, scrub: Mapping[str, str]) -> bytes:
    """A request's body as it would be in every run: the random boundary of a form named, and old texts replaced."""
    found = re.search(r"boundary=([\w-]+)", content_type or "")
    if found:
        body = body.replace(found[1].encode(), b"BOUNDARY")
    for old, new in scrub.items():
        body = body.replace(old.encode(), new.encode())
    return body


def fingerprint(body: bytes) -> str:
    """The sha256 of a normalised body: with method and path, what a request is known by."""
    return hashlib.sha256(body).hexdigest()


def readable(body: bytes) -> str:
    """A normalised body for people: media and what is long are named by size and sha256."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"<{len(body)} bytes, sha256 {fingerprint(body)}>"
    text = _LONG_BASE64.sub(lambda at: f"<{len(at[0])} characters, sha256 {fingerprint(at[0].encode())}>", text)
    if len(text) <= _MOST_TEXT:
        return text
    return f"{text[: _MOST_TEXT // 2]}<{len(text) - _MOST_TEXT} characters more>{text[-_MOST_TEXT // 2 :]}"


class Recorder:
    """Collects the exchanges of its clients, and writes them whole when the block ends without an exception.

    Example:
        with Recorder(path, about={"patched": True}, scrub={folder: "/model"}) as recorder:
            session = Session(recorder.client(target, key, timeout), trained=False)
            results = list(run(checks, session, recorder.started))
            recorder.results(session, results)

    Args:
        path: The file; gzipped if its name ends in ``.gz``.
        about: What made it, for people. The time is added, and release and model where they are not given.
        scrub: Texts to replace in what is asked and in what comes back, old by new: a folder's name can be the model's.
    """

    def __init__(
        self, path: Path, *, about: Mapping[str, Any] | None = None, scrub: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.check: str | None = None
        self._about: dict[str, Any] = {"when": datetime.now(UTC).isoformat(timespec="seconds"), **(about or {})}
        self._scrub = dict(scrub or {})
        self._run: dict[str, Any] | None = None
        self._results: dict[str, Any] | None = None
        self._exchanges: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._over = False

    def client(self, target: Target, key: str | None = None, timeout: float = 180.0) -> Client:
        """A client whose exchanges are recorded. A recording is of one server: make one client."""
        return RecordingClient(self, target, key, timeout)

    def started(self, check: Check) -> None:
        """Name the check that the next exchanges belong to; for the runner to call."""
        self.check = check.name

    def results(self, session: Session, results: Sequence[Result]) -> None:
        """Note what the run came to, and what a replay needs to make the same requests. Nothing is recorded after."""
        with self._lock:
            self._over = True
        self._run = {
            "salt": session.salt,
            "profile": "full" if session.trained else "structural",
            "streams": session.streams,
            "timeout": session.client.timeout,
            "recipe": _recipe(session.recipe),
        }
        # A server that is gone is not asked again for what the caller knows.
        if "release" not in self._about:
            self._about["release"] = session.version
        if "model" not in self._about:
            self._about["model"] = self.clean(session.model, session.client)
        target = session.client.target
        self._results = {
            result.check.name: {
                "status": str(result.outcome.status),
                "says": masked(self.clean(result.outcome.says, session.client), target),
            }
            for result in results
        }

    @property
    def is_over(self) -> bool:
        """Whether the results are noted, after which nothing is recorded."""
        return self._over

    def clean(self, text: str, client: Client) -> str:
        """A text that came from the server, without secrets and scrubbed."""
        text = _SECRET.sub(r'\1"***"', client.redacted(text))
        for old, new in self._scrub.items():
            text = text.replace(old, new)
        return text

    def begin(self, method: str, path: str, body: bytes | None, content_type: str | None) -> dict[str, Any]:
        """Note that a request is sent; what is returned is to be filled, and counts once it has ``seconds``."""
        content = normalised(body or b"", content_type, self._scrub)
        found: dict[str, Any] = {"check": self.check, "method": method, "path": path}
        for old, new in self._scrub.items():
            found["path"] = found["path"].replace(old, new)
        if body is not None:
            kind = re.sub(r"boundary=[\w-]+", "boundary=BOUNDARY", content_type or "")
            found |= {"content_type": kind, "sha256": fingerprint(content), "body": readable(content)}
        with self._lock:
            if not self._over:
                self._exchanges.append(found)
        return found

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.write()

    def write(self) -> None:
        """Write the file, whole.

        Raises:
            Refused: If it cannot be written.
        """
        with self._lock:
            # Threads that an interrupted check left behind may still wait for an answer.
            exchanges = [exchange for exchange in self._exchanges if "seconds" in exchange]
        lines: list[Any] = [{"recording": FORMAT, "about": self._about, "run": self._run}, *exchanges]
        if self._results is not None:
            lines.append({"results": self._results})
        dump(self.path, lines)


class RecordingClient(Client):
    """A client that notes each exchange in its recorder.

    The fields of an exchange: ``check``, ``method``, ``path``, ``content_type``, ``sha256`` and ``body`` of the request
    (the last for people); ``status``, ``headers`` and one of ``text``, ``events`` (those of a stream in order, each
    with its blank line) and ``base64`` (bytes that are no UTF-8) of the answer; ``seconds``; and ``failure`` where no
    complete answer came, beside whatever did come.
    """

    def __init__(self, recorder: Recorder, target: Target, key: str | None, timeout: float) -> None:
        super().__init__(target, key, timeout)
        self._recorder = recorder

    @contextlib.contextmanager
    def _sent(
        self, method: str, path: str, body: bytes | None, content_type: str | None, timeout: float
    ) -> Iterator[Incoming]:
        found = self._recorder.begin(method, path, body, content_type)
        start = time.monotonic()
        tee: _Tee | None = None
        try:
            with super()._sent(method, path, body, content_type, timeout) as response:
                tee = _Tee(response)
                yield tee
        except Failure as problem:
            broken = problem if problem.kind in _BROKEN else None
            self._fill(found, tee, broken, time.monotonic() - start)
            raise
        self._fill(found, tee, None, time.monotonic() - start)

    def _fill(self, found: dict[str, Any], tee: _Tee | None, broken: Failure | None, seconds: float) -> None:
        if tee is not None:
            headers = {name.lower(): value for name, value in tee.getheaders()}
            kept = _KEPT_HEADERS + (_LENGTH_HEADERS if broken else ())
            found["status"] = tee.status
            found["headers"] = {name: self._clean(headers[name]) for name in kept if name in headers}
            if not broken or broken.kind != "too-large":
                found |= self._content(bytes(tee.seen), headers.get("content-type", ""))
        if broken is not None:
            found["failure"] = {"kind": broken.kind, "says": self._clean(broken.says)}
        # Last: only now the exchange counts.
        found["seconds"] = round(seconds, 3)

    def _content(self, raw: bytes, content_type: str) -> dict[str, Any]:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(raw).decode()}
        if content_type.partition(";")[0].strip().lower() == EVENTS:
            return {"events": [self._clean(event) for event in split_events(text)]}
        return {"text": self._clean(text)}

    def _clean(self, text: str) -> str:
        return self._recorder.clean(text, self)


class _Tee:
    """A response that keeps what is read of it."""

    def __init__(self, response: Incoming) -> None:
        self.seen = bytearray()
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def length(self) -> int | None:
        return self._response.length

    def getheaders(self) -> list[tuple[str, str]]:
        return self._response.getheaders()

    def read(self, amt: int, /) -> bytes:
        try:
            data = self._response.read(amt)
        except http.client.IncompleteRead as problem:
            self.seen += problem.partial
            raise
        self.seen += data
        return data

    def readline(self, limit: int, /) -> bytes:
        line = self._response.readline(limit)
        self.seen += line
        return line


def split_events(text: str) -> list[str]:
    """The events of a stream, each with the blank line that ends it; joined, they are the text again."""
    return re.findall(r".+?(?:\r?\n\r?\n|\Z)", text, re.DOTALL)


def _recipe(recipe: Recipe | None) -> dict[str, Any] | None:
    """What checks look at; a recipe that changes later must not change what a recording is compared with."""
    if recipe is None:
        return None
    names = ("name", "model", "sglang", "image")
    return {name: getattr(recipe, name) for name in names} | {"flags": dict(recipe.flags)}


def dump(path: Path, lines: Sequence[Any]) -> None:
    """Write JSON Lines, gzipped where the name ends in ``.gz``, whole.

    Raises:
        Refused: If it cannot be written.
    """
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    # A lone surrogate stands in no UTF-8; inside JSON its escape says the same.
    data = text.encode("utf-8", errors="backslashreplace")
    if path.suffix == ".gz":
        packed = io.BytesIO()
        # No name and no time inside: the same exchanges are the same bytes.
        with gzip.GzipFile("", "wb", 9, packed, mtime=0) as stream:
            stream.write(data)
        data = packed.getvalue()
    _write_whole(path, data)


def _write_whole(path: Path, data: bytes) -> None:
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as problem:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        reason = problem.strerror or type(problem).__name__
        remedy = "Name a file in a folder that you can write to."
        place = Location(str(path))
        raise Refused([error("out-unwritable", f"cannot write {str(path)!r}: {reason}", remedy, place)]) from None
