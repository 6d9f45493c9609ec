"""The command line flags of a release, as its own parser would register them.

`ServerArgs.add_cli_args` is run by the evaluator, with a stand-in for the
parser that records each ``add_argument`` call. Where the flags are made from
annotated fields, SGLang's own function for that is run too, so a change in how
fields become flags is followed without a change here. The recorded calls are
then registered on a real `argparse` parser, which settles destinations,
arity and constants.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mimo_gb10.extract.deprecation import replacement, says_deprecated
from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.values import (
    ClassRef,
    External,
    Frame,
    FunctionRef,
    Made,
    Record,
    TypeExpr,
    Unknown,
    Unresolved,
    Value,
    plain,
)

SERVER_ARGS = "sglang.srt.server_args"
"""The module whose `ServerArgs` gives the parser of ``python -m sglang.launch_server``."""

_DROPPED = ("help", "metavar")
_STANDARD_ACTIONS = {
    "_StoreAction": "store",
    "_StoreConstAction": "store_const",
    "_StoreTrueAction": "store_true",
    "_StoreFalseAction": "store_false",
    "_AppendAction": "append",
    "_AppendConstAction": "append_const",
    "_CountAction": "count",
    "_ExtendAction": "extend",
    "_HelpAction": "help",
    "_VersionAction": "version",
}


@dataclass(frozen=True, slots=True)
class Flag:
    """One command line flag; the names are argparse's.

    Attributes:
        options: Its spellings, in the parser's order.
        dest: Where the parser stores the value.
        action: ``store``, ``store_true`` and so on, or the name of an action class.
        type: Name of the callable that converts the value; None for plain text and switches.
        nargs: How many values follow: None for one, 0 for a switch.
        choices: Allowed values, or None.
        const: The value that the option stores by itself.
        default: The parser's default.
        required: Whether the parser insists on it.
        deprecated: Whether the declaration says so.
        replaced_by: What the declaration tells to use instead.
        fallback: The value that SGLang uses when the option is not given and nothing else decides it.
        unresolved: The fields that could not be computed.
        source: Upstream ``path:line`` of the declaration.
    """

    options: tuple[str, ...]
    dest: str
    action: str
    type: str | None
    nargs: int | str | None
    choices: tuple[Any, ...] | None
    const: Any
    default: Any
    required: bool
    deprecated: bool
    replaced_by: str | None
    source: str
    fallback: Any = None
    unresolved: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Recorder:
    """Stands for the `ArgumentParser` that upstream's code fills."""

    calls: list[Declared] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Declared:
    """One recorded ``add_argument`` call, with computed arguments."""

    names: tuple[str, ...]
    kwargs: dict[str, Value]
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Parser:
    """What a release's parser accepts.

    Attributes:
        flags: All flags, in the order of their registration.
        problems: What could not be computed, as sentences.
    """

    flags: tuple[Flag, ...]
    problems: tuple[str, ...]


def read_flags(run: Evaluator) -> Parser:
    """The flags of ``python -m sglang.launch_server``. Raises `Unresolved` without a `ServerArgs`."""
    server_args = run.resolve(SERVER_ARGS, "ServerArgs")
    method = run.attribute(server_args, "add_cli_args")
    if not isinstance(method, FunctionRef) or isinstance(method.node, ast.Lambda):
        raise Unresolved("ServerArgs.add_cli_args is not a function")
    recorder = Recorder()
    run.methods[Recorder] = _record
    frame = Frame(method.frame.module, {}, method.frame)
    run.bind_arguments(method, frame, [recorder], {})
    run.run_body(frame, method.node.body)
    fallbacks = _fallbacks(run, server_args)
    problems = list(run.problems)
    flags = list(_register(run, recorder.calls, fallbacks, problems))
    return Parser(tuple(_with_alias_targets(flags)), tuple(dict.fromkeys(problems)))


def _record(run: Evaluator, frame: Frame, node: ast.Call, owner: Value, name: str) -> Value:
    if name in ("add_argument_group", "add_mutually_exclusive_group"):
        return owner
    if name != "add_argument":
        raise Unresolved(f"parser.{name} is not evaluated")
    args, kwargs = run.arguments(frame, node)
    for arg in args:
        if not isinstance(arg, str):
            raise Unresolved(f"the name of an option cannot be computed: {ast.unparse(node)[:80]}")
    text = kwargs.get("help")
    source = f"{frame.module.path}:{node.lineno}"
    if frame.module.name != SERVER_ARGS:
        source = run.field_sources.get(_dest(args, kwargs), source)
    owner.calls.append(Declared(tuple(args), kwargs, text if isinstance(text, str) else _words(node), source))
    return None


def _dest(names: Sequence[str], kwargs: dict[str, Value]) -> str:
    return str(kwargs.get("dest") or names[0].lstrip("-").replace("-", "_"))


def _words(node: ast.Call) -> str:
    """The fixed words of a help text that is computed at run time."""
    for keyword in node.keywords:
        if keyword.arg == "help":
            return "".join(
                part.value
                for part in ast.walk(keyword.value)
                if isinstance(part, ast.Constant) and str(part.value) == part.value
            )
    return ""


def _fallbacks(run: Evaluator, server_args: Value) -> dict[str, Value]:
    """Values declared as ``Arg(fallback=...)``, by field."""
    found: dict[str, Value] = {}
    if not isinstance(server_args, (ClassRef, Record)):
        return found
    for name, hint in run.hints(server_args).items():
        if isinstance(hint, TypeExpr):
            for part in hint.args[1:]:
                if isinstance(part, Made) and part.kwargs.get("fallback") is not None:
                    found[name] = part.kwargs["fallback"]
    return found


def _register(
    run: Evaluator, calls: Iterable[Declared], fallbacks: dict[str, Value], problems: list[str]
) -> Iterable[Flag]:
    parser = argparse.ArgumentParser(add_help=True, allow_abbrev=False)
    for call in calls:
        kwargs = {key: value for key, value in call.kwargs.items() if key not in _DROPPED}
        unresolved = [key for key, value in kwargs.items() if isinstance(value, Unknown)]
        for key in unresolved:
            problems.append(f"{call.names[0]} ({call.source}): {key}: {kwargs.pop(key).reason}")
        declared_action = kwargs.get("action")
        try:
            if "action" in kwargs:
                kwargs["action"] = _as_action(run, kwargs["action"])
            for key, convert in _CONVERSIONS.items():
                _settle(run, kwargs, key, convert, unresolved, call, problems)
            action = parser.add_argument(*call.names, **kwargs)
        except (Unresolved, TypeError, ValueError, argparse.ArgumentError) as problem:
            problems.append(f"{call.names[0]} ({call.source}): {problem}")
            continue
        name = _action_name(action, declared_action)
        deprecated = says_deprecated(call.text, name)
        replaced_by = None
        if deprecated:
            told = getattr(action, "new_flag", None) or replacement(call.text) or replacement(_error_message(action))
            replaced_by = str(told) if told else None
        yield Flag(
            options=tuple(action.option_strings),
            dest=action.dest,
            action=name,
            type=_type_name(action.type),
            nargs=action.nargs,
            choices=None if action.choices is None else tuple(action.choices),
            const=action.const,
            default=action.default,
            required=action.required,
            deprecated=deprecated,
            replaced_by=replaced_by,
            source=call.source,
            fallback=fallbacks.get(action.dest),
            unresolved=tuple(unresolved),
        )


def _settle(
    run: Evaluator,
    kwargs: dict[str, Any],
    key: str,
    convert: Callable[[Evaluator, Value], Any],
    unresolved: list[str],
    call: Declared,
    problems: list[str],
) -> None:
    """Turn one argument into what argparse takes, or drop it and say so."""
    if key not in kwargs:
        return
    try:
        kwargs[key] = convert(run, kwargs[key])
    except Unresolved as problem:
        del kwargs[key]
        unresolved.append(key)
        problems.append(f"{call.names[0]} ({call.source}): {key}: {problem.reason}")


class _Converter:
    """Stands for a ``type=`` callable; argparse only checks that it can be called."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, text: str) -> str:
        return text


def _as_type(run: Evaluator, value: Value) -> Any:
    if value is None or isinstance(value, type):
        return value
    if isinstance(value, (External, FunctionRef, ClassRef)):
        return _Converter(value.name)
    raise Unresolved(f"type: {type(value).__name__} is not a callable with a name")


def _as_choices(run: Evaluator, value: Value) -> Any:
    return None if value is None else plain(run.iterate(value) if isinstance(value, ClassRef) else value)


def _as_nargs(run: Evaluator, value: Value) -> Any:
    return getattr(argparse, value.name.removeprefix("argparse.")) if isinstance(value, External) else plain(value)


def _as_plain(run: Evaluator, value: Value) -> Any:
    return plain(value)


def _as_action(run: Evaluator, value: Value) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, External) and value.name.startswith("argparse."):
        action = getattr(argparse, value.name.removeprefix("argparse."), None)
        if isinstance(action, type) and issubclass(action, argparse.Action):
            return action
    if isinstance(value, ClassRef):
        return _action_class(run, value)
    raise Unresolved(f"action: {getattr(value, 'name', value)} is not known")


_CONVERSIONS: dict[str, Callable[[Evaluator, Value], Any]] = {
    "type": _as_type,
    "choices": _as_choices,
    "nargs": _as_nargs,
    "default": _as_plain,
    "const": _as_plain,
}


def _action_class(run: Evaluator, cls: ClassRef) -> type[argparse.Action]:
    """An action class with upstream's constructor: the arguments that it hands on, and what it keeps."""
    try:
        method = run.attribute(cls, "__init__")
    except Unresolved:
        method = None

    def __init__(self: argparse.Action, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        args: list[Value] = [list(option_strings), dest]
        if isinstance(method, FunctionRef) and isinstance(method.node, ast.FunctionDef):
            frame = Frame(cls.module, {}, method.frame)
            run.bind_arguments(method, frame, [self, *args], kwargs)
            for statement in method.node.body:
                match statement:
                    case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attr)], value=node):
                        setattr(self, attr, run.evaluate(frame, node))
                    case ast.Expr(value=ast.Call(func=ast.Attribute(attr="__init__")) as call):
                        args, kwargs = run.arguments(frame, call)
                    case ast.Expr(value=ast.Constant()):
                        pass
                    case _:
                        raise Unresolved(f"{cls.name}.__init__: {type(statement).__name__} is not evaluated")
        argparse.Action.__init__(self, *args, **kwargs)

    return type(cls.name, (argparse.Action,), {"__init__": __init__, "__call__": lambda *_, **__: None})


def _action_name(action: argparse.Action, declared: Value) -> str:
    name = type(action).__name__
    return declared.name if isinstance(declared, ClassRef) else _STANDARD_ACTIONS.get(name, name)


def _error_message(action: argparse.Action) -> str:
    message = getattr(action, "error_message", None)
    return message if isinstance(message, str) else ""


def _type_name(converter: Any) -> str | None:
    if converter is None:
        return None
    return str(converter.name if isinstance(converter, _Converter) else converter.__name__)


def _with_alias_targets(flags: Sequence[Flag]) -> Iterable[Flag]:
    """A deprecated flag without a named successor is replaced by the flag that fills the same destination."""
    current = {flag.dest: flag.options[0] for flag in reversed(flags) if not flag.deprecated}
    for flag in flags:
        if flag.deprecated and flag.replaced_by is None and flag.dest in current:
            names = {name: getattr(flag, name) for name in Flag.__dataclass_fields__}
            yield Flag(**{**names, "replaced_by": current[flag.dest]})
        else:
            yield flag


def flag_as_json(flag: Flag) -> dict[str, Any]:
    """The flag as the catalog writes it, without its source."""
    data: dict[str, Any] = {
        "options": list(flag.options),
        "dest": flag.dest,
        "action": flag.action,
        "type": flag.type,
        "nargs": flag.nargs,
        "choices": None if flag.choices is None else list(flag.choices),
        "const": flag.const,
        "default": flag.default,
        "required": flag.required,
        "deprecated": flag.deprecated,
        "replaced_by": flag.replaced_by,
    }
    if flag.fallback is not None:
        data["fallback"] = plain(flag.fallback)
    if flag.unresolved:
        data["unresolved"] = list(flag.unresolved)
    return data


def flag_sort_key(flag: Flag) -> tuple[str, tuple[str, ...]]:
    """Sorts by destination, then spelling: an added flag is one added line."""
    return (flag.dest, flag.options)
