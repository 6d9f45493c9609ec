"""Stand-ins: what a function of the wheel gets instead of a request, a configuration or a GPU when it is run."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.modules import Module
from mimo_gb10.extract.values import ClassRef, External, Frame, FunctionRef, Made, Unresolved, Value

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
    """The function, seeing `names` in place of what its module binds to them."""
    return FunctionRef(Frame(function.frame.module, dict(names), function.frame), function.node, function.bound)


def line(function: FunctionRef) -> str:
    """Upstream ``path:line`` of a function."""
    return f"{function.frame.module.path}:{function.node.lineno}"


def refuses(problem: Unresolved) -> bool:
    """Whether a run ended because the wheel's own code raises an exception there."""
    return problem.reason == _RAISED


def is_class(value: Value) -> bool:
    """Whether a value is a class, of the wheel or from outside."""
    return isinstance(value, (ClassRef, External))
