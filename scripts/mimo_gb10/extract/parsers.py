"""The reasoning and tool call parsers of a release, and what makes the server expect reasoning.

The release's own code decides: its `ReasoningParser` is constructed and its
`_get_reasoning_from_request` is run, with stand-ins for the server and the
request.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.extract.entry import Entry
from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.modules import Modules
from mimo_gb10.extract.stand_ins import line, method, silence, thing
from mimo_gb10.extract.values import ClassRef, External, Frame, FunctionRef, Made, Unresolved, Value

REASONING = "sglang.srt.parser.reasoning_parser"
TOOL_CALLS = "sglang.srt.function_call.function_call_parser"
CHAT = "sglang.srt.entrypoints.openai.serving_chat"
DETECTION = ("sglang.srt.parser.template_detection", "sglang.srt.managers.template_detection")
MANAGER = ("sglang.srt.parser.template_manager", "sglang.srt.managers.template_manager")

KEYS = ("enable_thinking", "thinking", "thinking_mode")
"""The keys of ``chat_template_kwargs`` that are tried."""

_CASES: dict[str, tuple[dict[str, Any] | None, str | None]] = {
    "absent": (None, None),
    "enable_thinking=true": ({"enable_thinking": True}, None),
    "enable_thinking=false": ({"enable_thinking": False}, None),
    "thinking=true": ({"thinking": True}, None),
    "thinking=false": ({"thinking": False}, None),
    "thinking_mode=enabled": ({"thinking_mode": "enabled"}, None),
    "reasoning_effort=high": (None, "high"),
    "reasoning_effort=none": (None, "none"),
}
_TOGGLES = tuple((key, default) for key in ("enable_thinking", "thinking") for default in (True, False))


# Reasoning parsers


@dataclass(frozen=True, slots=True)
class _Template:
    """What the chat template was found to say: nothing, or a toggle and its default."""

    toggle_param: str | None = None
    default_enabled: bool | None = None
    special_case: str | None = None

    def as_value(self) -> Value:
        return thing(
            toggle_param=self.toggle_param, default_enabled=self.default_enabled, special_case=self.special_case
        )


def evaluator(modules: Modules) -> Evaluator:
    """An evaluator for the parsers' code: it may log and use regular expressions."""
    run = Evaluator(modules)
    silence(run)
    run.hooks["re.search"] = _search
    return run


def reasoning_parsers(run: Evaluator) -> Iterator[Entry | Unresolved]:
    """Each name of the release with its class and its behaviour, or why it could not be computed."""
    table, path = _table(run, REASONING, "ReasoningParser", "DetectorMap")
    for name, (cls, number) in table.items():
        try:
            found = thinking(run, name)
            data = {"name": name, "class": _class_name(cls), "thinking": found}
            data["starts_inside"] = {
                key: _starts_inside(run, name, expected, found["expects"])
                for key, expected in (("expected", True), ("not_expected", False))
            }
            yield Entry(data, f"{path}:{number}")
        except Unresolved as problem:
            yield Unresolved(f"reasoning parser {name}: {problem.reason}")


def thinking(run: Evaluator, name: str) -> dict[str, Any]:
    """When the server expects reasoning of a request, with nothing said by the chat template."""
    outcomes = {case: expects(run, name, *request) for case, request in _CASES.items()}
    word, key = summary(outcomes)
    return {"when": word, "key": key, "expects": outcomes}


def summary(outcomes: Mapping[str, bool]) -> tuple[str, str | None]:
    """One word for the outcomes of the cases, and the key of ``chat_template_kwargs`` that decides, if one does.

    ``always``; ``unless-off``: on unless the key is false; ``asked``: only when the key asks for it;
    ``effort``: the field ``reasoning_effort`` decides; ``never``. Raises `Unresolved` for anything else.
    """
    usual = outcomes["absent"]
    if all(outcome is usual for outcome in outcomes.values()):
        return ("always" if usual else "never"), None
    changed = [case for case, outcome in outcomes.items() if outcome is not usual]
    if all(case.startswith("reasoning_effort=") for case in changed):
        return "effort", None
    keys = list(dict.fromkeys(case.partition("=")[0] for case in changed))
    wanted = [f"{key}=false" if usual else f"{key}=true" for key in keys]
    if changed == wanted or (not usual and changed == ["thinking_mode=enabled"]):
        return ("unless-off" if usual else "asked"), ", ".join(keys)
    raise Unresolved(f"reasoning is expected by a rule without a word: {dict(outcomes)}")


def expects(
    run: Evaluator, name: str, kwargs: dict[str, Any] | None, effort: str | None, template: _Template | None = None
) -> bool:
    """Whether the server expects reasoning of one request, by the release's own rule."""
    rule = _rule(run)
    detector = _detector(run, name, kwargs, effort, None)
    manager = thing(
        reasoning_config=template.as_value() if template else None,
        force_reasoning=bool(template and template.special_case == "always"),
    )
    server = thing(reasoning_parser=name, template_manager=manager, _reasoning_detector=detector)
    return run.truth(run.apply(rule, [server, _request(kwargs, effort)], {}))


def _rule(run: Evaluator) -> FunctionRef:
    return method(run, CHAT, "OpenAIServingChat", "_get_reasoning_from_request")


def _request(kwargs: dict[str, Any] | None, effort: str | None) -> Made:
    return thing(chat_template_kwargs=kwargs, reasoning_effort=effort, reasoning=thing())


def _detector(
    run: Evaluator, name: str, kwargs: dict[str, Any] | None, effort: str | None, force: bool | None
) -> Value:
    cls = run.resolve(REASONING, "ReasoningParser")
    request = _request(kwargs, effort)
    made = run.apply(cls, [], {"model_type": name, "force_reasoning": force, "request": request})
    detector = run.attribute(made, "detector")
    try:
        run.attribute(detector, "reasoning_default")
    except Unresolved as problem:
        # Not to be constructed here (it wants a tokenizer, for example): what its class declares must do.
        return _declared(run, detector, problem)
    return detector


def _declared(run: Evaluator, detector: Value, problem: Unresolved) -> Value:
    """A stand-in for a detector, with the default that its class declares; `problem` is raised if it declares none."""
    if not isinstance(detector, Made) or not isinstance(detector.maker, ClassRef):
        raise problem
    for base in run.ancestry(detector.maker):
        values = _literals(base.node, "reasoning_default") if isinstance(base, ClassRef) else set()
        if len(values) == 1:
            return thing(reasoning_default=values.pop())
        if values:
            raise Unresolved(f"{detector.maker.name} declares several values of reasoning_default")
    # The releases before the attribute never ask for it.
    if not any(
        "reasoning_default" in _stores(run, base) for base in run.ancestry(detector.maker) if isinstance(base, ClassRef)
    ):
        return detector
    raise problem


def _literals(cls: ast.ClassDef, name: str) -> set[str]:
    """The texts that a class body gives to an attribute: in its body, in a method or as a keyword of a call."""
    found: set[ast.expr | None] = set()
    for node in ast.walk(cls):
        match node:
            case ast.keyword(arg=arg, value=value) if arg == name:
                found.add(value)
            case ast.Assign(targets=[ast.Name(id=arg) | ast.Attribute(attr=arg)], value=value) if arg == name:
                found.add(value)
            case ast.AnnAssign(target=ast.Name(id=arg), value=value) if arg == name:
                found.add(value)
    return {node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _starts_inside(run: Evaluator, name: str, expected: bool, outcomes: Mapping[str, bool]) -> bool | None:
    """Whether text without an opening mark counts as reasoning, when the server does or does not expect it.

    None for a class that could not be constructed or that keeps no such state.
    """
    # Some classes read the request again, so it must be one with that outcome if there is any.
    case = next((case for case, outcome in outcomes.items() if outcome is expected), "absent")
    detector = _detector(run, name, *_CASES[case], expected)
    return run.truth(run.attribute(detector, "_in_reasoning")) if run.has(detector, "_in_reasoning") else None


def _stores(run: Evaluator, cls: ClassRef) -> set[str]:
    """The attributes that a class and its bases set on their objects."""
    return {
        node.attr
        for base in run.ancestry(cls)
        if isinstance(base, ClassRef)
        for node in ast.walk(base.node)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


# The rule as a whole


def reasoning_rule(run: Evaluator) -> Entry:
    """Whether a toggle found in the chat template comes before the parser's own default, and for which names not."""
    names = list(_table(run, REASONING, "ReasoningParser", "DetectorMap")[0])
    follows = [name for name in names if _follows_template(run, name)]
    data = {
        "template_first": bool(follows),
        "own_rule": [name for name in names if name not in follows] if follows else [],
        "template_forces": _template_forces(run),
    }
    return Entry(data, line(_rule(run)))


def _follows_template(run: Evaluator, name: str) -> bool:
    """Whether the outcomes are those of the template's toggle, whatever the parser's default is."""
    for key, default in _TOGGLES:
        template = _Template(key, default)
        for value in (None, True, False):
            got = expects(run, name, None if value is None else {key: value}, None, template)
            if got is not (default if value is None else value):
                return False
    return True


def _template_forces(run: Evaluator) -> bool:
    """Whether a template that always opens the reasoning makes the parser start inside, whatever the request says."""
    tree = run.modules.get(CHAT).tree
    for node in ast.walk(tree):
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            words = ast.unparse(node)
            if "template_manager.force_reasoning" in words and "_get_reasoning_from_request" in words:
                return True
    return False


def template_rules(run: Evaluator) -> list[Entry]:
    """The rules by which a release reads a chat template, and what each concludes; the first that matches counts."""
    name = _first(run, DETECTION)
    if name is None:
        return [_early_template_rule(run)]
    module = run.modules.get(name)
    rules = run.iterate(run.resolve(name, "REASONING_MODE_RULES"))
    calls = [
        node for statement in module.touching["REASONING_MODE_RULES"] for node in ast.walk(statement)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "DetectionRule"
    ]  # fmt: skip
    if len(calls) != len(rules):
        raise Unresolved("REASONING_MODE_RULES is not one literal")
    found = []
    for rule, call in zip(rules, calls, strict=True):
        config = run.attribute(rule, "value")
        data = {"name": run.attribute(rule, "name")}
        data |= {key: run.attribute(config, key) for key in ("toggle_param", "default_enabled", "special_case")}
        found.append(Entry(data, f"{module.path}:{call.lineno}"))
    return found


def _early_template_rule(run: Evaluator) -> Entry:
    """The one pattern that the releases before template detection look for."""
    name = _first(run, MANAGER)
    if name is None:
        raise Unresolved("no module reads the chat template")
    found = method(run, name, "TemplateManager", "_detect_reasoning_pattern")
    data = {"name": "force_reasoning_pattern", "toggle_param": None, "default_enabled": None, "special_case": "always"}
    return Entry(data, line(found))


def detect_template(run: Evaluator, template: str) -> dict[str, Any] | None:
    """What a release concludes from a chat template, by its own code; None when no rule matches."""
    name = _first(run, DETECTION)
    if name is None:
        found = method(run, _first(run, MANAGER) or "", "TemplateManager", "_detect_reasoning_pattern")
        forced = run.truth(run.apply(found, [thing(), template], {}))
        return {"toggle_param": None, "default_enabled": None, "special_case": "always"} if forced else None
    _, config = run.apply(run.resolve(name, "detect_reasoning_pattern"), [template], {})
    if config is None:
        return None
    return {key: run.attribute(config, key) for key in ("toggle_param", "default_enabled", "special_case")}


def _first(run: Evaluator, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in run.modules), None)


def _search(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    args, kwargs = run.arguments(frame, node)
    pattern, text, *rest = args
    flags = rest[0] if rest else kwargs.get("flags", 0)
    if isinstance(flags, External) and flags.name.startswith("re."):
        flags = getattr(re, flags.name.removeprefix("re."))
    if not (isinstance(pattern, str) and isinstance(text, str) and isinstance(flags, int)):
        raise Unresolved(f"{ast.unparse(node)} is only known at run time")
    return True if re.search(pattern, text, flags) else None


# Tool call parsers


def tool_call_parsers(run: Evaluator) -> Iterator[Entry | Unresolved]:
    """Each name of the release with its class, and whether calls can be forced with a structural tag."""
    table, path = _table(run, TOOL_CALLS, "FunctionCallParser", "ToolCallParserEnum")
    for name, (cls, number) in table.items():
        try:
            data = {"name": name, "class": _class_name(cls), "structural_tag": _structural_tag(run, cls)}
            yield Entry(data, f"{path}:{number}")
        except Unresolved as problem:
            yield Unresolved(f"tool call parser {name}: {problem.reason}")


def _structural_tag(run: Evaluator, cls: Value) -> bool | None:
    """What `supports_structural_tag` returns; None where it depends on the request."""
    found = run.attribute(cls, "supports_structural_tag")
    if not isinstance(found, FunctionRef) or not isinstance(found.node, ast.FunctionDef):
        raise Unresolved("supports_structural_tag is not a function")
    body = [
        part for part in found.node.body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
    ]
    match body:
        case [ast.Return(value=ast.Constant(value=bool(answer)))]:
            return answer
    return None


def _table(run: Evaluator, module: str, owner: str, name: str) -> tuple[dict[str, tuple[Value, int]], str]:
    """A class's dictionary of names: for each its value and line, and the file's path. Raises `Unresolved`."""
    cls = run.resolve(module, owner)
    table = run.attribute(cls, name)
    if not isinstance(cls, ClassRef) or not isinstance(table, dict):
        raise Unresolved(f"{owner}.{name} is not a dictionary")
    nodes = [
        part.value
        for part in cls.node.body
        if isinstance(part, (ast.Assign, ast.AnnAssign)) and name in ast.unparse(part).partition("=")[0]
    ]
    lines = {
        key.value: key.lineno
        for node in nodes
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    if lines.keys() != table.keys():
        raise Unresolved(f"{owner}.{name} is not one literal")
    return {key: (value, lines[key]) for key, value in table.items()}, cls.module.path


def _class_name(cls: Value) -> str:
    if isinstance(cls, ClassRef):
        return cls.name
    raise Unresolved("its class cannot be computed")
