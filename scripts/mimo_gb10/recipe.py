"""What to serve and how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from mimo_gb10.findings import Refused
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import Document

FlagValue = str | int | float | bool | list[str | int | float]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One support of a recipe: a receipt in this repository, or a public report.

    Attributes:
        link: Path of a receipt, or an https address.
        shows: What it shows, and what it does not.
    """

    link: str
    shows: str

    @property
    def is_receipt(self) -> bool:
        """Whether it is a machine-written record in this repository."""
        return not self.link.startswith("https://")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe, as its file says it.

    Attributes:
        name: The file's name without suffix.
        title: One line.
        summary: A few sentences, or an empty string.
        model: Name of a model file.
        sglang: The release that the flags are for.
        image: Container image.
        nodes: How many nodes one server spans.
        flags: Values by long option name without dashes.
        env: Values by variable name; None switches a cluster-made variable off.
        defects: Ids of upstream bugs that must be mended before launch.
        why: Reasons by flag, variable or recipe key.
        evidence: What supports it.
        document: The file it came from, for positions in findings.
    """

    name: str
    title: str
    summary: str
    model: str
    sglang: str
    image: str
    nodes: int
    flags: Mapping[str, FlagValue]
    env: Mapping[str, str | None]
    defects: tuple[str, ...]
    why: Mapping[str, str]
    evidence: tuple[Evidence, ...]
    document: Document

    @property
    def digest(self) -> str:
        """SHA-256 over what of the recipe reaches the launch: a receipt is of this, not of a name."""
        parts = {
            "model": self.model,
            "sglang": self.sglang,
            "nodes": self.nodes,
            "flags": dict(self.flags),
            "env": dict(self.env),
            "defects": list(self.defects),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def load_recipe(document: Document) -> Recipe:
    """Make a recipe of a document.

    Raises:
        Refused: If the document breaks the recipe schema.
    """
    found = check_schema(document, "recipe")
    if found:
        raise Refused(found)
    value = document.value
    return Recipe(
        name=value["name"],
        title=value["title"],
        summary=value.get("summary", ""),
        model=value["model"],
        sglang=value["sglang"],
        image=value["image"],
        nodes=value["nodes"],
        flags=value["flags"],
        env=value["env"],
        defects=tuple(value["defects"]),
        why=value["why"],
        evidence=tuple(Evidence(item["link"], item["shows"]) for item in value["evidence"]),
        document=document,
    )
