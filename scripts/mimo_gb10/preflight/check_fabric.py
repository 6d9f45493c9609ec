"""Checks of the fabric: interfaces, RDMA devices, and how they belong together."""

from __future__ import annotations

import ipaddress

from mimo_gb10 import names
from mimo_gb10.preflight.check_container import spelled
from mimo_gb10.preflight.checks import Node, Outcome, check, fail, listed, ok, skipped, warn
from mimo_gb10.preflight.facts import Interface, RdmaDevice, Unread
from mimo_gb10.preflight.read_network import JUMBO

_PLAYBOOKS = "https://github.com/NVIDIA/dgx-spark-playbooks"
_TWO_SUBNETS = f"{_PLAYBOOKS}/blob/main/nvidia/playbook-connect-two-sparks/assets/performance_benchmarking_guide.md"
_MTU_THREAD = "https://github.com/NVIDIA/dgx-spark-playbooks/pull/103"
_WANTED_MTU = 9000


def _interfaces(node: Node) -> dict[str, Interface] | Outcome:
    found = node.facts.network.interfaces
    return skipped(found.why) if isinstance(found, Unread) else dict(found)


def _interface(node: Node) -> Interface | Outcome:
    found = _interfaces(node)
    if isinstance(found, Outcome):
        return found
    name = node.own.socket_interface
    return found[name] if name in found else skipped(f"there is no interface {name}")


def _devices(node: Node) -> list[RdmaDevice] | Outcome:
    """Those of the cluster file's devices that are there."""
    rdma = node.facts.network.rdma
    found = [rdma[name] for name in node.own.rdma_devices if name in rdma]
    return found or skipped("none of the cluster file's devices is there")


@check("interface")
def interface(node: Node) -> Outcome:
    """The cluster file's interface exists under that very name: Linux tells large letters from small ones."""
    found = _interfaces(node)
    if isinstance(found, Outcome):
        return found
    name = node.own.socket_interface
    if name in found:
        return ok(name)
    for other in found.values():
        if name in other.alternatives:
            return fail(
                f"{name} is only another name (altname) of {other.name}, which NCCL does not look for",
                f"Write socket_interface: {other.name}",
            )
    return fail(f"there is no interface {name}", spelled(name, sorted(set(found) - {"lo"})))


@check("interface-up")
def interface_up(node: Node) -> Outcome:
    """The interface has a link."""
    found = _interface(node)
    if isinstance(found, Outcome):
        return found
    if found.state == "up":
        return ok(f"{found.name} is up")
    if found.state == "unknown" and found.addresses:
        return ok(f"{found.name} has an address; its driver does not report a link")
    return fail(
        f"{found.name} is {found.state}",
        f"Check the cable and the other end; then: sudo ip link set {found.name} up",
    )


@check("interface-address")
def interface_address(node: Node) -> Outcome:
    """The interface carries the node's address."""
    found = _interface(node)
    interfaces = _interfaces(node)
    if isinstance(found, Outcome):
        return found
    assert not isinstance(interfaces, Outcome)
    address = node.own.address
    meant = set(node.facts.network.resolved.get(address, ()))
    if not meant:
        return fail(
            f"{address} does not resolve here", "Write the IP address into the cluster file, or add it to /etc/hosts."
        )
    held = [entry.address for entry in found.addresses]
    if meant & set(held):
        return ok(f"{found.name} has {next(iter(meant & set(held)))}")
    elsewhere = [other.name for other in interfaces.values() if meant & {entry.address for entry in other.addresses}]
    if elsewhere:
        return fail(
            f"{address} is on {elsewhere[0]}, not on {found.name}",
            f"Write socket_interface: {elsewhere[0]}, or the address of {found.name}: {listed(held) or 'none'}.",
        )
    return fail(
        f"{found.name} has {listed(held) or 'no address'}, not {address}",
        "Correct the address in the cluster file, or give it to the interface (netplan; ip -br address shows it).",
    )


@check("mtu")
def mtu(node: Node) -> Outcome:
    """The fabric's MTU is 9000 on the interface and on every RDMA device's interface.

    RoCE itself sends at most 4096 bytes at a time, for which an MTU of 4200 is enough; NVIDIA's playbooks say 9000.
    """
    found = _fabric_interfaces(node)
    if isinstance(found, Outcome):
        return found
    shown = ", ".join(f"{item.name} {item.mtu}" for item in found)
    small = [item for item in found if (item.mtu or 0) < JUMBO]
    if small:
        command = f"sudo ip link set {small[0].name} mtu 9000"
        return warn(
            f"{shown}: below {JUMBO} RoCE sends in small packets, about 5 % slower (reported)",
            f"On all nodes alike, and on the switch: {command} (netplan keeps it).",
            _MTU_THREAD,
        )
    if any((item.mtu or 0) < _WANTED_MTU for item in found):
        return ok(f"{shown}; enough for RoCE's 4096 bytes (NVIDIA's playbooks say 9000)")
    return ok(shown)


def _fabric_interfaces(node: Node) -> list[Interface] | Outcome:
    """The socket interface and those of the RDMA devices, each once."""
    interfaces = _interfaces(node)
    if isinstance(interfaces, Outcome):
        return interfaces
    rdma = node.facts.network.rdma
    names = [node.own.socket_interface]
    names += [name for device in node.own.rdma_devices if device in rdma for name in rdma[device].interfaces]
    found = [interfaces[name] for name in dict.fromkeys(names) if name in interfaces]
    return found or skipped(f"there is no interface {node.own.socket_interface}")


@check("rdma-devices")
def rdma_devices(node: Node) -> Outcome:
    """The cluster file's RDMA devices exist under that very name."""
    rdma = node.facts.network.rdma
    missing = [name for name in node.own.rdma_devices if name not in rdma]
    if not missing:
        return ok(", ".join(node.own.rdma_devices))
    if not rdma:
        return fail(
            "the node has no RDMA device at all",
            "sudo modprobe mlx5_ib; then ibdev2netdev shows the devices. Without RDMA NCCL would go over TCP.",
        )
    return fail(f"there is no RDMA device {', '.join(missing)}", spelled(missing[0], sorted(rdma)))


@check("rdma-up")
def rdma_up(node: Node) -> Outcome:
    """Each device's port is active, and speaks Ethernet (RoCE)."""
    found = _devices(node)
    if isinstance(found, Outcome):
        return found
    down = [device for device in found if device.state != "ACTIVE"]
    if down:
        shown = ", ".join(f"{device.name} is {device.state}" for device in down)
        return fail(shown, f"Check the cable; then: sudo ip link set {_first(down[0].interfaces)} up")
    other = [device for device in found if device.link_layer != "Ethernet"]
    if other:
        return fail(
            f"{other[0].name} speaks {other[0].link_layer or 'an unknown protocol'}, not Ethernet",
            "Set the port to Ethernet: mlxconfig -d DEVICE set LINK_TYPE_P1=2, and power-cycle.",
        )
    return ok(f"{', '.join(device.name for device in found)}: ACTIVE")


def _first(names: tuple[str, ...]) -> str:
    return names[0] if names else "its interface"


@check("pairing")
def pairing(node: Node) -> Outcome:
    """Each RDMA device has its network interface, and the cluster's interface belongs to one of them.

    The names of both say which half of which port they are: rocep1s0f0 goes with enp1s0f0np0.
    """
    found = _devices(node)
    if isinstance(found, Outcome):
        return found
    if len(found) < len(node.own.rdma_devices):
        return skipped("not all of the cluster file's devices are there")
    alone = [device.name for device in found if not device.interfaces]
    if alone:
        return fail(f"{', '.join(alone)} has no network interface", "Load the Ethernet driver: sudo modprobe mlx5_core")
    shown = ", ".join(f"{device.name} = {'+'.join(device.interfaces)}" for device in found)
    socket = node.own.socket_interface
    interfaces = _interfaces(node)
    if any(socket in device.interfaces for device in found):
        return ok(shown)
    if not isinstance(interfaces, Outcome) and socket not in interfaces:
        return skipped(f"{shown}; there is no interface {socket}")
    own = [device.name for device in node.facts.network.rdma.values() if socket in device.interfaces]
    if own:
        return fail(
            f"{shown}; but {socket} belongs to {own[0]}, which is not in rdma_devices",
            f"Write the interface of a device in the list ({found[0].interfaces[0]}), or add {own[0]} to the list.",
        )
    return warn(
        f"{shown}; {socket} belongs to none of them",
        f"NCCL starts over {socket} and sends data over the others. For the fabric's own: {found[0].interfaces[0]}.",
    )


@check("other-half")
def other_half(node: Node) -> Outcome:
    """Both halves of a port are in the list: one QSFP port of a GB10 is two devices, on two PCIe domains."""
    found = _devices(node)
    if isinstance(found, Outcome):
        return found
    left = []
    for device in found:
        half = names.other_half(device.name)
        other = node.facts.network.rdma.get(half or "")
        if other is not None and other.name not in node.own.rdma_devices and other.state == "ACTIVE":
            left.append(other.name)
    if left:
        return warn(
            f"{', '.join(left)} is up and not in the list: NCCL gets half of the port",
            f"Add {left[0]} to rdma_devices; both halves need an address, in different subnets.",
            _PLAYBOOKS,
        )
    return ok("no half is left out")


def _networks(item: Interface) -> list[ipaddress.IPv4Network]:
    found = []
    for entry in item.addresses:
        address = ipaddress.ip_address(entry.address.partition("%")[0])
        if isinstance(address, ipaddress.IPv4Address) and not address.is_link_local:
            found.append(ipaddress.IPv4Network((int(address), entry.prefix), strict=False))
    return found


@check("rdma-address")
def rdma_address(node: Node) -> Outcome:
    """Each RDMA device's interface has an IPv4 address, which its RoCE v2 address is made of."""
    found, interfaces = _devices(node), _interfaces(node)
    if isinstance(found, Outcome):
        return found
    if isinstance(interfaces, Outcome):
        return interfaces
    ipv6_only = all(":" in address for address in node.facts.network.resolved.get(node.own.address, ("",)))
    bare = [
        (device.name, name)
        for device in found
        for name in device.interfaces
        if name in interfaces and not _networks(interfaces[name])
    ]
    if bare and ipv6_only:
        return ok("the fabric is IPv6")
    if bare:
        device, name = bare[0]
        return fail(
            f"{name} ({device}) has no IPv4 address",
            f"Give it one, in a subnet of its own: sudo ip address add ADDRESS/24 dev {name} (netplan keeps it).",
            _PLAYBOOKS,
        )
    shown = ", ".join(
        f"{name} {_networks(interfaces[name])[0]}"
        for device in found
        for name in device.interfaces
        if name in interfaces
    )
    return ok(shown)


@check("subnets")
def subnets(node: Node) -> Outcome:
    """The halves of a port are in different subnets: in one, packets for both leave by the first.

    NVIDIA's sources disagree: its performance guide gives each half a subnet of its own, its playbook for a switch
    puts both in one (reported). So this warns.
    """
    found, interfaces = _devices(node), _interfaces(node)
    if isinstance(found, Outcome):
        return found
    if isinstance(interfaces, Outcome):
        return interfaces
    names = [name for device in found for name in device.interfaces if name in interfaces]
    pairs = [(name, network) for name in names for network in _networks(interfaces[name])]
    for index, (name, network) in enumerate(pairs):
        for other, second in pairs[:index]:
            if other != name and network.overlaps(second):
                return warn(
                    f"{other} and {name} are both in {network}",
                    "Give each half a subnet of its own, for example 192.168.100.0/24 and 192.168.101.0/24.",
                    _TWO_SUBNETS,
                )
    if len({name for name, _ in pairs}) < 2:
        return skipped("fewer than two interfaces have an address")
    return ok(", ".join(str(network) for _, network in pairs))


@check("gid")
def gid(node: Node) -> Outcome:
    """Each device has a RoCE v2 GID of its IPv4 address, at the index that the recipe names if it names one.

    Which index it is differs between nodes and can move when addresses are set anew (3 and 5 are reported).
    """
    found, interfaces = _devices(node), _interfaces(node)
    if isinstance(found, Outcome):
        return found
    if isinstance(interfaces, Outcome):
        return interfaces
    forced = node.recipe.env.get("NCCL_IB_GID_INDEX") if node.recipe else None
    shown = []
    for device in found:
        good = [entry.index for entry in device.gids if entry.kind == "RoCE v2" and _routable(entry.address)]
        if not good:
            kinds = ", ".join(f"{entry.index}: {entry.kind or 'unknown'}" for entry in device.gids) or "it is empty"
            return fail(
                f"{device.name} has no RoCE v2 GID of an address ({kinds})",
                f"Give {_first(device.interfaces)} an address, and look again with show_gids.",
            )
        if forced is not None and forced not in [str(index) for index in good]:
            return fail(
                f"{device.name}: the recipe sets NCCL_IB_GID_INDEX={forced}; RoCE v2 is at {', '.join(map(str, good))}",
                "Leave NCCL_IB_GID_INDEX out of the recipe: NCCL finds the index of each device by itself.",
            )
        shown.append(f"{device.name} {good[0]}")
    return ok(f"RoCE v2 at index: {', '.join(shown)}")


def _routable(address: str) -> bool:
    try:
        value = ipaddress.IPv6Address(address)
    except ValueError:
        return False
    inner = value.ipv4_mapped
    return not inner.is_link_local if inner is not None else not value.is_link_local


@check("pcie-link")
def pcie_link(node: Node) -> Outcome:
    """Each device uses all its PCIe lanes; with early firmware one half was reported to come up with two of four."""
    found = _devices(node)
    if isinstance(found, Outcome):
        return found
    known = [device for device in found if device.link_width and device.max_link_width]
    if not known:
        return skipped("the devices do not show their PCIe link")
    narrow = [device for device in known if (device.link_width or 0) < (device.max_link_width or 0)]
    if narrow:
        device = narrow[0]
        return warn(
            f"{device.name} runs on {device.link_width} of {device.max_link_width} PCIe lanes",
            "Update the firmware (sudo fwupdmgr refresh; sudo fwupdmgr update) and power-cycle the node.",
            "https://github.com/tonyd2wild/DeepSeek-v4-Flash-Vision-Exp-DSpark-1M-NVFP4-KV-2x-DGX-Spark/pull/35",
        )
    return ok(", ".join(f"{device.name} x{device.link_width}" for device in known))


@check("nccl-leftovers")
def nccl_leftovers(node: Node) -> Outcome:
    """No file of the machine changes NCCL's settings behind the recipe's back."""
    found = {path: lines for path, lines in node.facts.system.leftovers.items() if lines}
    if found:
        path, lines = next(iter(found.items()))
        return warn(
            f"{path} sets {listed(lines)}",
            f"Move it away: sudo mv {path} {path}.off. Such a file froze the start of NCCL (reported).",
            "https://github.com/luxingcom/aicad-nccl-optimization/issues/1",
        )
    return ok("no /etc/nccl.conf")


CHECKS = (
    *(interface, interface_up, interface_address, mtu),
    *(rdma_devices, rdma_up, pairing, other_half, rdma_address, subnets, gid, pcie_link, nccl_leftovers),
)
