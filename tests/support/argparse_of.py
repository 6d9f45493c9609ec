"""An argparse parser made of a release catalog: what SGLang's own parser would make of an argument list."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from mimo_gb10.argument_types import convert
from mimo_gb10.release import Flag, Release


def parser_of(release: Release) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(exit_on_error=False, argument_default=argparse.SUPPRESS)
    for flag in release.flags:
        parser.add_argument(*flag.options, **_arguments(flag))
    return parser


def _arguments(flag: Flag) -> dict[str, Any]:
    if flag.is_switch:
        return {"dest": flag.dest, "action": "store_true"}
    return {"dest": flag.dest, "nargs": flag.nargs, "type": functools.partial(convert, flag.type)}
