#!/usr/bin/env python3
"""Print the launch of a recipe on a cluster: one command per rank, checked before anything is printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, TARGETS


def parser() -> argparse.ArgumentParser:
    """The command line of ``gen_launch.py``."""
    made = argparse.ArgumentParser(
        prog="gen_launch.py",
        description="Print the launch of a recipe on a cluster: one complete script per rank. "
        "Recipe and cluster are checked against the SGLang release first; "
        "with an error nothing is printed but the findings.",
        epilog="Exit codes: 0 no error, 1 errors, 2 usage, 3 environment.",
        allow_abbrev=False,
    )
    made.add_argument("recipe", nargs="?", default=DEFAULT_RECIPE, help="name or path (default: %(default)s)")
    made.add_argument("--cluster", default=DEFAULT_CLUSTER, help="name or path (default: %(default)s)")
    made.add_argument("--rank", default="all", metavar="N|all", type=_rank, help="one rank, from 0 (default: all)")
    made.add_argument("--target", default="bash", choices=list(TARGETS), help="how to start it (default: %(default)s)")
    made.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change flags.NAME, env.NAME or cluster.KEY for this run, checked like the file; repeatable",
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="write one executable file per rank, and the start order")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only check, and say what was found")
    what.add_argument(
        "--explain", action="store_true", help="show each value with SGLang's default, the reason and the source"
    )
    what.add_argument("--list", action="store_true", help="list recipes, clusters and targets")
    what.add_argument("--new-cluster", type=Path, metavar="FILE", help="write a commented cluster file to fill in")
    made.add_argument("--json", action="store_true", help="print the plan (or the findings, choices, lists) as JSON")
    made.add_argument("--strict", action="store_true", help="treat warnings as errors")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def _rank(text: str) -> int | None:
    return None if text == "all" else int(text)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    for name in ("check", "explain", "list", "json"):
        if options.out is not None and getattr(options, name):
            made.error(f"argument --out: not allowed with argument --{name}")
    if options.rank == "all":
        options.rank = None

    # The library is imported only now: --help must answer at once.
    from mimo_gb10.commands.gen_launch import gen_launch

    return gen_launch(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
