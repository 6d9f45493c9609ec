"""What NCCL says of its network and of the links between ranks, where it was asked to (``NCCL_DEBUG=INFO``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_SAYS = re.compile(r"NCCL INFO (.*)")
_NETWORK = re.compile(r"Using network (\S+)")
_COMMUNICATOR = re.compile(r"comm \S+ rank \d+ nRanks (\d+) nNodes (\d+)")
_LINK = re.compile(r"Channel \d+(?:/\d+)? : (\d+)\[\w+\] -> (\d+)\[\w+\](?: \[\w+\])? via (\S+)")


def topology(logs: Mapping[int, Path]) -> dict[str, Any]:
    """NCCL's own report in the logs of the ranks; empty where there is none.

    Returns:
        ``network``: what goes between hosts. ``communicators``: how many ranks on how many hosts, largest first.
        ``links``: from which rank to which, and over what.
    """
    said: list[str] = []
    for path in logs.values():
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as log:
                said += [match[1] for match in _matches(_SAYS, log)]
    if not said:
        return {}
    sizes = {(int(match[1]), int(match[2])) for match in _matches(_COMMUNICATOR, said)}
    links = {(int(match[1]), int(match[2]), match[3]) for match in _matches(_LINK, said)}
    return {
        "network": sorted({match[1] for match in _matches(_NETWORK, said)}),
        "communicators": [{"ranks": ranks, "hosts": hosts} for ranks, hosts in sorted(sizes, reverse=True)],
        "links": [{"from": one, "to": other, "via": via} for one, other, via in sorted(links)],
    }


def _matches(pattern: re.Pattern[str], lines: Iterable[str]) -> Iterable[re.Match[str]]:
    return (match for line in lines if (match := pattern.search(line)) is not None)
