"""The project's JSON Schemas where jsonschema is not installed: the few keywords that they use, no others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mimo_gb10.findings import Finding, error
from mimo_gb10.preflight.plain_yaml import NodePath, PlainDocument
from mimo_gb10.text.suggest import did_you_mean

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_WORDS: Mapping[str, str] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}
_ABOUT = frozenset({"$schema", "$defs", "title", "description", "default", "x-help"})


def check_plain(document: PlainDocument, schema: Mapping[str, Any]) -> list[Finding]:
    """Findings for every way in which a document breaks a schema.

    Raises:
        ValueError: If the schema uses a keyword that is not known here.
    """
    return list(_check(document, (), document.value, schema, schema))


def _check(
    document: PlainDocument, path: NodePath, value: Any, rule: Mapping[str, Any], root: Mapping[str, Any]
) -> Iterator[Finding]:
    if "$ref" in rule:
        rule = root["$defs"][rule["$ref"].rpartition("/")[2]]
    unknown = set(rule) - _ABOUT - set(_KEYWORDS)
    if unknown:
        raise ValueError(f"unknown keywords in the schema: {', '.join(sorted(unknown))}")
    place = document.location(path)
    help = str(rule.get("x-help") or rule.get("description") or "Compare it with an example in configs/.")
    shown = ".".join(str(part) for part in path) or "the file"
    kinds = rule.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is(value, kind) for kind in kinds):
        yield error("value-type", f"{shown} is not {' or '.join(_WORDS[kind] for kind in kinds)}", help, place)
        return
    if isinstance(value, str):
        if "pattern" in rule and not re.search(re.sub(r"\$\Z", r"\\Z", rule["pattern"]), value):
            yield error("value-form", f"{shown} is {value!r}", help, place)
        if len(value) < rule.get("minLength", 0):
            yield error("value-empty", f"{shown} is empty", help, place)
    elif isinstance(value, list):
        if len(value) < rule.get("minItems", 0):
            yield error("value-empty", f"{shown} is empty", help, place)
        if rule.get("uniqueItems") and len({repr(item) for item in value}) < len(value):
            yield error("value-repeated", f"{shown} names the same thing twice", "Keep one of each.", place)
        for index, item in enumerate(value):
            yield from _check(document, (*path, index), item, rule.get("items", {}), root)
    elif isinstance(value, dict):
        yield from _check_mapping(document, path, value, rule, root)
    elif not isinstance(value, bool) and isinstance(value, int | float):
        if value < rule.get("minimum", value):
            yield error("value-range", f"{shown} is {value}, less than {rule['minimum']}", help, place)
        if value > rule.get("maximum", value):
            yield error("value-range", f"{shown} is {value}, more than {rule['maximum']}", help, place)


def _check_mapping(
    document: PlainDocument, path: NodePath, value: dict[str, Any], rule: Mapping[str, Any], root: Mapping[str, Any]
) -> Iterator[Finding]:
    under = f" under '{'.'.join(str(part) for part in path)}'" if path else ""
    known = rule.get("properties", {})
    more = rule.get("additionalProperties", True)
    for key in rule.get("required", ()):
        if key not in value:
            about = str(known.get(key, {}).get("description", ""))
            message = f"the key '{key}' is missing{under}"
            yield error("key-missing", message, f"Add it. {about}".strip(), document.location(path))
    names = rule.get("propertyNames", {})
    for key, item in value.items():
        if "pattern" in names and not re.search(re.sub(r"\$\Z", r"\\Z", names["pattern"]), key):
            place = document.location((*path, key), key=True)
            yield error("key-name", f"{key!r} is not a name that can stand{under}", str(names.get("x-help", "")), place)
        if key in known:
            yield from _check(document, (*path, key), item, known[key], root)
        elif more is False:
            remedy = did_you_mean(key, known, f"Known here: {', '.join(known)}.")
            place = document.location((*path, key), key=True)
            yield error("key-unknown", f"unknown key {key!r}{under}", remedy, place)
        elif isinstance(more, dict):
            yield from _check(document, (*path, key), item, more, root)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


_KEYWORDS = (
    *("$ref", "type", "pattern", "minLength", "minItems", "uniqueItems", "items", "minimum", "maximum"),
    *("properties", "required", "additionalProperties", "propertyNames"),
)
