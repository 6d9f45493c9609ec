"""JSON Schema over positioned documents: every violation becomes a finding with its place.

The schemas in ``configs/schema/`` are plain JSON Schema 2020-12, so that editors use the same
files. One annotation is ours: ``x-help``, the sentence to show when a value breaks the pattern or
type beside it.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mimo_gb10.findings import Finding, error
from mimo_gb10.paths import SCHEMAS
from mimo_gb10.text.document import Document, NodePath
from mimo_gb10.text.suggest import did_you_mean

_MERGE_KEY = "YAML 1.2 has no merge keys: write the keys out."

_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}


MAX_FINDINGS = 200
"""Nobody reads more of one file, and a hostile one would cost minutes."""


@functools.cache
def load_schema(name: str) -> Mapping[str, Any]:
    """The schema ``configs/schema/<name>.schema.json``."""
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


@functools.cache
def _validator(name: str) -> Any:
    # Imported late: jsonschema takes longer to import than all the rest of a run together.
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def is_integer(_checker: Any, value: Any) -> bool:
        # JSON Schema calls 4.0 an integer; a person who writes 4.0 nodes has made a mistake.
        return isinstance(value, int) and not isinstance(value, bool)

    def pattern(_validator: Any, wanted: str, instance: Any, _schema: Any) -> Iterator[Any]:
        # In JSON Schema $ is the end of the text; Python's also matches in front of a last newline.
        if isinstance(instance, str) and not re.search(re.sub(r"\$\Z", r"\\Z", wanted), instance):
            yield ValidationError("does not match")

    def unique(_validator: Any, wanted: bool, instance: Any, _schema: Any) -> Iterator[Any]:
        # The library compares every pair; a file of many mappings would take minutes.
        if wanted and isinstance(instance, list) and len({repr(item) for item in instance}) < len(instance):
            yield ValidationError("has repeated items")

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    rules = {"pattern": pattern, "uniqueItems": unique}
    made = extend(Draft202012Validator, validators=rules, type_checker=checker)  # type: ignore[no-untyped-call]
    return made(load_schema(name))


def check_schema(document: Document, name: str) -> list[Finding]:
    """Findings for every way in which the document breaks the schema `name`."""
    found: list[Finding] = []
    for problem in _validator(name).iter_errors(document.value):
        found.extend(itertools.islice(_findings(document, problem), MAX_FINDINGS))
        if len(found) >= MAX_FINDINGS:
            remedy = "Correct these first; more may follow."
            found.append(
                error("too-many", f"the file has {len(found)} mistakes or more", remedy, document.location(()))
            )
            break
    return found


def _findings(document: Document, problem: Any) -> Iterator[Finding]:
    path: NodePath = tuple(problem.absolute_path)
    here = document.location(path)
    shown = dotted(path)
    help_text = str(problem.schema.get("x-help", ""))
    rule, instance = problem.validator, problem.instance
    if rule == "additionalProperties":
        known = list(problem.schema.get("properties", {}))
        for key in instance:
            if key not in known:
                remedy = _MERGE_KEY if key == "<<" else ""
                remedy = remedy or did_you_mean(key, known, f"Known here: {', '.join(known)}.")
                place = document.location((*path, key), key=True)
                yield error("key-unknown", f"unknown key {_quoted(key)}{_under(path)}", remedy, place)
    elif rule == "required":
        for key in problem.validator_value:
            if key not in instance:
                about = problem.schema.get("properties", {}).get(key, {}).get("description", "")
                yield error(
                    "key-missing", f"the key '{key}' is missing{_under(path)}", f"Add it. {about}".strip(), here
                )
    elif "propertyNames" in problem.absolute_schema_path:
        place = document.location((*path, instance), key=True) if isinstance(instance, str) else here
        remedy = _MERGE_KEY if instance == "<<" else help_text
        yield error("key-name", f"{_quoted(instance)} is not a name that can stand{_under(path)}", remedy, place)
    elif rule == "type":
        wanted = problem.validator_value
        kinds = [_TYPE_NAMES[kind] for kind in ([wanted] if isinstance(wanted, str) else wanted)]
        message = f"{shown} is {_describe(instance)}, not {' or '.join(kinds)}"
        if not help_text and "string" in wanted and isinstance(instance, bool | int | float):
            help_text = "Put the value in quotes."
        yield error("value-type", message, help_text or _about(problem), here)
    elif rule == "pattern":
        yield error("value-form", f"{shown} is {_quoted(instance)}", help_text or _about(problem), here)
    elif rule in ("minimum", "maximum"):
        word = "less" if rule == "minimum" else "more"
        message = f"{shown} is {instance}, {word} than {problem.validator_value}"
        yield error("value-range", message, _about(problem), here)
    elif rule in ("minItems", "minLength"):
        yield error("value-empty", f"{shown} is empty", _about(problem), here)
    elif rule == "uniqueItems":
        yield error("value-repeated", f"{shown} names the same thing twice", "Keep one of each.", here)
    else:
        yield error("value-invalid", f"{shown}: {problem.message}", _about(problem), here)


def dotted(path: NodePath) -> str:
    """A path as it is shown to people and taken by ``--set``: ``nodes.0.address``."""
    return ".".join(str(part) for part in path) or "the file"


def _under(path: NodePath) -> str:
    return f" under '{dotted(path)}'" if path else ""


def _about(problem: Any) -> str:
    return str(problem.schema.get("description", ""))


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _describe(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "empty (null)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"the text {_quoted(value)}" if isinstance(value, str) else f"the number {value}"
