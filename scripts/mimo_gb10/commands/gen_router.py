"""``gen_router.py``: the command of SGLang's router in front of several groups."""

from __future__ import annotations

import argparse
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.findings import Refused, has_errors
from mimo_gb10.report import summary
from mimo_gb10.router import route, script, server_url


def gen_router(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        return _gen_router(options, out)
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        return cli.ERRORS


def _gen_router(options: argparse.Namespace, out: TextIO) -> int:
    routed = route(options.router, options.recipe, options.clusters)
    if has_errors(routed.findings, strict=options.strict):
        raise Refused(routed.findings)
    cli.show(routed.findings, no_color=options.no_color)
    if options.check:
        out.write(f"{options.router} before {len(routed.plans)} groups: {summary(routed.findings)}\n")
    elif options.json:
        servers = [{"cluster": plan.cluster, "url": server_url(plan)} for plan in routed.plans]
        cli.print_json({"servers": servers, "argv": list(routed.argv())}, out)
    else:
        out.write(script(routed))
    return cli.OK
