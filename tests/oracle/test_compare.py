from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FLAG: dict[str, Any] = {
    "options": ["--a", "-a"], "dest": "a", "action": "store", "type": "int", "nargs": None, "choices": [1, 2],
    "const": None, "default": 1, "required": False, "deprecated": False, "replaced_by": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("oracle_compare", Path(__file__).with_name("compare.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def action(**changed: Any) -> dict[str, Any]:
    return {**FLAG, "default_is_literal": True, "new_flag": None, "help": "", **changed}


def test_equal_parsers_have_no_difference(compare: ModuleType) -> None:
    assert compare.differences({"flags": [FLAG]}, [action(), action(options=["-h"], dest="help")]) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("options", ["-a", "--a"]), ("dest", "b"), ("action", "append"), ("type", "float"), ("nargs", "+"),
        ("choices", [2, 1]), ("const", 1), ("default", None), ("required", True), ("help", "Deprecated. Nothing."),
    ],
)  # fmt: skip
def test_each_difference_is_seen(compare: ModuleType, key: str, value: Any) -> None:
    assert compare.differences({"flags": [FLAG]}, [action(**{key: value})])


def test_missing_and_invented_flags_are_seen(compare: ModuleType) -> None:
    assert compare.differences({"flags": []}, [action()]) == ["--a: missing in the catalog"]
    assert compare.differences({"flags": [FLAG]}, []) == ["--a: not in the real parser"]


def test_variables_are_compared_too(compare: ModuleType) -> None:
    ours = {"environment": [{"name": "A", "type": "str", "default": "~/x", "declared": True}]}
    real = {"name": "A", "type": "str", "default": f"{Path.home()}/x"}
    assert compare.variable_differences(ours, [real]) == []
    assert compare.variable_differences(ours, [{**real, "default": "/y"}])
    assert compare.variable_differences(ours, [{**real, "type": "int"}])
    assert compare.variable_differences(ours, [])
    assert compare.variable_differences({"environment": []}, [real])
