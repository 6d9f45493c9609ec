"""Where to serve: the nodes in rank order, their fabric, ports and paths."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from mimo_gb10.findings import Refused
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import Document

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?\Z")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}\Z")
_ALL_DIGITS = re.compile(r"[0-9.]+\Z")


@dataclass(frozen=True, slots=True)
class Node:
    """One machine.

    Attributes:
        address: Its address on the fabric: an IP address or a host name.
        socket_interface: The network interface that carries that address.
        rdma_devices: The RDMA devices of the fabric, at least one.
    """

    address: str
    socket_interface: str
    rdma_devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The machines that serve together.

    Attributes:
        name: The cluster's name.
        model_path: Absolute path of the checkpoint, the same on every node.
        gpus_per_node: GPUs in one node.
        rendezvous_port: TCP port on the head where the ranks meet.
        serve_host: Address that the head binds for HTTP.
        serve_port: TCP port for HTTP.
        nodes: In rank order; the first is the head.
        document: The file it came from, for positions in findings.
    """

    name: str
    model_path: str
    gpus_per_node: int
    rendezvous_port: int
    serve_host: str
    serve_port: int
    nodes: tuple[Node, ...]
    document: Document

    @property
    def head(self) -> Node:
        """The node of rank 0."""
        return self.nodes[0]


def load_cluster(document: Document) -> Cluster:
    """Make a cluster of a document.

    Raises:
        Refused: If the document breaks the cluster schema.
    """
    found = check_schema(document, "cluster")
    if found:
        raise Refused(found)
    value = document.value
    fabric = value["fabric"]
    nodes = tuple(
        Node(
            address=node["address"],
            socket_interface=node.get("socket_interface", fabric["socket_interface"]),
            rdma_devices=tuple(node.get("rdma_devices", fabric["rdma_devices"])),
        )
        for node in value["nodes"]
    )
    return Cluster(
        name=value["name"],
        model_path=value["model_path"],
        gpus_per_node=value.get("gpus_per_node", 1),
        rendezvous_port=value["rendezvous"]["port"],
        serve_host=value["serve"]["host"],
        serve_port=value["serve"]["port"],
        nodes=nodes,
        document=document,
    )


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
