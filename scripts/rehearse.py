#!/usr/bin/env python3
"""Rehearse a recipe's launch with a tiny random model: real SGLang, real ranks, any CUDA GPU."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10 import cli
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE


def parser() -> argparse.ArgumentParser:
    """The command line of ``rehearse.py``."""
    made = argparse.ArgumentParser(
        prog="rehearse.py",
        description="Start every rank of a recipe's launch plan with a tiny random model, ask it everything that the "
        "smoke test asks, compare its text with a reference, put it under load, stop it, and write a receipt. "
        "Without a GPU: make and validate the tiny model, and say what would run.",
        epilog="Exit codes: 0 every check passed, 1 something failed, 2 usage, 3 environment (no PyTorch, no SGLang).",
        allow_abbrev=False,
    )
    made.add_argument("recipe", nargs="?", default=DEFAULT_RECIPE, help="name or path (default: %(default)s)")
    made.add_argument("--cluster", default=DEFAULT_CLUSTER, help="name or path (default: %(default)s)")
    made.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                      help="change flags.NAME or env.NAME for this run; repeatable")  # fmt: skip
    made.add_argument("--sglang", metavar="VERSION", help="rehearse the recipe under another release")
    made.add_argument("--mtp", choices=["on", "off"], help="with or without the MTP block (default: as the recipe)")
    tree = made.add_mutually_exclusive_group()
    tree.add_argument("--patched", action="store_true",
                      help="with the recipe's patches, on a copy of SGLang (default)")  # fmt: skip
    tree.add_argument("--unpatched", action="store_true", help="with SGLang as it is installed")
    made.add_argument(
        "--sglang-dir", type=Path, metavar="DIR", help="site-packages with SGLang (default: this Python's)"
    )
    made.add_argument("--ranks", type=_count, metavar="N", help="ranks on this machine (default: one a GPU)")
    made.add_argument("--gpus", type=_list, default=(), metavar="A,B", help="the GPU of each rank (default: in order)")
    made.add_argument("--model-ranks", type=_count, metavar="N",
                      help="lay the tiny model out for N ranks; fewer may load it (default: --ranks)")  # fmt: skip
    made.add_argument("--rank", type=_rank, metavar="N", help="this machine is node N of the cluster: start that rank")
    made.add_argument("--port", type=_port, default=30000, metavar="P",
                      help="HTTP port of rank 0 on one machine (default: %(default)s)")  # fmt: skip
    made.add_argument("--out", type=Path, default=Path("rehearsal"), metavar="DIR",
                      help="folder for the model, logs and the receipt (default: %(default)s)")  # fmt: skip
    made.add_argument("--keep", action="store_true", help="keep the tiny model and the patched copy")
    made.add_argument(
        "--stress", type=_seconds, default=300.0, metavar="S", help="seconds of load (default: %(default)g)"
    )
    made.add_argument("--ready", type=_seconds, default=600.0, metavar="S",
                      help="seconds that a start may take (default: %(default)g)")  # fmt: skip
    made.add_argument("--timeout", type=_seconds, default=200.0, metavar="S",
                      help="seconds for one request (default: %(default)g)")  # fmt: skip
    made.add_argument("--base", type=Path, metavar="RECEIPT", help="compare greedy text with that of another rehearsal")
    made.add_argument("--only", action="append", default=[], metavar="NAME", help="a check or an area; repeatable")
    made.add_argument("--skip", action="append", default=[], metavar="NAME", help="a check or an area; repeatable")
    made.add_argument(
        "--record", type=Path, metavar="FILE", help="write every request and answer of the smoke test there"
    )
    made.add_argument("--fault", action="append", default=[], choices=["pin-memory", "pdl"],
                      help="in the ranks: pin-memory fails as where memory is short, pdl is off")  # fmt: skip
    made.add_argument("--fa3-encoders", action="store_true",
                      help="encoders with FlashAttention 3, on Hopper only: to compare with")  # fmt: skip
    made.add_argument("--stand-in", action="append", default=[], metavar="TEXT",
                      help="for the receipt: what stood in for something that is missing; repeatable")  # fmt: skip
    made.add_argument("--json", action="store_true", help="print the receipt")
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal; NO_COLOR does the same")
    return made


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86400:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1024:
        raise ValueError
    return value


def _rank(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1024:
        raise ValueError
    return value


def _port(text: str) -> int:
    value = int(text)
    # The ranks' own ports and the rendezvous follow it; SGLang may open one that is 10000 above.
    if not 1024 <= value <= 54000:
        raise ValueError
    return value


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    if options.mtp is not None:
        options.mtp = options.mtp == "on"
    # Imported late, so that --help is quick.
    from mimo_gb10.commands.rehearse import rehearse

    return rehearse(options, sys.stdout)


if __name__ == "__main__":
    cli.run(main)
