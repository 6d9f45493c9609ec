"""Holding the nodes against one another."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from mimo_gb10.preflight.remote import Asked
from mimo_gb10.preflight.results import FAIL, OK, SKIPPED, WARN, Result

MAX_SKEW = 1.0
"""Seconds that two clocks may differ before logs of several nodes mislead."""


def compare(asked: Sequence[Asked]) -> list[Result]:
    """One result for each thing that must be, or should be, alike."""
    answered = [item for item in asked if item.report is not None]
    if len(asked) < 2:
        return []
    if len(answered) < 2:
        return [Result("between-nodes", SKIPPED, "fewer than two nodes answered")]
    shared = {item.rank: item.report.shared for item in answered if item.report is not None}
    return [
        same_image(shared),
        _same("same-nccl", shared, "nccl", FAIL, "Use one image on all nodes.", _NO_NCCL),
        _same("same-driver", shared, "driver", WARN, "Update the nodes alike, and reboot them.", "no driver was read"),
        _same("same-kernel", shared, "kernel", WARN, "Update the nodes alike, and reboot them.", "no kernel was read"),
        _same("same-mtu", shared, "mtu", FAIL, "Set one MTU on all nodes and on the switch.", "no MTU was read"),
        same_subnets(shared),
        same_weights(shared),
        clock_skew(answered),
    ]


_NO_NCCL = "no image was asked (--image-checks)"


def _groups(values: dict[int, Any]) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = {}
    for rank, value in values.items():
        found.setdefault(value, []).append(rank)
    return found


def _nodes(ranks: Sequence[int]) -> str:
    return f"node{'s' if len(ranks) > 1 else ''} {', '.join(str(rank) for rank in ranks)}"


def _shown(values: dict[int, Any], form: Callable[[Any], str] = str) -> str:
    return "; ".join(f"{form(value)} on {_nodes(ranks)}" for value, ranks in _groups(values).items())


def _same(check: str, shared: dict[int, dict[str, Any]], key: str, status: str, help: str, none: str) -> Result:
    values = {rank: entry[key] for rank, entry in shared.items() if entry.get(key) is not None}
    if not values:
        return Result(check, SKIPPED, none)
    if len(set(values.values())) > 1:
        return Result(check, status, _shown(values), help)
    missing = [rank for rank in shared if rank not in values]
    rest = f"; not read on {_nodes(missing)}" if missing else ""
    return Result(check, OK, f"{next(iter(values.values()))} on {len(values)} nodes{rest}")


def same_image(shared: dict[int, dict[str, Any]]) -> Result:
    """The image is the same on all nodes: by a digest that all have, else by its id.

    A digest is of what a registry has, the id of what was unpacked; images that were built on each node have ids alone.
    """
    held = {rank: entry for rank, entry in shared.items() if entry.get("image")}
    if not held:
        return Result("same-image", SKIPPED, "no node has the image, or none was asked for (--recipe)")
    digests = [{digest.rpartition("@")[2] for digest in entry["digests"]} for entry in held.values()]
    common = set.intersection(*digests)
    ids = {rank: entry["image"] for rank, entry in held.items()}
    if common or len(set(ids.values())) == 1:
        return Result(
            "same-image", OK, f"{(min(common) if common else min(ids.values()))[:19]}... on {len(held)} nodes"
        )
    help = "Pull one digest on all nodes (docker pull NAME@sha256:...), or copy it: docker save, docker load."
    return Result("same-image", FAIL, _shown(ids, lambda value: f"{value[:19]}..."), help)


def same_subnets(shared: dict[int, dict[str, Any]]) -> Result:
    """The first RDMA devices of all nodes are in one subnet, the second in another, and so on."""
    by_position: dict[str, dict[int, str]] = {}
    for rank, entry in shared.items():
        for position, address in entry["rdma_addresses"].items():
            by_position.setdefault(position, {})[rank] = address
    complete = {position: held for position, held in by_position.items() if len(held) > 1}
    if not complete:
        return Result("same-subnets", SKIPPED, "fewer than two nodes have addresses on their RDMA devices")
    shown = []
    for position, held in sorted(complete.items()):
        networks = {rank: str(ipaddress.ip_interface(address).network) for rank, address in held.items()}
        if len(set(networks.values())) > 1:
            help = "Number the halves alike: the first device of every node in one subnet, the second in another."
            return Result("same-subnets", FAIL, f"device {int(position) + 1} of the list: {_shown(networks)}", help)
        if len(set(held.values())) < len(held):
            again = next(ranks for ranks in _groups(held).values() if len(ranks) > 1)
            return Result(
                "same-subnets",
                FAIL,
                f"{held[again[0]]} is on {_nodes(again)}",
                "Give each node an address of its own on each half.",
            )
        shown.append(next(iter(networks.values())))
    return Result("same-subnets", OK, ", ".join(shown))


def same_weights(shared: dict[int, dict[str, Any]]) -> Result:
    """Every node has the same files of the same sizes, and the small ones with the same content."""
    held = {rank: entry for rank, entry in shared.items() if entry["weights"]}
    if not held:
        return Result("same-weights", SKIPPED, "no node has weights")
    help = "Copy the checkpoint of one node to the others: rsync -a --checksum"
    for key in ("weights", "digests_of_files"):
        for name in sorted({name for entry in held.values() for name in entry[key]}):
            values = {rank: entry[key].get(name, "absent") for rank, entry in held.items()}
            if len(set(values.values())) > 1:
                return Result("same-weights", FAIL, f"{name}: {_shown(values, _size)}", help)
    files = len(next(iter(held.values()))["weights"])
    missing = [rank for rank in shared if rank not in held]
    rest = f"; not read on {_nodes(missing)}" if missing else ""
    return Result("same-weights", OK, f"{files} files alike on {len(held)} nodes{rest}")


def _size(value: Any) -> str:
    return f"{value:,} bytes" if isinstance(value, int) else str(value)[:12]


def skew_of(item: Asked) -> tuple[float, float]:
    """By how many seconds a node's clock is ahead of ours: the least and the most that its answer allows.

    The node began after we sent and ended before we received: started - skew >= sent, finished - skew <= received.
    """
    assert item.report is not None
    return item.report.finished - item.received, item.report.started - item.sent


def clock_skew(answered: Sequence[Asked]) -> Result:
    """Clocks agree, as far as the way over ssh lets us see."""
    spans = {item.rank: skew_of(item) for item in answered}
    late, early = max(spans.items(), key=lambda entry: entry[1][0]), min(spans.items(), key=lambda entry: entry[1][1])
    apart = late[1][0] - early[1][1]
    unsure = max((most - least) / 2 for least, most in spans.values())
    if apart > MAX_SKEW:
        return Result(
            "clock-skew",
            WARN,
            f"the clock of node {late[0]} is at least {apart:.1f} s ahead of that of node {early[0]}",
            "On each node: sudo timedatectl set-ntp true. Logs of several nodes mislead until then.",
        )
    return Result("clock-skew", OK, f"no difference above {MAX_SKEW:.0f} s is seen (each measured to {unsure:.1f} s)")
