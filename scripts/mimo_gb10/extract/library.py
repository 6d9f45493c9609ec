"""The parts of the standard library and of msgspec that declarations lean on.

Each hook says what a call yields in the world of `evaluate`, without importing
what the call is about.
"""

from __future__ import annotations

import ast
import importlib
import posixpath
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mimo_gb10.extract.values import (
    ClassRef,
    External,
    FieldValue,
    Frame,
    FunctionRef,
    Made,
    Method,
    Record,
    TypeExpr,
    Unknown,
    Unresolved,
    Value,
)

if TYPE_CHECKING:
    from .evaluate import Evaluator

CALLABLE = (
    bool, dict, enumerate, float, frozenset, int, len, list, max, min, range, set, sorted, str, sum, tuple, zip,
)  # fmt: skip
"""Builtins that are really called."""

BUILTINS: dict[str, Value] = {function.__name__: function for function in CALLABLE} | {
    "True": True,
    "False": False,
    "None": None,
    "Ellipsis": ...,
    "bytes": bytes,
    "object": object,
}

FIELD_MAKERS = (External("dataclasses.field"), External("msgspec.field"))
"""Functions that declare a field's default or default factory."""

KNOWN: dict[str, Value] = {
    "torch.version.hip": None,
    "typing.TYPE_CHECKING": False,
}
"""Values that are the same wherever SGLang runs on an NVIDIA GPU."""

_TRANSPARENT = ("typing.", "argparse.", "dataclasses.", "msgspec.", "enum.", "builtins.")
_STRUCT = External("msgspec.Struct")
_ALIASES = {
    "typing.List": list,
    "typing.Dict": dict,
    "typing.Set": set,
    "typing.FrozenSet": frozenset,
    "typing.Tuple": tuple,
}


def canonical(name: str) -> str:
    """One name for what can be imported from two places."""
    return name.replace("typing_extensions.", "typing.", 1) if name.startswith("typing_extensions.") else name


def is_standard_function(name: str) -> bool:
    """Whether a dotted name is a function or class of Python's standard library."""
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] not in sys.stdlib_module_names:
        return False
    try:
        return callable(getattr(importlib.import_module(module), attribute, None))
    except ImportError:
        return False


def is_opaque(value: Value) -> bool:
    """Whether nothing is known about a value but where it comes from."""
    if isinstance(value, External):
        return not value.name.startswith(_TRANSPARENT) and not is_standard_function(value.name)
    if isinstance(value, Made):
        return isinstance(value.maker, External) and value.maker not in FIELD_MAKERS
    return isinstance(value, Method)


def union(parts: list[Value]) -> Value:
    """``Union`` of types: nested unions flattened, duplicates dropped, None as its type."""
    flat: list[Value] = []
    for part in parts:
        if isinstance(part, TypeExpr) and part.origin == External("typing.Union"):
            flat.extend(part.args)
        else:
            flat.append(type(None) if part is None else part)
    unique: list[Value] = []
    for part in flat:
        if part not in unique:
            unique.append(part)
    return unique[0] if len(unique) == 1 else TypeExpr(External("typing.Union"), tuple(unique))


def subscript(origin: Value, args: list[Value]) -> Value:
    """``origin[args]`` for a type, as ``typing`` normalises it."""
    if isinstance(origin, TypeExpr):
        return TypeExpr(origin.origin, tuple(args))
    name = origin.name if isinstance(origin, External) else ""
    if name == "typing.Optional":
        return union([*args, None])
    if name == "typing.Union":
        return union(args)
    if name == "typing.Literal":
        flat: list[Value] = []
        for arg in args:
            flat.extend(arg.args if isinstance(arg, TypeExpr) else [arg])
        return TypeExpr(origin, tuple(dict.fromkeys(flat)))
    return TypeExpr(_ALIASES.get(name, origin), tuple(args))


def _one(run: Evaluator, frame: Frame, node: ast.Call, index: int = 0) -> Value:
    if len(node.args) <= index:
        raise Unresolved(f"{ast.unparse(node)} has too few arguments")
    value = run.evaluate(frame, node.args[index])
    if isinstance(value, Unknown):
        raise Unresolved(value.reason)
    return value


def _get_origin(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    value = _one(run, frame, node)
    return value.origin if isinstance(value, TypeExpr) else None


def _get_args(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    value = _one(run, frame, node)
    return value.args if isinstance(value, TypeExpr) else ()


def _get_type_hints(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    value = _one(run, frame, node)
    if not isinstance(value, (ClassRef, Record)):
        raise Unresolved(f"{ast.unparse(node)} is only known at run time")
    return run.hints(value)


def _dataclass_fields(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    return run.fields(_one(run, frame, node), External("dataclasses.MISSING"))


def _struct_fields(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    return run.fields(_one(run, frame, node), External("msgspec.NODEFAULT"))


def _is_dataclass(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    value = _one(run, frame, node)
    if isinstance(value, ClassRef):
        return any("dataclass" in ast.unparse(decorator) for decorator in value.node.decorator_list)
    return False


def _defstruct(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    """``msgspec.defstruct(name, fields, ...)``; the class of that name lends the methods."""
    name = _one(run, frame, node)
    absent = External("msgspec.NODEFAULT")
    fields = []
    for item in run.iterate(_one(run, frame, node, 1)):
        if not isinstance(item, tuple):
            item = (item, External("typing.Any"))
        default: Value = item[2] if len(item) > 2 else absent
        factory: Value = absent
        if isinstance(default, Made) and default.maker in FIELD_MAKERS:
            default, factory = default.kwargs.get("default", absent), default.kwargs.get("default_factory", absent)
        fields.append(FieldValue(item[0], default, factory, item[1]))
    for statement in frame.module.tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return Record(tuple(fields), ClassRef(frame.module, statement))
    raise Unresolved(f"{ast.unparse(node.func)} builds a class {name} without a base")


def _field(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    args, kwargs = run.arguments(frame, node)
    return Made(External("dataclasses.field"), tuple(args), kwargs)


def _isinstance(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    value, kinds = _one(run, frame, node), _one(run, frame, node, 1)
    return any(_is_a(run, value, kind) for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def _is_a(run: Evaluator, value: Value, kind: Value) -> bool:
    if kind == External("builtins.type"):
        return isinstance(value, (ClassRef, Record, type))
    if isinstance(kind, type):
        return isinstance(value, kind)
    if isinstance(value, Made) and isinstance(value.maker, ClassRef):
        return any(_same(base, kind) for base in run.ancestry(value.maker))
    return False


def _issubclass(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    value, kind = _one(run, frame, node), _one(run, frame, node, 1)
    if isinstance(value, Record):
        return kind == _STRUCT
    if isinstance(value, ClassRef):
        return any(_same(base, kind) for base in run.ancestry(value))
    raise Unresolved(f"{ast.unparse(node)} is only known at run time")


def _same(base: ClassRef | External, kind: Value) -> bool:
    if isinstance(base, ClassRef) and isinstance(kind, ClassRef):
        return base.node is kind.node
    return isinstance(base, External) and base == kind


def _type(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    value = _one(run, frame, node)
    if value is None or isinstance(value, (bool, int, float, str, list, dict, tuple, set)):
        return type(value)
    raise Unresolved(f"{ast.unparse(node)} is only known at run time")


def _hasattr(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    owner, name = _one(run, frame, node), _one(run, frame, node, 1)
    try:
        run.attribute(owner, name)
    except Unresolved:
        return False
    return True


def _getattr(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    owner, name = _one(run, frame, node), _one(run, frame, node, 1)
    try:
        return run.attribute(owner, name)
    except Unresolved:
        if len(node.args) < 3:
            raise
        return _one(run, frame, node, 2)


def _next(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    items = run.iterate(_one(run, frame, node))
    if items:
        return items[0]
    return _one(run, frame, node, 1)


def _callable(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    value = _one(run, frame, node)
    if isinstance(value, External):
        raise Unresolved(f"{ast.unparse(node)} is only known at run time")
    return isinstance(value, (FunctionRef, ClassRef, Method, type))


def _any(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    return any(run.truth(item) for item in run.iterate(_one(run, frame, node)))


def _all(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    return all(run.truth(item) for item in run.iterate(_one(run, frame, node)))


def _unset(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    """Looking something up that is not there: the default that the call gives."""
    return run.evaluate(frame, node.args[1]) if len(node.args) > 1 else None


def _join(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    parts = [run.evaluate(frame, part) for part in node.args]
    if not all(isinstance(part, str) for part in parts):
        raise Unresolved(f"{ast.unparse(node)} is only known at run time")
    return posixpath.join(*parts)


def _first(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    """A home folder stays ``~``: the catalog is the same on every machine."""
    return _one(run, frame, node)


def _partial(run: Evaluator, frame: Frame, node: ast.Call) -> Value:
    raise Unresolved(f"{ast.unparse(node)} is not evaluated")


HOOKS: dict[str, Callable[[Evaluator, Frame, ast.Call], Value]] = {
    "builtins.all": _all,
    "builtins.any": _any,
    "builtins.callable": _callable,
    "builtins.getattr": _getattr,
    "builtins.hasattr": _hasattr,
    "builtins.isinstance": _isinstance,
    "builtins.issubclass": _issubclass,
    "builtins.next": _next,
    "builtins.type": _type,
    "dataclasses.field": _field,
    "dataclasses.fields": _dataclass_fields,
    "dataclasses.is_dataclass": _is_dataclass,
    "functools.partial": _partial,
    "msgspec.defstruct": _defstruct,
    "msgspec.field": _field,
    "msgspec.structs.fields": _struct_fields,
    "os.environ.get": _unset,
    "os.getenv": _unset,
    "os.path.expanduser": _first,
    "os.path.join": _join,
    "sys.modules.get": _unset,
    "typing.get_args": _get_args,
    "typing.get_origin": _get_origin,
    "typing.get_type_hints": _get_type_hints,
}

__all__ = ["BUILTINS", "CALLABLE", "FIELD_MAKERS", "HOOKS", "Method", "canonical", "subscript", "union"]
