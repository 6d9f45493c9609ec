"""Chat requests, and SGLang's answers to them as plain values.

The shapes are those of ``sglang/srt/entrypoints/openai/protocol.py`` (0.5.11 to 0.5.23: ``ChatCompletionRequest``,
``ChatCompletionResponse``, ``ChatCompletionStreamResponse``). What has another shape is a failure, not a guess.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.smoke.client import Answer, Client, Failure, Stream, shorten

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool.

    Attributes:
        id: Its id; SGLang gives one to each call.
        name: The function.
        arguments: A JSON text, as the client gets it.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ChatAnswer:
    """One answer, streamed or not.

    Attributes:
        content: The text; an empty string where there is none.
        reasoning: ``reasoning_content``, or an empty string.
        tool_calls: Calls in order.
        finish: ``stop``, ``length``, ``tool_calls`` or another reason.
        prompt_tokens: From the usage; None where the answer has none.
        completion_tokens: The same.
        total_tokens: The same.
        logprobs: One value a token where they were asked for, as the JSON has them.
        seconds: From the request to the end.
        first: Seconds to the first piece of text or of a tool call; None if there was none or it was not streamed.
        last: Seconds to the last such piece.
        pieces: How many pieces the text came in; 0 if it was not streamed.
    """

    content: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    logprobs: tuple[Any, ...]
    seconds: float
    first: float | None = None
    last: float | None = None
    pieces: int = 0

    @property
    def everything(self) -> str:
        """Reasoning and content, one after the other."""
        return self.reasoning + self.content

    def evidence(self) -> str:
        """What was answered, in one line."""
        parts = []
        if self.reasoning:
            parts.append(f"reasoning {shorten(self.reasoning, 60)!r}")
        parts.append(f"content {shorten(self.content, 160)!r}")
        if self.tool_calls:
            shown = ", ".join(f"{call.name}({shorten(call.arguments, 120)})" for call in self.tool_calls)
            parts.append(f"calls {shown}")
        parts.append(f"{self.finish}, {self.prompt_tokens}+{self.completion_tokens} tokens")
        return "; ".join(parts)


def request(model: str, content: Any, *, max_tokens: int, thinking: bool | None = False, **more: Any) -> dict[str, Any]:
    """A greedy chat request.

    Args:
        model: A name from ``/v1/models``.
        content: The user's message: a text, a list of content parts, or a whole list of messages.
        max_tokens: The most tokens to answer with.
        thinking: What ``chat_template_kwargs.enable_thinking`` says; None leaves it out.
        more: Further fields of the request.
    """
    is_messages = isinstance(content, list) and bool(content) and "role" in content[0]
    body: dict[str, Any] = {
        "model": model,
        "messages": content if is_messages else [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "temperature": 0,
    }
    if thinking is not None:
        body["chat_template_kwargs"] = {"enable_thinking": thinking}
    return body | more


def ask(client: Client, body: Mapping[str, Any], timeout: float | None = None) -> ChatAnswer:
    """Make a chat request, and read the answer.

    Raises:
        Failure: If it is no complete, well-formed answer.
    """
    return read_answer(client.post(CHAT, body, timeout).expect())


def ask_stream(client: Client, body: Mapping[str, Any]) -> ChatAnswer:
    """The same, streamed, with the usage at the end.

    Raises:
        Failure: If it is no complete, well-formed stream.
    """
    return read_stream(client.stream(CHAT, {**body, "stream": True, "stream_options": {"include_usage": True}}))


def read_answer(answer: Answer) -> ChatAnswer:
    """An answer that came whole.

    Raises:
        Failure: If its shape is not that of a ``chat.completion`` with one choice.
    """
    data = answer.json()
    choice = _only_choice(data, answer.excerpt())
    message = _object(choice.get("message"), "message", answer.excerpt())
    if data.get("object") != "chat.completion":
        raise Failure("shape", f"object is {data.get('object')!r}, not 'chat.completion'", answer.excerpt())
    calls = tuple(
        _whole_call(_object(call, "tool call", answer.excerpt()), answer.excerpt())
        for call in message.get("tool_calls") or ()
    )
    usage = _usage(data.get("usage"))
    return ChatAnswer(
        content=_text(message.get("content"), "content"),
        reasoning=_text(message.get("reasoning_content"), "reasoning_content"),
        tool_calls=calls,
        finish=choice.get("finish_reason"),
        prompt_tokens=usage[0],
        completion_tokens=usage[1],
        total_tokens=usage[2],
        logprobs=tuple(_logprobs(choice)),
        seconds=answer.seconds,
    )


def read_stream(stream: Stream) -> ChatAnswer:
    """A streamed answer put together from its pieces.

    Raises:
        Failure: If a piece has another shape, comes from another answer, or the usage is not where it belongs.
    """
    ids: set[str] = set()
    texts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
    calls: dict[int, dict[str, Any]] = {}
    logprobs: list[Any] = []
    times: list[float] = []
    finish: str | None = None
    usage: tuple[int | None, int | None, int | None] = (None, None, None)
    for seconds, chunk in stream.events:
        seen = shorten(repr(chunk))
        data = _object(chunk, "event", seen)
        if data.get("object") != "chat.completion.chunk":
            raise Failure("shape", f"object is {data.get('object')!r}, not 'chat.completion.chunk'", seen)
        ids.add(str(data.get("id")))
        if data.get("usage"):
            usage = _usage(data["usage"])
        for choice in data.get("choices") or ():
            delta = _object(_object(choice, "choice", seen).get("delta"), "delta", seen)
            pieces = [(name, _text(delta.get(name), name)) for name in texts]
            for name, text in pieces:
                texts[name].append(text)
            for call in delta.get("tool_calls") or ():
                _add_call(calls, _object(call, "tool call", seen), seen)
            if any(text for _, text in pieces) or delta.get("tool_calls"):
                times.append(seconds)
            logprobs += _logprobs(choice)
            finish = choice.get("finish_reason") or finish
    if len(ids) != 1:
        raise Failure("shape", f"the events of one answer have {len(ids)} ids", ", ".join(sorted(ids)[:4]))
    return ChatAnswer(
        content="".join(texts["content"]),
        reasoning="".join(texts["reasoning_content"]),
        tool_calls=tuple(
            ToolCall(str(call["id"]), str(call["name"]), "".join(call["arguments"]))
            for _, call in sorted(calls.items())
        ),
        finish=finish,
        prompt_tokens=usage[0],
        completion_tokens=usage[1],
        total_tokens=usage[2],
        logprobs=tuple(logprobs),
        seconds=stream.events[-1][0],
        first=times[0] if times else None,
        last=times[-1] if times else None,
        pieces=len(times),
    )


def _object(value: Any, what: str, seen: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Failure("shape", f"the {what} is {type(value).__name__}, not an object", seen)
    return value


def _only_choice(data: Any, seen: str) -> Mapping[str, Any]:
    choices = _object(data, "answer", seen).get("choices")
    if not isinstance(choices, list) or len(choices) != 1:
        raise Failure("shape", "the answer has not exactly one choice", seen)
    return _object(choices[0], "choice", seen)


def _text(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Failure("shape", f"{what} is {type(value).__name__}, not text", shorten(repr(value)))
    return value


def _usage(usage: Any) -> tuple[int | None, int | None, int | None]:
    if not isinstance(usage, dict):
        return None, None, None
    found = [usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    prompt, completion, total = (
        value if isinstance(value, int) and not isinstance(value, bool) else None for value in found
    )
    return prompt, completion, total


def _logprobs(choice: Mapping[str, Any]) -> Iterator[Any]:
    content = (choice.get("logprobs") or {}).get("content") if isinstance(choice.get("logprobs") or {}, dict) else None
    for entry in content or ():
        yield entry.get("logprob") if isinstance(entry, dict) else None


def _whole_call(call: Mapping[str, Any], seen: str) -> ToolCall:
    function = _object(call.get("function"), "function of a tool call", seen)
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        # The OpenAI library hands it on as it is, and users call json.loads on it.
        raise Failure("shape", f"the arguments of a call are {type(arguments).__name__}, not a JSON text", seen)
    return ToolCall(str(call.get("id") or ""), str(function.get("name") or ""), arguments)


def _add_call(calls: dict[int, dict[str, Any]], call: Mapping[str, Any], seen: str) -> None:
    function = _object(call.get("function"), "function of a tool call", seen)
    index = call.get("index")
    if not isinstance(index, int):
        raise Failure("shape", "a streamed tool call has no index", seen)
    entry = calls.setdefault(index, {"id": "", "name": "", "arguments": []})
    if function.get("name") and entry["name"]:
        raise Failure("shape", f"the name of streamed call {index} comes twice", seen)
    entry["id"] = entry["id"] or call.get("id") or ""
    entry["name"] = entry["name"] or function.get("name") or ""
    entry["arguments"].append(_text(function.get("arguments"), "the arguments of a call"))


def usage_problems(answer: ChatAnswer, max_tokens: int) -> list[str]:
    """What is wrong with the counts of an answer; empty when nothing is."""
    prompt, completion, total = answer.prompt_tokens, answer.completion_tokens, answer.total_tokens
    if prompt is None or completion is None or total is None:
        return ["the answer has no usage counts"]
    problems = []
    if prompt < 1 or completion < 1:
        problems.append(f"{prompt} prompt and {completion} answer tokens")
    if total != prompt + completion:
        problems.append(f"total {total} is not {prompt} + {completion}")
    if completion > max_tokens:
        problems.append(f"{completion} tokens where {max_tokens} were allowed")
    if answer.finish == "length" and completion != max_tokens:
        problems.append(f"cut by length at {completion} of {max_tokens} tokens")
    return problems


def text_part(text: str) -> dict[str, Any]:
    """A content part with text."""
    return {"type": "text", "text": text}


def url_part(kind: str, uri: str) -> dict[str, Any]:
    """A content part that refers to media: `kind` is ``image``, ``audio`` or ``video``."""
    name = f"{kind}_url"
    return {"type": name, name: {"url": uri}}


def numbered_sums(count: int, start: int = 0) -> Sequence[tuple[str, str]]:
    """`count` additions, no two with the same result, as ``(question, answer)``."""
    pairs: Iterable[tuple[int, int]] = ((37 + 11 * n, 415 + 13 * n) for n in itertools.count(start))
    return [(f"What is {a} + {b}? Answer with the number only.", str(a + b)) for a, b in itertools.islice(pairs, count)]
