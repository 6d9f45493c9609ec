"""What the site's tools read: the symptoms for the page that reads a log, the changes for the page that compares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from mimo_gb10.commands.compare_releases import TITLES
from mimo_gb10.compare import Change, compare, moved_recipe
from mimo_gb10.config_text import recipe_text
from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.diagnose.inputs import BLOCK
from mimo_gb10.diagnose.page import browser_data
from mimo_gb10.diagnose.pattern import literals
from mimo_gb10.diagnose.scan import LONGEST_CARRY, WINDOW
from mimo_gb10.diagnose.symptoms import Symptoms, load_symptoms
from mimo_gb10.files import Output
from mimo_gb10.launch import example_cluster, on_example, recipes
from mimo_gb10.recipe import Recipe
from mimo_gb10.release import Release, known_releases, load_release
from mimo_gb10.report import visible
from mimo_gb10.rules import ALL_RULES

FOLDER = "docs/assets/data"


def make() -> Mapping[str, Output]:
    """The files of the folder."""
    return {
        f"{FOLDER}/diagnose.json": Output(_json(diagnose_data(load_symptoms()))),
        f"{FOLDER}/compare.json": Output(_json(compare_data())),
    }


def diagnose_data(known: Symptoms) -> dict[str, Any]:
    """What ``diagnose.js`` needs: patterns, how lines are found by them, symptoms, and what is shown of each."""
    data = browser_data(known)
    for entry in data["symptoms"]:
        symptom = known.symptoms[entry["id"]]
        entry |= {"cause": symptom.cause, "defect": symptom.defect, "first": symptom.first, "last": symptom.last}
    return data | {
        "texts": {name: literals(line.pattern) for name, line in known.lines.items()},
        "limits": {"block": BLOCK, "window": WINDOW, "carry": LONGEST_CARRY},
    }


def compare_data() -> dict[str, Any]:
    """What ``compare.js`` needs: what ``compare_releases.py`` says of each pair of releases, each text once.

    ``changes`` are rows of places in ``strings``: the fields of `Change` and the page about it. ``pairs`` holds, for
    each recipe and for none (an empty name), the rows of every pair of releases, older one first, in order. ``moved``
    holds the same pairs' recipes as they should read: ``texts`` are lines as places in ``strings``.
    """
    versions = known_releases()
    pairs = list(combinations([load_release(version) for version in versions], 2))
    strings, changes = _Places(), _Places()

    def row(change: Change) -> int:
        _require_plain(change)
        return changes.of(tuple(strings.of(part) for part in (*change.as_dict().values(), page_about(change))))

    compared = {"": [[row(change) for change in compare(old, new)] for old, new in pairs]}
    moved: dict[str, Any] = {}
    for recipe in recipes():
        context = on_example(recipe.name).context
        if context is None:
            raise ValueError(f"{recipe.name} does not load")
        texts = _Places()
        of = []
        rows = []
        for old, new in pairs:
            under = _under(context, old)
            rows.append([row(change) for change in compare(old, new, under)])
            text = recipe_text(*moved_recipe(under.recipe, old, new))
            of.append(texts.of(tuple(strings.of(line) for line in text.split("\n"))))
        compared[recipe.name] = rows
        moved[recipe.name] = {"of": of, "texts": texts.all()}
    return {
        "default": DEFAULT_RECIPE,
        "titles": TITLES,
        "versions": versions,
        "recipes": [_about(one) for one in recipes()],
        "strings": strings.all(),
        "changes": changes.all(),
        "pairs": compared,
        "moved": moved,
    }


def page_about(change: Change) -> str:
    """The page of the site that says more about a change, below the site's root; an empty string if there is none."""
    if change.kind.startswith("defect-"):
        return f"patches/{change.name}/"
    if change.kind.startswith(("rule-", "finding-")):
        return f"reference/rules/#{change.name}" if change.name in {rule.code for rule in ALL_RULES} else ""
    if change.kind == "pin":
        return "reference/releases/#what-comes-along"
    if change.kind == "parser" and change.name.startswith("reasoning-parser"):
        return "reference/releases/#reasoning-parsers"
    return ""


class _Places:
    """Things by the place at which each was first met."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def of(self, thing: Any) -> int:
        return self._places.setdefault(thing, len(self._places))

    def all(self) -> list[Any]:
        return list(self._places)


def _about(recipe: Recipe) -> dict[str, str]:
    """What the page says of a recipe; the cluster only where it is not the command's own default."""
    about = {"name": recipe.name, "title": recipe.title, "sglang": recipe.sglang}
    cluster = example_cluster(recipe)
    return about if cluster == DEFAULT_CLUSTER else {**about, "cluster": cluster}


def _under(context: Context, release: Release) -> Context:
    """A recipe as if it were for a release, as ``--from`` has it."""
    if context.release.version == release.version:
        return context
    return Context(replace(context.recipe, sglang=release.version), context.cluster, context.model, release)


def _require_plain(change: Change) -> None:
    """The command escapes and shortens what is not fit for a terminal; the page has no code for that."""
    for text in (change.name, f"{change.before} -> {change.after}", change.do, change.source):
        if visible(text) != text:
            raise ValueError(f"{text!r} is shown otherwise on a terminal")


def _json(data: Mapping[str, Any]) -> str:
    """Data as JSON, one entry of each of its lists and tables a line: short, and a change shows where it is."""
    return "{\n" + ",\n".join(f"{_short(key)}: {_entry(value)}" for key, value in data.items()) + "\n}\n"


def _entry(value: Any) -> str:
    if isinstance(value, Mapping):
        return _lines("{", (f"{_short(key)}: {_short(part)}" for key, part in value.items()), "}")
    if isinstance(value, list):
        return _lines("[", map(_short, value), "]")
    return _short(value)


def _lines(begin: str, parts: Iterable[str], end: str) -> str:
    return begin + "\n" + ",\n".join(parts) + "\n" + end


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
