"""``smoke_test.py``: does the server that runs give right answers?"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.files import Output, write_files
from mimo_gb10.findings import Finding, Location, Refused, error
from mimo_gb10.launch import find_document
from mimo_gb10.paths import RECIPES
from mimo_gb10.recipe import Recipe, load_recipe
from mimo_gb10.report import Paint
from mimo_gb10.smoke import reports
from mimo_gb10.smoke.catalog import select
from mimo_gb10.smoke.check import Check, Session, Status
from mimo_gb10.smoke.client import Client, Target, parse_url
from mimo_gb10.smoke.live import Live
from mimo_gb10.smoke.record import Recorder
from mimo_gb10.smoke.runner import Result, run
from mimo_gb10.smoke.waiting import State, wait

KEYS = ("SGLANG_API_KEY", "OPENAI_API_KEY")
"""Variables that may hold the key; the first one that is set is sent."""

_TELL_EVERY = 15.0


def smoke_test(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        return _smoke_test(options, out)
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        return cli.ERRORS


def _smoke_test(options: argparse.Namespace, out: TextIO) -> int:
    try:
        checks = select(_names(options.only), _names(options.skip), options.profile)
        target = parse_url(options.url)
        reference = parse_url(options.reference_url) if options.reference_url else None
    except ValueError as problem:
        return _usage(str(problem), options)
    paint = Paint.for_stream(out, no_color=options.no_color)
    if options.list:
        if options.json:
            cli.print_json(reports.list_json(checks), out)
        else:
            out.write(reports.list_text(checks, paint))
        return cli.OK
    if not checks:
        return _usage("no check is left to run", options)
    if options.record and reference:
        return _usage("--record is of one server: leave --reference-url out", options)
    recipe = load_recipe(find_document(options.recipe, RECIPES, "recipe")) if options.recipe else None
    key = api_key(os.environ)
    client = Client(target, key, options.timeout)
    # Where the results are for a program, people watch on the other stream.
    live = Live(sys.stderr if options.json else out)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    state = _await(client, options.wait, live, sys.stderr if options.json else out)
    if not state.ready and (options.wait > 0 or not state.answers):
        cli.show([_unready(state, target, options.wait)], no_color=options.no_color)
        return cli.ENVIRONMENT
    with contextlib.ExitStack() as stack:
        recorder: Recorder | None = None
        if options.record is not None:
            recorder = stack.enter_context(Recorder(options.record, about={"made_by": "scripts/smoke_test.py"}))
            client = recorder.client(target, key, options.timeout)
        session = Session(
            client,
            recipe=recipe,
            trained=options.profile == "full",
            streams=options.streams,
            reference=Client(reference, key, options.timeout) if reference else None,
        )
        results = _run(checks, session, options, live, out, paint, recorder)
    return _report(results, session, recipe, started, options, out)


def _names(values: list[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def _usage(message: str, options: argparse.Namespace) -> int:
    cli.show([error("usage", message)], no_color=options.no_color)
    return cli.USAGE


def api_key(environment: Mapping[str, str]) -> str | None:
    """The key from the environment, or None.

    Raises:
        Refused: If it cannot stand in a header.
    """
    for name in KEYS:
        value = environment.get(name, "").strip()
        if value:
            if not value.isascii() or not value.isprintable():
                remedy = "Set it anew; a key is one line of printable ASCII."
                raise Refused([error("key-unusable", f"the value of {name} cannot be sent", remedy, Location(name))])
            return value
    return None


def _await(client: Client, seconds: float, live: Live, out: TextIO) -> State:
    last: list[object] = [None, -_TELL_EVERY]

    def tell(passed: float, state: State) -> None:
        if live.enabled:
            if seconds > 0 and not state.ready:
                live.show(lambda more: f"waiting {passed + more:.0f} of {seconds:.0f} s: {state.says}")
        elif seconds > 0 and (state.says != last[0] or passed - float(str(last[1])) >= _TELL_EVERY):
            out.write(f"{passed:.0f} s: {state.says}\n")
            out.flush()
            last[:] = [state.says, passed]

    try:
        return wait(client, seconds, tell)
    finally:
        live.clear()


def _unready(state: State, target: Target, waited: float) -> Finding:
    place = Location(target.url)
    if waited > 0 and not state.hopeless:
        return error(
            "server-not-ready",
            f"not ready after {waited:.0f} s: {state.says}",
            "Look at the log of every rank; loading 315 GB takes its time, a rank that ended does not come back.",
            place,
        )
    remedy = (
        "Check the address." if state.hopeless else "Check the address, or wait for a server that loads: --wait 1800"
    )
    return error("server-unreachable", state.says, remedy, place)


def _run(
    checks: list[Check],
    session: Session,
    options: argparse.Namespace,
    live: Live,
    out: TextIO,
    paint: Paint,
    recorder: Recorder | None,
) -> list[Result]:
    results: list[Result] = []

    def started(check: Check) -> None:
        if recorder is not None:
            recorder.started(check)
        number = len(results) + 1
        live.show(lambda seconds: reports.waiting_row(check, number, len(checks), seconds))

    try:
        for result in run(checks, session, started):
            results.append(result)
            live.clear()
            if not options.json:
                out.write(reports.row(result, paint, evidence=options.verbose))
                out.flush()
    finally:
        live.clear()
    if recorder is not None:
        recorder.results(session, results)
    return results


def _report(
    results: list[Result],
    session: Session,
    recipe: Recipe | None,
    started: str,
    options: argparse.Namespace,
    out: TextIO,
) -> int:
    url = session.client.target.url
    about = reports.About(
        url=url,
        profile=options.profile,
        recipe=recipe.name if recipe else None,
        release=session.version,
        model=session.model,
        started=started,
    )
    if options.json:
        cli.print_json(reports.as_json(results, about), out)
    else:
        out.write(f"{url}: {reports.summary(results)}\n")
    if options.junit is not None:
        text = reports.as_junit(results, about, strict=options.strict)
        write_files(options.junit.parent, {options.junit.name: Output(text)})
    found = reports.findings(results, url)
    if all(result.outcome.status is Status.SKIP for result in results):
        found.append(
            error("nothing-checked", "every check was skipped: nothing is known of this server", "", Location(url))
        )
    if not options.json:
        cli.show(found, no_color=options.no_color)
    worst = Status.WARN if options.strict else Status.FAIL
    bad = [result for result in results if result.outcome.status in (Status.FAIL, worst)]
    return cli.ERRORS if bad or any(item.code == "nothing-checked" for item in found) else cli.OK
