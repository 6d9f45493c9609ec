#!/usr/bin/env python3
"""Test a server that runs: ready means a right answer, not an open port."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli


def parser() -> argparse.ArgumentParser:
    """The command line of ``smoke_test.py``."""
    made = argparse.ArgumentParser(
        prog="smoke_test.py",
        description="Ask a running SGLang server for text, tool calls, pictures, sound and video whose right answer is "
        "known, and say what came. The key, if it needs one, comes from SGLANG_API_KEY or OPENAI_API_KEY.",
        epilog="Exit codes: 0 no check failed, 1 a check failed, 2 usage, 3 nothing answers.",
        allow_abbrev=False,
    )
    made.add_argument("--url", default="http://127.0.0.1:30000", help="the head's address (default: %(default)s)")
    made.add_argument("--recipe", metavar="R", help="name or path of the recipe that should run there")
    made.add_argument(
        "--profile",
        default="full",
        choices=["full", "structural"],
        help="structural leaves out what needs a trained model (default: %(default)s)",
    )
    made.add_argument("--only", action="append", default=[], metavar="NAME", help="a check or an area; repeatable")
    made.add_argument("--skip", action="append", default=[], metavar="NAME", help="a check or an area; repeatable")
    made.add_argument("--list", action="store_true", help="list the checks, and the profiles that each is in")
    made.add_argument(
        "--timeout", type=_seconds, default=180.0, metavar="S", help="seconds for one request (default: %(default)g)"
    )
    made.add_argument(
        "--wait", type=_seconds, default=0.0, metavar="S", help="wait up to S seconds for a server that loads"
    )
    made.add_argument(
        "--streams",
        type=_count,
        default=8,
        metavar="N",
        help="how many requests at once is many (default: %(default)s)",
    )
    made.add_argument(
        "--reference-url", metavar="URL", help="a second server with the same model, to compare greedy text with"
    )
    made.add_argument("--json", action="store_true", help="print the results as JSON")
    made.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML, too")
    made.add_argument(
        "--record", type=Path, metavar="FILE", help="write all requests and answers, too (.jsonl, .jsonl.gz)"
    )
    made.add_argument("--verbose", action="store_true", help="show the evidence of what is right, too")
    made.add_argument("--strict", action="store_true", help="treat warnings as failures")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86400:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 256:
        raise ValueError(text)
    return value


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if not options.timeout:
        made.error("argument --timeout: must be above 0")

    # The library is imported only now: --help must answer at once.
    from mimo_gb10.commands.smoke_test import smoke_test

    return smoke_test(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
