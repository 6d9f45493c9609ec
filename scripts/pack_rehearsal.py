#!/usr/bin/env python3
"""Collect what SGLang needs on a machine that has PyTorch and no network."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli

_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def parser() -> argparse.ArgumentParser:
    """The command line of ``pack_rehearsal.py``."""
    made = argparse.ArgumentParser(
        prog="pack_rehearsal.py",
        description="Collect what SGLang needs beyond a container image that has PyTorch, as archives for a machine "
        "without a network. There, unpack_rehearsal.py unpacks them.",
        epilog="Exit codes: 0 packed, 1 errors, 2 usage, 3 no pip or no network.",
        allow_abbrev=False,
    )
    made.add_argument("release", metavar="RELEASE", help="the SGLang release, for example 0.5.11")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the archives")
    made.add_argument("--have", type=Path, metavar="FILE", help="output of `pip freeze` in the image; without it, all")
    made.add_argument("--python", type=_python, default="3.12", metavar="V", help="its Python (default: %(default)s)")
    made.add_argument(
        "--platform", default="x86_64", choices=["x86_64", "aarch64"], help="its processor (default: %(default)s)"
    )
    made.add_argument(
        "--part-size",
        type=_size,
        default="58MiB",
        metavar="SIZE",
        help="most bytes of one archive; more are made if needed (default: %(default)s)",
    )
    made.add_argument("--cache", type=Path, metavar="DIR", help="folder for downloaded wheels")
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    made.add_argument("--verbose", action="store_true", help="show progress")
    made.add_argument("--strict", action="store_true", help="treat warnings as errors")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)([KMG]iB|[kMG]B|)", text)
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < _UNITS["MiB"]:
        raise argparse.ArgumentTypeError(f"{text!r} is no size of at least 1MiB; write for example 58MiB")
    return size


def _python(text: str) -> str:
    if re.fullmatch(r"3\.\d{1,2}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no Python version; write for example 3.12")
    return text


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)

    # The library is imported only now: --help must answer at once.
    from mimo_gb10.commands.pack_rehearsal import pack_rehearsal

    return pack_rehearsal(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
