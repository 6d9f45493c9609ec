"""Reference pages of the configs: every key of what people write, and the flags and variables that matter."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mimo_gb10.flag_checks import CLUSTER_FLAGS, CLUSTER_VARIABLES, MISTAKEN_VARIABLES
from mimo_gb10.generate.markdown import code, mark, table
from mimo_gb10.generate.prose import as_code, prose
from mimo_gb10.launch import recipes
from mimo_gb10.paths import SCHEMAS as FOLDER
from mimo_gb10.release import Flag, Release, Variable
from mimo_gb10.rules import ALL_RULES
from mimo_gb10.spans import runs, span

SCHEMAS = {
    "recipe": "`configs/recipes/<name>.yaml`",
    "cluster": "`configs/clusters/<name>.yaml`, or a file of your own",
    "router": "`configs/routers/<name>.yaml`, or a file of your own",
    "model": "`configs/models/<name>.yaml`",
}
"""The schemas of what people write, with where such a file stands."""

FLAG_FAMILIES = re.compile(
    r"(?:speculative|mm|limit-mm|enable-mm|enable-multi-layer-eagle|enable-multimodal|language-(?:model-)?only"
    r"|keep-mm|disable-fast-image-processor)(?:-|$)"
)
"""Flags of speculation and of the media: all of them are shown, used or not."""

VARIABLE_FAMILIES = re.compile(
    r"SGLANG_(?:MM_|VLM_|VIT_|SPEC_|ENABLE_SPEC|DISABLE_DRAFT|IMAGE_|FORCE_CPU_IMAGE)|VIDEO_MAX_PIXELS$"
)

_NAME = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b")
_LONGEST_DEFAULT = 48


# --- keys of the configs


def configs() -> str:
    """The page of the keys."""
    parts = [
        "# Config files\n",
        mark("configs/schema/"),
        "Every key of the files that people write, from the schemas that check them. An editor that understands "
        "`yaml-language-server` comments checks a file while you type. A key in **bold** must be there. `[]` stands "
        "for each entry of a list, `*` for any name.\n",
    ]
    for name, what in SCHEMAS.items():
        schema = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
        parts += [
            f"## {schema['title']}\n",
            f"{what}. {prose(schema['description'])}\n",
            table(["Key", "Meaning", "Type", "Must be", "Default"], _keys(schema, schema, "", required=True)),
        ]
    parts += [
        "## Release\n",
        "`configs/releases/sglang-<version>.json`: what one SGLang release accepts. These are never written by hand: "
        "`python scripts/generate.py releases` extracts them from the wheels. Beside flags, variables and the lines "
        "that the rules cite they hold the wheel's digest, its date, the pinned packages, the parsers and facts of the "
        "model's code. This is what the scripts read of a flag and of a variable:\n",
    ]
    for title, kind in (("Each of `flags`", Flag), ("Each of `environment`", Variable)):
        parts += [f"### {title}\n", table(["Key", "Meaning", "Type"], _attributes(kind))]
    return "\n".join(parts)


def _keys(root: Mapping[str, Any], schema: Mapping[str, Any], path: str, *, required: bool) -> Iterator[Sequence[str]]:
    """The rows of a schema: itself, unless it is the whole file, and all that it holds."""
    schema = _resolved(root, schema)
    if path and (schema.get("description") or not schema.get("properties") or not path.endswith("[]")):
        key = as_code(path)
        yield f"**{key}**" if required else key, _meaning(schema), _type(schema), _must(root, schema), _default(schema)
    needed = set(schema.get("required", ()))
    for name, inner in schema.get("properties", {}).items():
        yield from _keys(root, inner, f"{path}.{name}" if path else name, required=name in needed)
    others = schema.get("additionalProperties")
    if isinstance(others, Mapping):
        yield from _keys(root, others, f"{path}.*", required=False)
    items = schema.get("items")
    if isinstance(items, Mapping) and (items.get("properties") or "$ref" in items):
        yield from _keys(root, items, f"{path}[]", required=False)


def _resolved(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with its reference followed; what stands beside the reference wins."""
    if "$ref" not in schema:
        return schema
    found: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}


def _type(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type", "any")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    items = schema.get("items")
    if "array" in names and isinstance(items, Mapping) and "type" in items:
        inner = items["type"] if isinstance(items["type"], str) else " or ".join(items["type"])
        names = [f"array of {inner}" if name == "array" else name for name in names]
    return ", ".join(names)


def _must(root: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Every constraint of a value, in words."""
    found = []
    if "pattern" in schema:
        found.append(as_code(schema["pattern"]))
    if "enum" in schema:
        found.append("one of " + ", ".join(as_code(str(value)) for value in schema["enum"]))
    if "const" in schema:
        found.append(as_code(str(schema["const"])))
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    found += [f"{word} {schema[key]}" for key, word in bounds.items() if key in schema]
    if schema.get("minLength"):
        found.append("not empty")
    if "minItems" in schema:
        found.append(f"{schema['minItems']} or more")
    if "maxItems" in schema:
        found.append(f"{schema['maxItems']} at most")
    if schema.get("uniqueItems"):
        found.append("no entry twice")
    names = schema.get("propertyNames", {})
    if "pattern" in names:
        found.append(f"names: {as_code(names['pattern'])}")
    items = schema.get("items")
    if isinstance(items, Mapping):
        inner = _resolved(root, items)
        each = _must(root, {key: value for key, value in inner.items() if key != "properties"})
        if each and inner is items:
            found.append(f"each: {each}")
    return "; ".join(found)


def _default(schema: Mapping[str, Any]) -> str:
    return code(json.dumps(schema["default"])) if "default" in schema else ""


def _meaning(schema: Mapping[str, Any]) -> str:
    parts = [schema.get("description", ""), schema.get("x-help", "")]
    names = schema.get("propertyNames", {})
    parts.append(names.get("x-help", ""))
    items = schema.get("items")
    if isinstance(items, Mapping):
        parts.append(items.get("x-help", ""))
    return prose(" ".join(part for part in parts if part))


def _attributes(kind: type) -> Iterator[Sequence[str]]:
    """The fields of a data class, with what its docstring says of each."""
    text = inspect.getdoc(kind) or ""
    said = dict(re.findall(r"^    (\w+): (.+(?:\n        .+)*)", text.partition("Attributes:\n")[2], re.MULTILINE))
    for field in dataclasses.fields(kind):
        yield (
            as_code(field.name),
            as_code(str(field.type)),
            prose(" ".join(said[field.name].replace("``", "`").split())),
        )


# --- flags and variables


def flags(releases: Sequence[Release]) -> str:
    """The page of the flags and variables that matter, across the releases."""
    users = _users(releases)
    shown = _shown_flags(releases, users)
    parts = [
        "# Flags and variables\n",
        mark("configs/releases/, configs/recipes/ and the rules"),
        "What matters for MiMo-V2.5: every flag and variable of a recipe, of a rule, and of the families of "
        "speculation and of the media. Each SGLang release has hundreds more: they are in `configs/releases/`. "
        f"Releases are {span([release.version for release in releases])}, and *all* means all of them. Without an "
        "entry under *Deprecated* a flag is not deprecated where it exists.\n",
    ]
    for title, used in (
        ("Flags of recipes, clusters and rules", True),
        ("Other flags of speculation and media", False),
    ):
        rows = [_flag_row(name, releases, users) for name in shown if (name in users) is used]
        parts += [f"## {title}\n", table(["Flag", "Releases", "Default", "Deprecated", "Used by"], rows)]
    named = _shown_variables(releases, users)
    rows = [_variable_row(name, releases, users) for name in named]
    parts += [
        "## Environment variables\n",
        "*Not SGLang's* means that no release of SGLang reads it: another library does, such as NCCL or PyTorch.\n",
        table(["Variable", "Read by", "Default", "Notes", "Used by"], rows),
        "## Variables that do nothing\n",
        "People set them for SGLang, and it never reads them (checked in every release).\n",
        table(["Variable", "Instead"], [[code(name), prose(why)] for name, why in MISTAKEN_VARIABLES.items()]),
    ]
    return "\n".join(parts)


def _users(releases: Sequence[Release]) -> Mapping[str, list[str]]:
    """Recipes, rules and the cluster that name a flag or a variable, as links; a flag under its newest first name."""
    found: dict[str, list[str]] = {}

    def add(name: str, user: str) -> None:
        users = found.setdefault(_first_name(name, releases), [])
        if user not in users:
            users.append(user)

    for recipe in recipes():
        for name in (*recipe.flags, *recipe.env):
            add(name, f"[{recipe.name}](../recipes/{recipe.name}.md)")
    for name in (*CLUSTER_FLAGS, *CLUSTER_VARIABLES):
        add(name, "the cluster file")
    for rule in ALL_RULES:
        # A rule lists its flags; the variables that it looks at stand in its code and in its text.
        for name in (*rule.options, *sorted(set(_NAME.findall(inspect.getsource(type(rule)))))):
            add(name, f"[{rule.code}](rules.md#{rule.code})")
    return found


def _newest(name: str, releases: Sequence[Release]) -> Flag | None:
    return next((flag for release in reversed(releases) if (flag := release.flag(name)) is not None), None)


def _first_name(name: str, releases: Sequence[Release]) -> str:
    """The first spelling of a flag in the newest release that knows it; any other name as it is."""
    flag = _newest(name, releases)
    return flag.name if flag is not None else name


def _in(release: Release, flag: Flag) -> Flag | None:
    """The same flag in another release, whatever its first spelling is there."""
    return next((found for option in flag.options if (found := release.by_option.get(option)) is not None), None)


def _shown_flags(releases: Sequence[Release], users: Mapping[str, list[str]]) -> list[str]:
    """The flags that matter, each by its first name."""
    names = {name for name in users if _newest(name, releases)}
    family = {flag.name for release in releases for flag in release.flags if FLAG_FAMILIES.match(flag.name)}
    names |= {_first_name(name, releases) for name in family}
    # What a deprecated one gives way to matters as much.
    for name in sorted(names):
        flag = _newest(name, releases)
        assert flag is not None
        for release in releases:
            there = _in(release, flag)
            if there is not None and there.replaced_by:
                names |= {_first_name(each, releases) for each in _named(there.replaced_by) if release.flag(each)}
    return sorted(names)


def _named(text: str) -> Iterator[str]:
    """The flags that a text names; ``--a-{b,c}`` stands for two."""
    for start, choices in re.findall(r"--([a-z0-9-]+)(?:\{([a-z0-9,-]+)\})?", text):
        yield from (start + choice for choice in choices.split(","))


def _flag_row(name: str, releases: Sequence[Release], users: Mapping[str, list[str]]) -> Sequence[str]:
    flag = _newest(name, releases)
    assert flag is not None
    having = [(release, there) for release in releases if (there := _in(release, flag)) is not None]
    spellings = " ".join(as_code(option) for option in flag.options)
    deprecated = [(_replacement(there), release.version) for release, there in having if there.deprecated]
    said = "; ".join(f"{span(versions)}{text}" for text, versions in runs(deprecated))
    return (
        spellings,
        _having([release.version for release, _ in having], releases),
        _defaults([(_value(there.effective_default), release.version) for release, there in having]),
        said,
        ", ".join(users.get(name, ())),
    )


def _replacement(flag: Flag) -> str:
    return f": use {as_code(flag.replaced_by)}" if flag.replaced_by else ""


def _having(versions: Sequence[str], releases: Sequence[Release]) -> str:
    """The releases of a list, as ranges of neighbours."""
    there = [(release.version in versions, release.version) for release in releases]
    found = [span(each) for has, each in runs(there) if has]
    return "all" if len(versions) == len(releases) else ", ".join(found)


def _defaults(values: Sequence[tuple[str, str]]) -> str:
    found = runs(values)
    if len(found) == 1:
        return found[0][0]
    return "; ".join(f"{value or 'none'} ({span(versions)})" for value, versions in found)


def _value(value: Any) -> str:
    if value is None or value == "==SUPPRESS==":
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return as_code(text if len(text) <= _LONGEST_DEFAULT else f"{text[:_LONGEST_DEFAULT]}…") if text else "empty"


def _shown_variables(releases: Sequence[Release], users: Mapping[str, list[str]]) -> list[str]:
    known = {name for release in releases for name in release.environment}
    used = {name for recipe in recipes() for name in recipe.env} | set(CLUSTER_VARIABLES)
    ruled = {name for name in users if name in known}
    families = {name for name in known if VARIABLE_FAMILIES.match(name)}
    return sorted((used | ruled | families) - set(MISTAKEN_VARIABLES))


def _variable_row(name: str, releases: Sequence[Release], users: Mapping[str, list[str]]) -> Sequence[str]:
    having = [(release, found) for release in releases if (found := release.environment.get(name)) is not None]
    reading = [(release, found) for release, found in having if found.reads and not found.removed]
    removed = [release.version for release, found in having if found.removed]
    replaced = [
        (f"use {as_code(found.replaced_by)}", release.version) for release, found in having if found.replaced_by
    ]
    notes = [f"{_having(removed, releases)}: removed, SGLang warns"] if removed else []
    notes += [f"{span(versions)}: {text}" for text, versions in runs(replaced)]
    renamed = _renamed(name, releases)
    notes += [renamed] if renamed else []
    return (
        as_code(name),
        _having([release.version for release, _ in reading], releases) or "not SGLang's",
        _defaults([(_value(found.default), release.version) for release, found in reading]) if reading else "",
        "; ".join(notes),
        ", ".join(users.get(name, ())),
    )


def _renamed(name: str, releases: Sequence[Release]) -> str:
    found = [(newer, release.version) for release in releases if (newer := release.renamed_variable(name))]
    return "; ".join(f"{span(versions)}: read as {as_code(newer)}" for newer, versions in runs(found))


PAGES: Mapping[str, Callable[[Sequence[Release]], str]] = {
    "configs.md": lambda _: configs(),
    "flags.md": flags,
}
"""The pages by file name."""
