"""Statements of a published post, each compared with what the release catalogs say."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_gb10.argument_types import convert
from mimo_gb10.extract.passages import Read, locate
from mimo_gb10.findings import Finding, Refused, error
from mimo_gb10.passage import Passage
from mimo_gb10.paths import DOCS
from mimo_gb10.release import Release, in_range, known_releases, load_release, version_key
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import Document, NodePath, read_document

POST_CHECKED = DOCS / "evidence" / "post-checked.yaml"


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is true for some releases and for no other.

    Attributes:
        kind: What is looked at.
        facts: The check as the file says it.
        code: The name under which the catalogs note a source passage.
    """

    kind: str
    facts: Mapping[str, Any]
    code: str

    @property
    def proves(self) -> bool:
        """Whether the verdict rests on it: the statement holds where all such checks are true."""
        return bool(self.facts.get("proves", False))

    @property
    def releases(self) -> set[str]:
        """The releases for which it must be true."""
        wanted = str(self.facts.get("releases", "all"))
        if wanted in ("all", "none"):
            return set(known_releases()) if wanted == "all" else set()
        first, _, last = wanted.partition("..")
        return {version for version in known_releases() if in_range(version, first or None, last or None)}

    def holds_in(self, release: Release) -> bool:
        """Whether it is true in one release."""
        return _KINDS[self.kind](self, release)

    def place_in(self, release: Release) -> str | None:
        """Upstream ``file:line`` that shows it in one release; None where it is not true or nothing declares it."""
        if not self.holds_in(release):
            return None
        place = _PLACES[self.kind](self, release)
        return str(place) if place else None


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement and its verdict.

    Attributes:
        id: Its name.
        section: Part of the post: fixes, notes, launch or environment.
        statement: What the post says, in our words.
        verdict: holds, holds until, partly, not reproduced or does not hold.
        until: The last release for which it holds, where the verdict is "holds until".
        says: What the source says.
        sure: checked, reported or inferred.
        links: Upstream threads and pages.
        checks: What runs against the catalogs.
    """

    id: str
    section: str
    statement: str
    verdict: str
    until: str | None
    says: str
    sure: str
    links: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def verdict_text(self) -> str:
        """The verdict with its release."""
        return f"{self.verdict} {self.until}" if self.until else self.verdict

    @property
    def computed(self) -> str | None:
        """The verdict that its checks amount to, or None where no check proves it."""
        proving = [check.releases for check in self.checks if check.proves]
        return verdict_of(set.intersection(*proving)) if proving else None


def verdict_of(versions: set[str]) -> str:
    """The verdict on a statement that is true in these releases and in no other."""
    known = known_releases()
    true_in = [version for version in known if version in versions]
    if true_in == known:
        return "holds"
    if not true_in:
        return "does not hold"
    return f"holds until {true_in[-1]}" if true_in == known[: len(true_in)] else "partly"


@functools.cache
def load_claims(path: Path = POST_CHECKED) -> tuple[Document, tuple[Claim, ...]]:
    """Read the statements.

    Raises:
        Refused: If the file cannot be used.
    """
    document = read_document(path)
    found = check_schema(document, "claims")
    if found:
        raise Refused(found)
    return document, tuple(_claim(entry) for entry in document.value["claims"])


def _claim(entry: Mapping[str, Any]) -> Claim:
    checks = tuple(
        Check(check["kind"], check, f"post-{entry['id']}-{number}")
        for number, check in enumerate(entry.get("checks", ()), 1)
    )
    return Claim(
        id=entry["id"],
        section=entry["section"],
        statement=entry["statement"],
        verdict=entry["verdict"],
        until=entry.get("until"),
        says=entry["says"],
        sure=entry["sure"],
        links=tuple(entry.get("links", ())),
        checks=checks,
    )


def passages(claims: Sequence[Claim]) -> dict[str, Sequence[Passage]]:
    """The source lines that the checks look for, by the code under which a catalog notes them."""
    return {
        check.code: [Passage((check.facts["file"],), check.facts["pattern"], optional=True)]
        for claim in claims
        for check in claim.checks
        if check.kind == "source"
    }


def check_claims(document: Document, claims: Sequence[Claim]) -> Iterator[Finding]:
    """A finding for each check that the catalogs contradict, and for each verdict that is not what its checks say."""
    releases = [load_release(version) for version in known_releases()]
    for index, claim in enumerate(claims):
        for number, check in enumerate(claim.checks):
            true_in = {release.version for release in releases if check.holds_in(release)}
            yield from _compare(claim, check, true_in, document, ("claims", index, "checks", number))
        problem = _verdict_problem(claim)
        if problem:
            place = document.location(("claims", index, "verdict"))
            yield error("claim-verdict", f"{claim.id}: {problem[0]}", problem[1], place)


def check_sources(document: Document, claims: Sequence[Claim], wheels: Mapping[str, Read]) -> Iterator[Finding]:
    """`check_claims` for the source lines alone, read from the wheels instead of from the catalogs.

    Args:
        document: The file of statements.
        claims: What it says.
        wheels: By release, what reads a file of its wheel.

    Yields:
        A finding for each pattern that some of these releases hold and should not, or the other way round.
    """
    wanted = passages(claims)
    found = {version: locate(read, version, wanted)[0] for version, read in wheels.items()}
    for index, claim in enumerate(claims):
        for number, check in enumerate(claim.checks):
            if check.kind == "source":
                true_in = {version for version, places in found.items() if check.code in places}
                # Releases whose wheel was not given count as right.
                true_in |= check.releases - set(wheels)
                yield from _compare(claim, check, true_in, document, ("claims", index, "checks", number))


def _compare(claim: Claim, check: Check, true_in: set[str], document: Document, path: NodePath) -> Iterator[Finding]:
    if true_in != check.releases:
        wrong = sorted(true_in ^ check.releases, key=version_key)
        yield error(
            "claim-check",
            f"{claim.id}: the check is true in {_names(true_in)}, not in {_names(check.releases)}",
            f"Look at {', '.join(wrong)}, then correct the check and the verdict.",
            document.location(path),
        )


def _verdict_problem(claim: Claim) -> tuple[str, str] | None:
    """What is wrong with a verdict, and what to do; None when nothing is."""
    if (claim.verdict == "holds until") != (claim.until is not None):
        return "'until' goes with 'holds until'", "Add or remove it."
    if claim.until is not None and claim.until not in known_releases():
        return f"{claim.until} is no release with a catalog", "Write one that has a catalog."
    computed = claim.computed
    if claim.sure == "checked" and not claim.checks:
        return "it is 'checked' without a check", "Add a check, or write: reported."
    if claim.sure == "checked" and claim.verdict == "not reproduced":
        return "what is checked is reproduced", "Write the verdict that the checks give, or: reported."
    if claim.sure == "checked" and claim.verdict != "partly" and computed is None:
        return "no check proves the verdict", "Mark the checks that it rests on with proves: true."
    # A statement can be right in part for other reasons than releases.
    if computed is not None and claim.verdict != "partly" and claim.verdict_text != computed:
        return f"its checks say '{computed}', not '{claim.verdict_text}'", "Correct the verdict or the checks."
    return None


def _names(versions: set[str]) -> str:
    known = [version for version in known_releases() if version in versions]
    if not known:
        return "no release"
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]} ({len(known)} releases)"


# --- kinds of checks


def _accepts(check: Check, release: Release) -> bool:
    flag = release.flag(check.facts["name"])
    if flag is None:
        return False
    if flag.is_switch:
        return check.facts.get("value") is True
    try:
        value = convert(flag.type, str(check.facts["value"]))
    except ValueError:
        return False
    return flag.choices is None or value in flag.choices


def _default(check: Check, release: Release) -> bool:
    flag = release.flag(check.facts["name"])
    return flag is not None and flag.effective_default == check.facts.get("value")


def _reads(check: Check, release: Release) -> bool:
    variable = release.environment.get(check.facts["name"])
    return variable is not None and variable.reads and not variable.removed


def _source(check: Check, release: Release) -> bool:
    return check.code in release.passages


def _class(check: Check, release: Release) -> bool:
    entry = release.entry(check.facts["table"], check.facts["name"])
    return entry is not None and entry["class"] == check.facts["value"]


def _thinking(check: Check, release: Release) -> bool:
    entry = release.entry("reasoning_parsers", check.facts["name"])
    return entry is not None and entry["thinking"]["when"] == check.facts["value"]


def _facts(release: Release) -> Mapping[str, Mapping[str, Any]]:
    found = {entry["fact"]: entry for entry in release.facts["model_code"]}
    return {**found, "reasoning-rule": release.facts["reasoning_rule"]}


def _fact(check: Check, release: Release) -> bool:
    return bool(_facts(release)[check.facts["name"]].get(check.facts["key"]) == check.facts["value"])


def _pin(check: Check, release: Release) -> bool:
    return release.pins().get(check.facts["name"]) == str(check.facts["value"])


def _removed(check: Check, release: Release) -> bool:
    variable = release.environment.get(check.facts["name"])
    return variable is not None and variable.removed


def _abbreviates(check: Check, release: Release) -> bool:
    """Whether argparse takes the short form for that option: no other option may begin with it."""
    short = f"--{check.facts['name']}"
    found = [option for option in release.by_option if option.startswith(short)]
    return found == [f"--{check.facts['value']}"] and found != [short]


_KINDS: Mapping[str, Callable[[Check, Release], bool]] = {
    "accepts": _accepts,
    "default": _default,
    "abbreviates": _abbreviates,
    "reads": _reads,
    "removed": _removed,
    "source": _source,
    "class": _class,
    "thinking": _thinking,
    "fact": _fact,
    "pin": _pin,
}


# --- where a check that is true can be looked up


def _flag_place(check: Check, release: Release) -> str | None:
    flag = release.flag(check.facts["value"] if check.kind == "abbreviates" else check.facts["name"])
    return flag.source if flag else None


def _variable_place(check: Check, release: Release) -> str | None:
    variable = release.environment.get(check.facts["name"])
    return variable.source if variable else None


def _parser_place(check: Check, release: Release) -> str | None:
    entry = release.entry(check.facts.get("table", "reasoning_parsers"), check.facts["name"])
    return entry["source"] if entry else None


_PLACES: Mapping[str, Callable[[Check, Release], str | None]] = {
    "accepts": _flag_place,
    "default": _flag_place,
    "abbreviates": _flag_place,
    "reads": _variable_place,
    "removed": _variable_place,
    "source": lambda check, release: release.passages.get(check.code),
    "class": _parser_place,
    "thinking": _parser_place,
    "fact": lambda check, release: _facts(release)[check.facts["name"]].get("source"),
    "pin": lambda check, release: None,
}
