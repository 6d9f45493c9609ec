"""``diagnose.py``: what a log says about a launch that went wrong."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.diagnose.inputs import Input, open_inputs, read
from mimo_gb10.diagnose.report import as_json, found_text, nothing_text, summary_text
from mimo_gb10.diagnose.scan import Feeder, Scanner
from mimo_gb10.diagnose.state import RankLog
from mimo_gb10.diagnose.symptoms import Symptoms, load_symptoms
from mimo_gb10.diagnose.values import values_of
from mimo_gb10.diagnose.verdict import Found, find
from mimo_gb10.findings import Refused, error
from mimo_gb10.release import refuse_unknown
from mimo_gb10.report import Paint

PAUSE = 0.3
"""Seconds without text after which a stream has paused: what was found so far is printed, in causal order."""

QUIET = 60.0
"""Seconds without text after which a stream counts as stuck: what is last in it, or absent, counts then."""

_RANK = re.compile(r"([0-9]{1,5})=(.+)", re.DOTALL)


def diagnose(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        return _diagnose(options, out)
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        usage = all(finding.code == "usage" for finding in refused.findings)
        return cli.USAGE if usage else cli.ERRORS


def _diagnose(options: argparse.Namespace, out: TextIO) -> int:
    # The project's own file is validated by its tests; the validator alone takes longer than a short log.
    known = load_symptoms(validate=False)
    if options.list:
        return _list(known, options, out)
    named = _named(options)
    if options.release is not None:
        refuse_unknown(options.release, "--release")
    values = values_of(options.recipe, options.cluster, int(named[0][0]))
    release = options.release or values.get("release")
    inputs = open_inputs(named)
    paint = Paint.for_stream(out, no_color=options.no_color)
    logs = [RankLog(one.rank, one.file, known.orders()) for one in inputs]

    printed: set[str] = set()

    def show(found: Sequence[Found]) -> None:
        fresh = [item for item in found if item.symptom.id not in printed]
        for item in fresh:
            printed.add(item.symptom.id)
            out.write(found_text(item, _values_for(item, values, options), release, paint) + "\n")
        if fresh:
            out.flush()

    def look(ended: bool) -> None:
        show(find(known, logs, ended=ended))

    live = any(one.goes_on for one in inputs) and not options.json
    try:
        _take_in(inputs, logs, known, look if live else None)
    except KeyboardInterrupt:
        # How one ends following a log; what it has shown still counts.
        sys.stderr.write("\n")
    return _finish(known, logs, options, values, release, out, show)


def _take_in(
    inputs: Sequence[Input], logs: Sequence[RankLog], known: Symptoms, look: Callable[[bool], None] | None
) -> None:
    scanner = Scanner({name: line.pattern for name, line in known.lines.items()})
    feeders = {one: Feeder(scanner, log) for one, log in zip(inputs, logs, strict=True)}
    last_text = time.monotonic()
    stuck = False
    for one, block in read(inputs, PAUSE):
        if one is None:
            if look is not None:
                look(False)
                if not stuck and time.monotonic() - last_text > QUIET:
                    stuck = True
                    look(True)
        elif block:
            last_text, stuck = time.monotonic(), False
            feeders[one].take(block)
        else:
            feeders[one].end()
    for feeder in feeders.values():
        feeder.end()


def _finish(
    known: Symptoms,
    logs: Sequence[RankLog],
    options: argparse.Namespace,
    values: Mapping[str, str],
    release: str | None,
    out: TextIO,
    show: Callable[[Sequence[Found]], None],
) -> int:
    found = find(known, logs, ended=True)
    paint = Paint.for_stream(out, no_color=options.no_color)
    if options.json:
        cli.print_json(as_json(known, found, logs, values, release), out)
    elif found:
        show(found)
        out.write(summary_text(found, logs, paint))
    else:
        out.write(nothing_text(known, logs, values, paint))
    wrong = {"error", "warning"} if options.strict else {"error"}
    return cli.ERRORS if any(item.symptom.severity in wrong for item in found) else cli.OK


def _values_for(item: Found, values: Mapping[str, str], options: argparse.Namespace) -> Mapping[str, str]:
    """The values of the first rank that shows a symptom, where it is not the first rank at all."""
    rank = item.proofs[0].rank
    if options.cluster is None or rank == values["rank"]:
        return values
    return values_of(options.recipe, options.cluster, int(rank))


def _named(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Rank and path of each log.

    Raises:
        Refused: If the arguments contradict one another.
    """
    given: list[tuple[str, str]] = []
    for text in options.rank:
        match = _RANK.fullmatch(text)
        if match is None:
            raise _usage(f"--rank {text!r} is not N=FILE", "For example: --rank 0=head.log")
        given.append((str(int(match[1])), match[2]))
    taken = {rank for rank, _ in given}
    free = (str(rank) for rank in range(100_000) if str(rank) not in taken)
    given += [(next(free), path) for path in options.log]
    ranks = [rank for rank, _ in given]
    for rank in ranks:
        if ranks.count(rank) > 1:
            raise _usage(f"rank {rank} is given twice", "One log a rank: put the parts of one together with cat.")
    if sum(path == "-" for _, path in given) > 1:
        raise _usage(
            "standard input is given twice", "Name files, or <(docker logs -f NAME 2>&1), for the other ranks."
        )
    return sorted(given, key=lambda item: int(item[0]))


def _list(known: Symptoms, options: argparse.Namespace, out: TextIO) -> int:
    if options.json:
        listed = [{"id": one.id, "title": one.title, "severity": one.severity} for one in known.symptoms.values()]
        cli.print_json(listed, out)
        return cli.OK
    width = max(map(len, known.symptoms))
    for one in known.symptoms.values():
        out.write(f"{one.id:<{width}}  {one.severity:<7}  {one.title}\n")
    return cli.OK


def _usage(message: str, remedy: str) -> Refused:
    return Refused([error("usage", message, remedy)])
