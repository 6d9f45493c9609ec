"""``check_docs.py``: is the documentation right."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.docs_check.shell import ToolMissing
from mimo_gb10.docs_check.site import check_site, weights
from mimo_gb10.docs_check.sources import check_sources
from mimo_gb10.findings import Refused, error, has_errors, worst_first


def check_docs(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        found = check_sources() if options.site is None else check_site(options.site)
    except Refused as refused:
        found = list(refused.findings)
    except ToolMissing as missing:
        remedy = "Run: make lint, which installs it."
        cli.show([error("tool-missing", f"{missing} is missing", remedy)], no_color=options.no_color)
        return cli.ENVIRONMENT
    cli.show(worst_first(found), no_color=options.no_color)
    if has_errors(found):
        return cli.ERRORS
    if options.site is not None:
        out.write(_heaviest(options.site))
    return cli.OK


def _heaviest(site: Path) -> str:
    pages = weights(site)
    first, travels = pages[0], max(pages, key=lambda weight: weight.travels)
    return (
        f"{len(pages)} pages; the largest is {first.page} with {first.html / 1000:.0f} kB of HTML; "
        f"{travels.page} travels as {travels.travels / 1000:.0f} kB with its style sheets and scripts\n"
    )
