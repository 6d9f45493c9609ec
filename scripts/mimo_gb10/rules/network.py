"""Rules about addresses, ports and the fabric."""

from __future__ import annotations

from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, error, warning
from mimo_gb10.names import EVERYWHERE, canonical_ip, is_host, is_ip, other_half
from mimo_gb10.passage import Passage
from mimo_gb10.rules.base import Rule
from mimo_gb10.text.document import NodePath

_ARGS = "sglang/srt/server_args.py"


class Addresses(Rule):
    """Every node has an address of its own, an IP address or a host name.

    A node that appears twice would get two ranks and one GPU. A malformed address shows only as a rendezvous
    that never completes.
    """

    code = "node-address"

    def check(self, context: Context) -> Iterator[Finding]:
        """Form and uniqueness of addresses."""
        document = context.cluster.document
        seen: dict[str, int] = {}
        for index, node in enumerate(context.cluster.nodes):
            place = document.location(("nodes", index, "address"))
            same = canonical_ip(node.address) or node.address.lower().rstrip(".")
            if not is_host(node.address) or same in EVERYWHERE:
                yield error(
                    self.code,
                    f"{node.address!r} is neither an IP address nor a host name of a node",
                    "Write the node's fabric address; on the node: ip -br -4 address",
                    place,
                )
            elif same in seen:
                yield error(
                    "node-repeated",
                    f"{node.address} is node {seen[same]} and node {index}",
                    "Give each node its own address.",
                    place,
                )
            seen.setdefault(same, index)
        if not is_host(context.cluster.serve_host):
            yield error(
                self.code,
                f"serve.host {context.cluster.serve_host!r} is neither an IP address nor a host name",
                "Write 0.0.0.0 for every interface, or an address of the head.",
                document.location(("serve", "host")),
            )


class HostIpIsAddress(Rule):
    """SGLANG_HOST_IP must be an IP address.

    SGLang binds its message sockets to the value as it is; a host name there works for connecting, not for binding.
    """

    code = "host-ip-name"
    passages = (Passage(("sglang/srt/utils/network.py",), r'getenv\("SGLANG_HOST_IP"'),)

    def check(self, context: Context) -> Iterator[Finding]:
        """A host name where the cluster makes the variable."""
        if "SGLANG_HOST_IP" in context.recipe.env:
            return
        for index, node in enumerate(context.cluster.nodes):
            if is_host(node.address) and not is_ip(node.address):
                yield warning(
                    self.code,
                    f"{node.address!r} is a host name, and SGLANG_HOST_IP becomes it: "
                    "SGLang binds sockets to that value",
                    "Write the node's IP address on the fabric.",
                    context.cluster.document.location(("nodes", index, "address")),
                    self.source(context),
                )


class PortClash(Rule):
    """The rendezvous, the server and the ports that SGLang derives from them must differ.

    With DP attention SGLang takes the ports after the rendezvous port, and one thirteen above it. Up to
    0.5.15.post1 it also computes a gRPC port 10000 above the serving port, and refuses to start when that is no port.
    """

    code = "port-clash"
    passages = (Passage((_ARGS,), r"port_base = dist_init_port \+ 1"),)

    def check(self, context: Context) -> Iterator[Finding]:
        """Compare every port that one launch takes."""
        cluster, document = context.cluster, context.cluster.document
        taken = {cluster.rendezvous_port: "the rendezvous port"}
        if context.uses_dp_attention:
            for offset in range(1, 7):
                taken[cluster.rendezvous_port + offset] = f"the rendezvous port + {offset}, which DP attention takes"
            taken[cluster.rendezvous_port + 13] = "the rendezvous port + 13, which DP attention takes"
            if max(taken) > 65535:
                yield error(
                    self.code,
                    f"DP attention takes ports up to {max(taken)}, beyond 65535",
                    "Choose a lower rendezvous port.",
                    document.location(("rendezvous", "port")),
                    self.source(context),
                )
        if cluster.serve_port in taken:
            yield error(
                self.code,
                f"serve.port {cluster.serve_port} is {taken[cluster.serve_port]}",
                "Choose another serve.port.",
                document.location(("serve", "port")),
                self.source(context),
            )


class GrpcPort(Rule):
    """Up to 0.5.15.post1 the serving port must leave room for a gRPC port 10000 above it.

    The port is computed and checked at every start, also when gRPC is off.
    """

    code = "grpc-port"
    last = "0.5.15.post1"
    passages = (Passage((_ARGS,), r"grpc_port_env if grpc_port_env is not None else self\.port \+ 10000", last=last),)

    def check(self, context: Context) -> Iterator[Finding]:
        """A serving port above 55535."""
        port = context.cluster.serve_port
        if port + 10000 > 65535 and "SGLANG_GRPC_PORT" not in context.recipe.env:
            yield error(
                self.code,
                f"SGLang {context.release.version} derives a gRPC port from serve.port, and {port + 10000} is no port",
                "Choose a serve.port of 55535 or less.",
                context.cluster.document.location(("serve", "port")),
                self.source(context),
            )


class OneRdmaHalf(Rule):
    """One QSFP port of a GB10 is two RDMA devices; with one of them NCCL gets half the bandwidth.

    The two halves of one port sit on two PCIe domains: rocep1s0f0 and roceP2p1s0f0. NVIDIA's playbooks name both in
    NCCL_IB_HCA; each half needs an address, in different subnets.
    """

    code = "fabric-one-half"

    def check(self, context: Context) -> Iterator[Finding]:
        """A node with one half and not the other."""
        document = context.cluster.document
        reported: set[str] = set()
        for index, node in enumerate(context.cluster.nodes):
            own = "rdma_devices" in document.value["nodes"][index]
            path: NodePath = ("nodes", index, "rdma_devices") if own else ("fabric", "rdma_devices")
            for device in node.rdma_devices:
                other = other_half(device)
                if other and other not in node.rdma_devices and device not in reported:
                    reported.add(device)
                    yield warning(
                        self.code,
                        f"{device} is one half of its port; {other} is not in the list, "
                        "so NCCL gets half the bandwidth",
                        f"Add {other} if ibdev2netdev shows it up; both halves need an address, in different subnets.",
                        document.location(path),
                        "https://github.com/NVIDIA/dgx-spark-playbooks",
                    )
