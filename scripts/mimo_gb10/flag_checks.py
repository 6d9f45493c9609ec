"""Every flag and variable of a recipe against the catalog of its release."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from mimo_gb10.argument_types import convert
from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, Location, error, note, warning
from mimo_gb10.placeholders import PLACEHOLDERS, names_used
from mimo_gb10.recipe import Recipe
from mimo_gb10.release import Flag, Release, Variable, known_releases, load_release, releases_reading
from mimo_gb10.schema import dotted
from mimo_gb10.spans import span
from mimo_gb10.text.document import NodePath
from mimo_gb10.text.shell import is_shell_owned
from mimo_gb10.text.suggest import did_you_mean, nearest

# What the cluster decides; a recipe that sets one would run on one cluster only.
CLUSTER_FLAGS = {
    "nnodes": "the number of its nodes",
    "node-rank": "each node's place in its list",
    "dist-init-addr": "its head's address and rendezvous port",
    "host": "serve.host",
    "port": "serve.port",
    "model-path": "model_path",
}
CLUSTER_VARIABLES = {
    "SGLANG_HOST_IP": "the node's address",
    "NCCL_SOCKET_IFNAME": "fabric.socket_interface",
    "GLOO_SOCKET_IFNAME": "fabric.socket_interface",
    "NCCL_IB_HCA": "fabric.rdma_devices",
}

# Variables that people set for SGLang and that it does not read, with what does the job.
MISTAKEN_VARIABLES = {
    "VLLM_HOST_IP": "SGLang's variable for this rank's address is SGLANG_HOST_IP, which the cluster sets.",
    "TP_SOCKET_IFNAME": "It belongs to TensorPipe, which SGLang does not use; "
    "NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME do the job.",
    "TORCH_NUM_THREADS": "Neither SGLang nor PyTorch reads it; OMP_NUM_THREADS does the job.",
}

_SECRET_VARIABLE = re.compile(r"(?:^|_)(?:API_KEY|TOKEN|PASSWORD|SECRET|SECRET_KEY|ACCESS_KEY)$")
# Line ends and other controls, and what shows text in another order than it is read, or not at all.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

# A file with more unknown names than this is another kind of file; looking for near names costs time.
_MOST_SUGGESTIONS = 20

_TRUE_WORDS = ("true", "1", "yes", "y")
_FALSE_WORDS = ("false", "0", "no", "n")


def cluster_gives(release: Release, flag: Flag) -> str | None:
    """What of the cluster fills a flag, whatever spelling a recipe uses; None if it is the recipe's own."""
    return next((what for name, what in CLUSTER_FLAGS.items() if release.flag(name) is flag), None)


def check_flags(context: Context) -> Iterator[Finding]:
    """Findings about the recipe's flags."""
    recipe, release = context.recipe, context.release
    first_for_dest: dict[str, str] = {}
    unknown = 0
    for name, value in recipe.flags.items():
        key_place = recipe.document.location(("flags", name), key=True)
        place = recipe.document.location(("flags", name))
        flag = release.flag(name)
        if flag is None:
            unknown += 1
            yield _unknown_flag(release, name, key_place, suggest=unknown <= _MOST_SUGGESTIONS)
            continue
        owner = cluster_gives(release, flag)
        if owner is not None:
            yield error(
                "flag-cluster-owned",
                f"'{name}' comes from the cluster, not from a recipe",
                f"Remove it: the cluster gives {owner}.",
                key_place,
            )
            continue
        if flag.dest in first_for_dest and not flag.deprecated:
            yield error(
                "flag-repeated",
                f"'{name}' and '{first_for_dest[flag.dest]}' are one flag",
                "Keep one of the two.",
                key_place,
                flag.source,
            )
        first_for_dest.setdefault(flag.dest, name)
        if flag.deprecated:
            remedy = f"Use {flag.replaced_by.lstrip('-')} instead." if flag.replaced_by else "Remove it."
            yield warning(
                "flag-deprecated", f"'{name}' is deprecated in SGLang {release.version}", remedy, key_place, flag.source
            )
        yield from check_value(flag, name, value, place)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield from _check_text(text, f"flags.{name}", place)


def check_env(context: Context) -> Iterator[Finding]:
    """Findings about the recipe's environment variables."""
    recipe, release = context.recipe, context.release
    unknown = 0
    for name, value in recipe.env.items():
        key_place = recipe.document.location(("env", name), key=True)
        place = recipe.document.location(("env", name))
        if name in CLUSTER_VARIABLES:
            if value is not None:
                yield error(
                    "env-cluster-owned",
                    f"'{name}' comes from the cluster, not from a recipe",
                    f"Remove it: the cluster gives {CLUSTER_VARIABLES[name]}. null switches it off.",
                    key_place,
                )
            elif name not in recipe.why:
                yield error("why-missing", f"'{name}' is switched off without a reason", f"Add why.{name}.", key_place)
            continue
        if value is None:
            yield error(
                "env-null",
                f"'{name}' is null, but only a variable that the cluster sets can be switched off",
                f"Remove it, or give it a text value. The cluster sets {', '.join(CLUSTER_VARIABLES)}.",
                place,
            )
            continue
        if _SECRET_VARIABLE.search(name):
            yield error(
                "secret-in-config",
                f"'{name}' would put a secret into generated text",
                "Remove it from the recipe and set it in the shell that starts the script.",
                key_place,
            )
        if is_shell_owned(name):
            yield error(
                "env-shell-owned",
                f"bash sets or locks '{name}' itself, so a script cannot pass it on",
                "Remove it.",
                key_place,
            )
        for found in check_variable(release, name, value, key_place, place, suggest=unknown < _MOST_SUGGESTIONS):
            unknown += found.code == "env-unknown"
            yield found
        yield from _check_text(value, f"env.{name}", place)


def check_why(recipe: Recipe) -> Iterator[Finding]:
    """Findings about reasons: one for each choice, none for what is not there."""
    chosen = {*recipe.flags, *recipe.env}
    about = {"sglang", "image", "defects", "nodes", "model"}
    for name in recipe.why:
        if name not in chosen and name not in about:
            place = recipe.document.location(("why", name), key=True)
            remedy = did_you_mean(name, chosen | about, "Remove it.")
            yield warning("why-orphan", f"'{name}' has a reason but is not in the recipe", remedy, place)
    for section, names in (("flags", recipe.flags), ("env", recipe.env)):
        for name in names:
            changed_for_this_run = (section, name) in recipe.document.overrides
            if name not in recipe.why and name not in CLUSTER_VARIABLES and not changed_for_this_run:
                place = recipe.document.location((section, name), key=True)
                yield note("why-missing", f"'{name}' has no reason", f"Add why.{name}: one line, with a source.", place)


def _unknown_flag(release: Release, name: str, place: Location, *, suggest: bool) -> Finding:
    starts = {release.by_option[option].name for option in release.by_option if option.startswith(f"--{name}")}
    if len(starts) == 1:
        return error(
            "flag-abbreviated",
            f"'{name}' is an abbreviation, which stops working when another flag begins like it",
            f"Write {starts.pop()}.",
            place,
        )
    if not suggest:
        return error("flag-unknown", f"SGLang {release.version} has no flag '{name}'", "", place)
    dashed = name.replace("_", "-")
    names = [option[2:] for option in release.by_option if option.startswith("--")]
    elsewhere = [version for version in known_releases() if load_release(version).flag(name) is not None]
    known_in = f" Known in {span(elsewhere)}." if elsewhere else ""
    return error(
        "flag-unknown",
        f"SGLang {release.version} has no flag '{name}'",
        (did_you_mean(dashed, names, "" if known_in else "Look it up in the release's catalog.") + known_in).strip(),
        place,
        f"configs/releases/sglang-{release.version}.json",
    )


def check_value(flag: Flag, name: str, value: Any, place: Location) -> Iterator[Finding]:
    """Findings about the value that a config gives a flag."""
    if flag.is_switch:
        if not isinstance(value, bool):
            yield error("flag-value", f"'{name}' is a switch and takes no value", "Write true.", place, flag.source)
        return
    if isinstance(value, bool) and flag.nargs != "?":
        wanted = _wanted(flag)
        yield error(
            "flag-value", f"'{name}' needs a value, not {str(value).lower()}", f"Give {wanted}.", place, flag.source
        )
        return
    many = flag.nargs in ("+", "*") or (isinstance(flag.nargs, int) and flag.nargs > 0)
    if isinstance(value, list) and not many:
        yield error("flag-value", f"'{name}' takes one value, not a list", "Give one value.", place, flag.source)
        return
    values = value if isinstance(value, list) else [value]
    if isinstance(flag.nargs, int) and len(values) != flag.nargs:
        yield error(
            "flag-value", f"'{name}' takes {flag.nargs} values, not {len(values)}", "Give a list.", place, flag.source
        )
    if len(values) > 1 or many:
        for item in values:
            if str(item).startswith("-"):
                yield error(
                    "flag-value",
                    f"a value of '{name}' begins with a dash, which the parser would take for an option",
                    "A list cannot hold such a value.",
                    place,
                    flag.source,
                )
    for item in values:
        yield from _check_item(flag, name, item, place)


def _check_item(flag: Flag, name: str, value: Any, place: Location) -> Iterator[Finding]:
    shown = json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return
    if flag.type == "int" and not isinstance(value, int):
        yield error("flag-type", f"'{name}' is {shown}, not a whole number", _int_help(value), place, flag.source)
        return
    if flag.type == "float" and not isinstance(value, int | float):
        yield error("flag-type", f"'{name}' is {shown}, not a number", "Write a number.", place, flag.source)
        return
    if flag.type in (None, "str") and not isinstance(value, str):
        remedy = f'Put it in quotes: "{value}".'
        if flag.choices is None or str(value) not in flag.choices:
            yield error("flag-type", f"'{name}' is the number {shown}, not text", remedy, place, flag.source)
            return
    try:
        convert(flag.type, str(value))
    except ValueError as problem:
        yield error("flag-type", f"'{name}' is not {problem}", "Correct the value.", place, flag.source)
    if flag.choices is not None and value not in flag.choices and str(value) not in map(str, flag.choices):
        choices = [str(choice) for choice in flag.choices]
        near = nearest(str(value), choices)
        remedy = (f"Did you mean '{near}'? " if near else "") + f"One of: {', '.join(choices)}."
        yield error("flag-choice", f"'{name}' cannot be {shown}", remedy, place, flag.source)


def _int_help(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "Write a whole number without quotes."
    return f"Write {int(number)}." if number.is_integer() else "Write a whole number."


def _wanted(flag: Flag) -> str:
    if flag.choices:
        return f"one of {', '.join(str(choice) for choice in flag.choices)}"
    return {"int": "a whole number", "float": "a number"}.get(flag.type or "", "text")


def check_variable(
    release: Release, name: str, value: str, key_place: Location, place: Location, *, suggest: bool = True
) -> Iterator[Finding]:
    """Findings about one variable: whether the release reads it, and whether it can read that value."""
    variable = release.environment.get(name)
    if name in MISTAKEN_VARIABLES and (variable is None or not variable.reads):
        yield warning(
            "env-not-read", f"SGLang {release.version} never reads '{name}'", MISTAKEN_VARIABLES[name], key_place
        )
        return
    if variable is not None and variable.removed:
        yield warning(
            "env-removed",
            f"'{name}' has no effect in SGLang {release.version}",
            "Remove it.",
            key_place,
            variable.source,
        )
        return
    newer = release.renamed_variable(name) or (variable.replaced_by if variable is not None else None)
    if newer is not None:
        message = f"'{name}' is deprecated in SGLang {release.version}"
        yield warning(
            "env-deprecated", message, f"Use {newer} instead.", key_place, variable.source if variable else ""
        )
        return
    if variable is not None and variable.reads:
        yield from _check_variable_value(variable, value, place)
        return
    if name.startswith(("SGLANG_", "SGL_", "VLLM_")):
        readers = releases_reading(name) if suggest else []
        if readers:
            yield warning(
                "env-not-read",
                f"SGLang {release.version} does not read '{name}'",
                f"Remove it; it is read by {span(readers)}.",
                key_place,
            )
        elif name.startswith("VLLM_"):
            yield warning("env-not-read", f"SGLang {release.version} never reads '{name}'", "Remove it.", key_place)
        else:
            known = [other for other, entry in release.environment.items() if entry.reads] if suggest else []
            remedy = did_you_mean(name, known, "Remove it, or look it up in the release's catalog.")
            yield error("env-unknown", f"SGLang {release.version} has no variable '{name}'", remedy, key_place)


def _check_variable_value(variable: Variable, value: str, place: Location) -> Iterator[Finding]:
    if any(True for _ in names_used(value)):
        return
    wanted = None
    if variable.type == "bool" and value.lower() not in (*_TRUE_WORDS, *_FALSE_WORDS):
        wanted = f"a switch: one of {', '.join((*_TRUE_WORDS, *_FALSE_WORDS))}"
    elif variable.type in ("int", "float"):
        try:
            number = int(value) if variable.type == "int" else float(value)
            usable = isinstance(number, int) or math.isfinite(number)
        except ValueError:
            usable = False
        if not usable:
            wanted = "a whole number" if variable.type == "int" else "a number"
    if wanted:
        yield error(
            "env-value",
            f"'{variable.name}' is {json.dumps(value, ensure_ascii=False)}, not {wanted}",
            "SGLang would warn and go on with its default. Correct the value.",
            place,
            variable.source,
        )


def _check_text(text: str, shown: str, place: Location) -> Iterator[Finding]:
    found = _CONTROL.search(text)
    if found:
        yield error(
            "control-character",
            f"{shown} holds the control character U+{ord(found.group()):04X}",
            "Remove it: a launch value is one line of printable text.",
            place,
        )
    for name in names_used(text):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            yield error(
                "placeholder-unknown",
                f"{shown} uses the unknown placeholder {{{name}}}",
                did_you_mean(name, PLACEHOLDERS, f"Known: {known}."),
                place,
            )


def check_cluster_text(context: Context) -> Iterator[Finding]:
    """Control characters in the values of the cluster."""
    cluster, document = context.cluster, context.cluster.document
    texts: list[tuple[NodePath, str]] = [
        (("model_path",), cluster.model_path),
        (("serve", "host"), cluster.serve_host),
    ]
    texts += [(("nodes", index, "address"), node.address) for index, node in enumerate(cluster.nodes)]
    for path, text in texts:
        found = _CONTROL.search(text)
        if found:
            yield error(
                "control-character",
                f"{dotted(path)} holds the control character U+{ord(found.group()):04X}",
                "Remove it: a launch value is one line of printable text.",
                document.location(path),
            )
