"""The values that the evaluator works with, besides plain Python data.

Plain literals, lists, dicts, sets and the builtin types stand for themselves.
Everything that only exists when upstream's code is imported has one of the
small stand-ins below.
"""

from __future__ import annotations

import argparse
import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .modules import Module

Value: TypeAlias = Any
"""Plain data or one of the classes of this module."""


class Unresolved(Exception):
    """An expression that cannot be computed from the source alone.

    Attributes:
        reason: What could not be computed, for the finding.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that could not be computed but that may be carried along.

    It counts as true, which is noted as a problem; any other use of it raises `Unresolved`.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class External:
    """A name from outside the wheel, for example ``argparse.SUPPRESS``."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class ClassRef:
    """A class of the wheel, not executed."""

    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        """The class's own name."""
        return self.node.name


@dataclass(frozen=True, slots=True, eq=False)
class FunctionRef:
    """A function or lambda of the wheel, with the scope in which it was made."""

    frame: Frame
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    bound: tuple[Value, ...] = ()

    @property
    def name(self) -> str:
        """The function's own name."""
        return "<lambda>" if isinstance(self.node, ast.Lambda) else self.node.name


@dataclass(frozen=True, slots=True)
class EnumMember:
    """One member of an enum of the wheel."""

    owner: ClassRef
    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class TypeExpr:
    """A subscripted type such as ``Optional[int]``: its origin and arguments."""

    origin: Value
    args: tuple[Value, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """An object of a class of the wheel (or from outside), known by how it was constructed.

    Attributes:
        maker: Its class.
        args: The constructor's arguments.
        kwargs: The constructor's named arguments.
        attributes: Filled by the evaluator when one is first asked for.
    """

    maker: ClassRef | External
    args: tuple[Value, ...] = ()
    kwargs: dict[str, Value] = field(default_factory=dict)
    attributes: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method of plain data or of a modelled object, not called yet."""

    owner: Value
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class FieldValue:
    """What ``dataclasses.fields`` or ``msgspec.structs.fields`` tells about one field."""

    name: str
    default: Value
    default_factory: Value
    type: Value


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A class whose fields were put together at run time (``msgspec.defstruct``).

    Attributes:
        fields: Its fields, in order.
        base: The class of the wheel that lends its methods.
    """

    fields: tuple[FieldValue, ...]
    base: ClassRef


@dataclass(slots=True, eq=False)
class Frame:
    """The names that code sees: its own, the enclosing ones, then the module's."""

    module: Module
    names: dict[str, Value] = field(default_factory=dict)
    outer: Frame | None = None
    owner: ClassRef | None = None


def plain(value: Value) -> Any:
    """A value as JSON knows it. Raises `Unresolved` for what is not plain data."""
    match value:
        case EnumMember(value=inner):
            return plain(inner)
        case None | bool() | int() | str():
            return value
        case float() if value == value and abs(value) != float("inf"):
            return value
        case list() | tuple():
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted((plain(item) for item in value), key=str)
        case dict():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case External(name="argparse.SUPPRESS"):
            return argparse.SUPPRESS
        case Unknown(reason=reason):
            raise Unresolved(reason)
    raise Unresolved(f"not plain data: {getattr(value, 'name', type(value).__name__)}")
