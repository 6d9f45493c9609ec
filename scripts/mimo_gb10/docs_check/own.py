"""The project's own commands as pages name them: read by the parser that would read them, never run."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import re
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence

from mimo_gb10.paths import ROOT
from mimo_gb10.text.suggest import did_you_mean

_PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?\Z")
_SCRIPT = re.compile(r"(?:\./)?((?:scripts|tests)/[\w/.-]+\.py)\Z")
_TARGET = re.compile(r"(?m)^([a-z][a-z-]*):")
# What a reader fills in: N, HEAD, VERSION. A number does for all of them, a name of a release or a rank.
_HOLE = re.compile(r"[A-Z][A-Z0-9_]*\Z")


def own_command(words: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """The script and its arguments in ``python scripts/x.py --option``, wherever in the words that stands."""
    for index, word in enumerate(words[:-1]):
        script = _SCRIPT.match(words[index + 1])
        if _PYTHON.match(word) and script:
            return script[1], words[index + 2 :]
    return None


def wrong_arguments(script: str, arguments: Sequence[str]) -> str:
    """What the script's own parser says against the arguments; nothing if it takes them."""
    if not (ROOT / script).is_file():
        known = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "scripts").glob("*.py"))]
        return f"there is no {script}. {did_you_mean(script, known, '')}".strip()
    make = _parser_of(script)
    if make is None:
        return ""
    filled = ["0" if _HOLE.match(word) else word for word in arguments]
    return _parse(make, arguments) and _parse(make, filled)


def wrong_target(words: Sequence[str]) -> str:
    """What is wrong with the words behind ``make``; nothing if the Makefile has these targets."""
    targets = _TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    for word in words:
        if not word.startswith("-") and "=" not in word and word not in targets:
            return f"the Makefile has no target {word!r}. {did_you_mean(word, targets, '')}".strip()
    return ""


def _parse(make: Callable[[], ArgumentParser], arguments: Sequence[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            make().parse_args(list(arguments))
        except SystemExit as ended:
            if ended.code:
                return said.getvalue().strip().rpartition("error: ")[2] or "it is refused"
    return ""


@functools.cache
def _parser_of(script: str) -> Callable[[], ArgumentParser] | None:
    """The function ``parser`` of a script; None if it has none."""
    name = f"docs_check_{script.replace('/', '_').removesuffix('.py')}"
    if not re.search(r"(?m)^def parser\(", (ROOT / script).read_text(encoding="utf-8")):
        return None
    spec = importlib.util.spec_from_file_location(name, ROOT / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Data classes look their module up while they are made.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    made: Callable[[], ArgumentParser] = module.parser
    return made
