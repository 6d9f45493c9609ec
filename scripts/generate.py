#!/usr/bin/env python3
"""Remake every file that is made from the configs, or check that none is stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli


def parser() -> argparse.ArgumentParser:
    """The command line of ``generate.py``."""
    made = argparse.ArgumentParser(
        prog="generate.py",
        description="Remake every file that is made from the configs: recipe pages and golden snapshots. "
        "'releases' extracts the release catalogs from the wheels, 'patches' the index of the patches, 'router' the "
        "catalog of SGLang's router.",
        epilog="Exit codes: 0 fresh or written, 1 stale or errors, 2 usage, 3 environment (no network).",
        allow_abbrev=False,
    )
    made.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    what = made.add_subparsers(dest="what", metavar="releases|patches|router")
    releases = what.add_parser("releases", help="release catalogs, from the wheels on PyPI", allow_abbrev=False)
    releases.add_argument("versions", nargs="*", metavar="VERSION", help="only these (default: every catalog there is)")
    releases.add_argument("--add", metavar="VERSION", help="make the catalog of a further release")
    releases.add_argument("--check", action="store_true", help="write nothing; fail if a catalog differs")
    releases.add_argument("--cache", type=Path, metavar="DIR", help="keep downloaded wheels here")
    patches = what.add_parser("patches", help="patches/index.json, from the wheels and the patches", allow_abbrev=False)
    patches.add_argument("--check", action="store_true", help="write nothing; fail if the index differs")
    patches.add_argument("--cache", type=Path, metavar="DIR", help="keep downloaded wheels here")
    router = what.add_parser("router", help="what SGLang's router accepts, from its wheel", allow_abbrev=False)
    router.add_argument("versions", nargs="*", metavar="VERSION", help="of sglang-router (default: those there are)")
    router.add_argument("--check", action="store_true", help="write nothing; fail if a catalog differs")
    router.add_argument("--cache", type=Path, metavar="DIR", help="keep downloaded wheels here")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)

    from mimo_gb10.commands import generate as command

    makers = {
        "releases": command.generate_releases,
        "patches": command.generate_patches,
        "router": command.generate_router,
    }
    return makers.get(options.what, command.generate)(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
