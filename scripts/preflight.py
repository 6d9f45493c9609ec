#!/usr/bin/env python3
"""Look at the nodes of a cluster before a launch: what is wrong with them, and what to do. Nothing is changed.

This file and what it needs run on a node's own Python 3.10 or later, with nothing installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli
from mimo_gb10.defaults import DEFAULT_CLUSTER


def parser() -> argparse.ArgumentParser:
    """The command line of ``preflight.py``."""
    made = argparse.ArgumentParser(
        prog="preflight.py",
        description="Look at the nodes of a cluster before a launch, and say what is wrong and what to do. "
        "Nothing is changed. On a node it needs the system's Python 3.10 or later and nothing else; --all sends one "
        "program to every node over your own ssh.",
        epilog="Exit codes: 0 no failure, 1 failures, 2 usage, 3 environment (no ssh).",
        allow_abbrev=False,
    )
    made.add_argument("cluster", nargs="?", default=DEFAULT_CLUSTER, help="name or path (default: %(default)s)")
    made.add_argument("--recipe", help="name or path: what is to run; adds image, NCCL, memory, model and patches")
    made.add_argument("--image", help="look for this image in place of the recipe's")
    which = made.add_mutually_exclusive_group()
    which.add_argument(
        "--node", type=_count, metavar="N", help="which node this machine is, from 0 (default: by its addresses)"
    )
    which.add_argument("--all", action="store_true", help="ask every node over ssh, and compare them")
    which.add_argument("--program", type=_count, metavar="N", help="print the program that examines node N")
    which.add_argument("--list", action="store_true", help="list the checks")
    made.add_argument(
        "--hosts", metavar="A,B,...", help="what ssh calls the nodes, in rank order (default: their addresses)"
    )
    made.add_argument("--timeout", type=float, metavar="S", help="seconds that a node may take (default: 60)")
    made.add_argument(
        "--image-checks",
        action="store_true",
        help="start a container of the image on each node, without network, and ask it for its NCCL and its patches",
    )
    made.add_argument("--record", type=Path, metavar="DIR", help="write what was read (addresses and names included)")
    made.add_argument("--replay", metavar="FILE", help="read a recording in place of this machine")
    made.add_argument("--problems", action="store_true", help="show failures and warnings only")
    made.add_argument("--json", action="store_true", help="print the report as JSON")
    made.add_argument("--strict", action="store_true", help="treat warnings as failures")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    for name in ("hosts", "timeout"):
        if getattr(options, name) is not None and not options.all:
            made.error(f"argument --{name}: only with argument --all")
    if options.replay is not None and options.all:
        made.error("argument --replay: not allowed with argument --all")

    # The library is imported only now: --help must answer at once.
    from mimo_gb10.commands.preflight import preflight

    return preflight(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
