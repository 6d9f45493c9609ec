"""One line of a catalog: what was found, and the upstream place that says so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact.

    Attributes:
        data: Plain data, as the catalog writes it.
        source: Upstream ``path:line``, or where else it is from.
    """

    data: dict[str, Any]
    source: str

    def as_json(self) -> dict[str, Any]:
        """The fact with its source, as plain data."""
        return {**self.data, "source": self.source}


def text(data: Any) -> str:
    """Plain data as JSON on one line."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def object_lines(key: str, entry: Entry) -> list[str]:
    """The lines of ``"key": {...}``, the source alone on the second."""
    return [f" {text(key)}: {text(entry.data)[:-1]}{',' if entry.data else ''}", f'  "source": {text(entry.source)}}},']


def list_lines(key: str, entries: Iterable[Entry]) -> list[str]:
    """The lines of ``"key": [...]``: one entry a line, its source alone on the next."""
    lines = []
    for entry in entries:
        lines += [f"  {text(entry.data)[:-1]},", f'   "source": {text(entry.source)}}},']
    if lines:
        lines[-1] = lines[-1].removesuffix(",")
    return [f" {text(key)}: [", *lines, " ],"]
