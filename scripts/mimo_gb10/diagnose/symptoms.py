"""The symptoms of ``docs/symptoms.yaml``.

A pattern stands once, under ``lines:``, with where its text comes from; symptoms speak of lines by name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_gb10.defects import PRESENT, load_verdicts
from mimo_gb10.diagnose import expression
from mimo_gb10.diagnose.expression import Expression, Order
from mimo_gb10.diagnose.pattern import problems
from mimo_gb10.findings import Finding, Refused, error
from mimo_gb10.paths import DOCS
from mimo_gb10.release import in_range, version_key
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import Document, NodePath, read_document

SYMPTOMS = DOCS / "symptoms.yaml"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A kind of line that a log may hold.

    Attributes:
        name: Its name.
        pattern: The regular expression that finds it (`mimo_gb10.diagnose.pattern`).
        origin: Who writes it: a file of SGLang's wheel (or several, as globs), or the name of another program.
        text: What the source holds, where the pattern spells out what SGLang puts in at run time; else an empty string.
        kind: For SGLang: whether the pattern's fixed text is that of a ``message``, or the name of a ``function`` in a
            traceback or of a ``field`` of the printed arguments.
        first: First release whose source holds the text, or None.
        last: Last such release, or None.
    """

    name: str
    pattern: str
    origin: tuple[str, ...]
    text: str
    kind: str
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do about a symptom.

    Attributes:
        do: What, in a sentence.
        run: A command with ``{name}`` where a value of the recipe or cluster belongs, or an empty string.
    """

    do: str
    run: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a statement comes from.

    Attributes:
        at: A link, a file of SGLang's wheel with its line, or a file of this repository.
        sure: ``checked``, ``reported`` or ``inferred``.
        says: What it says, in a few words, or an empty string.
    """

    at: str
    sure: str
    says: str


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a log shows, why, and what to do.

    Attributes:
        id: Its name.
        title: One line.
        severity: ``error``, or ``warning`` where the server lives on.
        match: What the log of one rank must hold.
        others: What the log of another rank must hold beside, or None.
        every: Whether every rank's log must match, instead of one.
        differ: The name of a line whose value differs between ranks, or None.
        defect: The defect of ``patches/defects.yaml`` behind it, or None.
        first: First release in which it is known, or None.
        last: Last one, or None.
        cause: Why.
        fix: What to do.
        sources: Where that comes from.
        causes: Ids of the symptoms that follow from this one.
    """

    id: str
    title: str
    severity: str
    match: Expression
    others: Expression | None
    every: bool
    differ: str | None
    defect: str | None
    first: str | None
    last: str | None
    cause: str
    fix: tuple[Step, ...]
    sources: tuple[Source, ...]
    causes: tuple[str, ...]

    def lines(self) -> frozenset[str]:
        """The names of all lines that it speaks of."""
        found = expression.names(self.match)
        if self.others is not None:
            found |= expression.names(self.others)
        return found | ({self.differ} if self.differ else frozenset())

    def is_known_in(self, release: str) -> bool:
        """Whether it is known in a release."""
        return in_range(release, self.first, self.last)


@dataclass(frozen=True, slots=True)
class Symptoms:
    """The whole file.

    Attributes:
        lines: The lines by name.
        symptoms: The symptoms by id, most causal first.
        collect: What to collect when nothing is known.
        report: Where to report it.
    """

    lines: Mapping[str, LogLine]
    symptoms: Mapping[str, Symptom]
    collect: tuple[Step, ...]
    report: tuple[Step, ...]

    def orders(self) -> list[Order]:
        """Every ``order`` of every symptom, which a log follows while it is read."""
        found: dict[Order, None] = {}
        for symptom in self.symptoms.values():
            for part in (symptom.match, symptom.others):
                if part is not None:
                    found.update(dict.fromkeys(expression.orders(part)))
        return list(found)


@functools.cache
def load_symptoms(path: Path = SYMPTOMS, *, validate: bool = True) -> Symptoms:
    """Read the symptom file.

    Args:
        path: The file.
        validate: Whether to check schema, names and patterns; the project's own file is checked by its tests.

    Raises:
        Refused: If it cannot be read, or breaks its schema or rules.
    """
    document = read_document(path)
    if validate:
        found = check_schema(document, "symptoms") or _check(document)
        if found:
            raise Refused(found)
    value = document.value
    return Symptoms(
        lines={name: _line(name, entry) for name, entry in value["lines"].items()},
        symptoms={entry["id"]: _symptom(entry) for entry in value["symptoms"]},
        collect=tuple(_step(entry) for entry in value["unknown"]["collect"]),
        report=tuple(_step(entry) for entry in value["unknown"]["report"]),
    )


def _line(name: str, entry: Mapping[str, Any]) -> LogLine:
    origin = entry["from"]
    return LogLine(
        name=name,
        pattern=entry["pattern"],
        origin=(origin,) if isinstance(origin, str) else tuple(origin),
        text=entry.get("text", ""),
        kind=entry.get("kind", "message"),
        first=entry.get("first"),
        last=entry.get("last"),
    )


def _step(entry: Mapping[str, Any]) -> Step:
    return Step(entry["do"].strip(), entry.get("run", "").strip())


def _symptom(entry: Mapping[str, Any]) -> Symptom:
    defect = entry.get("defect")
    first, last = entry.get("first"), entry.get("last")
    if defect is not None and first is None and last is None:
        first, last = releases_with(defect)
    others = entry.get("others")
    return Symptom(
        id=entry["id"],
        title=entry["title"],
        severity=entry["severity"],
        match=expression.parse(entry["match"]),
        others=None if others is None else expression.parse(others),
        every=entry.get("ranks", "any") == "every",
        differ=entry.get("differ"),
        defect=defect,
        first=first,
        last=last,
        cause=entry["cause"].strip(),
        fix=tuple(_step(step) for step in entry["fix"]),
        sources=tuple(Source(item["at"], item["sure"], item.get("says", "")) for item in entry["sources"]),
        causes=tuple(entry.get("causes", ())),
    )


@functools.cache
def releases_with(defect: str) -> tuple[str | None, str | None]:
    """First and last release in which the wheels have a defect, from ``patches/index.json``."""
    verdict = load_verdicts().get(defect)
    present = [version for version, status in verdict.status.items() if status == PRESENT] if verdict else []
    present.sort(key=version_key)
    return (present[0], present[-1]) if present else (None, None)


def _check(document: Document) -> list[Finding]:
    value = document.value
    found: list[Finding] = []

    def refuse(code: str, message: str, path: NodePath, remedy: str = "") -> None:
        found.append(error(code, message, remedy, document.location(path)))

    for name, entry in value["lines"].items():
        for why in problems(entry["pattern"]):
            refuse("pattern", f"the pattern of '{name}': {why}", ("lines", name, "pattern"))
    ids = [entry["id"] for entry in value["symptoms"]]
    used: set[str] = set()
    for index, entry in enumerate(value["symptoms"]):
        here: NodePath = ("symptoms", index)
        if ids.count(entry["id"]) > 1:
            refuse("symptom-twice", f"the id {entry['id']!r} stands twice", (*here, "id"))
        for key in ("match", "others"):
            if key not in entry:
                continue
            try:
                names = expression.names(expression.parse(entry[key]))
            except ValueError as problem:
                refuse("expression", str(problem), (*here, key))
                continue
            used |= names
            for name in sorted(names - set(value["lines"])):
                refuse("line-unknown", f"there is no line named {name!r}", (*here, key), "Add it under 'lines'.")
        if "differ" in entry:
            used.add(entry["differ"])
            line = value["lines"].get(entry["differ"])
            if line is None or not re.compile(line["pattern"]).groups:
                refuse("differ", "'differ' names no line whose pattern has a group", (*here, "differ"))
        for other in entry.get("causes", ()):
            if other not in ids:
                refuse("symptom-unknown", f"there is no symptom {other!r}", (*here, "causes"))
        if "defect" in entry and entry["defect"] not in load_verdicts():
            refuse("defect-unknown", f"there is no defect {entry['defect']!r}", (*here, "defect"))
    for name in value["lines"]:
        if name not in used:
            refuse("line-unused", f"no symptom speaks of the line {name!r}", ("lines", name), "Remove it.")
    if not found:
        found += _check_causes(document)
    return found


def _check_causes(document: Document) -> list[Finding]:
    """A symptom comes before those that it causes: then there is no circle, and the file reads in causal order."""
    ids = [entry["id"] for entry in document.value["symptoms"]]
    found = []
    for index, entry in enumerate(document.value["symptoms"]):
        for other in entry.get("causes", ()):
            if ids.index(other) <= index:
                message = f"{entry['id']!r} causes {other!r}, which stands before it"
                place = document.location(("symptoms", index, "causes"))
                found.append(error("causal-order", message, "Put causes before what follows from them.", place))
    return found
