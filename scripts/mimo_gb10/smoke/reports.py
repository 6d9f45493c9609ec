"""What the checks found, as text, JSON and JUnit XML."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from mimo_gb10.findings import Finding, Location, Severity
from mimo_gb10.report import Paint, visible
from mimo_gb10.smoke.catalog import ALL_CHECKS
from mimo_gb10.smoke.check import Check, Status
from mimo_gb10.smoke.runner import Result

_STYLES = {Status.OK: "help", Status.WARN: "warning", Status.FAIL: "error", Status.SKIP: "dim"}
_NAMES = max(len(check.name) for check in ALL_CHECKS)
# XML 1.0 allows no other control characters, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class About:
    """What the results are about.

    Attributes:
        url: The server.
        profile: ``full`` or ``structural``.
        recipe: Name of the recipe, or None.
        release: What the server says it is, or None.
        model: Its name of the model.
        started: When the run began, ISO 8601 in UTC.
    """

    url: str
    profile: str
    recipe: str | None
    release: str | None
    model: str | None
    started: str


def row(result: Result, paint: Paint, *, evidence: bool) -> str:
    """One result: status, name, time, what was found; the evidence below it where it is asked for or matters."""
    outcome = result.outcome
    name = result.check.name.ljust(_NAMES)
    seconds = "" if outcome.status is Status.SKIP and result.seconds < 0.05 else f"{result.seconds:.1f} s"
    word = paint(_STYLES[outcome.status], f"{outcome.status:<4}")
    text = f"{word}  {name}  {seconds:>8}  {visible(outcome.says)}\n"
    if evidence or outcome.status in (Status.FAIL, Status.WARN):
        text += "".join(paint("dim", f"        {visible(line)}") + "\n" for line in outcome.evidence)
    return text


def waiting_row(check: Check, number: int, count: int, seconds: float) -> str:
    """The line that stands while a check runs, cut to the terminal."""
    width = shutil.get_terminal_size().columns - 1
    text = f"....  {check.name.ljust(_NAMES)}  {seconds:>6.1f} s  [{number}/{count}] {check.what}"
    return text[:width]


def summary(results: Sequence[Result]) -> str:
    """How many there are of each: ``38 ok, 1 warn, 2 skip``."""
    counts = Counter(result.outcome.status for result in results)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])


def findings(results: Sequence[Result], url: str) -> list[Finding]:
    """Failures and warnings in the form of the house."""
    severities = {Status.FAIL: Severity.ERROR, Status.WARN: Severity.WARNING}
    return [
        Finding(
            severities[result.outcome.status],
            result.check.name,
            result.outcome.says,
            result.outcome.help,
            Location(url),
        )
        for result in results
        if result.outcome.status in severities
    ]


def list_text(checks: Sequence[Check], paint: Paint) -> str:
    """A table of the checks: name, profiles, what it checks; by area."""
    text, area = "", ""
    for check in checks:
        if check.area != area:
            text += ("\n" if area else "") + paint("heading", check.area) + "\n"
            area = check.area
        text += f"  {check.name.ljust(_NAMES)}  {check.profiles():<16}  {check.what}\n"
    return text


def as_json(results: Sequence[Result], about: About) -> dict[str, Any]:
    """Results as plain data."""
    counts = Counter(result.outcome.status for result in results)
    return {
        **vars(about),
        "summary": {str(status): counts[status] for status in Status},
        "checks": [
            {
                "name": result.check.name,
                "area": result.check.area,
                "status": str(result.outcome.status),
                "seconds": round(result.seconds, 3),
                "says": result.outcome.says,
                "evidence": list(result.outcome.evidence),
                "help": result.outcome.help,
                "numbers": dict(result.outcome.numbers),
            }
            for result in results
        ],
    }


def list_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """The table of checks as plain data."""
    return [
        {"name": check.name, "area": check.area, "what": check.what, "profiles": check.profiles().split(", ")}
        for check in checks
    ]


def as_junit(results: Sequence[Result], about: About, *, strict: bool) -> str:
    """Results as JUnit XML: a failure for each failed check (with `strict`, for each warning too)."""
    counts = Counter(_junit_word(result, strict) for result in results)
    suite = ElementTree.Element(
        "testsuite",
        name="smoke",
        tests=str(len(results)),
        failures=str(counts["failure"]),
        errors="0",
        skipped=str(counts["skipped"]),
        time=f"{sum(result.seconds for result in results):.3f}",
        timestamp=about.started,
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in vars(about).items():
        if value is not None:
            ElementTree.SubElement(properties, "property", name=name, value=_xml(str(value)))
    for result in results:
        outcome = result.outcome
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"smoke.{result.check.area}",
            name=result.check.name,
            time=f"{result.seconds:.3f}",
        )
        word = _junit_word(result, strict)
        body = "\n".join((outcome.says, *outcome.evidence, *([f"help: {outcome.help}"] if outcome.help else [])))
        if word:
            ElementTree.SubElement(case, word, message=_xml(outcome.says)).text = _xml(body)
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(f"{outcome.status}: {body}")
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _junit_word(result: Result, strict: bool) -> str:
    status = result.outcome.status
    if status is Status.FAIL or (strict and status is Status.WARN):
        return "failure"
    return "skipped" if status is Status.SKIP else ""


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
