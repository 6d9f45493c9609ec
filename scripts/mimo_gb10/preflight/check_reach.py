"""Checks of ports, of the way to the other nodes, and of the clock."""

from __future__ import annotations

import ipaddress

from mimo_gb10.preflight.checks import Node, Outcome, check, fail, listed, ok, skipped, warn
from mimo_gb10.preflight.facts import Unread

_ANSWERS = ("open", "refused")


@check("ports")
def ports(node: Node) -> Outcome:
    """The ports that this rank opens are free: the HTTP port on every rank, the rendezvous port on the head.

    Ranks above 0 open a health server on the HTTP port (seen with 0.5.11).
    """
    found = node.facts.network.listeners
    if isinstance(found, Unread):
        return skipped(found.why)
    wanted = {node.wanted.serve_port: "serve.port"}
    if node.rank == 0:
        wanted[node.wanted.rendezvous_port] = "rendezvous.port"
    taken = [listener for listener in found if listener.port in wanted]
    if taken:
        port = taken[0].port
        return fail(
            f"{wanted[port]} {port} is taken: somebody listens on {taken[0].address}",
            f"See who: sudo ss -ltnp 'sport = :{port}'. End it, or choose another {wanted[port]}.",
        )
    return ok(f"{', '.join(str(port) for port in wanted)} free")


@check("reach")
def reach(node: Node) -> Outcome:
    """Every other node answers on its fabric address."""
    if not node.facts.reach:
        return skipped("the cluster has one node")
    silent = [item for item in node.facts.reach if item.connect not in _ANSWERS]
    if silent:
        shown = listed([f"{item.address} ({item.connect})" for item in silent])
        return fail(
            f"no answer: {shown}",
            "Check that the node is on, its address and cable, and a firewall between (sudo nft list ruleset).",
        )
    return ok(f"{len(node.facts.reach)} others answer")


@check("route")
def route(node: Node) -> Outcome:
    """Packets to every other node leave by the cluster's interface, and over no gateway."""
    if not node.facts.reach:
        return skipped("the cluster has one node")
    unread = [item for item in node.facts.reach if isinstance(item.route, Unread)]
    if len(unread) == len(node.facts.reach):
        first = unread[0].route
        assert isinstance(first, Unread)
        return (
            skipped(first.why)
            if first.missing
            else fail(
                f"no route to {unread[0].address} ({first.why})", "Give the interface an address in the nodes' subnet."
            )
        )
    wanted = node.own.socket_interface
    for item in node.facts.reach:
        if isinstance(item.route, Unread):
            return fail(f"no route to {item.address} ({item.route.why})", "Give all nodes addresses in one subnet.")
        if item.route.interface == "lo":
            return fail(f"{item.address} is this machine's own address", "Each node needs an address of its own.")
        if item.route.interface != wanted:
            return fail(
                f"packets to {item.address} leave by {item.route.interface}, not by {wanted}",
                f"See: ip route get {item.address}. Use the fabric's addresses, or correct the other subnet.",
            )
        if item.route.gateway:
            return fail(
                f"packets to {item.address} go over the gateway {item.route.gateway}",
                "Give all nodes addresses in one subnet of the fabric: RDMA is not to be routed.",
            )
    return ok(f"all {len(node.facts.reach)} by {wanted}")


@check("path-mtu")
def path_mtu(node: Node) -> Outcome:
    """Packets as large as the interface's MTU come back from every other node in one piece."""
    tried = [item for item in node.facts.reach if not isinstance(item.jumbo, Unread)]
    if not tried:
        first = node.facts.reach[0].jumbo if node.facts.reach else Unread("the cluster has one node")
        return skipped(first.why if isinstance(first, Unread) else "not tried")
    lost = [item.address for item in tried if item.jumbo is False]
    if lost:
        return fail(
            f"large packets to {listed(lost)} are lost",
            "Set the same MTU on all nodes, and jumbo frames (9216) on every port of the switch between them.",
        )
    return ok(f"{len(tried)} others answer to packets of full size")


@check("clock")
def clock(node: Node) -> Outcome:
    """The clock follows a time server, so that the logs of several nodes can be read side by side."""
    found = node.facts.system.clock_synchronized
    if isinstance(found, Unread):
        return skipped(found.why)
    if not found:
        return warn("it follows no time server", "sudo timedatectl set-ntp true; then timedatectl timesync-status")
    return ok("it follows a time server")


@check("serve-address")
def serve_address(node: Node) -> Outcome:
    """The head can bind the address that it is to answer on."""
    if node.rank != 0:
        return skipped("the head answers HTTP")
    host = node.wanted.serve_host
    interfaces = node.facts.network.interfaces
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return skipped(f"serve.host {host!r} is a name")
    if address.is_unspecified:
        return ok(f"{host}: every interface")
    if isinstance(interfaces, Unread):
        return skipped(interfaces.why)
    held = {entry.address for item in interfaces.values() for entry in item.addresses}
    if str(address) in held or address.is_loopback:
        return ok(host)
    return fail(
        f"{host} is no address of this node",
        f"Write 0.0.0.0, or one of: {listed(sorted(held - {'127.0.0.1', '::1'}))}.",
    )


CHECKS = (ports, serve_address, reach, route, path_mtu, clock)
