"""Stand-ins: what a function of the wheel gets instead of a request, a configuration or a GPU when it is run."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from typing import TypeAlias

from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.modules import Module
from mimo_gb10.extract.values import ClassRef, Frame, FunctionRef, Made, Unresolved, Value

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_TREE = ast.parse("class StandIn: pass\nIGNORE = lambda *args, **kwargs: None")
_MODULE = Module("stand_ins", "stand_ins.py", _TREE)
_RAISED = "Raise is not evaluated"


def thing(**attributes: Value) -> Made:
    """An object with these attributes and no others: reading another one raises `Unresolved`."""
    node = _TREE.body[0]
    assert isinstance(node, ast.ClassDef)
    return Made(ClassRef(_MODULE, node), attributes={"__class__": "StandIn", **attributes})


def returns(value: Value) -> FunctionRef:
    """A function that ignores its arguments and returns `value`."""
    node = ast.parse("lambda *args, **kwargs: result", mode="eval").body
    assert isinstance(node, ast.Lambda)
    return FunctionRef(Frame(_MODULE, {"result": value}), node)


def silence(run: Evaluator) -> None:
    """Let the wheel's functions log: into nothing."""
    levels = ("debug", "info", "warning", "error", "exception")
    logger = thing(**{level: returns(None) for level in levels})
    run.hooks["logging.getLogger"] = lambda *_: logger


def method(run: Evaluator, module: str, owner: str, name: str) -> FunctionRef:
    """A method of a class of the wheel. Raises `Unresolved`."""
    found = run.attribute(run.resolve(module, owner), name)
    if not isinstance(found, FunctionRef):
        raise Unresolved(f"{owner}.{name} is not a function")
    return found


def with_names(function: FunctionRef, names: Mapping[str, Value]) -> FunctionRef:
    """The function, seeing `names` in place of what its module, or an import in its body, binds to them."""
    frame = Frame(function.frame.module, dict(names), function.frame)
    return FunctionRef(frame, _without_imports(function.node), function.bound)


def _without_imports(node: Function) -> Function:
    # An import in the function's body would bind again what a stand-in has replaced.
    if isinstance(node, ast.Lambda):
        return node
    stripped = copy.copy(node)
    stripped.body = [part for part in node.body if not isinstance(part, (ast.Import, ast.ImportFrom))]
    return stripped


def line(function: FunctionRef) -> str:
    """Upstream ``path:line`` of a function."""
    return f"{function.frame.module.path}:{function.node.lineno}"


def refuses(problem: Unresolved) -> bool:
    """Whether a run ended because the wheel's own code raises an exception there."""
    return problem.reason == _RAISED
