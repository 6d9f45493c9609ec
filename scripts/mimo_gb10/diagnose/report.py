"""Symptoms as text for people, and as data for programs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mimo_gb10.diagnose.state import Hit, RankLog
from mimo_gb10.diagnose.symptoms import Source, Step, Symptom, Symptoms
from mimo_gb10.diagnose.values import filled
from mimo_gb10.diagnose.verdict import Found, Proof
from mimo_gb10.report import Paint, visible

_WIDTH = 110
_SECRET = re.compile(
    r"((?:api_?key|token|password|secret)['\"]?[=:] ?['\"]?)(?!None\b)[^\s'\",)]+|\bhf_[A-Za-z0-9]{16,}", re.IGNORECASE
)


def found_text(found: Found, values: Mapping[str, str], release: str | None, paint: Paint) -> str:
    """One symptom: place and title, the lines that prove it, cause, what to do, sources."""
    symptom = found.symptom
    label = paint(symptom.severity, f"{symptom.severity}[{symptom.id}]")
    first = found.proofs[0]
    place = _place(first, first.hits[0]) if first.hits else first.file
    lines = [f"{paint('bold', place + ':')} {label}: {symptom.title}"]
    for proof in found.proofs:
        rank = f"rank {proof.rank}  " if len(found.proofs) > 1 else ""
        for hit in proof.hits:
            count = proof.counts.get(hit.name, 1)
            times = f"  ({count} times)" if count > 1 else ""
            lines.append(paint("dim", f"  | {rank}{_place(proof, hit)}: {shown(hit.text)}{times}"))
    if note := _release_note(symptom, release):
        lines.append(f"  {paint('note', 'note')}: {note}")
    if found.follows_from:
        lines.append(f"  follows from: {', '.join(found.follows_from)}")
    lines += _paragraph(f"  {paint('bold', 'cause')}: ", symptom.cause)
    lines += steps_text(symptom.fix, values, paint)
    lines += [paint("dim", f"  source: {_source(source)}") for source in symptom.sources]
    return "".join(line + "\n" for line in lines)


def steps_text(steps: Iterable[Step], values: Mapping[str, str], paint: Paint) -> list[str]:
    """What to do, each step with its command below it."""
    lines: list[str] = []
    for step in steps:
        lines += _paragraph(f"  {paint('help', 'help')}: ", step.do)
        lines += [f"      {line}" for line in filled(step.run, values).splitlines()]
    return lines


def nothing_text(known: Symptoms, logs: Sequence[RankLog], values: Mapping[str, str], paint: Paint) -> str:
    """What to say when no symptom was found."""
    read = ", ".join(f"{log.file} ({log.lines:,} lines)" for log in logs)
    lines = [f"None of the {len(known.symptoms)} known symptoms was found in {read}."]
    lines += [
        f"  the last line of {log.file}:{log.last_line[0]}: {shown(log.last_line[1])}"
        for log in logs
        if log.last_line[1]
    ]
    lines += ["", "What to collect, on every node:", *steps_text(known.collect, values, paint)]
    lines += ["", "Where to report it:", *steps_text(known.report, values, paint)]
    return "".join(line + "\n" for line in lines)


def summary_text(found: Sequence[Found], logs: Sequence[RankLog], paint: Paint) -> str:
    """What was found, in one line, and where to begin."""
    roots = [item.symptom.id for item in found if not item.follows_from]
    rest = [item.symptom.id for item in found if item.follows_from]
    lines = sum(log.lines for log in logs)
    words = f"{len(found)} symptom{'' if len(found) == 1 else 's'} in {lines:,} lines"
    start = f"; begin with {', '.join(paint('bold', name) for name in roots)}" if roots else ""
    after = f"; {', '.join(rest)} follow{'s' if len(rest) == 1 else ''} from it" if rest else ""
    return f"{words}{start}{after}\n"


def as_json(
    known: Symptoms, found: Sequence[Found], logs: Sequence[RankLog], values: Mapping[str, str], release: str | None
) -> dict[str, Any]:
    """Everything as plain data."""

    def steps(given: Iterable[Step]) -> list[dict[str, str]]:
        return [{"do": step.do, "run": filled(step.run, values)} for step in given]

    result: dict[str, Any] = {
        "logs": [{"rank": log.rank, "file": log.file, "lines": log.lines} for log in logs],
        "release": release,
        "symptoms": [
            {
                "id": item.symptom.id,
                "title": item.symptom.title,
                "severity": item.symptom.severity,
                "defect": item.symptom.defect,
                "first": item.symptom.first,
                "last": item.symptom.last,
                "known_in_release": None if release is None else item.symptom.is_known_in(release),
                "follows_from": list(item.follows_from),
                "leads_to": list(item.leads_to),
                "proof": [
                    {
                        "rank": proof.rank,
                        "file": proof.file,
                        "lines": [
                            {
                                "line": hit.line,
                                "name": hit.name,
                                "text": shown(hit.text),
                                "count": proof.counts.get(hit.name, 1),
                            }
                            for hit in proof.hits
                        ],
                    }
                    for proof in item.proofs
                ],
                "cause": item.symptom.cause,
                "fix": steps(item.symptom.fix),
                "sources": [{"at": one.at, "sure": one.sure, "says": one.says} for one in item.symptom.sources],
            }
            for item in found
        ],
    }  # fmt: skip
    if not found:
        result |= {"collect": steps(known.collect), "report": steps(known.report)}
    return result


def shown(text: str) -> str:
    """A line of a log, fit to be shown: no control characters, no secrets."""
    return visible(_SECRET.sub(lambda match: f"{match[1] or ''}[hidden]", text))


def _place(proof: Proof, hit: Hit) -> str:
    return visible(f"{proof.file}:{hit.line}")


def _release_note(symptom: Symptom, release: str | None) -> str:
    if release is None or symptom.is_known_in(release):
        return ""
    if symptom.first == symptom.last:
        return f"known in SGLang {symptom.first}; the recipe's release is {release}"
    known = f"from {symptom.first} on" if symptom.last is None else f"up to {symptom.last}"
    if symptom.first and symptom.last:
        known = f"in {symptom.first} to {symptom.last}"
    return f"known {known}; the release at hand is {release}"


def _source(source: Source) -> str:
    return f"{source.at} ({source.sure}{': ' + source.says if source.says else ''})"


def _paragraph(head: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [head + wrapped[0], *(f"      {line}" for line in wrapped[1:])] if wrapped else []
