"""Parsed modules of a wheel, indexed by the names that their statements touch."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, eq=False)
class Module:
    """One parsed module.

    Attributes:
        name: Dotted name, for example ``sglang.srt.server_args``.
        path: Path inside the wheel, for example ``sglang/srt/server_args.py``.
        tree: Its syntax tree.
    """

    name: str
    path: str
    tree: ast.Module

    @cached_property
    def touching(self) -> dict[str, list[ast.stmt]]:
        """For each module-level name, the top-level statements that bind or change it."""
        return touching(self.tree.body)

    @property
    def package(self) -> str:
        """The package against which relative imports are resolved."""
        return self.name if self.path.endswith("/__init__.py") else self.name.rpartition(".")[0]


class Modules:
    """The modules of a wheel, parsed when first asked for."""

    def __init__(self, paths: Sequence[str], read: Callable[[str], str]) -> None:
        """
        Args:
            paths: The paths of all ``.py`` members.
            read: Gives the text of one member.
        """
        self._read = read
        self._paths = {_dotted(path): path for path in paths if path.endswith(".py")}
        parts = [name.split(".") for name in self._paths]
        self._packages = {".".join(part[:depth]) for part in parts for depth in range(1, len(part))}
        self._parsed: dict[str, Module] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._paths

    def is_package(self, name: str) -> bool:
        """Whether `name` is a module or a folder of modules in the wheel."""
        return name in self._paths or name in self._packages

    def paths(self) -> list[str]:
        """The paths of all modules, sorted."""
        return sorted(self._paths.values())

    def text(self, path: str) -> str:
        """The source text of a member."""
        return self._read(path)

    def get(self, name: str) -> Module:
        """The parsed module of a dotted name. Raises `KeyError` or `SyntaxError`."""
        if name not in self._parsed:
            path = self._paths[name]
            tree = ast.parse(self._read(path), filename=path)
            self._parsed[name] = Module(name, path, tree)
        return self._parsed[name]

    def at(self, path: str) -> Module:
        """The parsed module of a path. Raises `KeyError` or `SyntaxError`."""
        return self.get(_dotted(path))


def _dotted(path: str) -> str:
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def touching(body: Sequence[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """For each name, the statements of `body` that bind or change it, in order."""
    index: dict[str, list[ast.stmt]] = {}
    for statement in body:
        for name in dict.fromkeys(touched(statement)):
            index.setdefault(name, []).append(statement)
    return index


def touched(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds or changes in place; function bodies do not count.

    A star import touches the name ``*``.
    """
    match statement:
        case ast.Assign(targets=targets):
            for target in targets:
                yield from _target_names(target)
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target) | ast.For(target=target):
            yield from _target_names(target)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=aliases):
            for alias in aliases:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.ImportFrom(names=aliases):
            for alias in aliases:
                yield alias.asname or alias.name
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            yield name
        case ast.Delete(targets=targets):
            for target in targets:
                yield from _target_names(target)
    for block in blocks(statement):
        for inner in block:
            yield from touched(inner)


def blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The statement lists inside a compound statement, but not those of a function or class."""
    match statement:
        case ast.If(body=body, orelse=orelse) | ast.For(body=body, orelse=orelse):
            return [body, orelse]
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
            return [body, *(handler.body for handler in handlers), orelse, finalbody]
        case ast.With(body=body):
            return [body]
    return []


def _target_names(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Name(id=name):
            yield name
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _target_names(part)
        case ast.Subscript(value=value) | ast.Attribute(value=value) | ast.Starred(value=value):
            yield from _target_names(value)
