"""Receipts: what ran on a GPU for a defect and its patches, in ``docs/evidence/<defect>.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mimo_gb10.defects import load_defects
from mimo_gb10.findings import Location, Refused, error
from mimo_gb10.paths import DOCS, PATCH_INDEX, ROOT
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import read_document

EVIDENCE = DOCS / "evidence"

Receipt = Mapping[str, Any]


def load_receipt(defect: str) -> Receipt | None:
    """The receipt of a defect, or None if nothing ran for it on a GPU.

    Raises:
        Refused: If it breaks its schema, or does not bear out what a page says of it.
    """
    path = EVIDENCE / f"{defect}.json"
    if not path.is_file():
        return None
    document = read_document(path, str(path.relative_to(ROOT)))
    problems = check_schema(document, "receipt")
    if problems:
        raise Refused(problems)
    receipt: Receipt = document.value
    wrong = list(check_receipt(receipt, defect))
    if wrong:
        place = Location(document.file)
        raise Refused(error("receipt", what, "Correct the receipt, or run it again.", place) for what in wrong)
    return receipt


def check_receipt(receipt: Receipt, defect: str) -> Iterator[str]:
    """What is wrong with a receipt: a statement of the page that its numbers do not support."""
    if receipt["defect"] != defect or defect not in load_defects():
        yield f"the receipt is of the defect {receipt['defect']!r}"
    yield from _not_the_patches(receipt)
    for run in receipt["backend"]["runs"]:
        name = f"{run['release']}, {run['tree']}, {run['kv']}, {run['kernel']}"
        has_errors = {"error_eager", "error_graph"} <= run.keys()
        if (run["ended"] == "done") != has_errors or (run["batches"] > 0) != has_errors:
            yield f"{name}: a run that is done has batches and both errors, another has none"
        if ("tool" in run) != ("tool_errors" in run):
            yield f"{name}: the tool's count is missing, or the tool's name"
        if is_claimed(run) and (run["ended"] != "done" or run.get("error_graph") != run.get("error_eager")):
            yield f"{name}: the graph's error is not the one without a graph"
        if is_claimed(run) and run.get("tool_errors", 0):
            yield f"{name}: {run['tool']} counted {run['tool_errors']}"
        if run["tree"] == "unpatched" and run["ended"] != "refused at capture":
            yield f"{name}: the defect does not show"
    for run in receipt["kernel"]["runs"]:
        if run["kernel"] == "mma.sync" and (run["ended"] != "done" or run["wrong_bf16"] or run["wrong_fp8"]):
            yield "the kernel with mma.sync has wrong cases"
    for run in receipt["server"]["runs"]:
        if run.get("answers_with_nan", 0) > run["answers"]:
            yield "a server has more answers with NaN than answers"


def is_claimed(run: Mapping[str, Any]) -> bool:
    """Whether the page says that this run of the backend is right: patched, on the path that GB10 takes."""
    return bool(run["tree"] == "patched" and run["kernel"] == "mma.sync")


def _not_the_patches(receipt: Receipt) -> Iterator[str]:
    """Whether other sources ran than those that the patches make today."""
    states = json.loads(PATCH_INDEX.read_bytes())["files"]
    defect = receipt["defect"]
    runs = receipt["backend"]["runs"]
    for release in {run["release"] for run in runs if run["tree"] == "patched"} - receipt["patched_files"].keys():
        yield f"{release}: the patched files that ran are not named"
    for release, files in receipt["patched_files"].items():
        made = {
            path: digest
            for path, groups in states.items()
            for group in groups
            if release in group["releases"]
            for names, digest in group["states"].items()
            if names == defect
        }
        if made != files:
            yield f"{release}: what ran is not what the patches make today"
