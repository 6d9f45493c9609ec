"""What one SGLang release accepts: flags and environment variables, read from its catalog.

The catalogs in ``configs/releases/`` are extracted from the wheels by `mimo_gb10.extract`; this
module only reads them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.findings import Location, Refused, error
from mimo_gb10.paths import RELEASES, names_in
from mimo_gb10.text.suggest import did_you_mean

_PREFIX = "sglang-"
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\.post(\d+))?\Z")


@dataclass(frozen=True, slots=True)
class Flag:
    """One option of ``python -m sglang.launch_server``, as argparse knows it.

    Attributes:
        options: Every spelling, in the parser's order.
        dest: The attribute that the parser fills.
        action: argparse's name of the action, or the name of SGLang's own class.
        type: Name of the callable that converts the text, or None for text as it is.
        nargs: 0 for a switch, None for one value, ``"+"``, ``"*"``, ``"?"`` or a count.
        choices: The accepted values, or None when any is.
        default: The parser's default where it is a literal.
        fallback: What SGLang puts in place of a None default later, where the release declares that.
        required: Whether the option must be given.
        deprecated: Whether the release warns about it.
        replaced_by: The option to use instead of a deprecated one.
        source: File inside the wheel and line of the declaration.
    """

    options: tuple[str, ...]
    dest: str
    action: str
    type: str | None
    nargs: int | str | None
    choices: tuple[Any, ...] | None
    default: Any
    fallback: Any
    required: bool
    deprecated: bool
    replaced_by: str | None
    source: str

    @property
    def is_switch(self) -> bool:
        """Whether the option takes no value."""
        return self.nargs == 0

    @property
    def can_be_negated(self) -> bool:
        """Whether the switch has a second spelling, ``--no-...``, that turns it off."""
        return self.action == "BooleanOptionalAction"

    @property
    def name(self) -> str:
        """The first long spelling without dashes, as a recipe writes it."""
        return next(option for option in self.options if option.startswith("--"))[2:]

    @property
    def effective_default(self) -> Any:
        """The value SGLang starts from when the flag is not given."""
        # "==SUPPRESS==" is argparse's own mark for an option that leaves no trace when it is not given.
        return self.fallback if self.default in (None, "==SUPPRESS==") else self.default


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable that the release's server reads or sets.

    Attributes:
        name: Its name.
        type: ``bool``, ``int``, ``float``, ``str`` or another name the release gives; None when unknown.
        default: The literal default, or None.
        reads: Whether the server reads it.
        removed: Whether the release only mentions it to warn that it has no effect any more.
        replaced_by: The variable or option to use instead, where the release names one.
        source: File inside the wheel and line.
    """

    name: str
    type: str | None
    default: Any
    reads: bool
    removed: bool
    replaced_by: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Release:
    """The catalog of one release.

    Attributes:
        version: For example ``0.5.12.post1``.
        flags: Every flag.
        by_option: Every spelling, with its flag.
        environment: Variables by name.
        passages: Upstream ``file:line`` that enforces a rule, by the rule's code.
        facts: Everything else that the catalog says: date, pins, parsers, model code.
    """

    version: str
    flags: tuple[Flag, ...]
    by_option: Mapping[str, Flag]
    environment: Mapping[str, Variable]
    passages: Mapping[str, str]
    facts: Mapping[str, Any]

    def renamed_variable(self, name: str) -> str | None:
        """The name under which the release reads a variable of an older prefix, or None."""
        for rule in self.facts.get("environment_prefixes", []):
            newer = rule["replaced_by"] + name.removeprefix(rule["prefix"])
            if name.startswith(rule["prefix"]) and newer in self.environment:
                return str(newer)
        return None

    def entry(self, table: str, name: str) -> Mapping[str, Any] | None:
        """The entry of that name in a table of the catalog, such as ``reasoning_parsers``."""
        entries: list[dict[str, Any]] = self.facts.get(table, [])
        return next((entry for entry in entries if entry["name"] == name), None)

    def pins(self) -> dict[str, str]:
        """What the release requires on GB10 (aarch64), by package; an unpinned requirement is ``any``."""
        entries: list[dict[str, Any]] = self.facts.get("pins", [])
        wanted = [entry for entry in entries if entry["platform"] in (None, "aarch64")]
        return {entry["package"]: str(entry["requirement"]).removeprefix("==") or "any" for entry in wanted}

    def is_from(self, version: str) -> bool:
        """Whether this release is `version` or a later one."""
        return version_key(self.version) >= version_key(version)

    def flag(self, name: str) -> Flag | None:
        """The flag that a recipe's name (without dashes) means, or None."""
        return self.by_option.get(f"--{name}")

    def by_dest(self, dest: str) -> list[Flag]:
        """Every flag that fills the attribute `dest`."""
        return [flag for flag in self.flags if flag.dest == dest]


def version_key(version: str) -> tuple[int, int, int, int]:
    """A key that orders releases as they came out.

    Raises:
        ValueError: If it is no release number of the form ``1.2.3`` or ``1.2.3.post4``.
    """
    match = _VERSION.match(version)
    if not match:
        raise ValueError(f"{version!r} is not a release number")
    major, minor, patch, post = match.groups()
    return int(major), int(minor), int(patch), int(post or 0)


def in_range(version: str, first: str | None, last: str | None) -> bool:
    """Whether `version` lies between two releases, both included; None is an open end."""
    key = version_key(version)
    return (first is None or version_key(first) <= key) and (last is None or key <= version_key(last))


def known_releases() -> list[str]:
    """Every release with a catalog, oldest first."""
    return sorted((name.removeprefix(_PREFIX) for name in names_in(RELEASES, ".json")), key=version_key)


def refuse_unknown(version: str, option: str) -> None:
    """Check the release that the user gave with `option`.

    Raises:
        Refused: If there is no catalog of it.
    """
    known = known_releases()
    if version not in known:
        remedy = did_you_mean(version, known, f"Known: {', '.join(known)}.")
        raise Refused([error("release-unknown", f"there is no catalog of SGLang {version}", remedy, Location(option))])


@functools.cache
def load_release(version: str) -> Release:
    """Read the catalog of one release.

    Raises:
        KeyError: If there is no catalog of that release.
    """
    if version not in known_releases():
        raise KeyError(version)
    data = json.loads(_text(version))
    flags = tuple(_flag(entry) for entry in data["flags"])
    return Release(
        version=data["release"],
        flags=flags,
        by_option={option: flag for flag in flags for option in flag.options},
        environment={entry["name"]: _variable(entry) for entry in data["environment"]},
        passages=data.get("passages", {}),
        facts={key: value for key, value in data.items() if key not in ("flags", "environment", "passages")},
    )


def releases_reading(variable: str, versions: Iterable[str] | None = None) -> list[str]:
    """The releases whose server reads an environment variable, oldest first."""
    found = []
    begins = f'\n  {{"name": {json.dumps(variable)}, '
    for version in versions if versions is not None else known_releases():
        # One entry stands on one line: reading sixteen whole catalogs would take longer than all the rest.
        _, begin, rest = _text(version).partition(begins)
        entry = json.loads(begin + rest.partition("\n")[0].removesuffix(",") + "}") if begin else {}
        if entry.get("reads") and not entry.get("removed"):
            found.append(version)
    return found


@functools.cache
def _text(version: str) -> str:
    return (RELEASES / f"{_PREFIX}{version}.json").read_text(encoding="utf-8")


def _flag(entry: Mapping[str, Any]) -> Flag:
    choices = entry["choices"]
    return Flag(
        options=tuple(entry["options"]),
        dest=entry["dest"],
        action=entry["action"],
        type=entry["type"],
        nargs=entry["nargs"],
        choices=None if choices is None else tuple(choices),
        default=entry["default"],
        fallback=entry.get("fallback"),
        required=entry["required"],
        deprecated=entry["deprecated"],
        replaced_by=entry["replaced_by"],
        source=entry["source"],
    )


def _variable(entry: Mapping[str, Any]) -> Variable:
    return Variable(
        name=entry["name"],
        type=entry["type"],
        default=entry["default"],
        reads=entry["reads"],
        removed=bool(entry.get("removed", False)),
        replaced_by=entry.get("replaced_by"),
        source=entry["source"],
    )
