"""The upstream bugs that a MiMo-V2.5 user meets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from mimo_gb10.findings import Refused
from mimo_gb10.paths import DEFECTS
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import read_document


@dataclass(frozen=True, slots=True)
class Defect:
    """One upstream bug.

    Attributes:
        id: Its name.
        title: One line.
        symptom: What a user sees.
        cause: Why, with the upstream file.
        threads: Upstream pull requests and issues.
        first: First release that has it.
        last: Last release that has it, or None while the newest one does.
    """

    id: str
    title: str
    symptom: str
    cause: str
    threads: tuple[str, ...]
    first: str
    last: str | None


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
    return {
        entry["id"]: Defect(
            id=entry["id"],
            title=entry["title"],
            symptom=entry["symptom"],
            cause=entry["cause"],
            threads=tuple(entry["threads"]),
            first=entry["from"],
            last=entry.get("until"),
        )
        for entry in document.value["defects"]
    }
