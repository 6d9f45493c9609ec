"""What changes between two SGLang releases: for one recipe, or for anybody who serves MiMo-V2.5."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mimo_gb10.context import Context
from mimo_gb10.defects import PRESENT, load_defects, load_verdicts
from mimo_gb10.findings import Finding, Severity
from mimo_gb10.flag_checks import CLUSTER_FLAGS, CLUSTER_VARIABLES, MISTAKEN_VARIABLES
from mimo_gb10.launch import run_checks
from mimo_gb10.recipe import FlagValue, Recipe
from mimo_gb10.release import Flag, Release, known_releases, load_release, version_key
from mimo_gb10.rules import ALL_RULES


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two releases.

    Attributes:
        kind: ``flag-gone``, ``flag-deprecated``, ``flag-default``, ``flag-choices``, ``variable-gone``,
        ``variable-new``, ``parser``, ``pin``, ``defect-mended``, ``defect-new``, ``rule-begins``, ``rule-ends``,
        ``finding-new`` or ``finding-gone``. name: What changes. before: What it was. after: What it is. do: What to
        do about it, or an empty string. source: Where the newer release says so.
    """

    kind: str
    name: str
    before: str
    after: str
    do: str = ""
    source: str = ""

    def as_dict(self) -> dict[str, str]:
        """The change as plain data, for ``--json``."""
        return asdict(self)


def compare(old: Release, new: Release, context: Context | None = None) -> list[Change]:
    """What changes from one release to another.

    Args:
        old: The release to come from.
        new: The release to go to.
        context: A recipe on a cluster under `old`; without it, everything that a MiMo-V2.5 launch may use.
    """
    changes = [
        *_flags(old, new, context),
        *_variables(old, new, context),
        *_parsers(old, new, context),
        *_pins(old, new),
        *_defects(old, new),
    ]
    changes += _findings(context, new) if context is not None else _rules(old, new)
    return changes


# --- flags


def _flags(old: Release, new: Release, context: Context | None) -> Iterator[Change]:
    for name in _watched_flags(old, new, context):
        before, after = old.flag(name), new.flag(name)
        given = context.recipe.flags.get(name) if context is not None else None
        if before is None and after is None:
            continue
        if before is None:
            assert after is not None
            if context is None:
                yield Change("flag-new", name, "", _default(after), source=after.source)
            continue
        if after is None:
            successor = successor_of(name, old, new)
            yield Change("flag-gone", name, "accepted", "refused", f"Use {successor}." if successor else "Remove it.")
            continue
        if after.deprecated and not before.deprecated:
            remedy = f"Use {after.replaced_by}." if after.replaced_by else "Remove it."
            yield Change("flag-deprecated", name, "accepted", "accepted with a warning", remedy, after.source)
        if given is None and _default(before) != _default(after):
            remedy = f"Give it if you want {_default(before)}." if context is not None else ""
            yield Change("flag-default", name, _default(before), _default(after), remedy, after.source)
        yield from _choices(name, before, after, given)


def _choices(name: str, before: Flag, after: Flag, given: FlagValue | None) -> Iterator[Change]:
    old, new = set(map(str, before.choices or ())), set(map(str, after.choices or ()))
    if before.choices is None and after.choices is None:
        return
    gone, came = sorted(old - new), sorted(new - old)
    if after.choices is None:
        yield Change("flag-choices", name, "a fixed list", "any text", source=after.source)
    elif before.choices is None:
        yield Change("flag-choices", name, "any text", "a fixed list", source=after.source)
    elif given is not None and str(given) in gone:
        yield Change("flag-choices", name, f"{given} accepted", f"{given} refused", "Choose another.", after.source)
    elif given is None and (gone or came):
        parts = [f"+{choice}" for choice in came] + [f"-{choice}" for choice in gone]
        yield Change("flag-choices", name, "", " ".join(parts), source=after.source)


def _watched_flags(old: Release, new: Release, context: Context | None) -> list[str]:
    """The recipe's flags and those that the rules look at; the cluster's own in any case."""
    names = list(context.recipe.flags) if context is not None else _flags_of_recipes()
    names += [option for rule in ALL_RULES for option in rule.options]
    names += CLUSTER_FLAGS
    seen: dict[str, str] = {}
    for name in names:
        flag = old.flag(name) or new.flag(name)
        if flag is not None:
            seen.setdefault(flag.dest, name)
    return list(seen.values())


def _flags_of_recipes() -> list[str]:
    from mimo_gb10.launch import recipes

    return [name for recipe in recipes() for name in recipe.flags]


def _default(flag: Flag) -> str:
    value = flag.effective_default
    if value is None:
        return "none"
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def successor_of(name: str, old: Release, new: Release) -> str | None:
    """What a release between the two said to use in place of a flag that is gone in the newer one."""
    for version in reversed(known_releases()):
        if version_key(old.version) <= version_key(version) <= version_key(new.version):
            flag = load_release(version).flag(name)
            if flag is not None and flag.replaced_by:
                return flag.replaced_by
    return None


# --- variables


def _variables(old: Release, new: Release, context: Context | None) -> Iterator[Change]:
    names = set(context.recipe.env if context is not None else _variables_of_recipes()) | set(CLUSTER_VARIABLES)
    for name in sorted(names):
        before, after = _reads(old, name), _reads(new, name)
        if before and not after:
            yield Change("variable-gone", name, "read", "not read", "Remove it.")
        elif after and not before:
            yield Change("variable-new", name, "not read", "read", source=new.environment[name].source)


def _variables_of_recipes() -> set[str]:
    from mimo_gb10.launch import recipes

    return {name for recipe in recipes() for name in recipe.env}


def _reads(release: Release, name: str) -> bool:
    variable = release.environment.get(name)
    return variable is not None and variable.reads and not variable.removed


# --- parsers, pins, defects, rules


def _parsers(old: Release, new: Release, context: Context | None) -> Iterator[Change]:
    for option, table in (("reasoning-parser", "reasoning_parsers"), ("tool-call-parser", "tool_call_parsers")):
        given = context.recipe.flags.get(option) if context is not None else None
        names = [given] if given is not None else ["mimo", "qwen3"] if table == "reasoning_parsers" else ["mimo"]
        for name in names:
            before, after = old.entry(table, str(name)), new.entry(table, str(name))
            if before is None or after is None:
                continue
            was, now = _behaviour(before, old, table), _behaviour(after, new, table)
            if was != now:
                yield Change("parser", f"{option} {name}", was, now, source=after.get("source", ""))


def _behaviour(entry: Mapping[str, Any], release: Release, table: str) -> str:
    text = str(entry["class"])
    if table == "reasoning_parsers":
        text += f"; {thinking_text(entry)}"
        if release.facts.get("reasoning_rule", {}).get("template_first"):
            text += "; a switch in the chat template comes first"
    return text


def thinking_text(entry: Mapping[str, Any]) -> str:
    """When the server expects reasoning with this parser, in words."""
    thinking = entry.get("thinking", {})
    key = thinking.get("key")
    return {
        "always": "expects reasoning always",
        "unless-off": f"expects reasoning unless {key} is false",
        "asked": f"expects reasoning only when {key} is true",
        "effort": "expects reasoning by reasoning_effort",
        "never": "never expects reasoning",
    }.get(str(thinking.get("when")), str(thinking.get("when")))


def _pins(old: Release, new: Release) -> Iterator[Change]:
    before, after = old.pins(), new.pins()
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield Change("pin", key, before.get(key, "not required"), after.get(key, "not required"))


def _defects(old: Release, new: Release) -> Iterator[Change]:
    for name, verdict in load_verdicts().items():
        before, after = (verdict.in_release(release.version) == PRESENT for release in (old, new))
        if before and not after:
            yield Change("defect-mended", name, "present", "mended upstream", "Drop its patch.")
        elif after and not before:
            yield Change(
                "defect-new", name, "absent", "present", f"Expect: {load_defects()[name].symptom.rstrip('.')}."
            )


def _rules(old: Release, new: Release) -> Iterator[Change]:
    for rule in ALL_RULES:
        before, after = rule.applies_to(old.version), rule.applies_to(new.version)
        if before != after:
            kind = "rule-begins" if after else "rule-ends"
            yield Change(kind, rule.code, "", rule.title, source=new.passages.get(rule.code, ""))


def _findings(context: Context, new: Release) -> Iterator[Change]:
    """Findings about the recipe that begin or end, defects aside: those have changes of their own."""
    before = {_comparable(found, context.release.version): found for found in run_checks(context)}
    moved = Context(replace(context.recipe, sglang=new.version), context.cluster, context.model, new)
    after = {_comparable(found, new.version): found for found in run_checks(moved)}
    skipped = {"flag-unknown", "flag-deprecated", "flag-choice", "env-not-read", "env-removed", "env-unknown"}
    for key in [*after, *before]:
        found = after.get(key) or before[key]
        if (key in after) == (key in before) or found.code in skipped or found.code.startswith("defect"):
            continue
        if found.severity is Severity.NOTE and found.code == "why-missing":
            continue
        if key in after:
            yield Change("finding-new", found.code, "", found.message, found.help, found.source)
        else:
            yield Change("finding-gone", found.code, found.message, "", "", found.source)


def _comparable(found: Finding, version: str) -> tuple[str, str]:
    return found.code, found.message.replace(version, "")


# --- the recipe as it should read


def moved_recipe(recipe: Recipe, old: Release, new: Release) -> tuple[Recipe, list[str]]:
    """The recipe for the newer release, and what to look at by hand.

    Flags get their successors, variables that nothing reads any more go, defects that are mended go. Evidence goes
    too: it was of the older release.
    """
    flags: dict[str, FlagValue] = {}
    notes: list[str] = []
    renamed: dict[str, str] = {}
    consumed: set[str] = set()
    for name, value in recipe.flags.items():
        flag = new.flag(name)
        successor = flag.replaced_by if flag is not None and flag.deprecated else None
        if flag is None:
            successor = successor_of(name, old, new)
        if successor is None:
            if flag is None:
                notes.append(f"{name} is gone and has no named successor; it was {value}")
            else:
                flags[name] = value
            continue
        for option, wanted in parse_successor(successor):
            taken, from_flag = _successor_value(wanted, value, recipe.flags, old)
            if new.flag(option) is None or taken is None:
                notes.append(f"{name} is replaced by {successor}; write it by hand")
                continue
            flags[option] = taken
            renamed[option] = name
            if from_flag:
                consumed.add(from_flag)
    for name in consumed:
        flags.pop(name, None)
    for name, value in flags.items():
        flag = new.flag(name)
        if flag is not None and flag.choices and isinstance(value, str) and value not in map(str, flag.choices):
            notes.append(f"{name}: {value} is no choice any more; one of {', '.join(map(str, flag.choices))}")
    env = {name: value for name, value in recipe.env.items() if name in CLUSTER_VARIABLES or _keeps(name, old, new)}
    verdicts = load_verdicts()
    still = [name for name in recipe.defects if verdicts[name].in_release(new.version) == PRESENT]
    kept = {*flags, *env, "model", "nodes", *(("defects",) if still else ())}
    why = {name: text for name, text in recipe.why.items() if name in kept}
    why |= {option: recipe.why[name] for option, name in renamed.items() if name in recipe.why}
    notes.append("The reasons were written for the older release: read each again")
    image = re.sub(r"@sha256:[0-9a-f]{64}\Z", "", recipe.image).replace(f"v{old.version}", f"v{new.version}")
    if old.version not in recipe.image:
        notes.append(f"The image does not name its release; find one of SGLang {new.version}")
    moved = replace(
        recipe,
        sglang=new.version,
        image=image,
        flags=flags,
        env=env,
        defects=tuple(still),
        why=why,
        evidence=(),
    )
    return moved, notes


def _keeps(name: str, old: Release, new: Release) -> bool:
    if name in MISTAKEN_VARIABLES:
        return False
    return _reads(new, name) or (not _reads(old, name) and not name.startswith(("SGLANG_", "SGL_")))


def parse_successor(text: str) -> list[tuple[str, str | None]]:
    """Upstream's words for a successor as options without dashes, with the value to give or None for the old one's.

    ``--a-{x,y}=off`` is two options, ``--b <c>`` takes the value of the flag c, ``--d`` keeps the value.
    """
    found: list[tuple[str, str | None]] = []
    for match in re.finditer(r"--([A-Za-z0-9{},-]+)(?:[= ]([^\s-][^\s]*))?", text):
        name, value = match[1], match[2]
        braces = re.fullmatch(r"(.*)\{([^{}]*)\}(.*)", name)
        names = [f"{braces[1]}{part}{braces[3]}" for part in braces[2].split(",")] if braces else [name]
        found += [(option, value) for option in names]
    return found


def _successor_value(
    wanted: str | None, value: FlagValue, flags: Mapping[str, FlagValue], old: Release
) -> tuple[FlagValue | None, str | None]:
    if wanted is None:
        return value, None
    hole = re.fullmatch(r"<([a-z0-9-]+)>", wanted)
    if hole:
        # The recipe may spell it otherwise.
        flag = old.flag(hole[1])
        given = next((name for name in flags if flag is not None and old.flag(name) is flag), hole[1])
        return flags.get(given), given
    return wanted, None


def table_rows(changes: Iterable[Change]) -> list[Sequence[str]]:
    """Changes as rows of text: kind, name, before, after, what to do."""
    return [(change.kind, change.name, change.before, change.after, change.do) for change in changes]
