"""A stand-in for SGLang's HTTP server, to be replaced by recordings of a real one.

Written from SGLang 0.5.23's own definitions: ``entrypoints/openai/protocol.py``, ``serving_chat.py``,
``serving_transcription.py`` and ``http_server.py``. `test_upstream.py` holds its answers against those definitions. It
proves that the smoke test judges rightly what it is given; it proves nothing about SGLang.

A fault is a word: each makes one thing wrong. Those of the connection are here, those of the answers in `brain`.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import json
import socket
import struct
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from mimo_gb10.smoke import media
from tests.smoke import brain
from tests.smoke.brain import Refuse, Reply
from tests.support.local_server import LocalServer, running

MODEL = "mimo-v2.5"
CONTEXT = 32768
_ROLES = {"system", "user", "assistant", "tool", "function", "developer"}


class StandIn(LocalServer):
    """The server; `faults` may change while it runs."""

    request_queue_size = 64

    def __init__(self, faults: frozenset[str] = frozenset(), **info: Any) -> None:
        super().__init__(Handler)
        self.faults = faults
        self.key: str | None = None
        self.untrained = False
        self.thinks_by_default = False
        self.info: dict[str, Any] = {
            "version": "0.5.23",
            "reasoning_parser": "mimo",
            "tool_call_parser": "mimo",
            "chunked_prefill_size": 1024,
            "speculative_algorithm": None,
            "internal_states": [{"last_gen_throughput": 10.0}],
            **info,
        }
        self.seen: list[tuple[str, str, bytes]] = []
        self.health: list[int] = []
        self.prompts: dict[str, int] = {}


def serve(*faults: str, **info: Any) -> contextlib.AbstractContextManager[StandIn]:
    """A running stand-in."""
    return running(StandIn(frozenset(faults), **info))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: StandIn

    def log_message(self, *_: Any) -> None:
        """Tests look at `StandIn.seen`."""

    # --- sending

    def send(self, status: int, value: Any, media_type: str = "application/json") -> None:
        body = value.encode() if isinstance(value, str) else b"" if value is None else json.dumps(value).encode()
        if "wrong-type" in self.server.faults and self.path != "/health":
            media_type, body = "text/html", b"<html>Welcome</html>"
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        length = len(body) + (1000 if "short" in self.server.faults and self.path != "/health" else 0)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        if length != len(body):
            self.close_connection = True

    def refuse(self, message: str, status: int = 400) -> None:
        error = {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": status}
        self.send(status, error)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def events(self, values: list[Any]) -> None:
        """A stream of server-sent events in chunks, as uvicorn sends it."""
        faults = self.server.faults
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if "wrong-type" in faults else "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, value in enumerate(values):
            if number == len(values) // 2:
                if "reset-mid-stream" in faults:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                if "truncated-stream" in faults:
                    self.chunk(b'data: {"id": "chatcm')
                    break
                if "error-in-stream" in faults:
                    self.chunk(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
                    break
            self.chunk(f"data: {json.dumps(value)}\n\n".encode())
            if "rates" in faults:
                time.sleep(0.002)
        if not {"truncated-stream", "no-done"} & faults:
            self.chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    # --- receiving

    def handle_one_request(self) -> None:
        if "not-http" in self.server.faults:
            self.connection.recv(1000)
            self.connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            self.close_connection = True
            return
        super().handle_one_request()

    def do_GET(self) -> None:
        self.server.seen.append(("GET", self.path, b""))
        faults = self.server.faults
        if self.path == "/health":
            status = self.server.health.pop(0) if self.server.health else 200
            self.send(503 if "sick" in faults else status, None)
            return
        if self._faulty():
            return
        if self.path == "/v1/models":
            if "worker" in faults:
                self.refuse("Not Found", 404)
                return
            card = {"id": MODEL, "object": "model", "created": 1, "owned_by": "sglang", "root": MODEL}
            length = None if "no-context" in faults else CONTEXT
            data = [] if "no-model" in faults else [card | {"parent": None, "max_model_len": length}]
            self.send(200, {"object": "list", "data": data})
        elif self.path == "/model_info":
            architecture = "Qwen3ForCausalLM" if "other-model" in faults else "MiMoV2ForCausalLM"
            senses = {"has_image_understanding": True, "has_audio_understanding": "no-audio" not in faults}
            self.send(200, {"model_path": "/m", "is_generation": True, "architectures": [architecture], **senses})
        elif self.path == "/server_info":
            if "no-info" in faults:
                self.refuse("Not Found", 404)
            else:
                self.send(200, {**self.server.info, "api_key": self.server.key})
        elif "any-path" in faults:
            self.send(200, {})
        else:
            self.refuse("Not Found", 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(("POST", self.path, body))
        if "dflash" in self.server.faults and b"logprob" in body:
            self.refuse("DFLASH speculative decoding does not support return_logprob yet.")
            return
        if self._faulty():
            return
        try:
            if self.path == "/v1/chat/completions":
                self._chat(body)
            elif self.path == "/v1/audio/transcriptions":
                self._transcribe(body)
            elif self.path == "/generate":
                self._generate(json.loads(body))
            else:
                self.refuse("Not Found", 404)
        except Refuse as problem:
            if "die-of-it" in self.server.faults:
                self.server.faults |= {"sick"}
            if "never-refuse" in self.server.faults:
                self.send(200, completion({}, Reply("yes", prompt_tokens=1), None))
            else:
                self.refuse(str(problem), 500 if "refuse-500" in self.server.faults else 400)

    def _faulty(self) -> bool:
        """Answer with a fault of the connection, or for a missing key; whether that was done."""
        faults = self.server.faults
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.send(401, {"error": "Unauthorized", "got": self.headers.get("Authorization")})
        elif "all-500" in faults:
            self.refuse("Internal server error: boom", 500)
        elif "slow" in faults and self.server.stopped.wait(0.6):
            return True
        elif "hang" in faults or ("hang-chat" in faults and "chat" in self.path):
            self.server.stopped.wait(30)
        elif "drip" in faults:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            while not self.server.stopped.wait(0.05):
                self.wfile.write(b" ")
        elif "huge" in faults:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(10 * 1024 * 1024))
            self.end_headers()
            for _ in range(160):
                self.wfile.write(b" " * 65536)
        else:
            return False
        self.close_connection = True
        return True

    # --- chat

    def _chat(self, raw: bytes) -> None:
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            raise Refuse("Unsupported Media Type: Only 'application/json' is allowed")
        try:
            body = json.loads(raw)
        except ValueError as problem:
            raise Refuse(f"JSON decode error: {problem}") from None
        validate(body)
        faults, server = self.server.faults, self.server
        reply = brain.think(body, faults, server.untrained)
        reply = self._reasoning(body, reply)
        prompt = json.dumps(body["messages"])
        again = server.prompts.get(prompt, 0)
        server.prompts[prompt] = again + 1
        if "unstable" in faults and again:
            reply.content = reply.content.replace("soup", "bread")
        if "random" in faults and again:
            reply.content = "Quite another text. " + reply.content
        limit(body, reply, faults)
        logprobs = None
        if body.get("logprobs") and "no-logprobs" not in faults:
            values: list[float | None] = [-0.25] * reply.completion_tokens
            if "nan" in faults and again:
                values[0] = None
            logprobs = values
        if body.get("stream"):
            self.events(stream_chunks(body, reply, faults))
            return
        self.send(200, completion(body, reply, logprobs, faults))

    def _reasoning(self, body: Mapping[str, Any], reply: Reply) -> Reply:
        """Where the reasoning goes: `mimo` and `qwen3` of 0.5.23, and the faults of both."""
        server = self.server
        said = (body.get("chat_template_kwargs") or {}).get("enable_thinking")
        thinks = server.thinks_by_default if said is None else said
        parser = server.info["reasoning_parser"]
        expected = {"mimo": said is True, "qwen3": said is not False}.get(parser or "", False)
        thought = reply.reasoning if thinks or "always-think" in server.faults else ""
        reply.reasoning = ""
        if server.untrained:
            # No mark ever comes: what is expected to be reasoning stays reasoning.
            return Reply("", reply.content, reply.calls, reply.finish, reply.prompt_tokens) if expected else reply
        if "never-think" in server.faults:
            thought = ""
        if expected and not thought and "swallow" in server.faults:
            return Reply("", reply.content, [], "stop", reply.prompt_tokens)
        if thought and not expected and "always-think" not in server.faults:
            reply.content = f"{thought}</think>\n{reply.content}"
        elif thought:
            reply.reasoning = f"<think>{thought}" if "mark-inside" in server.faults else thought
        return reply

    # --- the other endpoints

    def _generate(self, body: Mapping[str, Any]) -> None:
        faults, count = self.server.faults, body["sampling_params"]["max_new_tokens"]
        text = brain.STORY * 4
        if "repeat" in faults:
            text = "and then the dog walked on " * 100
        if "other-text" in faults:
            text = "Nothing alike. " + text
        if "late-parting" in faults:
            text = text.replace("mended a torn sail", "sewed a torn sail")
        pieces = brain.tokens(text)[: 20 if "terse" in faults else count]
        ids = [0 if "zeros" in faults else 5 + number for number in range(len(pieces))]
        values = [[None if "nan" in faults else -0.3, number, None] for number in ids]
        meta: dict[str, Any] = {"completion_tokens": count, "prompt_tokens": 40, "output_token_logprobs": values}
        if self.server.info["speculative_algorithm"] and "no-accept" not in faults:
            meta["spec_accept_length"] = 1.0 if "no-gain" in faults else 9.0 if "too-good" in faults else 2.9
        self.send(200, {"text": "".join(pieces), "meta_info": meta})

    def _transcribe(self, raw: bytes) -> None:
        fields, _, content = read_form(self.headers["Content-Type"], raw)
        faults, wanted = self.server.faults, fields.get("response_format", "json")
        if wanted not in ("json", "text", "verbose_json"):
            self.send(400, {"error": {"message": "Only 'json', 'text', and 'verbose_json' formats supported"}})
            return
        if content not in [media.content(known) for known in (media.WAV, media.MP3, media.FLAC)]:
            raise Refuse("Failed to load audio")
        if "token-list" in faults:
            self.refuse("Internal server error: expected string or bytes-like object, got 'list'", 500)
            return
        if "adapter" in faults:
            self.refuse("Internal server error: Unexpected keyword argument 'language'", 500)
            return
        text = "zqx wvu" if self.server.untrained else "" if "mute" in faults else brain.heard(faults)
        usage = {"type": "duration", "seconds": 9 if "wrong-seconds" in faults else 5}
        if fields.get("stream") == "true":
            pieces = brain.tokens(text)
            base = {"id": "trsc-1", "object": "transcription.chunk", "created": 1, "model": MODEL}
            self.events([
                {**base, "choices": [{"delta": {"role": None, "content": piece}, "finish_reason": None}], "usage": None}
                for piece in pieces
            ])  # fmt: skip
        elif wanted == "text":
            self.send(200, text, "application/json" if "text-type" in faults else "text/plain; charset=utf-8")
        elif wanted == "verbose_json":
            duration = 12.0 if "wrong-duration" in faults else media.SECONDS
            verbose = {"task": "transcribe", "language": fields.get("language"), "duration": duration}
            self.send(200, {**verbose, "text": text, "segments": [], "usage": usage})
        else:
            self.send(200, {"text": text, "usage": usage})


def validate(body: Mapping[str, Any]) -> None:
    """What SGLang's protocol and `_validate_request` refuse, as far as the smoke test tries it."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise Refuse("messages: Field required")
    if not messages:
        raise Refuse("Messages cannot be empty.")
    if any(message.get("role") not in _ROLES for message in messages):
        raise Refuse("'role' must be one of ...")
    if any(part.get("type") not in ("text", *brain.MEDIA_TOKENS) for part in brain.parts_of(messages)):
        raise Refuse("Input should be a valid content part")
    limit_ = body.get("max_tokens") or 1
    if limit_ < 0 or limit_ > CONTEXT:
        raise Refuse(f"max_completion_tokens is too large or negative: {limit_}")
    if body.get("temperature", 0) < 0 or body.get("top_p", 1) > 1:
        raise Refuse("temperature must be non-negative and top_p in (0, 1]")
    if body.get("tool_choice") == "required" and not body.get("tools"):
        raise Refuse("Tools cannot be empty if tool choice is set to required.")
    schemas = [tool["function"]["parameters"] for tool in body.get("tools") or ()]
    schemas += [body["response_format"]["json_schema"]["schema"]] if body.get("response_format") else []
    if any(schema.get("type") == "no-such-type" for schema in schemas):
        raise Refuse("invalid schema")


def limit(body: Mapping[str, Any], reply: Reply, faults: frozenset[str]) -> None:
    """Cut to ``max_tokens``, go on until it with ``ignore_eos``, and count."""
    most = body.get("max_tokens") or 4096
    if body.get("ignore_eos"):
        while len(brain.tokens(reply.content)) < most:
            reply.content += brain.STORY
    thought, said = brain.tokens(reply.reasoning), brain.tokens(reply.content)
    if len(thought) + len(said) > most or body.get("ignore_eos"):
        thought = thought[:most]
        said = said[: most - len(thought)]
        reply.finish = "length"
    reply.reasoning, reply.content = "".join(thought), "".join(said)
    reply.completion_tokens = len(thought) + len(said) or 1 + 10 * len(reply.calls)
    if "miscount" in faults:
        reply.completion_tokens += 1


def usage_of(reply: Reply, faults: frozenset[str]) -> dict[str, Any]:
    total = reply.prompt_tokens + reply.completion_tokens + (5 if "wrong-total" in faults else 0)
    return {
        "prompt_tokens": reply.prompt_tokens,
        "total_tokens": total,
        "completion_tokens": reply.completion_tokens,
        "prompt_tokens_details": None,
        "reasoning_tokens": 0,
        "completion_tokens_details": None,
    }


def completion(
    body: Mapping[str, Any], reply: Reply, logprobs: list[float | None] | None, faults: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """A ``ChatCompletionResponse``."""
    calls = [
        {"id": "call_x" if "same-id" in faults else f"call_{at}", "index": at, "type": "function",
         "function": {"name": name, "arguments": text}}
        for at, (name, text) in enumerate(reply.calls)
    ]  # fmt: skip
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.content,
        "reasoning_content": reply.reasoning or None,
    }
    if calls:
        message["tool_calls"] = calls
    content = [{"token": "x", "bytes": [120], "logprob": value, "top_logprobs": []} for value in logprobs or ()]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": {"content": content} if logprobs is not None else None,
        "finish_reason": reply.finish,
        "matched_stop": None,
    }
    found = {
        "id": "chatcmpl-1",
        "object": "text" if "wrong-object" in faults else "chat.completion",
        "created": 1,
        "model": body.get("model", "default"),
        "choices": [choice],
        "usage": usage_of(reply, faults),
        "metadata": None,
    }
    if "no-usage" in faults:
        del found["usage"]
    return found


def stream_chunks(body: Mapping[str, Any], reply: Reply, faults: frozenset[str]) -> list[dict[str, Any]]:
    """``ChatCompletionStreamResponse`` chunks: role, pieces, finish, usage."""

    def chunk(number: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        filled = {"role": None, "content": None, "reasoning_content": None, **delta}
        return {
            "id": f"chatcmpl-{number if 'many-ids' in faults else 1}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "delta": filled, "logprobs": None, "finish_reason": finish, "matched_stop": None}],
            "usage": None,
        }

    content = reply.content
    if "stream-differs" in faults:
        content = "Something else. " + content
    if "stream-loses" in faults:
        content = content.replace("heavy ", "")
    pieces = [content] if "one-piece" in faults else brain.tokens(content)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in brain.tokens(reply.reasoning)]
    deltas += [{"content": piece} for piece in pieces if piece]
    for at, (name, text) in enumerate(reply.calls):
        call = {"id": f"call_{at}", "index": at, "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [call]})
        half = len(text) // 2
        for piece in (text[:half], text[half:] if "lose-arguments" not in faults else ""):
            rest = {"id": None, "index": at, "type": "function", "function": {"name": None, "arguments": piece}}
            deltas.append({"tool_calls": [rest]})
    chunks = [chunk(number, delta) for number, delta in enumerate(deltas)]
    chunks.append(chunk(len(chunks), {}, reply.finish))
    if (body.get("stream_options") or {}).get("include_usage") and "no-stream-usage" not in faults:
        chunks.append({**chunk(0, {}), "choices": [], "usage": usage_of(reply, faults)})
    return chunks


def read_form(content_type: str, raw: bytes) -> tuple[dict[str, str], str, bytes]:
    """The fields, the file's name and its content of a ``multipart/form-data`` body."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
    fields, name, content = {}, "", b""
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        if part.get_filename():
            name, content = str(part.get_filename()), payload
        else:
            fields[str(part.get_param("name", header="content-disposition"))] = payload.decode()
    return fields, name, content
