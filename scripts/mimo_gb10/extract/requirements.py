"""Requirement lines of a package's METADATA, with their markers evaluated for one platform."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.extract.values import Unresolved

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(?P<wanted>[^;@]*?)\s*(?:;\s*(?P<marker>.+))?"
)
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_VERSIONS = ("python_version", "python_full_version", "implementation_version")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement: a package, the versions that will do (empty for any) and when it applies."""

    name: str
    wanted: str
    marker: str | None


def parse(text: str) -> Requirement:
    """A requirement from its line. Raises `Unresolved`."""
    found = _REQUIREMENT.fullmatch(text.strip())
    if not found:
        raise Unresolved(f"not a requirement: {text}")
    return Requirement(found["name"], found["wanted"].strip("() "), found["marker"])


def platform(machine: str) -> dict[str, str]:
    """What markers see on Linux with CPython 3.12 and no extra asked for."""
    return {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "python_version": "3.12",
        "python_full_version": "3.12.0",
        "extra": "",
    }


def applies(requirement: Requirement, names: Mapping[str, str]) -> bool:
    """Whether a requirement's marker holds where markers see `names`. Raises `Unresolved`."""
    if requirement.marker is None:
        return True
    try:
        tree = ast.parse(requirement.marker, mode="eval")
    except SyntaxError:
        raise Unresolved(f"a marker that is not understood: {requirement.marker}") from None
    return _holds(tree.body, names)


def _holds(node: ast.expr, names: Mapping[str, str]) -> bool:
    # A marker is written like a Python expression of comparisons.
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_holds(part, names) for part in parts)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(_holds(part, names) for part in parts)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _compare(op, left, right, names)
    raise Unresolved(f"a marker that is not understood: {ast.unparse(node)}")


def _compare(op: ast.cmpop, left: ast.expr, right: ast.expr, names: Mapping[str, str]) -> bool:
    one, two = _text(left, names), _text(right, names)
    if isinstance(op, (ast.In, ast.NotIn)):
        return (one in two) is isinstance(op, ast.In)
    if type(op) not in _ORDER:
        raise Unresolved(f"a marker that is not understood: {ast.unparse(left)}")
    if any(isinstance(side, ast.Name) and side.id in _VERSIONS for side in (left, right)):
        return _ORDER[type(op)](_version(one), _version(two))
    return _ORDER[type(op)](one, two)


def _text(node: ast.expr, names: Mapping[str, str]) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) if name in names:
            return names[name]
    raise Unresolved(f"a marker that is not understood: {ast.unparse(node)}")


def _version(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(\.\d+)*", text):
        raise Unresolved(f"not a plain version in a marker: {text}")
    numbers = [int(part) for part in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
