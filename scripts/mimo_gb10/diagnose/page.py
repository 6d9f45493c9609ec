"""The symptoms as a page for people, and as data for a page that reads a pasted log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mimo_gb10.diagnose.expression import Absent, AllOf, AnyOf, Expression, Last, Line, Order
from mimo_gb10.diagnose.pattern import JAVASCRIPT_FLAGS
from mimo_gb10.diagnose.symptoms import Source, Step, Symptom, Symptoms
from mimo_gb10.diagnose.values import filled

_ADDRESS = re.compile(r"https://[^\s,]+")


def markdown(known: Symptoms, values: Mapping[str, str], level: int = 2) -> str:
    """Every symptom as a section, most causal first.

    Args:
        known: The symptoms.
        values: What to fill into the commands; a name without a value stays in capitals.
        level: The level of the symptoms' headings.
    """
    sections = [_section(symptom, known, values, "#" * level) for symptom in known.symptoms.values()]
    return "\n\n".join(sections) + "\n"


def unknown_markdown(known: Symptoms, values: Mapping[str, str]) -> str:
    """What to collect and where to report it, as two lists."""
    parts = [
        "Collect, on every node:",
        "",
        *_steps(known.collect, values),
        "",
        "Report it:",
        "",
        *_steps(known.report, values),
    ]
    return "\n".join(parts) + "\n"


def browser_data(known: Symptoms) -> dict[str, Any]:
    """What a script in a page needs to find the symptoms in a pasted log: plain data, in causal order."""
    return {
        "flags": JAVASCRIPT_FLAGS,
        "lines": {name: line.pattern for name, line in known.lines.items()},
        "symptoms": [
            {
                "id": one.id,
                "title": one.title,
                "severity": one.severity,
                "match": expression_data(one.match),
                "others": None if one.others is None else expression_data(one.others),
                "every": one.every,
                "differ": one.differ,
                "causes": list(one.causes),
            }
            for one in known.symptoms.values()
        ],
    }


def expression_data(expression: Expression) -> Any:
    """An expression in the form that it has in the symptom file."""
    match expression:
        case Line(name):
            return name
        case AllOf(parts):
            return {"all": [expression_data(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [expression_data(part) for part in parts]}
        case Order(steps):
            return {"order": [sorted(step) for step in steps]}
        case Last(names):
            return {"last": sorted(names)}
        case Absent(part):
            return {"absent": expression_data(part)}


def _section(symptom: Symptom, known: Symptoms, values: Mapping[str, str], heading: str) -> str:
    where = _releases(symptom)
    parts = [f"{heading} {symptom.title} {{ #{symptom.id} }}", ""]
    parts += [f"In the log{where}, {_ranks(symptom)}:", "", *_shown(symptom.match, known, "")]
    if symptom.others is not None:
        parts += ["", "and in the log of another rank:", "", *_shown(symptom.others, known, "")]
    parts += ["", f"**Cause.** {symptom.cause}", "", *_steps(symptom.fix, values)]
    if symptom.causes:
        leads = ", ".join(f"[{known.symptoms[name].title}](#{name})" for name in symptom.causes)
        parts += ["", f"Leads to: {leads}."]
    parts += ["", f"Source: {'; '.join(_source(source) for source in symptom.sources)}."]
    return "\n".join(parts)


def _shown(expression: Expression, known: Symptoms, indent: str) -> list[str]:
    """An expression as a nested list."""
    match expression:
        case Line(name):
            return [f"{indent}* {_code(known.lines[name].pattern)}"]
        case Last(names):
            return [f"{indent}* last of all {' or '.join(_code(known.lines[name].pattern) for name in sorted(names))}"]
        case Order(steps):
            words = [" or ".join(_code(known.lines[name].pattern) for name in sorted(step)) for step in steps]
            return [f"{indent}* {', then '.join(words)}"]
        case Absent(part):
            return [f"{indent}* none of", *_shown(part, known, indent + "    ")]
        case AnyOf(parts):
            return [f"{indent}* one of", *(line for part in parts for line in _shown(part, known, indent + "    "))]
        case AllOf(parts):
            return [line for part in parts for line in _shown(part, known, indent)]


def _code(text: str) -> str:
    """Text as Markdown code, whatever backticks it holds."""
    fence = "`" * (max(map(len, re.findall(r"`+", text)), default=0) + 1)
    space = " " if "`" in text or text != text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"


def _ranks(symptom: Symptom) -> str:
    if symptom.differ:
        return "another text in brackets on one rank than on another"
    return "on every rank" if symptom.every else "on any rank"


def _releases(symptom: Symptom) -> str:
    if symptom.first and symptom.last:
        return f" of {symptom.first}" if symptom.first == symptom.last else f" of {symptom.first} to {symptom.last}"
    return f" from {symptom.first} on" if symptom.first else f" up to {symptom.last}" if symptom.last else ""


def _steps(steps: Iterable[Step] | Sequence[Step], values: Mapping[str, str]) -> list[str]:
    lines = []
    for number, step in enumerate(steps, 1):
        what = _ADDRESS.sub(lambda found: f"<{found[0]}>", step.do)
        lines.append(f"{number}. {what}")
        if step.run:
            lines += [
                "",
                "    ```sh",
                *(f"    {line}" for line in filled(step.run, values).splitlines()),
                "    ```",
                "",
            ]
    return lines


def _source(source: Source) -> str:
    at = f"<{source.at}>" if source.at.startswith("https://") else f"`{source.at}`"
    return f"{at} ({source.sure}{': ' + source.says if source.says else ''})"
