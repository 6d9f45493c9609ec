"""What supports a recipe: receipts of rehearsals in ``docs/evidence/rehearsals/``, and published runs.

The level that the site shows is derived here, never typed. A receipt counts only for the very launch that it is of: a
recipe that changes loses its level until it is rehearsed again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from mimo_gb10.findings import Location, Refused, error
from mimo_gb10.paths import DOCS, ROOT
from mimo_gb10.recipe import Recipe
from mimo_gb10.rehearsal.adapt import ENCODERS
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import read_document

REHEARSALS = DOCS / "evidence" / "rehearsals"

Receipt = Mapping[str, Any]

REHEARSED, REPORTED, CHECKED = "rehearsed", "reported", "checked"

HARMLESS_AREAS = frozenset({"broken"})
"""Areas of checks whose failures are SGLang's, whatever the recipe: what a broken upload does to the server."""

WHOLE = frozenset(
    {"health", "chat-shape", "chat-stream", "image", "audio", "video", "transcribe-json", "greedy-reference", "stress"}
)
"""What a rehearsal must have asked, with an answer, to say anything of a recipe. A few checks alone prove nothing."""


@functools.cache
def rehearsals() -> Mapping[str, Receipt]:
    """Every receipt of a rehearsal by file name without its suffix, sorted.

    Raises:
        Refused: If one breaks its schema or contradicts itself.
    """
    found: dict[str, Receipt] = {}
    problems = []
    for path in sorted(REHEARSALS.glob("*.json")):
        document = read_document(path, str(path.relative_to(ROOT)))
        problems += check_schema(document, "rehearsal")
        if not problems:
            wrong = contradictions(document.value)
            place = Location(document.file)
            problems += [error("receipt", what, "Run the rehearsal again.", place) for what in wrong]
        found[path.stem] = document.value
    if problems:
        raise Refused(problems)
    return found


def contradictions(receipt: Receipt) -> list[str]:
    """In what a receipt contradicts itself."""
    wrong = []
    if (receipt["ended"] in ("died at start", "not ready")) != (not receipt["starts"]):
        wrong.append(f"it {receipt['ended']}, and it started {len(receipt['starts'])} times")
    if not receipt["starts"] and receipt["checks"]:
        wrong.append("it never started, and has checks")
    if receipt["sglang"]["version"] != receipt["recipe"]["sglang"]:
        wrong.append(f"SGLang {receipt['sglang']['version']} ran, the recipe is for {receipt['recipe']['sglang']}")
    if receipt["variant"]["patched"] and receipt["sglang"]["differs_from_wheel"] == []:
        wrong.append("it is called patched, and every file is the wheel's")
    if receipt["ranks"] != len(receipt["launch"]):
        wrong.append(f"{receipt['ranks']} ranks, and the launch of {len(receipt['launch'])}")
    return wrong


def failures(receipt: Receipt) -> list[str]:
    """The failed checks that speak against the recipe."""
    return [
        check["name"]
        for check in receipt["checks"]
        if check["status"] == "fail" and check["area"] not in HARMLESS_AREAS
    ]


def proves(receipt: Receipt, recipe: Recipe) -> bool:
    """Whether a receipt shows that this very recipe starts, answers and lives, with the patches that it lists."""
    return receipt["recipe"]["sha256"] == recipe.digest and is_whole(receipt) and not _has_other_encoders(receipt)


def _has_other_encoders(receipt: Receipt) -> bool:
    return any(change["what"] == ENCODERS for change in receipt["changes"])


def is_whole(receipt: Receipt) -> bool:
    """Whether everything was asked of a patched server, and nothing failed."""
    return bool(
        receipt["variant"]["patched"]
        and receipt["starts"]
        and {check["name"] for check in receipt["checks"] if check["status"] != "skip"} >= WHOLE
        and not failures(receipt)
        and receipt["ended"] != "interrupted"
        and all(death["during"].startswith("broken-") for death in receipt["deaths"])
    )


def proofs(recipe: Recipe) -> Sequence[str]:
    """Names of the receipts that prove a recipe."""
    return [name for name, receipt in rehearsals().items() if proves(receipt, recipe)]


def level(recipe: Recipe) -> str:
    """How well a recipe is supported.

    ``rehearsed``: its launch ran with a tiny random model. ``reported``: somebody published a run. ``checked``: only
    against the release's sources.
    """
    if proofs(recipe):
        return REHEARSED
    return REPORTED if any(not item.is_receipt for item in recipe.evidence) else CHECKED
