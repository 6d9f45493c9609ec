#!/usr/bin/env python3
"""Check any SGLang launch command against the release that it is for. Nothing that is read is ever run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli


def parser() -> argparse.ArgumentParser:
    """The command line of ``check_command.py``."""
    made = argparse.ArgumentParser(
        prog="check_command.py",
        description="Find the SGLang launches in a script, a Markdown page or pasted text, "
        "and say what is wrong with each. Nothing that is read is ever run.",
        epilog="Exit codes: 0 no error, 1 errors, 2 usage.",
        allow_abbrev=False,
    )
    made.add_argument("file", nargs="?", default="-", help="a file to read; - or nothing reads standard input")
    which = made.add_mutually_exclusive_group()
    which.add_argument(
        "--release", metavar="VERSION", help="the release it is for (default: the image's, else the newest known)"
    )
    which.add_argument("--all-releases", action="store_true", help="a table of verdicts, one line a release")
    made.add_argument("--model", metavar="NAME", help="also apply the rules of this model, for example mimo-v2.5")
    made.add_argument(
        "--as-recipe", type=Path, metavar="DIR", help="write the recipe and cluster that the command amounts to"
    )
    made.add_argument("--json", action="store_true", help="print the findings as JSON")
    made.add_argument("--strict", action="store_true", help="treat warnings as errors")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)

    from mimo_gb10.commands.check_command import check_command

    return check_command(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
