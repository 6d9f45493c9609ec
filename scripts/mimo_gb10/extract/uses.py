"""Where the server reads and sets environment variables.

Found are direct reads and writes, those through SGLang's helper functions, and
those through the declarations of its environment module (``envs.NAME.get()``).
"""

from __future__ import annotations

import ast
import bisect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.modules import Module
from mimo_gb10.extract.values import Frame, Unresolved, Value, plain

ENVIRON = "sglang.srt.environ"
"""The module in which SGLang declares its variables."""

LOUD_NAME = re.compile(r"[A-Z][A-Z0-9_]{2,}\Z")
"""A name that looks like an environment variable."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_GONE = re.compile(r"\b(?:removed|deprecated|no longer|ignored|no effect|obsolete)\b", re.IGNORECASE)
_TOUCHES_ENVIRONMENT = ("environ", "getenv", "envs", "putenv", "SGLANG_", "SGL_")
_READS_ENVIRONMENT = re.compile(r"\b(?:environ|getenv)\b")
_OWN_NAME = re.compile(r"SGL(?:ANG)?_[A-Z0-9_]+[A-Z0-9]\Z")

# What the server is made of. Left out: tests, benchmarks, the diffusion server and the client language.
_SERVER = re.compile(
    r"sglang/(?:(?:srt|kernels|jit_kernel|cli)/|(?!bench|auto_bench|check_env|compile_|profiler)[^/]*$)"
)
_TYPES = {"bool": bool, "int": int, "float": float}


@dataclass(frozen=True, slots=True)
class Use:
    """One place that reads or writes a variable.

    Attributes:
        name: The variable.
        kind: ``read``, ``warning`` (a read that only leads to a warning that it is gone) or ``set``.
        path: The file.
        line: The line, from 1.
        type: How the value is converted.
        default: The value when it is not set.
        text: The warning that goes with it.
    """

    name: str
    kind: str
    path: str
    line: int
    type: str = "str"
    default: Any = None
    text: str = ""


def read_uses(run: Evaluator, declared: frozenset[str]) -> list[Use]:
    """All uses in the server's code, of the declared variables and of others."""
    modules, helpers = _candidates(run)
    uses: list[Use] = []
    for module in modules:
        # The environment module's own helpers deal with deprecated names: see `environment`.
        uses.extend(_Scanner(run, module, declared, {} if module.name == ENVIRON else helpers).uses)
    return uses


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
    for path, text in texts.items():
        if any(word in text for word in _TOUCHES_ENVIRONMENT):
            chosen[path] = run.modules.at(path)
    pattern = _READS_ENVIRONMENT
    while True:
        before = set(helpers)
        for path, text in texts.items():
            if pattern.search(text):
                chosen.setdefault(path, run.modules.at(path))
                if chosen[path].name != ENVIRON:
                    _find_helpers(run, chosen[path], helpers)
        fresh = helpers.keys() - before
        if not fresh:
            break
        pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(fresh))) + r")\(")
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
        self.uses: list[Use] = []
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
        words = (*_TOUCHES_ENVIRONMENT, *helpers)
        lines = run.modules.text(module.path).split("\n")
        self._lines = [number for number, line in enumerate(lines, 1) if any(word in line for word in words)]
        self.visit(module.tree)

    def visit(self, node: ast.AST) -> None:
        # Most statements have nothing to do with the environment: skip them by their text.
        if isinstance(node, ast.stmt):
            start = min([node.lineno, *(part.lineno for part in getattr(node, "decorator_list", ()))])
            index = bisect.bisect_left(self._lines, start)
            if index == len(self._lines) or self._lines[index] > (node.end_lineno or node.lineno):
                return
        super().visit(node)

    def _add(self, node: ast.AST, names: Iterable[str], kind: str, type: str = "str", default: Any = None) -> None:
        for name in names:
            text = ""
            if kind == "read" and node in self._warnings:
                kind, text = "warning", self._warnings[node]
            elif kind == "read" and node in self._mentions:
                text = self._mentions[node]
            self.uses.append(Use(name, kind, self._module.path, getattr(node, "lineno", 0), type, default, text))

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
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and _OWN_NAME.match(key.value):
                self._keys.add(key)
                self._add(key, [key.value], "set")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        # A name in a table is read through a variable that cannot be followed.
        if node in self._keys or self._module.name == ENVIRON:
            return
        if isinstance(node.value, str) and _OWN_NAME.match(node.value):
            self._add(node, [node.value], "read")

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
        for changed in _set_keys(node):
            self._keys.update(ast.walk(changed))
            self._add(node, self._names(changed), "set")
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
                names = [name for name in names if LOUD_NAME.match(name)]
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
