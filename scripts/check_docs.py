#!/usr/bin/env python3
"""Check the documentation: no launch by hand, every command and config right; with --site, every link."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli


def parser() -> argparse.ArgumentParser:
    """The command line of ``check_docs.py``."""
    made = argparse.ArgumentParser(
        prog="check_docs.py",
        description="Check README, CONTRIBUTING, CHANGELOG and the pages: no SGLang launch is written by hand, every "
        "shell block and command is right, data parses. With --site: every link and anchor of the built site, "
        "offline; every external link is listed in docs/external-links.yaml; no page is too heavy.",
        epilog="Exit codes: 0 no error, 1 errors, 2 usage, 3 environment (shellcheck or lychee is missing: make lint "
        "installs them).",
        allow_abbrev=False,
    )
    made.add_argument("--site", type=Path, metavar="DIR", help="check the site that mkdocs built there instead")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if options.site is not None and not (options.site / "index.html").is_file():
        made.error(f"argument --site: no site is built in {str(options.site)!r}; run: mkdocs build")

    from mimo_gb10.commands.check_docs import check_docs

    return check_docs(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
