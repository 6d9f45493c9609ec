"""What the stand-in server answers: the right thing to all that the smoke test asks, or, with a fault, a wrong one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mimo_gb10.smoke import media
from mimo_gb10.smoke.checks.tools import AWKWARD

STORY = (
    "At four the light failed, and Anna lit the big lamp before she had her soup. The wind pressed on the windows "
    "while she wrote the day's ships into a heavy book. Later she mended a torn sail by the stove and listened to "
    "the radio. Before midnight she climbed up again, cleaned the glass, and watched the beam sweep an empty sea. "
    "Somewhere below, a dog barked twice; then even the gulls fell silent, and only clockwork could be heard "
    "turning in its oil. When frost drew ferns along every pane, her brother arrived by sledge with letters, "
    "coffee, two oranges, and gossip from market day: whose barn had burned, which captain intended to marry, how "
    "dearly paraffin was sold this year. They played draughts until dawn coloured the ice, agreeing that "
    "loneliness suits nobody, though quiet certainly can. "
)
THOUGHT = "Six times seven is forty-two, minus five."
MEDIA_TOKENS = {"image_url": 196, "audio_url": 60, "input_audio": 60, "video_url": 300}
_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")


def tokens(text: str) -> list[str]:
    """Pieces that make up the text: what the stand-in calls tokens."""
    return _TOKEN.findall(text)


@dataclass
class Reply:
    """One answer before it is put into a shape."""

    content: str
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Refuse(Exception):
    """The request is wrong, as SGLang finds it wrong."""


def text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content or ""


def parts_of(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [part for message in messages if isinstance(message.get("content"), list) for part in message["content"]]


def _decode(part: Mapping[str, Any]) -> str:
    """The name of the media file that a part holds."""
    inner = part[part["type"]]
    data = inner["data"] if part["type"] == "input_audio" else inner["url"].partition("base64,")[2]
    raw = base64.b64decode(data)
    for name in (media.WAV, media.FLAC, media.MP3, media.SHAPES, media.CROSS, media.CLIP):
        if media.content(name) == raw:
            return name
    raise Refuse(f"Error while loading data {inner}: cannot identify {part['type']}")


def think(body: Mapping[str, Any], faults: frozenset[str], untrained: bool) -> Reply:
    """The whole answer to a chat request that passed validation."""
    messages = body["messages"]
    parts = parts_of(messages)
    shown = [(part["type"], _decode(part)) for part in parts if part["type"] != "text"]
    prompt = " ".join(text_of(message) for message in messages)
    count = 8 + len(tokens(prompt))
    count += sum(MEDIA_TOKENS[kind] for kind, _ in shown if f"drop-{kind}" not in faults)
    if "no-prompt-count" in faults:
        count = 0
    if "short-count" in faults:
        count = min(count, 900)
    if "stream-prompt" in faults and body.get("stream"):
        count += 1
    if "form-aborted" in faults and (body.get("tool_choice") == "required" or body.get("response_format")):
        # As SGLang 0.5.11 with MTP: three tokens, status 200.
        return Reply("{adsxper" if body.get("response_format") else "[Z`", finish="abort", prompt_tokens=count)
    if untrained:
        content, reasoning = "zqx wvu " * 40, ""
        if body.get("tool_choice") == "required":
            return Reply("", calls=[("set_switch", '{"state": "off"}')], finish="tool_calls", prompt_tokens=count)
        if body.get("response_format"):
            return Reply('{"colour": "red", "sides": 5, "closed": false}', prompt_tokens=count)
        return Reply(content, reasoning, prompt_tokens=count)
    reply = _tools(messages, prompt, faults) if body.get("tools") else _answer(prompt, shown, body, faults)
    reply.prompt_tokens = count
    return reply


def _answer(prompt: str, shown: list[tuple[str, str]], body: Mapping[str, Any], faults: frozenset[str]) -> Reply:
    if body.get("response_format"):
        if "bad-form" in faults:
            return Reply('{"colour": "pink"}')
        return Reply("not json" if "no-json" in faults else '{"colour": "blue", "sides": 3, "closed": true}')
    if shown:
        return Reply(_see(prompt, shown, faults))
    if "crate holds" in prompt:
        return Reply("6 * 7 - 5\n37", THOUGHT)
    code = re.search(r"The code of the vault in hall \S+ is (\d+)", prompt)
    if code:
        return Reply("1111" if "forget-long" in faults else code[1])
    sum_ = re.search(r"What is (\d+) ([+*]) (\d+)\?", prompt)
    if sum_:
        a, b = int(sum_[1]), int(sum_[3])
        result = a + b if sum_[2] == "+" else a * b
        if "wrong-sum" in faults:
            result -= 3
        if "crossed" in faults:
            result += 24
        if "escape-codes" in faults:
            return Reply(f"\x1b[2J{result}\x07")
        return Reply(f"It is {result}, of course" if "chatty" in faults else str(result))
    return Reply(STORY)


def _see(prompt: str, shown: list[tuple[str, str]], faults: frozenset[str]) -> str:
    names = [name for _, name in shown]
    if names[0] == media.CLIP:
        return "blue, left" if "blind" in faults else "red, left" if "blind-motion" in faults else "Red, to the right."
    if names[0] in (media.WAV, media.MP3, media.FLAC):
        return heard(faults)
    digits = [{media.SHAPES: "7", media.CROSS: "4"}[name] for name in names]
    if len(digits) > 1:
        return ", ".join(reversed(digits) if "order" in faults else digits)
    return "1, grey" if "blind" in faults else "7, grey" if "colour-blind" in faults else f"{digits[0]}, red."


def heard(faults: frozenset[str]) -> str:
    """A transcript of our recording."""
    if "deaf" in faults:
        return "Thank you for watching."
    if "hard-of-hearing" in faults:
        return "Seven green goats carried four lamps across a quiet harbour."
    return "7 green boats carried 40 lamps across the quiet harbour"


def _tools(messages: Sequence[Mapping[str, Any]], prompt: str, faults: frozenset[str]) -> Reply:
    if messages[-1]["role"] == "tool":
        return Reply("It is sunny." if "ignore-tool" in faults else "There is hail, 13 degrees.")
    if "no-tool-parser" in faults:
        return Reply(
            "<tool_call>\n<function=get_weather>\n<parameter=city>Lisbon</parameter>\n</function>\n</tool_call>"
        )
    if "Save two copies" in prompt:
        text = AWKWARD.replace("&amp;", "&") if "unescape-twice" in faults else AWKWARD
        copies: Any = "2" if "number-as-text" in faults else 2
        calls = [("save_note", json.dumps({"text": text, "copies": copies}))]
    elif "Oslo" in prompt:
        cities = ["Lisbon"] if "one-call" in faults else ["Lisbon", "Oslo"]
        calls = [("get_weather", json.dumps({"city": city})) for city in cities]
    elif "lamp" in prompt:
        state = "off" if "other-switch" in faults else "on"
        calls = [] if "not-required" in faults else [("set_switch", json.dumps({"state": state}))]
    else:
        calls = [("get_weather", json.dumps({"city": "Lisbon"}))]
    if "bad-arguments" in faults:
        calls = [(name, text[:-1]) for name, text in calls]
    said = "<tool_call>" if "call-twice" in faults else ""
    return Reply(said, calls=calls, finish="stop" if "tool-finish" in faults else "tool_calls")
