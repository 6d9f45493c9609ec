#!/usr/bin/env python3
"""Plan the memory of a node: weights, KV pools, everything after, the fraction that boots, and a ceiling for speed."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE


def parser() -> argparse.ArgumentParser:
    """The command line of ``plan_memory.py``."""
    made = argparse.ArgumentParser(
        prog="plan_memory.py",
        description="Say where each GiB of a node goes under a recipe, how many tokens of KV that leaves, which "
        "mem-fraction-static boots, and how fast one stream can be at most. Each number says where it comes from.",
        epilog="Exit codes: 0 no error, 1 errors (the value boots on no known node), 2 usage.",
        allow_abbrev=False,
    )
    made.add_argument("recipe", nargs="?", default=DEFAULT_RECIPE, help="name or path (default: %(default)s)")
    made.add_argument("--cluster", default=DEFAULT_CLUSTER, help="name or path (default: %(default)s)")
    made.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change flags.NAME for this run, for example flags.mem-fraction-static=0.78; repeatable",
    )
    made.add_argument(
        "--available",
        type=_gib,
        metavar="GIB",
        help="MemAvailable of your tightest node before the start (default: what others published)",
    )
    made.add_argument("--accept-length", type=_number, metavar="N", help="tokens a step with MTP, for the ceiling")
    made.add_argument("--svg", type=_svg, metavar="FILE", help="also write a drawing, one bar a setting")
    made.add_argument(
        "--at", type=_fraction, action="append", default=[], metavar="F", help="a fraction to draw; repeatable"
    )
    made.add_argument("--json", action="store_true", help="print the plan as JSON, in bytes")
    made.add_argument("--strict", action="store_true", help="treat warnings as errors")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _gib(text: str) -> float:
    value = _number(text)
    if value > 128:
        raise argparse.ArgumentTypeError(f"{text} GiB is more than a GB10 has")
    return value


def _fraction(text: str) -> float:
    value = _number(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _svg(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".svg":
        raise argparse.ArgumentTypeError(f"{text} does not end in .svg")
    return path


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if options.at and options.svg is None:
        made.error("argument --at: needs argument --svg")

    from mimo_gb10.commands.plan_memory import plan_memory

    return plan_memory(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
