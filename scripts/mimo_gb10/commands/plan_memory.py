"""``plan_memory.py``: where the memory of a node goes, and how fast a step can be."""

from __future__ import annotations

import argparse
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.context import Context
from mimo_gb10.files import Output, write_files
from mimo_gb10.findings import Location, Refused, Severity, error, has_errors, worst_first
from mimo_gb10.launch import check
from mimo_gb10.memory.basis import GIB, Amount
from mimo_gb10.memory.constants import BEFORE
from mimo_gb10.memory.plan import Plan, down, make_plan, up
from mimo_gb10.memory.report import as_dict, findings, make_report
from mimo_gb10.memory.setting import setting_of
from mimo_gb10.memory.svg import drawing
from mimo_gb10.memory.text import report_text
from mimo_gb10.report import Paint


def plan_memory(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        return _plan_memory(options, out)
    except Refused as refused:
        cli.show(worst_first(refused.findings), no_color=options.no_color)
        return cli.ERRORS


def _plan_memory(options: argparse.Namespace, out: TextIO) -> int:
    context = _context(options)
    setting, notes = setting_of(context)
    facts = context.model.facts
    plan = make_plan(facts, setting, _available(options.available))
    if options.accept_length is not None:
        steps = setting.draft.steps if setting.draft else 3
        if not 1 <= options.accept_length <= steps + 1:
            message = f"with {steps} draft steps a step gives 1 to {steps + 1} tokens, not {options.accept_length:g}"
            raise Refused(
                [error("accept-length", message, "Take it from a server's /server_info.", Location("--accept-length"))]
            )
    report = make_report(
        plan, facts, context.recipe.title, measured=options.available is not None, accept_length=options.accept_length
    )
    place = context.flag_location("mem-fraction-static")
    found = worst_first([*notes, *findings(report, place)])
    if options.json:
        cli.print_json({**as_dict(report), "findings": [finding.as_dict() for finding in found]}, out)
    else:
        out.write(report_text(report, Paint.for_stream(out, no_color=options.no_color)))
        cli.show(found, no_color=options.no_color)
    if options.svg is not None:
        write_files(options.svg.parent, {options.svg.name: Output(drawing(plan, _fractions(plan, options.at)))})
    return cli.ERRORS if has_errors(found, strict=options.strict) else cli.OK


def _context(options: argparse.Namespace) -> Context:
    checked = check(options.recipe, options.cluster, options.overrides)
    if checked.context is None or checked.refused:
        raise Refused(found for found in checked.findings if found.severity is Severity.ERROR)
    return checked.context


def _available(gib: float | None) -> Amount | None:
    if gib is None:
        return None
    return Amount(max(0.0, gib * GIB - BEFORE.high), max(0.0, gib * GIB - BEFORE.low))


def _fractions(plan: Plan, at: list[float]) -> list[float]:
    """The fractions to draw: those that were asked for; else the recipe's, between the ends of what boots somewhere."""
    if at:
        return sorted(set(at))
    low, high = up(plan.roomy.low), down(plan.roomy.high)
    return sorted({low, plan.shown, high} if 0 < low <= high <= 1 else {plan.shown})
