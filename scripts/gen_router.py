#!/usr/bin/env python3
"""Print the command of SGLang's router in front of several groups, checked against the router's own parser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mimo_gb10 import cli
from mimo_gb10.defaults import DEFAULT_RECIPE, DEFAULT_ROUTER


def parser() -> argparse.ArgumentParser:
    """The command line of ``gen_router.py``."""
    made = argparse.ArgumentParser(
        prog="gen_router.py",
        description="Print the command of SGLang's router in front of several groups of nodes. A group is a launch of "
        "the recipe on one cluster file; gen_launch.py makes it.",
        epilog="Exit codes: 0 no error, 1 errors, 2 usage.",
        allow_abbrev=False,
    )
    made.add_argument("clusters", nargs="+", metavar="CLUSTER", help="one cluster file a group, by name or path")
    made.add_argument("--recipe", default=DEFAULT_RECIPE, help="what each group runs (default: %(default)s)")
    made.add_argument("--router", default=DEFAULT_ROUTER, help="name or path (default: %(default)s)")
    made.add_argument("--check", action="store_true", help="print nothing but the findings")
    made.add_argument("--json", action="store_true", help="print servers and argument list as JSON")
    made.add_argument("--strict", action="store_true", help="warnings are errors")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)

    from mimo_gb10.commands.gen_router import gen_router

    return gen_router(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
