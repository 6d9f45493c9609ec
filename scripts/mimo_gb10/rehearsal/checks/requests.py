"""The requests of which a stress is mixed: one kind a function, each seeded."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.rehearsal.checks.generate import generate, refuses_logprobs
from mimo_gb10.rehearsal.checks.greedy import prompt
from mimo_gb10.smoke import media
from mimo_gb10.smoke.chat import CHAT, ask_stream, request, text_part, url_part
from mimo_gb10.smoke.client import Answer, Client, Failure

WORDS = "grey boat lamp harbour quiet seven carried across winter letter stove radio frost window ship".split()

Made = tuple[str, str, int]
"""The status, an error message or an empty string, and how many log probabilities are no numbers."""


@dataclass(frozen=True)
class Request:
    """One request to make.

    Attributes:
        kind: A name in `KINDS`.
        chooser: What its sizes are drawn from.
        model: The model's name.
        salt: Unlike that of any other request.
    """

    kind: str
    chooser: random.Random
    model: str
    salt: str

    def text(self, words: int) -> str:
        """A text of so many words that no other request has."""
        return f"Note {self.salt}. " + " ".join(self.chooser.choices(WORDS, k=words))


@dataclass(frozen=True)
class Kind:
    """One kind of request.

    Attributes:
        make: Makes it.
        weight: How often it comes, beside the others.
        probe: Whether it is a health probe.
    """

    make: Callable[[Client, Request], Made]
    weight: int
    probe: bool = False


def make(client: Client, asked: Request) -> Made:
    """Make a request.

    Raises:
        Failure: If no answer came.
    """
    return KINDS[asked.kind].make(client, asked)


def _plain(client: Client, asked: Request, length: int, count: int, temperature: float = 0.0) -> Made:
    """A ``/generate``, a third of them with log probabilities."""
    ids = prompt(length, seed=asked.chooser.randrange(1, 1 << 30))
    wanted = asked.chooser.random() < 1 / 3
    try:
        answer = generate(client, ids, count, logprobs=wanted, temperature=temperature)
    except Failure as problem:
        if wanted and refuses_logprobs(problem):
            answer = generate(client, ids, count, logprobs=False, temperature=temperature)
        else:
            return _failed(problem)
    return "200", "", answer.bad


def _failed(problem: Failure) -> Made:
    """An answer with another status as such; what is no answer stays a failure."""
    if problem.kind != "status":
        raise problem
    text = "; ".join((problem.says, *problem.evidence))
    return problem.says.split()[1], text[:200], 0


def _status(answer: Answer) -> Made:
    return str(answer.status), "" if answer.status == 200 else answer.excerpt()[:200], 0


def _one(client: Client, asked: Request) -> Made:
    """One token of prompt: the shortest prefill, where a window buffer of the last request would show."""
    return _plain(client, asked, 1, asked.chooser.randint(1, 48))


def _short(client: Client, asked: Request) -> Made:
    return _plain(client, asked, asked.chooser.randint(2, 200), asked.chooser.randint(1, 64))


def _long(client: Client, asked: Request) -> Made:
    return _plain(client, asked, asked.chooser.randint(2000, 9000), asked.chooser.randint(1, 32))


def _sampled(client: Client, asked: Request) -> Made:
    length, temperature = asked.chooser.randint(1, 400), asked.chooser.choice((0.3, 0.7, 1.2))
    return _plain(client, asked, length, asked.chooser.randint(8, 64), temperature)


def _chat_body(asked: Request, content: Any, **more: Any) -> dict[str, Any]:
    return request(asked.model, content, max_tokens=asked.chooser.randint(1, 32), **more)


def _chat(client: Client, asked: Request) -> Made:
    return _status(client.post(CHAT, _chat_body(asked, asked.text(asked.chooser.randint(1, 120)))))


def _stream(client: Client, asked: Request) -> Made:
    try:
        ask_stream(client, _chat_body(asked, asked.text(40), ignore_eos=True))
    except Failure as problem:
        return _failed(problem)
    return "200", "", 0


def _aborted(client: Client, asked: Request) -> Made:
    """A stream that its client leaves in the middle, now and then by a reset."""
    body = request(asked.model, asked.text(60), max_tokens=512, ignore_eos=True, stream=True)
    refused = leave(client, CHAT, body, asked.chooser.randint(1, 6), reset=asked.chooser.random() < 0.5)
    return refused or ("aborted", "", 0)


def _tools(client: Client, asked: Request) -> Made:
    """A tool call that must come: what is generated is held to a grammar."""
    properties = {"city": {"type": "string", "enum": ["Lisbon", "Oslo"]}}
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    function = {"name": "get_weather", "description": "The weather.", "parameters": parameters}
    tools = [{"type": "function", "function": function}]
    body = request(asked.model, asked.text(8), max_tokens=96, tools=tools, tool_choice="required")
    return _status(client.post(CHAT, body))


def _shown(client: Client, asked: Request, kind: str, *names: str) -> Made:
    parts = [url_part(kind, media.data_uri(name)) for name in names]
    return _status(client.post(CHAT, _chat_body(asked, [*parts, text_part(asked.text(6))])))


def _image(client: Client, asked: Request) -> Made:
    names = asked.chooser.choice(((media.SHAPES,), (media.CROSS,), (media.SHAPES, media.CROSS)))
    return _shown(client, asked, "image", *names)


def _audio(client: Client, asked: Request) -> Made:
    return _shown(client, asked, "audio", asked.chooser.choice((media.WAV, media.MP3, media.FLAC)))


def _video(client: Client, asked: Request) -> Made:
    return _shown(client, asked, "video", media.CLIP)


def _transcription(client: Client, asked: Request) -> Made:
    name = asked.chooser.choice((media.WAV, media.MP3, media.FLAC))
    fields = {"model": asked.model, "language": "en"}
    return _status(client.upload("/v1/audio/transcriptions", fields, name, media.content(name), media.media_type(name)))


def _health(client: Client, asked: Request) -> Made:
    return _status(client.get("/health"))


def _health_generate(client: Client, asked: Request) -> Made:
    return _status(client.get("/health_generate"))


KINDS: Mapping[str, Kind] = {
    "one-token": Kind(_one, 6),
    "short": Kind(_short, 6),
    "long": Kind(_long, 2),
    "sampled": Kind(_sampled, 3),
    "chat": Kind(_chat, 4),
    "stream": Kind(_stream, 3),
    "aborted": Kind(_aborted, 3),
    "tools": Kind(_tools, 2),
    "image": Kind(_image, 3),
    "audio": Kind(_audio, 3),
    "video": Kind(_video, 1),
    "transcription": Kind(_transcription, 1),
    "health": Kind(_health, 2, probe=True),
    "health-generate": Kind(_health_generate, 1, probe=True),
}
"""What the mix is made of, by name."""


def leave(client: Client, path: str, body: Mapping[str, Any], lines: int, *, reset: bool) -> Made | None:
    """Begin a stream, read some lines of it, and go away.

    Args:
        client: The server. Its key, if it has one, is not sent: a rehearsal's server has none.
        path: The path.
        body: Of the request; it asks for a stream.
        lines: How many to read before.
        reset: Whether the connection is reset instead of closed.

    Returns:
        What another status says; None if the stream began and was left.

    Raises:
        Failure: If no stream came, or it ended first.
    """
    target = client.target
    connection = http.client.HTTPConnection(target.host, target.port, timeout=client.timeout)
    try:
        connection.request("POST", target.prefix + path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            seen = response.read(200).decode(errors="replace")
            return str(response.status), f"HTTP {response.status}: {seen}", 0
        for _ in range(lines):
            if not response.readline(65536):
                raise Failure("cut", "the stream ended before it could be left")
        sock = connection.sock
        if reset and sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        response.close()
        return None
    except TimeoutError:
        raise Failure("timeout", f"no stream within {client.timeout:g} s") from None
    except (OSError, http.client.HTTPException) as problem:
        raise Failure("cut", f"the connection broke before the stream was left: {problem!r}") from None
    finally:
        connection.close()
