"""Reading interfaces, RDMA devices, routes and listeners."""

from __future__ import annotations

import ipaddress
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mimo_gb10.preflight.facts import (
    Address,
    Gid,
    Interface,
    Listener,
    Network,
    RdmaDevice,
    Reach,
    Route,
    Unread,
)
from mimo_gb10.preflight.machine import TIMED_OUT, Machine
from mimo_gb10.preflight.read_system import json_objects, text_of, unread, why
from mimo_gb10.preflight.wanted import Wanted

NET = "/sys/class/net"
RDMA = "/sys/class/infiniband"
VERBS = "/sys/class/infiniband_verbs"

REACH_PORT = 22
"""Where another node is knocked at: ssh listens there, and where it does not, a refusal is an answer too."""

JUMBO = 4200
"""From this MTU on, RoCE itself sends 4096 bytes at a time (reported, NVIDIA/dgx-spark-playbooks pull request 103)."""

_EMPTY_GID = "0000:0000:0000:0000:0000:0000:0000:0000"
_LISTEN = "0A"


def read_network(machine: Machine, wanted: Wanted) -> Network:
    """The node's own network."""
    return Network(
        interfaces=_interfaces(machine),
        rdma=_rdma(machine),
        listeners=_listeners(machine),
        resolved={node.address: resolve(machine, node.address) for node in wanted.nodes},
    )


def is_ip(address: str) -> bool:
    """Whether `address` is a literal IP address, a zone allowed."""
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return True


def resolve(machine: Machine, address: str) -> tuple[str, ...]:
    """The IP addresses of a node: itself, or what its name resolves to here (nothing if it does not)."""
    if is_ip(address):
        return (str(ipaddress.ip_address(address.partition("%")[0])),)
    done = machine.run(("getent", "ahosts", address))
    words = [line.split()[0] for line in done.out.splitlines() if line.strip()] if done.ok else []
    return tuple(dict.fromkeys(word for word in words if is_ip(word)))


def _line(machine: Machine, path: str) -> str:
    text = text_of(machine, path)
    return "" if isinstance(text, Unread) else text.strip()


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _interfaces(machine: Machine) -> dict[str, Interface] | Unread:
    try:
        names = machine.list_dir(NET)
    except OSError as problem:
        return Unread(f"{NET}: {why(problem)}", isinstance(problem, FileNotFoundError))
    done = machine.run(("ip", "-json", "addr"))
    if not done.ok:
        return unread("ip", done)
    entries = json_objects(done.out)
    if entries is None:
        return Unread("ip -json addr printed no JSON")
    shown = {str(entry.get("ifname")): entry for entry in entries}
    found = {}
    for name in names:
        # A bonding driver puts a plain file beside the interfaces.
        state = _line(machine, f"{NET}/{name}/operstate")
        if not state:
            continue
        entry = shown.get(name, {})
        try:
            device: str | None = machine.real_path(f"{NET}/{name}/device")
        except OSError:
            device = None
        found[name] = Interface(
            name=name,
            state=state,
            mtu=_number(_line(machine, f"{NET}/{name}/mtu")),
            hardware=_line(machine, f"{NET}/{name}/address"),
            device=device,
            alternatives=tuple(str(other) for other in _listed(entry, "altnames")),
            addresses=tuple(_addresses(entry)),
        )
    return found


def _listed(entry: dict[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _addresses(entry: dict[str, Any]) -> list[Address]:
    """The addresses of one entry of ``ip -json addr``; one without an address of its own (a tunnel) is left out."""
    infos = [info for info in _listed(entry, "addr_info") if isinstance(info, dict)]
    return [
        Address(info["local"], info["prefixlen"])
        for info in infos
        if isinstance(info.get("prefixlen"), int) and is_ip(str(info.get("local")))
    ]


def _names(machine: Machine, path: str) -> list[str]:
    try:
        return machine.list_dir(path)
    except OSError:
        return []


def _rdma(machine: Machine) -> dict[str, RdmaDevice]:
    files = set(_names(machine, "/dev/infiniband"))
    verbs = {
        _line(machine, f"{VERBS}/{name}/ibdev"): name for name in _names(machine, VERBS) if name.startswith("uverbs")
    }
    found = {}
    for name in _names(machine, RDMA):
        port = f"{RDMA}/{name}/ports/1"
        found[name] = RdmaDevice(
            name=name,
            state=_line(machine, f"{port}/state").partition(":")[2].strip() or "unknown",
            link_layer=_line(machine, f"{port}/link_layer"),
            interfaces=tuple(_names(machine, f"{RDMA}/{name}/device/net")),
            gids=tuple(_gids(machine, port)),
            uverbs=verbs.get(name) in files,
            link_width=_number(_line(machine, f"{RDMA}/{name}/device/current_link_width")),
            max_link_width=_number(_line(machine, f"{RDMA}/{name}/device/max_link_width")),
        )
    return found


def _gids(machine: Machine, port: str) -> list[Gid]:
    found = []
    for index in sorted(int(name) for name in _names(machine, f"{port}/gids") if name.isdigit()):
        address = _line(machine, f"{port}/gids/{index}")
        # The type of an empty entry cannot be read: the file gives EINVAL.
        if address and address != _EMPTY_GID:
            found.append(Gid(index, address, _line(machine, f"{port}/gid_attrs/types/{index}")))
    return found


def _listeners(machine: Machine) -> tuple[Listener, ...] | Unread:
    found: list[Listener] = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        text = text_of(machine, path)
        if isinstance(text, Unread):
            if path.endswith("6"):
                continue  # IPv6 can be off
            return text
        found += parse_listeners(text)
    return tuple(found)


def parse_listeners(text: str) -> list[Listener]:
    """The sockets in state LISTEN out of ``/proc/net/tcp`` or ``tcp6``."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] == _LISTEN:
            address, _, port = words[1].partition(":")
            found.append(Listener(_unhex(address), int(port, 16)))
    return found


def _unhex(text: str) -> str:
    """An address out of ``/proc/net/tcp``: words of four bytes, each in the order of a little-endian machine."""
    data = bytes.fromhex(text)
    data = b"".join(data[start : start + 4][::-1] for start in range(0, len(data), 4))
    return str(ipaddress.ip_address(data))


def read_reach(machine: Machine, wanted: Wanted, rank: int, network: Network) -> tuple[Reach, ...]:
    """How every other node is reached from this one."""
    interfaces = {} if isinstance(network.interfaces, Unread) else network.interfaces
    own = interfaces.get(wanted.nodes[rank].socket_interface)
    mtu = own.mtu if own is not None and own.mtu is not None else 0
    others = [node.address for index, node in enumerate(wanted.nodes) if index != rank]
    if not others:
        return ()
    # Nodes that do not answer each take their time: ask all at once.
    with ThreadPoolExecutor(min(32, len(others))) as pool:
        return tuple(pool.map(lambda name: _reach(machine, name, network.resolved.get(name, ()), mtu), others))


def _reach(machine: Machine, name: str, addresses: tuple[str, ...], mtu: int) -> Reach:
    zone = name.partition("%")[2]
    if not addresses:
        return Reach(name, Unread("the name does not resolve here"), "name not resolved", Unread("no address"))
    target = f"{addresses[0]}%{zone}" if zone else addresses[0]
    route = Route(zone, None, None) if zone else _route(machine, addresses[0])
    connect = machine.connect(target, REACH_PORT)
    jumbo: bool | Unread = Unread("the MTU is no jumbo MTU")
    if connect not in ("open", "refused"):
        jumbo = Unread("the node does not answer")
    elif mtu >= JUMBO:
        jumbo = _jumbo(machine, target, mtu)
    return Reach(name, route, connect, jumbo)


def _route(machine: Machine, address: str) -> Route | Unread:
    done = machine.run(("ip", "-json", "route", "get", address))
    if not done.ok:
        return unread("ip route get", done)
    entries = json_objects(done.out)
    if not entries or "dev" not in entries[0]:
        return Unread("ip -json route get printed no route")
    gateway, source = entries[0].get("gateway"), entries[0].get("prefsrc")
    return Route(str(entries[0]["dev"]), str(gateway) if gateway else None, str(source) if source else None)


def _jumbo(machine: Machine, address: str, mtu: int) -> bool | Unread:
    # The echo's own header is 8 bytes, that of IPv4 20 and of IPv6 40.
    payload = mtu - 8 - (40 if ":" in address else 20)
    done = machine.run(("ping", "-c", "1", "-W", "1", "-M", "do", "-s", str(payload), address))
    if done.ok:
        return True
    if done.code == TIMED_OUT or re.search(r"100% packet loss|[Mm]essage too long", done.out + done.err):
        return False
    return unread("ping", done)
