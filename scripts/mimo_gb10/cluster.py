"""Where to serve: the nodes in rank order, their fabric, ports and paths."""

from __future__ import annotations

from dataclasses import dataclass

from mimo_gb10.findings import Refused
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import Document


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
