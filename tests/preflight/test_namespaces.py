"""The network checks on real interfaces: network namespaces of their own, joined by veth pairs and a bridge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimo_gb10.preflight.bundle import program
from mimo_gb10.preflight.remote import read_answer
from mimo_gb10.preflight.results import Result
from mimo_gb10.preflight.wanted import Wanted, WantedNode
from tests.preflight.support import by_check

PREFIX = f"pf{uuid.uuid4().hex[:6]}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def allowed() -> str | None:
    """Why namespaces cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    probe = f"{PREFIX}probe"
    try:
        ip("netns", "add", probe)
        ip("-n", probe, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    except subprocess.CalledProcessError as problem:
        return f"network namespaces are not allowed here: {problem.stderr.decode().strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return None


WHY_NOT = allowed()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
NEEDS_PING = pytest.mark.skipif(shutil.which("ping") is None, reason="iputils-ping is not installed")


class Lab:
    """Two nodes and a switch. The fabric is 10.77.0.0/24 on fab0, a second network 10.78.0.0/24 on mgmt0."""

    def __init__(self) -> None:
        self.switch = f"{PREFIX}sw"
        self.nodes = [f"{PREFIX}n{number}" for number in range(2)]

    def make(self) -> None:
        for name in (self.switch, *self.nodes):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for bridge in ("fabric", "other"):
            ip("-n", self.switch, "link", "add", bridge, "type", "bridge")
        for number, node in enumerate(self.nodes):
            for name, bridge, address in (
                ("fab0", "fabric", f"10.77.0.{number + 1}"),
                ("mgmt0", "other", f"10.78.0.{number + 1}"),
            ):
                port = f"{name}p{number}"
                ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", name, "netns", node)
                ip("-n", self.switch, "link", "set", port, "master", bridge, "mtu", "9000", "up")
                ip("-n", node, "link", "set", name, "mtu", "9000", "up")
                ip("-n", node, "addr", "add", f"{address}/24", "dev", name)
        for bridge in ("fabric", "other"):
            ip("-n", self.switch, "link", "set", bridge, "mtu", "9000", "up")

    def remove(self) -> None:
        for name in (self.switch, *self.nodes):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def wanted(self, interface: str = "fab0", network: str = "10.77.0") -> Wanted:
        nodes = tuple(WantedNode(f"{network}.{number + 1}", interface, ("rocep1s0f0",)) for number in range(2))
        return Wanted("lab", "/nowhere", 1, 29500, "0.0.0.0", 30000, nodes)

    def examine(self, wanted: Wanted | None = None, rank: int = 0) -> dict[str, Result]:
        """The very program that goes to a node, in the namespace: ip netns exec mounts its own /sys."""
        command = ["ip", "netns", "exec", self.nodes[rank], sys.executable, "-I", "-S", "-"]
        text = program(wanted or self.wanted(), rank)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60)
        report, problem = read_answer(done.stdout, done.stderr, done.returncode, "host", rank)
        assert report is not None, problem
        return by_check(report.results)

    def on(self, rank: int, *words: str) -> None:
        ip("-n", self.nodes[rank], *words)


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        made.make()
        yield made
    finally:
        made.remove()


NETWORK = ("interface", "interface-up", "interface-address", "mtu", "reach", "route")


def test_a_healthy_network(lab: Lab) -> None:
    for rank in (0, 1):
        found = lab.examine(rank=rank)
        assert {name: found[name].status for name in NETWORK} == dict.fromkeys(NETWORK, "ok")
        assert found["route"].text == "all 1 by fab0"


@NEEDS_PING
def test_large_packets(lab: Lab) -> None:
    assert lab.examine()["path-mtu"].status == "ok"
    # The switch's port drops what is larger than its own MTU.
    ip("-n", lab.switch, "link", "set", "fab0p1", "mtu", "1500")
    found = lab.examine()
    assert found["path-mtu"].status == "fail"
    assert found["reach"].status == "ok"


def test_names_differ_in_one_letter(lab: Lab) -> None:
    found = lab.examine(lab.wanted(interface="Fab0"))
    assert found["interface"].status == "fail"
    assert found["interface"].help.startswith("Did you mean 'fab0'?")


def test_an_altname_is_no_name(lab: Lab) -> None:
    try:
        lab.on(0, "link", "property", "add", "dev", "fab0", "altname", "enP2p1s0f0np0")
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"this kernel has no altnames: {problem.stderr.decode().strip()}")
    found = lab.examine(lab.wanted(interface="enP2p1s0f0np0"))["interface"]
    assert found.status == "fail"
    assert found.help == "Write socket_interface: fab0"


def test_the_cable_is_out(lab: Lab) -> None:
    ip("-n", lab.switch, "link", "set", "fab0p0", "down")
    found = lab.examine()
    assert found["interface-up"].status == "fail"
    assert found["reach"].status == "fail"


def test_the_interface_is_down(lab: Lab) -> None:
    lab.on(0, "link", "set", "fab0", "down")
    found = lab.examine()
    assert found["interface-up"].text == "fab0 is down"
    assert found["route"].status == "fail"
    assert found["reach"].status == "fail"


def test_the_address_is_on_another_interface(lab: Lab) -> None:
    found = lab.examine(lab.wanted(network="10.78.0"))
    assert found["interface-address"].status == "fail"
    assert "10.78.0.1 is on mgmt0, not on fab0" in found["interface-address"].text
    assert found["route"].status == "fail"
    assert "leave by mgmt0, not by fab0" in found["route"].text


def test_no_address(lab: Lab) -> None:
    lab.on(0, "addr", "flush", "dev", "fab0")
    found = lab.examine()
    assert found["interface-address"].text == "fab0 has no address, not 10.77.0.1"
    assert found["route"].status == "fail"
    assert "Network is unreachable" in found["route"].text


def test_over_a_gateway(lab: Lab) -> None:
    lab.on(0, "addr", "flush", "dev", "fab0")
    lab.on(0, "addr", "add", "10.77.0.1/32", "dev", "fab0")
    lab.on(0, "route", "add", "10.77.0.254", "dev", "fab0")
    lab.on(0, "route", "add", "10.77.0.0/24", "via", "10.77.0.254", "dev", "fab0")
    found = lab.examine()["route"]
    assert found.status == "fail"
    assert "10.77.0.254" in found.text


def test_a_small_mtu(lab: Lab) -> None:
    lab.on(0, "link", "set", "fab0", "mtu", "1500")
    found = lab.examine()
    assert (found["mtu"].status, found["path-mtu"].status) == ("warn", "skipped")
    assert "fab0 1500" in found["mtu"].text


def test_a_node_that_is_away(lab: Lab) -> None:
    lab.on(1, "link", "set", "fab0", "down")
    found = lab.examine()
    assert found["reach"].status == "fail"
    assert "10.77.0.2" in found["reach"].text


def test_one_address_for_two_nodes(lab: Lab) -> None:
    lab.on(0, "addr", "add", "10.77.0.2/24", "dev", "fab0")
    assert "this machine's own address" in lab.examine()["route"].text


def test_a_listener_in_the_namespace(lab: Lab, tmp_path: Path) -> None:
    assert lab.examine()["ports"].status == "ok"
    ready = tmp_path / "ready"
    code = "import socket, sys, time; s = socket.create_server(('10.77.0.1', 29500)); open(sys.argv[1], 'w')"
    code += "; time.sleep(60)"
    process = subprocess.Popen(["ip", "netns", "exec", lab.nodes[0], sys.executable, "-c", code, str(ready)])
    try:
        while not ready.exists():
            assert process.poll() is None
        found = lab.examine()["ports"]
        assert found.status == "fail"
        assert found.text == "rendezvous.port 29500 is taken: somebody listens on 10.77.0.1"
    finally:
        process.kill()
        process.wait()


def test_ipv6(lab: Lab) -> None:
    for rank in (0, 1):
        lab.on(rank, "addr", "add", f"fd77::{rank + 1}/64", "dev", "fab0", "nodad")
    found = lab.examine(lab.wanted(network="fd77:").__class__(**{**lab.wanted().__dict__, "nodes": ipv6_nodes()}))
    assert found["interface-address"].status == "ok"
    assert found["route"].status == "ok"
    assert found["reach"].status == "ok"
    assert json.dumps(found["reach"].text)


def ipv6_nodes() -> tuple[WantedNode, ...]:
    return tuple(WantedNode(f"fd77::{number}", "fab0", ("rocep1s0f0",)) for number in (1, 2))
