"""What SGLang's router accepts: its own argument parser, taken from its wheel.

The module that makes the parser needs the standard library, and one function of the compiled part that lists names of
tool parsers. It runs here with a stand-in for that function and without the user's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from mimo_gb10.extract.wheel import default_cache_dir, digest_of, run_pip

PACKAGE = "sglang-router"
MODULE = "sglang_router/router_args.py"
COMPILED = "sglang_router.sglang_router_rs"


def fetch(version: str, machine: str = "aarch64", cache: Path | None = None) -> Path:
    """The wheel of one release for one kind of machine, downloaded with pip unless it is in the cache.

    Raises:
        EnvironmentProblem: If pip or the network is missing, or nothing fits.
    """
    folder = cache or default_cache_dir()
    pattern = f"sglang_router-{version}-*{machine}.whl"
    if not list(folder.glob(pattern)):
        folder.mkdir(parents=True, exist_ok=True)
        # Download beside the cache and rename: one that was cut short never looks like a wheel.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary=:all:", "--platform", f"manylinux2014_{machine}", "--dest", scratch]
            remedy = "check the network and that this version exists, or copy the wheel into the cache folder"
            run_pip([*command, f"{PACKAGE}=={version}"], f"{PACKAGE} {version}", remedy)
            for wheel in Path(scratch).glob("*.whl"):
                wheel.replace(folder / wheel.name)
    return next(folder.glob(pattern))


def make_catalog(wheel: Path) -> Mapping[str, Any]:
    """What the wheel's parser accepts, as plain data."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(MODULE).decode()
    return {
        "package": PACKAGE,
        "version": wheel.name.split("-")[1],
        "wheel": wheel.name,
        "sha256": digest_of(wheel),
        "flags": [_flag(action, text) for action in parser_of(text)._actions if action.dest != "help"],
    }


def parser_of(text: str) -> argparse.ArgumentParser:
    """The parser that the module's own code makes."""
    compiled = types.ModuleType(COMPILED)
    compiled.get_available_tool_call_parsers = list  # type: ignore[attr-defined]
    module = types.ModuleType("router_args")
    made = argparse.ArgumentParser(allow_abbrev=False)
    modules = {COMPILED: compiled, COMPILED.partition(".")[0]: types.ModuleType("sglang_router"), "router_args": module}
    with mock.patch.dict(sys.modules, modules), mock.patch.dict(os.environ, clear=True):
        exec(compile(text, MODULE, "exec"), module.__dict__)
        module.RouterArgs.add_cli_args(made, use_router_prefix=False)
    return made


def _flag(action: argparse.Action, text: str) -> Mapping[str, Any]:
    # The names of tool parsers are the compiled part's.
    choices = list(action.choices) if action.choices else None
    return {
        "options": list(action.option_strings),
        "dest": action.dest,
        "action": "store_true" if action.nargs == 0 else "store",
        "type": getattr(action.type, "__name__", None),
        "nargs": action.nargs,
        "choices": choices,
        "default": action.default,
        "source": f"{MODULE}:{_line(action.option_strings[0], text)}",
    }


def _line(option: str, text: str) -> int:
    declared = re.compile(rf'"--(?:\{{prefix\}})?{re.escape(option.removeprefix("--"))}"')
    return next(number for number, line in enumerate(text.split("\n"), 1) if declared.search(line))


def as_text(catalog: Mapping[str, Any]) -> str:
    """The catalog as its file holds it: one flag a line."""
    flags = ",\n".join(f"    {json.dumps(flag)}" for flag in catalog["flags"])
    head = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in catalog.items() if key != "flags")
    return f'{{\n{head}  "flags": [\n{flags}\n  ]\n}}\n'
