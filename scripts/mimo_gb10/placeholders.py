"""The few cluster values that a recipe may use elsewhere, as ``{name}`` inside a text value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

PLACEHOLDERS: Mapping[str, str] = {
    "address": "the node's fabric address",
    "head": "the head's fabric address",
    "rank": "the node's rank, from 0",
    "socket_interface": "the node's fabric interface",
    "rdma_devices": "the node's RDMA devices, joined by commas",
}

# JSON values hold braces too: only a bare lower-case word between braces is meant as a placeholder.
_PATTERN = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")


def names_used(text: str) -> Iterator[str]:
    """Every name that stands between braces in `text`, known or not."""
    return (match.group(1) for match in _PATTERN.finditer(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each known placeholder replaced, once: a value that looks like a placeholder stays as it is."""
    return _PATTERN.sub(lambda match: values.get(match.group(1), match.group(0)), text)
