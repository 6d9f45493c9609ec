"""A stand-in for SGLang with a model of its own: small, untrained, and exactly repeatable.

It proves that the checks find the faults that they are for, and nothing about SGLang. Its shapes are those of SGLang
0.5.11 and 0.5.17 (``managers/tokenizer_manager.py``: ``output_ids``, ``meta_info``). A fault is a word.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import heapq
import json
import math
import random
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.local_server import LocalServer, running

VOCABULARY = 256
WINDOW = 8
"""How many tokens its model looks back at."""


@functools.lru_cache(maxsize=100_000)
def row(tail: tuple[int, ...], noise: float = 0.0, salt: int = 0) -> tuple[float, ...]:
    """Log probabilities of what follows, with the spread of the tiny model's; `noise` in nats is drawn by `salt`."""
    chooser = random.Random(str(tail))
    logits = [chooser.gauss(0, 3.5) for _ in range(VOCABULARY)]
    if noise:
        other = random.Random(f"{tail}-{salt}")
        logits = [value + other.gauss(0, noise) for value in logits]
    top = max(logits)
    total = top + math.log(sum(math.exp(value - top) for value in logits))
    return tuple(value - total for value in logits)


@functools.lru_cache(maxsize=100_000)
def likeliest(logprobs: tuple[float, ...]) -> list[int]:
    """The tokens of a row that any request asks for, likeliest first."""
    return heapq.nlargest(16, range(VOCABULARY), key=lambda token: logprobs[token])


def exact(ids: Sequence[int]) -> list[tuple[float, ...]]:
    """What a right reference says: a row a position."""
    return [row(tuple(ids[max(0, at + 1 - WINDOW) : at + 1])) for at in range(len(ids))]


class StandIn(LocalServer):
    """The server; `faults` may change while it runs."""

    request_queue_size = 128

    def __init__(self, faults: frozenset[str] = frozenset(), port: int = 0) -> None:
        super().__init__(Handler, port)
        self.faults = faults
        self.seen: list[tuple[str, Mapping[str, Any]]] = []
        self.prompts: set[tuple[int, ...]] = set()
        self.running = 0
        self.served = 0
        self.dead: str | None = None
        self.stuck = False
        self.sick = 0
        self.streamed = 0
        self.revivals = 0
        self.can_revive = True
        self.cut_after: int | None = None
        self.lock = threading.Lock()

    # --- what a rehearsal knows of its ranks

    def alive(self) -> str | None:
        return self.dead

    def revive(self) -> bool:
        self.revivals += 1
        if self.can_revive:
            self.dead, self.stuck = None, False
        return self.can_revive

    def die(self) -> None:
        self.dead = "rank 1 was ended by SIGABRT"


def serve(*faults: str) -> contextlib.AbstractContextManager[StandIn]:
    """A running stand-in."""
    return running(StandIn(frozenset(faults)))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: StandIn

    def log_message(self, *_: Any) -> None:
        """Tests look at `StandIn.seen`."""

    def send(self, status: int, value: Any) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, message: str, status: int = 400) -> None:
        self.send(status, {"object": "error", "message": message, "code": status})

    def _gone(self) -> bool:
        """Whether the ranks are dead: then nothing is answered."""
        if self.server.dead is None:
            return False
        self.close_connection = True
        return True

    # --- receiving

    def do_GET(self) -> None:
        if self._gone():
            return
        if self.path in ("/health", "/health_generate"):
            with self.server.lock:
                sick = self.server.sick > 0
                self.server.sick -= 1
            self.send(503 if sick else 200, None)
        elif self.path == "/v1/models":
            self.send(200, {"object": "list", "data": [{"id": "tiny", "object": "model", "max_model_len": 32768}]})
        else:
            self.refuse("Not Found", 404)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        if self._gone():
            return
        with server.lock:
            server.served += 1
            server.running += 1
            if server.cut_after is not None and server.served > server.cut_after:
                server.die()
        try:
            if self._gone():
                return
            if self.path.startswith("/flush_cache"):
                server.prompts.clear()
                server.seen.append(("flush", {}))
                self.send(200, None)
            elif self.path == "/generate":
                self._generate(json.loads(raw))
            elif self.path == "/v1/chat/completions":
                self._chat(json.loads(raw))
            elif self.path == "/v1/audio/transcriptions":
                self._upload(raw)
            else:
                self.refuse("Not Found", 404)
        finally:
            with server.lock:
                server.running -= 1

    # --- text

    def _generate(self, body: Mapping[str, Any]) -> None:
        server, faults = self.server, self.server.faults
        server.seen.append(("generate", body))
        ids, count = body["input_ids"], body["sampling_params"]["max_new_tokens"]
        wants = bool(body.get("return_logprob"))
        if wants and "dflash" in faults:
            self.refuse("DFLASH speculative decoding does not support return_logprob yet.")
            return
        if "slow" in faults:
            time.sleep(0.01)
        with server.lock:
            cached = max((_common(ids, old) for old in server.prompts), default=0)
            again, among = tuple(ids) in server.prompts, server.running > 2
            server.prompts.add(tuple(ids))
            salt = server.served
        cached = min(cached, len(ids) - 1, body.get("logprob_start_len", len(ids)))
        window = WINDOW
        if ("mask" in faults and again) or ("among" in faults and among):
            window = WINDOW - 3
        if "cached" in faults and cached > WINDOW and len(ids) > cached + 1:
            window = WINDOW - 3
        noise = 0.05 if "rounding" in faults else 2.0 if "unstable" in faults else 0.0
        tokens: list[int] = []
        meta: dict[str, Any] = {"prompt_tokens": len(ids), "completion_tokens": count, "cached_tokens": cached}
        values: list[list[Any]] = []
        tops: list[list[list[Any]]] = []
        for at in range(count):
            tail = [*ids, *tokens][-window:]
            logprobs = row(tuple(tail), noise, salt if noise else 0)
            order = likeliest(logprobs)
            token = order[1 if "not-greedy" in faults and at == 2 else 0]
            value: float | None = logprobs[token]
            if "nan" in faults or ("nan-cached" in faults and cached and at == 0):
                token, value = 0, None
            if "least" in faults and at == 3:
                value = -3.4e38
            tokens.append(token)
            values.append([value, token, None])
            best = [[None if value is None else logprobs[each], each, None] for each in order]
            tops.append(best[: body.get("top_logprobs_num", 0)])
        if "zeros" in faults:
            tokens = [0] * count
            values = [[-0.1, 0, None]] * count
            tops = [[[-0.1, 0, None], [-5.0, 1, None]]] * count
        if "short" in faults:
            tokens = tokens[:-1]
        if wants:
            meta["output_token_logprobs"] = values[:-2] if "missing" in faults else values
            meta["output_top_logprobs"] = tops
            if "logprob_start_len" in body:
                meta["input_token_logprobs"] = self._inputs(ids, body["logprob_start_len"])
        self.send(200, {"text": "x" * count, "output_ids": tokens, "meta_info": meta})

    def _inputs(self, ids: Sequence[int], start: int) -> list[list[Any]]:
        faults = self.server.faults
        found: list[list[Any]] = [[None, ids[start], None]]
        for at in range(start + 1, len(ids)):
            window = 3 if "prefill" in faults and at % 5 == 0 else WINDOW
            logprobs = row(tuple(ids[max(0, at - window) : at]))
            value = None if "nan-input" in faults and at == len(ids) - 1 else logprobs[ids[at]]
            found.append([value, ids[at], None])
        return found[:-1] if "short-input" in faults else found

    def _chat(self, body: Mapping[str, Any]) -> None:
        self.server.seen.append(("chat", body))
        content = body["messages"][-1]["content"]
        parts = content if isinstance(content, list) else []
        shown = [part for part in parts if part["type"] != "text"]
        if self.server.stuck:
            self.server.stopped.wait(5)
            self.close_connection = True
            return
        if shown and self._broken(shown[0][shown[0]["type"]]["url"]):
            return
        if "chat-500" in self.server.faults and not shown:
            self.refuse("Internal server error: boom", 500)
            return
        if "image-400" in self.server.faults and shown:
            self.refuse("no pictures today")
            return
        count = body["max_tokens"]
        usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}
        if body.get("stream"):
            self._stream(count, usage)
            return
        message = {"role": "assistant", "content": "x " * count}
        logprobs = self._chat_logprobs(str(content), count) if body.get("logprobs") else None
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "length"}
        self.send(200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})

    def _chat_logprobs(self, content: str, count: int) -> dict[str, Any] | None:
        """Of an answer that depends on all that was shown; tokens are texts of one character."""
        faults, served = self.server.faults, self.server.served
        if "no-logprobs" in faults:
            return None
        noise = 2.0 if "unstable" in faults else 0.05 if "rounding" in faults else 0.0
        tail = tuple(hashlib.sha256((content + ("masks" if "masks" in faults else "")).encode()).digest()[:8])
        found = []
        for at in range(count):
            values = row(tail, noise, served)
            order = [(chr(0x100 + token), values[token]) for token in likeliest(values)]
            value = None if "nan" in faults and at == 1 else order[0][1]
            tops = [{"token": text, "logprob": each} for text, each in order]
            found.append({"token": order[0][0], "logprob": value, "top_logprobs": tops})
            tail = (*tail[1:], ord(order[0][0]))
        return {"content": found}

    def _stream(self, count: int, usage: Mapping[str, int]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(count + 1):
            finish = "length" if at == count else None
            choice = {"index": 0, "delta": {"content": "x "}, "finish_reason": finish}
            event = {"id": "1", "object": "chat.completion.chunk", "choices": [choice], "usage": dict(usage)}
            self._chunk(f"data: {json.dumps(event)}\n\n".encode())
            self.server.streamed += 1
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    # --- media

    def _broken(self, uri: str) -> bool:
        """Treat a medium as the faults say; whether it was one that is answered with an error, or not at all."""
        from mimo_gb10.smoke import media

        good = [
            media.data_uri(name) for name in (media.WAV, media.FLAC, media.MP3, media.SHAPES, media.CROSS, media.CLIP)
        ]
        return self._mistreat("" if uri in good else uri)

    def _upload(self, raw: bytes) -> None:
        from mimo_gb10.smoke import media

        self.server.seen.append(("upload", {"size": len(raw)}))
        whole = any(media.content(name) in raw for name in (media.WAV, media.FLAC, media.MP3))
        if not self._mistreat("" if whole else "upload"):
            self.send(200, {"text": "x", "usage": {"type": "duration", "seconds": 5}})

    def _mistreat(self, uri: str) -> bool:
        faults, server = self.server.faults, self.server
        if not uri or "accepts" in faults:
            return False
        if "dies" in faults:
            server.die()
            self.close_connection = True
        elif "dies-later" in faults:
            threading.Timer(0.1, server.die).start()
            self.refuse("Internal server error", 500)
        elif "hangs" in faults:
            server.stuck = True
            server.stopped.wait(5)
            self.close_connection = True
        elif "refuses-500" in faults:
            self.refuse(f"Internal server error: cannot load {uri}", 500)
        elif "cuts" in faults:
            self.close_connection = True
        else:
            self.refuse(f"cannot load {uri}")
        return True


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
