"""The environment variables of a release: declared, read, set, deprecated, removed.

Declarations come from the release's own environment module. Reads and writes
are looked for in every file that can touch the environment: direct ones, those
through SGLang's helper functions, and those through the declarations.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mimo_gb10.extract.deprecation import replacement
from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.uses import ENVIRON, LOUD_NAME, Use, read_uses
from mimo_gb10.extract.values import ClassRef, Frame, FunctionRef, Made, Unresolved, Value, plain


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable.

    Attributes:
        name: Its name.
        type: How SGLang reads it: ``str``, ``bool``, ``int``, ``float``, ``tuple``, ``json``.
        default: The value when it is not set; None when there is none or only run time knows it.
        declared: Whether the release's environment module declares it.
        reads: Whether the server acts on its value.
        source: Upstream ``path:line`` of the declaration, else of the first read, else of the first write.
        sets: Whether the server sets it itself.
        removed: Whether the server only warns that it is gone.
        deprecated: Whether the server warns that it is going.
        replaced_by: What the warning tells to use instead.
        unresolved: The fields that could not be computed.
    """

    name: str
    type: str
    default: Any
    declared: bool
    reads: bool
    source: str
    sets: bool = False
    removed: bool = False
    deprecated: bool = False
    replaced_by: str | None = None
    unresolved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prefix:
    """A rule by which SGLang renames variables: any that begins with `old` is copied to one with `new`."""

    old: str
    new: str
    source: str


@dataclass(frozen=True, slots=True)
class Environment:
    """All variables of a release, sorted by name, and the renaming rules."""

    variables: tuple[Variable, ...]
    prefixes: tuple[Prefix, ...]
    problems: tuple[str, ...] = ()


def read_environment(run: Evaluator) -> Environment:
    """The environment variables of a release."""
    problems: list[str] = []
    declared = list(_declared(run, problems))
    names = frozenset(variable.name for variable in declared)
    notices, prefixes = _notices(run)
    uses = read_uses(run, names)
    found = {variable.name: variable for variable in declared}
    grouped: dict[str, list[Use]] = {}
    for use in sorted(uses, key=lambda use: (use.path, use.line)):
        grouped.setdefault(use.name, []).append(use)
    for name in sorted(grouped.keys() | found.keys() | notices.keys()):
        found[name] = _merge(found.get(name), notices.get(name), grouped.get(name, []))
    return Environment(tuple(found[name] for name in sorted(found)), tuple(prefixes), tuple(problems))


def _merge(declared: Variable | None, notice: Variable | None, uses: Sequence[Use]) -> Variable:
    reads = [use for use in uses if use.kind == "read"]
    warnings = [use for use in uses if use.kind == "warning"]
    sets = [use for use in uses if use.kind == "set"]
    if declared is not None:
        base = replace(declared, reads=bool(reads)) if declared.declared else declared
    elif notice is not None:
        base = notice
    else:
        first = (reads or warnings or sets)[0]
        base = Variable(first.name, first.type, first.default, False, bool(reads), f"{first.path}:{first.line}")
    if reads:
        base = replace(base, reads=True, removed=False)
    if sets:
        base = replace(base, sets=True)
    if notice is not None:
        forwarded = notice.reads and declared is None
        base = replace(base, deprecated=True, replaced_by=notice.replaced_by, reads=base.reads or forwarded)
    told = next((use for use in (*warnings, *reads) if use.text), None)
    if told is not None and not base.deprecated:
        base = replace(base, deprecated=True, replaced_by=replacement(told.text))
    if base.deprecated and not base.reads:
        base = replace(base, removed=True)
    return base


# Declarations


def _declared(run: Evaluator, problems: list[str]) -> Iterator[Variable]:
    envs = run.resolve(ENVIRON, "Envs")
    if not isinstance(envs, ClassRef):
        raise Unresolved(f"{ENVIRON}.Envs is not a class")
    seen: dict[str, int] = {}
    for statement in envs.node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            seen[statement.targets[0].id] = statement.lineno
    for name, line in seen.items():
        source = f"{envs.module.path}:{line}"
        try:
            made = run.class_attribute(envs, name)
            kind = _declared_type(run, made)
        except Unresolved as problem:
            problems.append(f"{name} ({source}): {problem.reason}")
            continue
        if kind is None:
            continue
        default: Any = None
        unresolved: tuple[str, ...] = ()
        try:
            default = _declared_default(run, made)
        except Unresolved as problem:
            problems.append(f"{name} ({source}): default: {problem.reason}")
            unresolved = ("default",)
        yield Variable(name, kind, default, True, False, source, unresolved=unresolved)
        old = run.attribute(made, "deprecated_name") if run.has(made, "deprecated_name") else None
        if isinstance(old, str):
            yield Variable(old, kind, None, False, True, source, deprecated=True, replaced_by=name)


def _declared_type(run: Evaluator, made: Value) -> str | None:
    if not isinstance(made, Made) or not isinstance(made.maker, ClassRef):
        return None
    line = [base for base in run.ancestry(made.maker) if isinstance(base, ClassRef)]
    if not any(base.name == "EnvField" for base in line):
        return None
    for base in line:
        if any(isinstance(node, ast.Name) and node.id == "EnvField" for node in base.node.bases):
            return base.name.removeprefix("Env").lower()
    return "str"


def _declared_default(run: Evaluator, made: Value) -> Any:
    value = run.attribute(made, "default")
    if isinstance(value, FunctionRef):
        value = run.apply(value, [], {})
    return plain(value)


# Deprecations that the environment module itself knows


def _notices(run: Evaluator) -> tuple[dict[str, Variable], list[Prefix]]:
    module = run.modules.get(ENVIRON)
    found: dict[str, Variable] = {}
    prefixes: list[Prefix] = []

    def add(name: Value, other: Value, text: str, line: int) -> None:
        if isinstance(name, str) and LOUD_NAME.match(name):
            new = other if isinstance(other, str) and LOUD_NAME.match(other) else None
            found[name] = Variable(
                name, "str", None, False, new is not None, f"{module.path}:{line}",
                deprecated=True, replaced_by=new or replacement(text),
            )  # fmt: skip

    frame = Frame(module)
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id=function), args=[ast.Constant(value=str(old)), *rest]) if (
                "deprecated" in function
            ):
                other = run.attempt(frame, rest[0]) if rest else None
                add(old, other, other if isinstance(other, str) else "", node.lineno)
            case (
                ast.Assign(targets=[ast.Name(id=target)], value=ast.Dict() as table)
                | ast.AnnAssign(target=ast.Name(id=target), value=ast.Dict() as table)
            ) if "deprecated" in target.lower():
                for key, value in zip(table.keys, table.values, strict=True):
                    if key is not None:
                        other, text = _notice_value(run, frame, value)
                        add(run.attempt(frame, key), other, text, key.lineno)
            case ast.Call(
                func=ast.Attribute(attr="replace"),
                args=[ast.Constant(value=str(old)), ast.Constant(value=str(new)), *_],
            ) if old.isupper() and old.endswith("_"):
                prefixes.append(Prefix(old, new, f"{module.path}:{node.lineno}"))
    return found, prefixes


def _notice_value(run: Evaluator, frame: Frame, node: ast.expr) -> tuple[Value, str]:
    value = run.attempt(frame, node)
    if not isinstance(value, Made):
        return value, ""
    texts = [text for text in (*value.args, *value.kwargs.values()) if isinstance(text, str)]
    return value.kwargs.get("replacement"), " ".join(texts)


def variable_as_json(variable: Variable) -> dict[str, Any]:
    """The variable as the catalog writes it, without its source."""
    data: dict[str, Any] = {
        "name": variable.name,
        "type": variable.type,
        "default": variable.default,
        "declared": variable.declared,
        "reads": variable.reads,
    }
    for key in ("sets", "removed", "deprecated"):
        if getattr(variable, key):
            data[key] = True
    if variable.deprecated:
        data["replaced_by"] = variable.replaced_by
    if variable.unresolved:
        data["unresolved"] = list(variable.unresolved)
    return data


def prefix_as_json(rule: Prefix) -> dict[str, Any]:
    """The renaming rule as the catalog writes it, without its source."""
    return {"prefix": rule.old, "replaced_by": rule.new}
