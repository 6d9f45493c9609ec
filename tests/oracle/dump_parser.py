"""Dump the real argument parser of an unpacked SGLang wheel as JSON.

Runs inside the oracle's own environment, one release per process::

    python dump_parser.py WHEEL > parser.json

Modules that need a GPU or a build for one are replaced by empty stand-ins, and
only those named in `STUBS`; the output lists which of them were asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import sys
import tempfile
import types
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STUBS = ("torchvision",)
"""Top-level packages that may be missing here. None of them gives the parser an option, a choice or a default."""


class Anything:
    """Stands for whatever is imported from a stand-in; using it at import time does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else Anything()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class StandIn(types.ModuleType):
    """An empty module in which every name can be found."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class StandInFinder(importlib.abc.Loader):
    """Finds a stand-in for each package of `STUBS` that is not installed."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in STUBS:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        self.used.add(spec.name)
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []
        module.__dict__["__version__"] = "0.0.0"


def plain(value: Any) -> tuple[Any, bool]:
    """A value as JSON has it, and whether that is the value itself."""
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item)[0] for item in value), key=str), True
    if isinstance(value, (list, tuple)):
        items = [plain(item) for item in value]
        return [item for item, _ in items], all(known for _, known in items)
    if isinstance(value, dict):
        return {str(key): plain(item)[0] for key, item in value.items()}, True
    if value is None or isinstance(value, (bool, int, float, str)):
        return value, True
    return repr(value), False


def type_name(converter: Any) -> str | None:
    """The name of a ``type=`` callable, with its module when that is not SGLang's or the builtins'."""
    if converter is None:
        return None
    module = getattr(converter, "__module__", "")
    name: str = getattr(converter, "__name__", repr(converter))
    return name if module == "builtins" or module.split(".")[0] == "sglang" else f"{module}.{name}"


def describe(parser: argparse.ArgumentParser, action: argparse.Action) -> dict[str, Any]:
    """One action of the parser."""
    default, literal = plain(action.default)
    kinds = {kind: name for name, kind in parser._registries["action"].items() if isinstance(name, str)}
    action_class = type(action)
    return {
        "options": list(action.option_strings),
        "dest": action.dest,
        "action": kinds.get(action_class, action_class.__name__),
        "type": type_name(action.type),
        "nargs": action.nargs,
        "choices": None if action.choices is None else plain(action.choices)[0],
        "const": plain(action.const)[0],
        "default": default,
        "default_is_literal": literal,
        "required": action.required,
        "new_flag": getattr(action, "new_flag", None),
        "help": action.help,
    }


def variables() -> list[dict[str, Any]]:
    """The environment variables that the release declares."""
    from sglang.srt.environ import EnvField, Envs  # type: ignore[import-not-found]

    found = []
    for name, declared in vars(Envs).items():
        if isinstance(declared, EnvField):
            default, literal = plain(declared.default)
            if callable(declared.default):
                default, literal = plain(declared.default())
            kinds = [kind.__name__ for kind in type(declared).__mro__ if EnvField in kind.__bases__]
            kind = kinds[0].removeprefix("Env").lower()
            found.append({"name": name, "type": kind, "default": default, "default_is_literal": literal})
    return found


def verdict(parser: argparse.ArgumentParser, words: list[str]) -> str:
    """What the parser says of an argument list: ``accepts``, or why it refuses."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parser.parse_args(words)
    except (SystemExit, ValueError, AssertionError) as problem:
        return errors.getvalue().strip().rpartition("\n")[2] or repr(problem)
    return "accepts"


def main() -> int:
    wheel = Path(sys.argv[1])
    finder = StandInFinder()
    sys.meta_path.append(finder)
    with tempfile.TemporaryDirectory() as folder:
        if wheel.is_file():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder, [name for name in archive.namelist() if not name.endswith(".so")])
        sys.path.insert(0, folder if wheel.is_file() else str(wheel))
        from sglang.srt.server_args import ServerArgs  # type: ignore[import-not-found]

        parser = argparse.ArgumentParser(prog="sglang serve")
        ServerArgs.add_cli_args(parser)
        if len(sys.argv) > 2:
            json.dump([verdict(parser, words) for words in json.loads(sys.argv[2])], sys.stdout)
            return 0
        actions = [describe(parser, action) for action in parser._actions]
        declared = variables()
    json.dump({"stubbed": sorted(finder.used), "actions": actions, "environment": declared}, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
