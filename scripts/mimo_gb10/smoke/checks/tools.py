"""Tool calls, and answers in a given form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mimo_gb10.smoke.chat import ChatAnswer, ToolCall, ask, ask_stream, request
from mimo_gb10.smoke.check import Check, Outcome, Session, fail, ok, skip, warn
from mimo_gb10.smoke.client import Failure
from mimo_gb10.smoke.expect import form_aborted
from mimo_gb10.smoke.judge import has_word

ROOM = 2048
UNTRAINED_ROOM = 192
"""An untrained model seldom ends by itself; more tokens would only take longer."""
AWKWARD = 'She said "5 < 7 & 7 > 5" \\ <b>done</b> &amp; ünïcode, 100%'
"""Quotes, a backslash, marks of XML (which the mimo format is made of), an entity that must stay one, and non-ASCII."""


def _tool(name: str, what: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": what, "parameters": parameters}}


WEATHER = _tool(
    "get_weather", "The weather in a city, now.", city={"type": "string", "description": "Name of the city"}
)
NOTE = _tool("save_note", "Save a note, character for character.", text={"type": "string"}, copies={"type": "integer"})
SWITCH = _tool("set_switch", "Turn the lamp on or off.", state={"type": "string", "enum": ["on", "off"]})


def arguments(call: ToolCall) -> Mapping[str, Any]:
    """The arguments of a call as data.

    Raises:
        Failure: If they are no JSON object.
    """
    try:
        value = json.loads(call.arguments)
    except ValueError as problem:
        says = f"the arguments of {call.name} are not JSON: {problem}"
        raise Failure("shape", says, repr(call.arguments[:200])) from None
    if not isinstance(value, dict):
        raise Failure("shape", f"the arguments of {call.name} are no object", repr(call.arguments[:200]))
    return value


def calls_problem(answer: ChatAnswer, name: str, wanted: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong with the calls of an answer, which should be these arguments of one tool in any order; or None."""
    if len(answer.tool_calls) != len(wanted):
        return f"{len(answer.tool_calls)} calls instead of {len(wanted)}"
    names = {call.name for call in answer.tool_calls}
    if names != {name}:
        return f"called {', '.join(sorted(names))} instead of {name}"
    ids = [call.id for call in answer.tool_calls]
    if not all(ids) or len(set(ids)) != len(ids):
        return f"the ids of the calls are {ids}"
    found = [dict(arguments(call)) for call in answer.tool_calls]
    rest = [dict(item) for item in wanted]
    for item in found:
        if item not in rest:
            return f"arguments {json.dumps(item, ensure_ascii=False)} instead of {json.dumps(rest, ensure_ascii=False)}"
        rest.remove(item)
    if answer.finish != "tool_calls":
        return f"finish_reason is {answer.finish!r}, not 'tool_calls'"
    if "<tool_call" in answer.content or "<function" in answer.content:
        return "the call stands in the content as well"
    return None


def _judge(answer: ChatAnswer, session: Session, name: str, wanted: Sequence[Mapping[str, Any]], says: str) -> Outcome:
    problem = calls_problem(answer, name, wanted)
    if problem is None:
        return ok(says, answer.evidence())
    remedy = ""
    if not answer.tool_calls:
        parser = session.tool_call_parser
        remedy = (
            f"The server runs with --tool-call-parser {parser}."
            if parser
            else "The server runs without --tool-call-parser: start it with the recipe's."
        )
    return fail(problem, answer.evidence(), help=remedy)


def _ask(
    session: Session, text: str, tools: list[dict[str, Any]], *, streamed: bool = False, **more: Any
) -> ChatAnswer:
    body = request(session.model, text, max_tokens=_room(session), tools=tools, **more)
    return ask_stream(session.client, body) if streamed else ask(session.client, body)


CALL = "What is the weather in Lisbon now? Use the tool."


def call(session: Session) -> Outcome:
    """One call with one argument."""
    answer = _ask(session, CALL, [WEATHER, SWITCH])
    return _judge(answer, session, "get_weather", [{"city": "Lisbon"}], "get_weather(Lisbon)")


def call_stream(session: Session) -> Outcome:
    """The same, put together from its pieces."""
    answer = _ask(session, CALL, [WEATHER, SWITCH], streamed=True)
    return _judge(answer, session, "get_weather", [{"city": "Lisbon"}], f"get_weather(Lisbon), {answer.pieces} pieces")


def _escaping(session: Session, *, streamed: bool) -> Outcome:
    text = f"Save two copies of exactly this note, changing nothing in it:\n{AWKWARD}"
    answer = _ask(session, text, [NOTE], streamed=streamed)
    return _judge(answer, session, "save_note", [{"text": AWKWARD, "copies": 2}], "every character came through")


def escaping(session: Session) -> Outcome:
    """Quotes, backslash, marks of XML and an entity in an argument; a number stays a number."""
    return _escaping(session, streamed=False)


def escaping_stream(session: Session) -> Outcome:
    """The same, streamed."""
    return _escaping(session, streamed=True)


def parallel(session: Session) -> Outcome:
    """Two calls in one answer."""
    text = "What is the weather in Lisbon and in Oslo now? Call the tool for both cities at once."
    answer = _ask(session, text, [WEATHER])
    return _judge(answer, session, "get_weather", [{"city": "Lisbon"}, {"city": "Oslo"}], "two calls in one answer")


def round_trip(session: Session) -> Outcome:
    """The result goes back, and stands in the final answer."""
    answer = _ask(session, CALL, [WEATHER])
    problem = calls_problem(answer, "get_weather", [{"city": "Lisbon"}])
    if problem:
        return fail(f"no call to answer: {problem}", answer.evidence())
    call = answer.tool_calls[0]
    shown = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    messages = [
        {"role": "user", "content": CALL},
        {"role": "assistant", "content": answer.content, "tool_calls": [shown]},
        {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "hail", "celsius": 13}'},
    ]
    final = ask(session.client, request(session.model, messages, max_tokens=ROOM, tools=[WEATHER]))
    if final.tool_calls:
        return fail("it called again instead of answering", final.evidence())
    if has_word(final.content, "hail") or has_word(final.content, "13"):
        return ok("the tool's result stands in the answer", answer.evidence(), final.evidence())
    return fail("the tool's result does not stand in the answer", final.evidence())


def _room(session: Session) -> int:
    return ROOM if session.trained else UNTRAINED_ROOM


def _aborted(answer: ChatAnswer, session: Session) -> str:
    return form_aborted(answer, speculative=session.speculative, version=session.version)


def required(session: Session) -> Outcome:
    """``tool_choice: required`` constrains the text: even an untrained model has to call."""
    answer = _ask(session, "Turn the lamp on.", [SWITCH], tool_choice="required")
    if answer.finish == "length" and not session.trained:
        return skip(f"the untrained model filled {UNTRAINED_ROOM} tokens without coming to an end")
    remedy = _aborted(answer, session)
    if not answer.tool_calls:
        return fail("no call, although one was required", answer.evidence(), help=remedy)
    states = [arguments(call).get("state") for call in answer.tool_calls]
    names = {call.name for call in answer.tool_calls}
    if names != {"set_switch"} or not set(states) <= {"on", "off"}:
        return fail("what was called is not what the tool's schema allows", answer.evidence(), help=remedy)
    if session.trained and states != ["on"]:
        return warn(f"it set the lamp {states}, asked for 'on'", answer.evidence())
    return ok(f"set_switch({states[0]})", answer.evidence())


FORM = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["red", "green", "blue"]},
        "sides": {"type": "integer", "enum": [3, 4, 5]},
        "closed": {"type": "boolean"},
    },
    "required": ["colour", "sides", "closed"],
    "additionalProperties": False,
}


def json_schema(session: Session) -> Outcome:
    """``response_format`` with a schema: the content is JSON of that form."""
    form = {"type": "json_schema", "json_schema": {"name": "figure", "schema": FORM, "strict": True}}
    text = "Describe a closed blue triangle as JSON with the keys colour, sides and closed."
    answer = ask(session.client, request(session.model, text, max_tokens=_room(session), response_format=form))
    if answer.finish == "length" and not session.trained:
        return skip(f"the untrained model filled {UNTRAINED_ROOM} tokens without coming to an end")
    try:
        value = json.loads(answer.content)
    except ValueError as problem:
        return fail(f"the content is not JSON: {problem}", answer.evidence(), help=_aborted(answer, session))
    from jsonschema import Draft202012Validator

    wrong = [error.message for error in Draft202012Validator(FORM).iter_errors(value)]
    if wrong:
        return fail(f"not of the form: {wrong[0]}", answer.evidence(), help=_aborted(answer, session))
    if session.trained and value != {"colour": "blue", "sides": 3, "closed": True}:
        return warn("of the form, with other values than asked for", answer.evidence())
    return ok("JSON of the form that was asked for", answer.evidence())


CHECKS = (
    Check("tool-call", "tools", "one call", call, trained=True),
    Check("tool-stream", "tools", "one call, streamed", call_stream, trained=True),
    Check("tool-escaping", "tools", "an argument with quotes, a backslash, < & and an entity", escaping, trained=True),
    Check("tool-escaping-stream", "tools", "the same, streamed", escaping_stream, trained=True),
    Check("tool-parallel", "tools", "two calls in one answer", parallel, trained=True),
    Check("tool-round-trip", "tools", "the result goes back and is used", round_trip, trained=True),
    Check("tool-required", "tools", "tool_choice required", required),
    Check("json-schema", "tools", "an answer in a given JSON form", json_schema),
)
