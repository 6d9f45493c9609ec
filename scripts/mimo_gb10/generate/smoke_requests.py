"""The requests that the smoke test makes, as curl commands and as Python.

The checks themselves are run, against a client that writes their first request down instead of sending it. So a page
cannot show a request that the smoke test does not make.
"""

from __future__ import annotations

import email
import functools
import json
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.launch import check
from mimo_gb10.smoke import media
from mimo_gb10.smoke.check import Outcome, Session
from mimo_gb10.smoke.client import Answer, Client, Failure, Stream, parse_url
from mimo_gb10.text.shell import quote

FILES = (media.SHAPES, media.CROSS, media.WAV, media.FLAC, media.MP3, media.CLIP)

_WIDTH, _INDENT = 84, "    "


@dataclass(frozen=True, slots=True)
class Server:
    """The server that examples are for: the default recipe's on the example cluster.

    Attributes:
        url: Its address.
        model: The name under which it serves.
    """

    url: str
    model: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        path: Of the endpoint.
        body: The JSON body, or None for a form.
        fields: The form's fields without the file.
        file: Name of the form's file, or an empty string.
        media_type: Its media type.
    """

    path: str
    body: Mapping[str, Any] | None
    fields: Mapping[str, str]
    file: str
    media_type: str


@functools.cache
def server() -> Server:
    """The server of the examples."""
    plan = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).plan()
    argv = plan.ranks[0].argv
    port = argv[argv.index("--port") + 1]
    name = argv[argv.index("--served-model-name") + 1] if "--served-model-name" in argv else plan.model_path
    return Server(f"http://{plan.ranks[0].address}:{port}", name)


class _Made(Exception):
    """Not an error: the request that a check was about to make."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.path)
        self.request = request


class _Notebook(Client):
    """A client that sends nothing."""

    def get(self, path: str, timeout: float | None = None) -> Answer:
        if path != "/v1/models":
            raise Failure("refused", "nothing is asked here")
        body = json.dumps({"data": [{"id": server().model}]}).encode()
        return Answer(200, {"content-type": "application/json"}, body, 0.0)

    def post(self, path: str, body: Any, timeout: float | None = None) -> Answer:
        raise _Made(Request(path, body, {}, "", ""))

    def upload(self, path: str, fields: Mapping[str, str], name: str, content: bytes, media_type: str) -> Answer:
        raise _Made(Request(path, None, fields, name, media_type))

    def stream(self, path: str, body: Any, *, upload: tuple[bytes, str] | None = None) -> Stream:
        raise _Made(Request(path, body, {}, "", "") if upload is None else _form_request(path, *upload))


def _form_request(path: str, body: bytes, content_type: str) -> Request:
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields, file, media_type = {}, "", ""
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename():
            file, media_type = str(part.get_filename()), part.get_content_type()
        elif name:
            fields[str(name)] = str(part.get_payload())
    return Request(path, None, fields, file, media_type)


def request_of(run: Callable[[Session], Outcome]) -> Request:
    """The first request of a check.

    Raises:
        ValueError: If the check makes none.
    """
    try:
        run(Session(_Notebook(parse_url(server().url))))
    except _Made as made:
        return made.request
    raise ValueError(f"{run} makes no request")


def curl(request: Request) -> str:
    """The request as a curl command, to be run where the media files are."""
    url = quote(server().url + request.path)
    if request.body is None:
        parts = [f"-F {quote(f'file=@{request.file};type={request.media_type}')}"]
        parts += [f"-F {quote(f'{name}={value}')}" for name, value in request.fields.items()]
        return " \\\n  ".join([f"curl -sS {url}", *parts]) + "\n"
    body = _json(request.body, 0)
    if any(char in json.dumps(request.body, ensure_ascii=False) for char in "$`\\"):
        raise ValueError("the shell would read something in the body of the request")
    return f"curl -sS {url} -H 'Content-Type: application/json' -d @- <<EOF\n{body}\nEOF\n"


def python_chat(request: Request) -> str:
    """A chat request through OpenAI's library."""
    assert request.body is not None
    known = {"model", "messages", "max_tokens", "temperature"}
    given = {name: value for name, value in request.body.items() if name in known}
    extra = {name: value for name, value in request.body.items() if name not in known}
    arguments = given | ({"extra_body": extra} if extra else {})
    lines = "".join(f"    {name}={_literal(value, 1)},\n" for name, value in arguments.items())
    return f"answer = client.chat.completions.create(\n{lines})\nprint(answer.choices[0].message.content)\n"


def python_transcription(request: Request) -> str:
    """A transcription through OpenAI's library."""
    # The library wants a number where a form has text.
    values = {name: float(value) if name == "temperature" else value for name, value in request.fields.items()}
    lines = "".join(f"        {name}={_literal(value, 2)},\n" for name, value in values.items())
    call = f"    transcript = client.audio.transcriptions.create(\n        file=file,\n{lines}    )\n"
    return f'with open("{request.file}", "rb") as file:\n{call}print(transcript.text)\n'


def python_head() -> str:
    """What both need."""
    return textwrap.dedent(f'''\
        import base64
        from pathlib import Path

        from openai import OpenAI

        client = OpenAI(base_url="{server().url}/v1", api_key="none")


        def data_url(name, media_type):
            """The file as an address, so that the server fetches nothing."""
            return f"data:{{media_type}};base64," + base64.b64encode(Path(name).read_bytes()).decode()
        ''')


def _literal(value: Any, depth: int) -> str:
    """A value as Python, with a call in place of each file's address."""
    if isinstance(value, str):
        name = next((name for name in FILES if value == media.data_uri(name)), None)
        return f'data_url("{name}", "{media.media_type(name)}")' if name else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return _wrapped("{", [f'"{key}": {_literal(item, depth + 1)}' for key, item in value.items()], "}", depth, ",")
    if isinstance(value, list):
        return _wrapped("[", [_literal(item, depth + 1) for item in value], "]", depth, ",")
    return repr(value)


def _json(value: Any, depth: int) -> str:
    """A value as JSON, with the name of a file in place of what it holds."""
    if isinstance(value, str):
        for name in FILES:
            value = value.replace(media.data_uri(name).partition(",")[2], f"$(base64 -w0 {name})")
    if isinstance(value, Mapping):
        return _wrapped("{", [f'"{key}": {_json(item, depth + 1)}' for key, item in value.items()], "}", depth, "")
    if isinstance(value, list):
        return _wrapped("[", [_json(item, depth + 1) for item in value], "]", depth, "")
    return json.dumps(value, ensure_ascii=False)


def _wrapped(start: str, items: list[str], end: str, depth: int, last: str) -> str:
    """A list of things on one line if it is short, else one a line; `last` stands after the last of these."""
    line = f"{start}{', '.join(items)}{end}"
    if len(line) + len(_INDENT) * depth <= _WIDTH and "\n" not in line:
        return line
    pad = _INDENT * (depth + 1)
    return f"{start}\n{pad}" + f",\n{pad}".join(items) + f"{last}\n{_INDENT * depth}{end}"
