"""Generated parts of hand-written pages.

A page marks where a part stands, and ``make generate`` fills it in:

    <!-- generated: mtp-flags -->
    <!-- /generated -->

The modules of this folder each export ``BLOCKS``: functions without arguments that return Markdown, by name. A name
begins with its module's, so that whoever reads a page finds the function.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mimo_gb10.files import Output
from mimo_gb10.findings import Finding, Location, Refused, error
from mimo_gb10.paths import ROOT
from mimo_gb10.text.suggest import did_you_mean

Block = Callable[[], str]

FOLDER = "docs"

_BEGIN = re.compile(r"^([ \t]*)<!-- generated: ([a-z0-9-]+) -->$")
_END = re.compile(r"^[ \t]*<!-- /generated -->$")


def blocks() -> dict[str, Block]:
    """Every block by name."""
    found: dict[str, Block] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        ours: Mapping[str, Block] = importlib.import_module(f"{__name__}.{module}").BLOCKS
        wrong = [name for name in ours if name.partition("-")[0] != module]
        if wrong:
            raise ValueError(f"blocks of {module}.py are named {module}-...: {wrong[0]}")
        found |= ours
    return found


def fill(text: str, file: str, known: Mapping[str, Block]) -> str:
    """A page with its generated parts made anew.

    Args:
        text: The page.
        file: Its name in findings.
        known: The blocks by name.

    Raises:
        Refused: If a part has no end, or nothing makes it.
    """
    found: list[Finding] = []
    out: list[str] = []
    begun: tuple[int, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        begin = _BEGIN.match(line)
        if begun is not None:
            if _END.match(line):
                begun = None
                out.append(line)
            elif begin:
                found.append(_unclosed(file, *begun))
                break
            continue
        out.append(line)
        if begin:
            indent, name = begin.groups()
            begun = number, name
            if name not in known:
                remedy = did_you_mean(name, sorted(known), "Blocks stand in scripts/mimo_gb10/generate/blocks/.")
                found.append(error("block-unknown", f"nothing makes {name!r}", remedy, Location(file, number, 1)))
                continue
            made = known[name]().strip("\n").split("\n")
            out += ["", *(f"{indent}{part}" if part else "" for part in made), ""]
    else:
        if begun is not None:
            found.append(_unclosed(file, *begun))
    if found:
        raise Refused(found)
    return "\n".join(out)


def _unclosed(file: str, line: int, name: str) -> Finding:
    remedy = "Write <!-- /generated --> on a line of its own behind it."
    return error("block-unclosed", f"the generated part {name!r} has no end", remedy, Location(file, line, 1))


def pages(root: Path = ROOT) -> list[Path]:
    """The pages that have generated parts."""
    files = [*sorted((root / FOLDER).rglob("*.md")), root / "README.md", root / "CONTRIBUTING.md"]
    return [file for file in files if file.is_file() and "<!-- generated: " in file.read_text(encoding="utf-8")]


def make(root: Path = ROOT) -> Mapping[str, Output]:
    """Every page that has generated parts, filled."""
    known = blocks()
    made: dict[str, Output] = {}
    found: list[Finding] = []
    for file in pages(root):
        name = str(file.relative_to(root))
        try:
            made[name] = Output(fill(file.read_text(encoding="utf-8"), name, known))
        except Refused as refused:
            found += refused.findings
    if found:
        raise Refused(found)
    return made
