"""Shape facts of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_gb10.findings import Refused
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import read_document


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint, as far as the rules need it today.

    Attributes:
        name: The config's name.
        title: The name people use.
        architecture: First entry of ``architectures`` in the checkpoint's config.json.
        fused_qkv_tensor_parallel: The tensor-parallel size that the fused qkv weights are
            interleaved for; None if they are not fused.
        facts: The whole file as plain data.
    """

    name: str
    title: str
    architecture: str
    fused_qkv_tensor_parallel: int | None
    facts: dict[str, Any]


def load_model(path: Path, shown_as: str | None = None, *, validate: bool = True) -> Model:
    """Read a model file, checked against its schema unless `validate` is off.

    Raises:
        Refused: If the file cannot be read or breaks its schema.
    """
    document = read_document(path, shown_as)
    found = check_schema(document, "model") if validate else []
    if found:
        raise Refused(found)
    value = document.value
    return Model(
        name=value["name"],
        title=value["title"],
        architecture=value["architecture"],
        fused_qkv_tensor_parallel=value["attention"]["fused_qkv_tensor_parallel"],
        facts=value,
    )
