"""``pack_rehearsal.py``: collect what SGLang needs on a machine that has PyTorch and no network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.extract.wheel import EnvironmentProblem
from mimo_gb10.findings import Refused, has_errors
from mimo_gb10.rehearsal.bundle import Made, build
from mimo_gb10.rehearsal.bundle_pack import mib
from mimo_gb10.rehearsal.bundle_spec import load_spec, read_have
from mimo_gb10.rehearsal.bundle_wheels import cache_dir


def pack_rehearsal(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        spec = load_spec(options.release)
        made = build(
            spec,
            have=read_have(options.have) if options.have else None,
            python=options.python,
            arch=options.platform,
            cache=options.cache or cache_dir(),
            out=options.out,
            limit=options.part_size,
            tell=lambda line: (
                print(line, file=sys.stderr, flush=True) if options.verbose or sys.stderr.isatty() else None
            ),
        )
    except EnvironmentProblem as refused:
        cli.show(refused.findings, no_color=options.no_color)
        return cli.ENVIRONMENT
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        return cli.ERRORS
    if options.json:
        cli.print_json(
            {
                "parts": [{"path": str(path), "bytes": size} for path, size in made.parts.items()],
                "packages": dict(made.packages),
                "unpacked": made.unpacked,
                "findings": [finding.as_dict() for finding in made.findings],
            },
            out,
        )
    else:
        out.write(_text(made))
        cli.show(made.findings, no_color=options.no_color)
    return cli.ERRORS if has_errors(made.findings, strict=options.strict) else cli.OK


def _text(made: Made) -> str:
    lines = [f"{path}: {mib(size)}" for path, size in made.parts.items()]
    names = " ".join(Path(path).name for path in made.parts)
    lines.append(f"{len(made.packages)} packages, {mib(made.unpacked)} unpacked")
    lines.append(f"there: python3 unpack_rehearsal.py {names} --to DIR -- COMMAND")
    return "\n".join(lines) + "\n"
