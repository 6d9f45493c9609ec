"""The upstream bugs that a MiMo-V2.5 user meets, and what the wheels say of them.

What a person writes about a defect stands in ``patches/defects.yaml``. Which releases have it, where, and which patch
mends it is computed from the wheels into ``patches/index.json`` (`mimo_gb10.extract.patch_index`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimo_gb10.findings import Location, Refused, error
from mimo_gb10.paths import DEFECTS, PATCH_INDEX, ROOT
from mimo_gb10.release import in_range
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import read_document

PRESENT, FIXED, NOT_AFFECTED, UNKNOWN = "present", "fixed", "not-affected", "unknown"


@dataclass(frozen=True, slots=True)
class Place:
    """One line of upstream's source that proves a defect.

    Attributes:
        file: The path inside the wheel.
        line: A regular expression for the line.
        after: A regular expression for a line above it, or None.
        says: What the line does.
        first: First release that holds it, or None.
        last: Last release that holds it, or None.
    """

    file: str
    line: str
    after: str | None
    says: str
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class Thread:
    """An upstream pull request or issue.

    Attributes:
        url: Its address.
        state: What became of it.
    """

    url: str
    state: str


@dataclass(frozen=True, slots=True)
class Unmended:
    """Releases that have a defect and get no patch.

    Attributes:
        first: The first of them.
        last: The last of them.
        why: Why, and what to do instead.
    """

    first: str
    last: str
    why: str


@dataclass(frozen=True, slots=True)
class Defect:
    """One upstream bug.

    Attributes:
        id: Its name.
        title: One line.
        symptom: What a user sees.
        log: Fragments of log lines or answers.
        cause: Why, with the upstream file.
        places: The lines that prove it.
        probe: How it is told in a source tree: ``file``, ``fixed``, ``present``.
        threads: Upstream pull requests and issues.
        mend: What our patch does.
        check: How to check it by hand.
        drop_when: How to tell that the patch is not needed any more.
        unmended: The releases for which there is no patch on purpose.
        notes: What else there is to say, or an empty string.
    """

    id: str
    title: str
    symptom: str
    log: tuple[str, ...]
    cause: str
    places: tuple[Place, ...]
    probe: Mapping[str, Any]
    threads: tuple[Thread, ...]
    mend: str
    check: str
    drop_when: str
    unmended: tuple[Unmended, ...]
    notes: str

    def why_unmended(self, version: str) -> str:
        """Why a release gets no patch, or an empty string if no reason is given."""
        return next((gap.why for gap in self.unmended if in_range(version, gap.first, gap.last)), "")


@functools.cache
def load_defects() -> Mapping[str, Defect]:
    """Every known defect by id, in the order in which patches apply.

    Raises:
        Refused: If ``patches/defects.yaml`` cannot be read or breaks its schema.
    """
    document = read_document(DEFECTS)
    found = check_schema(document, "defects")
    if found:
        raise Refused(found)
    return {entry["id"]: _defect(entry) for entry in document.value["defects"]}


def _defect(entry: Mapping[str, Any]) -> Defect:
    places = tuple(
        Place(
            place["file"],
            place["line"],
            place.get("after"),
            place["says"],
            place.get("first"),
            place.get("last"),
        )
        for place in entry["places"]
    )
    return Defect(
        id=entry["id"],
        title=entry["title"],
        symptom=entry["symptom"].rstrip(),
        log=tuple(entry["log"]),
        cause=entry["cause"].rstrip(),
        places=places,
        probe=entry["probe"],
        threads=tuple(Thread(thread["url"], thread["state"]) for thread in entry["threads"]),
        mend=entry["mend"].rstrip(),
        check=entry["check"].rstrip(),
        drop_when=entry["drop_when"].rstrip(),
        unmended=tuple(Unmended(gap["first"], gap["last"], gap["why"].rstrip()) for gap in entry.get("unmended", ())),
        notes=entry.get("notes", "").rstrip(),
    )


@dataclass(frozen=True, slots=True)
class PatchFile:
    """A patch that mends one defect in a range of releases.

    Attributes:
        file: Its path under ``patches/``.
        first: The first release that it is for.
        last: The last one.
        releases: All of them.
        touches: The files that it changes or adds.
    """

    file: str
    first: str
    last: str
    releases: tuple[str, ...]
    touches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the wheels say of one defect.

    Attributes:
        id: The defect.
        status: The probe's answer by release: `PRESENT`, `FIXED`, `NOT_AFFECTED` or `UNKNOWN`.
        places: By release, ``(file:line, what the line does)`` of the lines that prove it.
        patches: Our patches, oldest releases first.
    """

    id: str
    status: Mapping[str, str]
    places: Mapping[str, tuple[tuple[str, str], ...]]
    patches: tuple[PatchFile, ...]

    def in_release(self, version: str) -> str:
        """The probe's answer in a release; `UNKNOWN` for one that was not looked at."""
        return self.status.get(version, UNKNOWN)

    def patch_for(self, version: str) -> PatchFile | None:
        """The patch for a release, or None."""
        return next((patch for patch in self.patches if version in patch.releases), None)


@functools.cache
def load_verdicts() -> Mapping[str, Verdict]:
    """What the wheels say of each defect, from ``patches/index.json``, in application order.

    Raises:
        Refused: If the file cannot be read.
    """
    try:
        data = json.loads(PATCH_INDEX.read_bytes())
        return {entry["id"]: _verdict(entry) for entry in data["defects"]}
    except (OSError, ValueError, LookupError, TypeError) as problem:
        place = Location(str(PATCH_INDEX.relative_to(ROOT)))
        reason = getattr(problem, "strerror", None) or type(problem).__name__
        remedy = "Run: python scripts/generate.py patches"
        raise Refused([error("patch-index", f"the index of patches cannot be used: {reason}", remedy, place)]) from None


def _verdict(entry: Mapping[str, Any]) -> Verdict:
    releases = entry["releases"]
    return Verdict(
        id=entry["id"],
        status={version: found["status"] for version, found in releases.items()},
        places={
            version: tuple((place["at"], place["says"]) for place in found["places"])
            for version, found in releases.items()
        },
        patches=tuple(
            PatchFile(patch["file"], patch["first"], patch["last"], tuple(patch["releases"]), tuple(patch["touches"]))
            for patch in entry["patches"]
        ),
    )
