#!/usr/bin/env python3
"""What changes from one SGLang release to another: for a recipe, or for anybody who serves MiMo-V2.5."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli
from mimo_gb10.defaults import DEFAULT_CLUSTER


def parser() -> argparse.ArgumentParser:
    """The command line of ``compare_releases.py``."""
    made = argparse.ArgumentParser(
        prog="compare_releases.py",
        description="Show what changes between two SGLang releases: flags, variables, parsers, pinned libraries, "
        "defects and rules. With a recipe, what changes for it, and the recipe as it should read.",
        epilog="Exit codes: 0 shown, 1 errors, 2 usage.",
        allow_abbrev=False,
    )
    made.add_argument("recipe", nargs="?", help="name or path; without it, the notes for any MiMo-V2.5 launch")
    made.add_argument("--from", dest="old", metavar="VERSION", help="default: the recipe's, else the oldest known")
    made.add_argument("--to", dest="new", metavar="VERSION", help="default: the newest known release")
    made.add_argument("--cluster", default=DEFAULT_CLUSTER, help="name or path (default: %(default)s)")
    made.add_argument("--write", type=Path, metavar="FILE", help="write the recipe as it should read, to a new file")
    made.add_argument("--json", action="store_true", help="print the changes as JSON")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)

    from mimo_gb10.commands.compare_releases import compare_releases

    return compare_releases(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
