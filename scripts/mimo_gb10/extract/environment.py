"""The environment variables of a release: declared, read, set, deprecated, removed.

Declarations come from the release's own environment module. Reads and writes
are looked for in every file that can touch the environment: direct ones, those
through SGLang's helper functions, and those through the declarations.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from .deprecation import replacement
from .evaluate import Evaluator
from .flags import plain
from .modules import Module
from .values import ClassRef, Frame, FunctionRef, Made, Unresolved, Value

ENVIRON = "sglang.srt.environ"
"""The module in which SGLang declares its variables."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_LOUD_NAME = re.compile(r"[A-Z][A-Z0-9_]{2,}\Z")
_GONE = re.compile(r"\b(?:removed|deprecated|no longer|ignored|no effect|obsolete)\b", re.IGNORECASE)
_TOUCHES_ENVIRONMENT = re.compile(r"\b(?:environ|getenv|envs)\b|[\"']SGLANG_[A-Z]")
_OWN_NAME = re.compile(r"SGL(?:ANG)?_[A-Z0-9_]+[A-Z0-9]\Z")

# What the server is made of. Left out: tests, benchmarks, the diffusion server and the client language.
_SERVER = re.compile(
    r"sglang/(?:(?:srt|kernels|jit_kernel|cli)/|(?!bench|auto_bench|check_env|compile_|profiler)[^/]*$)"
)
_TYPES = {"bool": bool, "int": int, "float": float}


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


@dataclass(frozen=True, slots=True)
class _Use:
    """One place that reads or writes a variable."""

    name: str
    kind: str  # "read", "warning" (a read that only leads to a warning) or "set"
    path: str
    line: int
    type: str = "str"
    default: Any = None
    text: str = ""


def read_environment(run: Evaluator) -> Environment:
    """The environment variables of a release."""
    problems: list[str] = []
    declared = list(_declared(run, problems))
    names = frozenset(variable.name for variable in declared)
    notices, prefixes = _notices(run)
    uses: list[_Use] = []
    modules, helpers = _candidates(run)
    for module in modules:
        # The environment module's own helpers take names that `_notices` deals with.
        uses.extend(_Scanner(run, module, names, {} if module.name == ENVIRON else helpers).uses)
    found = {variable.name: variable for variable in declared}
    grouped: dict[str, list[_Use]] = {}
    for use in sorted(uses, key=lambda use: (use.path, use.line)):
        grouped.setdefault(use.name, []).append(use)
    for name in sorted(grouped.keys() | found.keys() | notices.keys()):
        found[name] = _merge(found.get(name), notices.get(name), grouped.get(name, []))
    return Environment(tuple(found[name] for name in sorted(found)), tuple(prefixes), tuple(problems))


def _merge(declared: Variable | None, notice: Variable | None, uses: Sequence[_Use]) -> Variable:
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
        try:
            default, unresolved = _declared_default(run, made), ()
        except Unresolved as problem:
            problems.append(f"{name} ({source}): default: {problem.reason}")
            default, unresolved = None, ("default",)
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
        if isinstance(name, str) and _LOUD_NAME.match(name):
            new = other if isinstance(other, str) and _LOUD_NAME.match(other) else None
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


# Reads and writes


@dataclass(frozen=True, slots=True)
class _Helper:
    """A function that reads the variable named by one of its parameters."""

    position: int
    type: str
    default: Any


Helpers: TypeAlias = dict[str, _Helper]


def _candidates(run: Evaluator) -> tuple[list[Module], Helpers]:
    """The modules that may touch the environment, and the functions through which they do."""
    helpers: Helpers = {}
    chosen: dict[str, Module] = {}
    texts = {path: run.modules.text(path) for path in run.modules.paths() if _SERVER.match(path)}
    pattern = _TOUCHES_ENVIRONMENT
    while True:
        fresh = [path for path, text in texts.items() if pattern.search(text)]
        for path in fresh:
            del texts[path]
            chosen[path] = run.modules.at(path)
        before = len(helpers)
        for path in chosen if before else fresh:
            if chosen[path].name != ENVIRON:
                _find_helpers(run, chosen[path], helpers)
        if len(helpers) == before:
            break
        pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, helpers)) + r")\(")
    return [chosen[path] for path in sorted(chosen)], helpers


def _find_helpers(run: Evaluator, module: Module, helpers: Helpers) -> None:
    for function in module.tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name in helpers:
            continue
        parameters = [parameter.arg for parameter in function.args.args]
        for node in ast.walk(function):
            key = _read_key(node, helpers)
            if isinstance(key, ast.Name) and key.id in parameters:
                kind = _helper_type(function)
                defaults = function.args.defaults
                # The parameter after the name is the value to use when the variable is not set.
                given = len(parameters) == parameters.index(key.id) + 2 and len(defaults) > 0
                default = _typed(run.attempt(Frame(module), defaults[-1]), kind) if given else None
                helpers[function.name] = _Helper(parameters.index(key.id), kind, default)
                break


def _helper_type(function: ast.FunctionDef) -> str:
    name = function.name.lower()
    returns = "" if function.returns is None else ast.unparse(function.returns).lower()
    for kind in ("bool", "float", "int"):
        if kind in returns or kind in name:
            return kind
    return "str"


def _is_environ(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr="environ") | ast.Name(id="environ"):
            return True
    return False


def _read_key(node: ast.AST, helpers: Helpers) -> ast.expr | None:
    """The expression that names the variable which `node` reads, if it is a read."""
    match node:
        case ast.Subscript(value=owner, slice=key, ctx=ast.Load()) if _is_environ(owner):
            return key
        case ast.Call(func=ast.Attribute(value=owner, attr="get" | "pop" | "__getitem__"), args=[key, *_]) if (
            _is_environ(owner)
        ):
            return key
        case ast.Call(func=ast.Attribute(attr="getenv") | ast.Name(id="getenv"), args=[key, *_]):
            return key
        case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[owner]) if _is_environ(owner):
            return key
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args, keywords=keywords) if (
            name in helpers
        ):
            position = helpers[name].position
            if position < len(args):
                return args[position]
            return keywords[0].value if keywords and position == 0 else None
    return None


def _set_keys(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that name the variables which `node` sets or clears."""
    match node:
        case ast.Subscript(value=owner, slice=key, ctx=ast.Store() | ast.Del()) if _is_environ(owner):
            yield key
        case ast.Call(func=ast.Attribute(value=owner, attr="setdefault"), args=[key, *_]) if _is_environ(owner):
            yield key
        case ast.Call(func=ast.Attribute(attr="putenv"), args=[key, *_]):
            yield key
        case ast.Call(func=ast.Attribute(value=owner, attr="update"), args=args, keywords=keywords) if _is_environ(
            owner
        ):
            for keyword in keywords:
                if keyword.arg is not None:
                    yield ast.Constant(value=keyword.arg)
            for arg in args:
                if isinstance(arg, ast.Dict):
                    yield from (key for key in arg.keys if key is not None)


class _Scanner(ast.NodeVisitor):
    """Collects the uses of one module."""

    def __init__(self, run: Evaluator, module: Module, declared: frozenset[str], helpers: Helpers) -> None:
        self.uses: list[_Use] = []
        self._run = run
        self._module = module
        self._declared = declared
        self._helpers = helpers
        self._frame = Frame(module)
        self._loops: list[tuple[ast.expr, ast.expr]] = []
        self._warnings: dict[ast.AST, str] = {}
        self._mentions: dict[ast.AST, str] = {}
        self._consumed: set[ast.AST] = set()
        self._keys: set[ast.AST] = set()
        self._wrappers: list[str] = []
        self.visit(module.tree)

    def _add(self, node: ast.AST, names: Iterable[str], kind: str, type: str = "str", default: Any = None) -> None:
        for name in names:
            text = ""
            if kind == "read" and node in self._warnings:
                kind, text = "warning", self._warnings[node]
            elif kind == "read" and node in self._mentions:
                text = self._mentions[node]
            self.uses.append(_Use(name, kind, self._module.path, getattr(node, "lineno", 0), type, default, text))

    def _names(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.Name):
            for target, iterable in reversed(self._loops):
                if any(isinstance(part, ast.Name) and part.id == node.id for part in _parts(target)):
                    return self._loop_values(target, iterable, node.id)
        value = self._run.attempt(self._frame, node)
        return [value] if isinstance(value, str) and _NAME.match(value) else []

    def visit_If(self, node: ast.If) -> None:
        text = _warning_text(node.body)
        if text:
            marks = self._warnings if not node.orelse and _only_warns(node.body) else self._mentions
            for inner in ast.walk(node.test):
                marks[inner] = text
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._looped(node, [(node.target, node.iter)])

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._looped(node, [(part.target, part.iter) for part in node.generators])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._looped(node, [(part.target, part.iter) for part in node.generators])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._looped(node, [(part.target, part.iter) for part in node.generators])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._looped(node, [(part.target, part.iter) for part in node.generators])

    def _looped(self, node: ast.AST, loops: Sequence[tuple[ast.expr, ast.expr]]) -> None:
        self._loops.extend(loops)
        self.generic_visit(node)
        del self._loops[len(self._loops) - len(loops) :]

    def _loop_values(self, target: ast.expr, iterable: ast.expr, name: str) -> list[str]:
        try:
            items = self._run.iterate(self._run.evaluate(self._frame, iterable))
        except Unresolved:
            return []
        if isinstance(target, ast.Tuple):
            index = [getattr(part, "id", None) for part in target.elts].index(name)
            items = [item[index] for item in items if isinstance(item, tuple) and index < len(item)]
        return [item for item in items if isinstance(item, str) and _NAME.match(item)]

    def visit_Expr(self, node: ast.Expr) -> None:
        match node.value:
            case ast.Call(func=ast.Attribute(value=owner, attr="pop"), args=[key, *_]) as call if _is_environ(owner):
                # A pop whose value nobody takes clears the variable.
                self._consumed.add(call)
                self._keys.update(ast.walk(key))
                self._add(call, self._names(key), "set")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._use(node)
        match node.func:
            case ast.Name(id="int" | "float" | "bool" as kind):
                self._wrappers.append(kind)
                self.generic_visit(node)
                self._wrappers.pop()
                return
            case ast.Name(id="getattr") if len(node.args) > 1 and _is_envs(node.args[0]):
                self._add(node, [name for name in self._names(node.args[1]) if name in self._declared], "read")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._use(node)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        self._use(node)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key in node.keys:
            if isinstance(key, ast.Constant) and self._is_own_name(key.value):
                self._keys.add(key)
                self._add(key, [key.value], "set")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        # A name in a table is read through a variable that cannot be followed.
        if node not in self._keys and self._is_own_name(node.value) and self._module.name != ENVIRON:
            self._add(node, [node.value], "read")

    def _is_own_name(self, value: object) -> bool:
        return isinstance(value, str) and bool(_OWN_NAME.match(value))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        match node:
            case ast.Attribute(value=ast.Attribute(value=owner, attr=name), attr="set" | "override" | "clear") if (
                name in self._declared and _is_envs(owner)
            ):
                self._add(node, [name], "set")
                return
            case ast.Attribute(value=owner, attr=name) if name in self._declared and _is_envs(owner):
                self._add(node, [name], "read")
        self.generic_visit(node)

    def _use(self, node: ast.AST) -> None:
        for key in _set_keys(node):
            self._keys.update(ast.walk(key))
            self._add(node, self._names(key), "set")
        helpers = self._helpers
        key = None if node in self._consumed else _read_key(node, helpers)
        if key is None:
            return
        self._keys.update(ast.walk(key))
        names = self._names(key)
        kind, default = "str", None
        if isinstance(node, ast.Call):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in helpers:
                names = [name for name in names if _LOUD_NAME.match(name)]
                kind, default = helpers[function].type, helpers[function].default
            elif self._wrappers:
                kind = self._wrappers[-1]
            if len(node.args) > 1:
                default = _typed(self._run.attempt(self._frame, node.args[1]), kind)
        self._add(node, names, "read", kind, default)


def _parts(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple) else [target]


def _is_envs(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.lower().strip("_") == "envs"
    return False


def _typed(value: Value, kind: str) -> Any:
    """A default as the type that it is read as; None when it is not plain."""
    try:
        value = plain(value)
    except Unresolved:
        return None
    if kind in _TYPES and isinstance(value, str):
        if kind == "bool":
            return value.lower() in ("true", "1", "yes", "y")
        try:
            return _TYPES[kind](value)
        except ValueError:
            return value
    return value


def _warning_text(body: Sequence[ast.stmt]) -> str:
    """The text of a warning at the beginning of a block that says that something is gone or going."""
    for statement in body:
        match statement:
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="warning" | "warn" | "warning_once")) as call):
                text = "".join(
                    part.value
                    for part in ast.walk(call)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
                if _GONE.search(text):
                    return text
    return ""


def _only_warns(body: Sequence[ast.stmt]) -> bool:
    return all(
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Attribute)
        and statement.value.func.attr in ("warning", "warn", "warning_once", "info")
        for statement in body
    )


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
