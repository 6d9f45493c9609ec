"""Names of nodes, RDMA devices and containers: which are well formed, and which belong together.

This module needs the standard library only and Python 3.10, since `mimo_gb10.preflight` runs it on a node.
"""

from __future__ import annotations

import ipaddress
import re

EVERYWHERE = ("0.0.0.0", "::")
"""What a server binds to answer on every interface."""

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?\Z")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}\Z")
_ALL_DIGITS = re.compile(r"[0-9.]+\Z")
_HALF = re.compile(r"roce(?P<domain>P\d+)?(?P<rest>p\d+s\d+f\d+)\Z")


def is_ip(address: str) -> bool:
    """Whether `address` is a literal IPv4 or IPv6 address."""
    return canonical_ip(address) is not None


def canonical_ip(address: str) -> str | None:
    """The one spelling of an IP address that others may spell otherwise, or None if it is none."""
    host, percent, zone = address.partition("%")
    if percent and not _ZONE.match(zone):
        return None
    try:
        return f"{ipaddress.ip_address(host)}{percent}{zone}"
    except ValueError:
        return None


def is_host(address: str) -> bool:
    """Whether `address` is an IP address or a well-formed host name. 192.168.1 and 300.1.1.1 are neither."""
    return is_ip(address) or bool(_HOST_NAME.match(address) and not _ALL_DIGITS.match(address))


def with_port(address: str, port: int) -> str:
    """``address:port``, with the brackets that an IPv6 address needs."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def other_half(device: str) -> str | None:
    """The RDMA device that shares a QSFP port with `device`, or None for names of another form.

    One port of a GB10 is two devices on two PCIe domains: ``rocep1s0f0`` and ``roceP2p1s0f0``.
    """
    match = _HALF.match(device)
    if not match:
        return None
    return f"roce{match['rest']}" if match["domain"] else f"roceP2{match['rest']}"


def container_name(recipe: str, rank: int) -> str:
    """The container of a rank: what to give to ``docker logs`` and ``docker stop``."""
    return f"{recipe}-rank{rank}"
