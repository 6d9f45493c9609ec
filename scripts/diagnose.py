#!/usr/bin/env python3
"""Say what a log of SGLang shows: known symptoms, most causal first, with the lines that prove each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mimo_gb10 import cli


def parser() -> argparse.ArgumentParser:
    """The command line of ``diagnose.py``."""
    made = argparse.ArgumentParser(
        prog="diagnose.py",
        description="Find the known symptoms in the logs of a launch, one log a rank, and print them most causal "
        "first: the lines that prove each, the cause, what to do, and where that is known from. Nothing known: what to "
        "collect and where to report it.",
        epilog="A running container: docker logs -f NAME 2>&1 | python scripts/diagnose.py - (SGLang logs to stderr). "
        "What is found is printed when the stream pauses. Exit codes: 0 no error found, 1 errors found, 2 usage, "
        "3 environment.",
        allow_abbrev=False,
    )
    made.add_argument(
        "log",
        nargs="*",
        help="log files in rank order, rank 0 first; - is standard input, as is nothing; .gz is unpacked",
    )
    made.add_argument(
        "--rank",
        metavar="N=FILE",
        action="append",
        default=[],
        help="the log of one rank; repeatable, in place of the order",
    )
    made.add_argument(
        "--recipe", metavar="NAME", help="fill the commands in from this recipe, and know the release by it"
    )
    made.add_argument("--cluster", metavar="NAME", help="fill the commands in from this cluster")
    made.add_argument(
        "--release", metavar="VERSION", help="the SGLang release that wrote the log (default: the recipe's)"
    )
    made.add_argument("--list", action="store_true", help="list the known symptoms")
    made.add_argument("--json", action="store_true", help="print the result as JSON, at the end")
    made.add_argument("--strict", action="store_true", help="treat warnings as errors")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if not options.log and not options.rank and not options.list:
        if sys.stdin is None or sys.stdin.isatty():
            made.error("give a log file, or pipe a log in: docker logs NAME 2>&1 | python scripts/diagnose.py")
        options.log = ["-"]

    from mimo_gb10.commands.diagnose import diagnose

    return diagnose(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
