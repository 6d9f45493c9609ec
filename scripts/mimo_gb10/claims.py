"""Statements of a published post, each compared with what the release catalogs say."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_gb10.argument_types import convert
from mimo_gb10.findings import Finding, Refused, error
from mimo_gb10.passage import Passage
from mimo_gb10.paths import DOCS
from mimo_gb10.release import Release, in_range, known_releases, load_release
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import Document, read_document

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
    """A finding for each statement whose verdict the catalogs do not bear out."""
    releases = [load_release(version) for version in known_releases()]
    newest = releases[-1].version
    for index, claim in enumerate(claims):
        place = document.location(("claims", index, "id"))
        for number, check in enumerate(claim.checks):
            true_in = {release.version for release in releases if check.holds_in(release)}
            if true_in != check.releases:
                wrong = sorted(true_in ^ check.releases)
                yield error(
                    "claim-check",
                    f"{claim.id}: the check is true in {_names(true_in)}, not in {_names(check.releases)}",
                    f"Look at {', '.join(wrong)}, then correct the check and the verdict.",
                    document.location(("claims", index, "checks", number)),
                )
        ends = {check.facts.get("releases") for check in claim.checks}
        if (claim.verdict == "holds until") != (claim.until is not None):
            yield error("claim-verdict", f"{claim.id}: 'until' goes with 'holds until'", "Add or remove it.", place)
        elif claim.until is not None and not any(str(end).endswith(f"..{claim.until}") for end in ends):
            yield error(
                "claim-verdict", f"{claim.id}: no check ends with {claim.until}", "Correct one of the two.", place
            )
        elif claim.until == newest:
            yield error("claim-verdict", f"{claim.id}: it still holds in {newest}", "Write: holds.", place)
        elif claim.sure == "checked" and not claim.checks:
            yield error("claim-verdict", f"{claim.id} is 'checked' without a check", "Add one, or say reported.", place)


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


def _fact(check: Check, release: Release) -> bool:
    name, key = check.facts["name"], check.facts["key"]
    facts = {
        **{entry["fact"]: entry for entry in release.facts["model_code"]},
        "reasoning-rule": release.facts["reasoning_rule"],
    }
    return bool(facts[name].get(key) == check.facts.get("value"))


_KINDS = {
    "accepts": _accepts,
    "default": _default,
    "reads": _reads,
    "source": _source,
    "class": _class,
    "thinking": _thinking,
    "fact": _fact,
}
