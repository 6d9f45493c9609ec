"""Which launch is rehearsed: a recipe as it is, under another release, or with and without its MTP block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mimo_gb10.defects import PRESENT, load_verdicts
from mimo_gb10.findings import Finding, Refused
from mimo_gb10.launch import Checked, check_documents, find_document
from mimo_gb10.paths import CLUSTERS, RECIPES
from mimo_gb10.release import refuse_unknown
from mimo_gb10.text.document import Document

MTP_RECIPE = "gb10x4-mtp"
"""The recipe that the MTP block comes from."""

MTP_DEFECT = "mtp-triton-window"


def check_variant(
    recipe: str, cluster: str, overrides: Sequence[str] = (), *, sglang: str | None = None, mtp: bool | None = None
) -> Checked:
    """Check what is to be rehearsed, as `mimo_gb10.launch.check` checks a recipe.

    Args:
        recipe: Name or path.
        cluster: Name or path.
        overrides: As ``--set`` takes them.
        sglang: Another release than the recipe's, or None.
        mtp: Whether the MTP block is in; None leaves the recipe as it is.

    Raises:
        Refused: If a file cannot be read, or the release is not known.
    """
    if sglang is not None:
        refuse_unknown(sglang, "--sglang")
    problems: list[Finding] = []
    documents: list[Document | None] = []
    for name, folder, kind in ((recipe, RECIPES, "recipe"), (cluster, CLUSTERS, "cluster")):
        try:
            documents.append(find_document(name, folder, kind))
        except Refused as refused:
            documents.append(None)
            problems += refused.findings
    found, where = documents
    if found is not None and _is_usable(found.value):
        found = replace(found, value=_varied(found.value, sglang, mtp))
    return check_documents(found, where, overrides, findings=problems)


def _is_usable(value: Mapping[str, Any]) -> bool:
    """Whether the parts that are changed are there; what is wrong otherwise is the schema's to say."""
    return isinstance(value.get("flags"), dict) and isinstance(value.get("defects"), list)


def _varied(value: dict[str, Any], sglang: str | None, mtp: bool | None) -> dict[str, Any]:
    if sglang is None and mtp is None:
        return value
    flags, release = dict(value["flags"]), sglang or value.get("sglang", "")
    if mtp is not None:
        flags = {name: given for name, given in flags.items() if not is_mtp(name)}
    if mtp:
        flags |= mtp_block()
    names = [name for name in value["defects"] if name != MTP_DEFECT or mtp is not False]
    if mtp and MTP_DEFECT not in names:
        names.append(MTP_DEFECT)
    # Another release has other defects; a name that no release knows stays, for the finding that says so.
    verdicts = load_verdicts()
    defects = [name for name in names if name not in verdicts or verdicts[name].in_release(release) == PRESENT]
    return value | {"sglang": release, "flags": flags, "defects": defects}


def is_mtp(flag: str) -> bool:
    """Whether a flag belongs to the MTP block."""
    return flag.startswith("speculative-") or flag == "enable-multi-layer-eagle"


def mtp_block() -> dict[str, Any]:
    """The flags of the MTP block."""
    flags = find_document(MTP_RECIPE, RECIPES, "recipe").value["flags"]
    return {name: value for name, value in flags.items() if is_mtp(name)}
