"""One node: read it, run every check, and say so in a form that travels."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mimo_gb10.preflight import check_container, check_fabric, check_reach, check_system, check_weights
from mimo_gb10.preflight.checks import Check, Node
from mimo_gb10.preflight.facts import Facts, Unread
from mimo_gb10.preflight.machine import Live, Machine
from mimo_gb10.preflight.read_docker import read_docker
from mimo_gb10.preflight.read_network import read_network, read_reach
from mimo_gb10.preflight.read_system import read_system
from mimo_gb10.preflight.read_weights import read_weights
from mimo_gb10.preflight.recorded import Recorded, Recorder, load_recording
from mimo_gb10.preflight.results import SKIPPED, Result
from mimo_gb10.preflight.wanted import Wanted, wanted_from

MARK = "MIMO-GB10-PREFLIGHT "
"""What a node's answer starts with: whatever else a login prints stands on other lines."""

ALL_CHECKS = (
    *check_system.CHECKS,
    *check_container.CHECKS,
    *check_fabric.CHECKS,
    *check_reach.CHECKS,
    *check_weights.CHECKS,
)
"""Every check of one node, in the order of the report."""


@dataclass(frozen=True)
class NodeReport:
    """What was found on one node.

    Attributes:
        rank: Which node of the cluster it is.
        address: Its address in the cluster file.
        hostname: What it calls itself.
        python: The Python that read it.
        results: One for each check.
        shared: What is compared with other nodes, as plain data.
        started: The node's time when it began.
        finished: The node's time when it was done.
        recording: What was read, if that was asked for.
    """

    rank: int
    address: str
    hostname: str
    python: str
    results: tuple[Result, ...]
    shared: dict[str, Any]
    started: float
    finished: float
    recording: dict[str, Any] | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**self.__dict__, "results": [result.as_dict() for result in self.results]}


def report_from(data: dict[str, Any]) -> NodeReport:
    """The reverse of `NodeReport.as_dict`.

    Raises:
        KeyError, TypeError: If it is something else.
    """
    return NodeReport(**{**data, "results": tuple(Result(**result) for result in data["results"])})


def read_facts(machine: Machine, wanted: Wanted, rank: int, progress: Callable[[str], None]) -> Facts:
    """Read everything; what takes long is read side by side."""
    with ThreadPoolExecutor(4) as pool:
        progress("reading the system, docker and the weights")
        system = pool.submit(read_system, machine)
        docker = pool.submit(read_docker, machine, wanted)
        weights = pool.submit(read_weights, machine, wanted)
        network = read_network(machine, wanted)
        progress("asking the other nodes")
        reach = read_reach(machine, wanted, rank, network)
        if wanted.image_program is not None:
            progress("starting a container of the image")
        return Facts(system.result(), network, reach, docker.result(), weights.result())


def examine(
    machine: Machine,
    wanted: Wanted,
    rank: int,
    *,
    progress: Callable[[str], None] = lambda _: None,
    record: bool = False,
) -> NodeReport:
    """Read a node and run every check on it."""
    recorder = Recorder(machine) if record else None
    source: Machine = recorder or machine
    started = machine.now()
    facts = read_facts(source, wanted, rank, progress)
    node = Node(facts, wanted, rank)
    results = tuple(_guarded(check, node) for check in ALL_CHECKS)
    return NodeReport(
        rank=rank,
        address=wanted.nodes[rank].address,
        hostname=facts.system.hostname,
        python=platform.python_version(),
        results=results,
        shared=shared(node),
        started=started,
        finished=machine.now(),
        recording=recorder.recording("recorded by preflight.py --record") if recorder else None,
    )


def _guarded(check: Check, node: Node) -> Result:
    try:
        return check(node)
    except Exception as problem:
        # Unforeseen data on one node must not hide what the other checks found.
        return Result(check.id, SKIPPED, f"this check broke: {type(problem).__name__}: {problem}", "Please report it.")


def shared(node: Node) -> dict[str, Any]:
    """What must be, or should be, alike on all nodes."""
    facts = node.facts
    system, network, docker, weights = facts.system, facts.network, facts.docker, facts.weights
    interfaces = {} if isinstance(network.interfaces, Unread) else network.interfaces
    own = interfaces.get(node.own.socket_interface)
    image = None if isinstance(docker, Unread) or isinstance(docker.image, Unread) else docker.image
    answer = None if isinstance(docker, Unread) or isinstance(docker.in_image, Unread) else docker.in_image
    halves = {}
    for position, name in enumerate(node.own.rdma_devices):
        device = network.rdma.get(name)
        for interface in device.interfaces if device else ():
            addresses = interfaces[interface].addresses if interface in interfaces else ()
            found = [f"{entry.address}/{entry.prefix}" for entry in addresses if ":" not in entry.address]
            if found:
                halves[str(position)] = found[0]
    return {
        "kernel": None if isinstance(system.kernel, Unread) else system.kernel,
        "driver": None if isinstance(system.driver, Unread) else system.driver.version,
        "mtu": own.mtu if own else None,
        "image": image.id if image else None,
        "digests": list(image.digests) if image else [],
        "nccl": answer.nccl if answer is not None and isinstance(answer.nccl, str) else None,
        "rdma_addresses": halves,
        "weights": {name: shard.size for name, shard in sorted(weights.shards.items())},
        "digests_of_files": dict(sorted(weights.digests.items())),
    }


def own_ranks(machine: Machine, wanted: Wanted) -> list[int]:
    """The nodes of the cluster whose address this machine has."""
    network = read_network(machine, wanted)
    if isinstance(network.interfaces, Unread):
        return []
    held = {entry.address for item in network.interfaces.values() for entry in item.addresses}
    return [rank for rank, node in enumerate(wanted.nodes) if held & set(network.resolved.get(node.address, ()))]


def machine_for(replay: str | None, *, image_checks: bool) -> Machine:
    """This machine, or a recorded one.

    Raises:
        OSError, ValueError: If the recording cannot be read.
    """
    if replay is None:
        return Live(image_checks=image_checks)
    return Recorded(load_recording(replay), image_checks=image_checks)


def program_main(arguments: Sequence[str], given: str) -> int:
    """What the program that `mimo_gb10.preflight.bundle` makes does on a node: examine it, print one line of JSON.

    Args:
        arguments: ``--replay FILE`` reads a recording in place of the machine.
        given: The job: ``{"wanted": ..., "rank": ..., "record": ...}`` as JSON.
    """
    replay = arguments[1] if len(arguments) == 2 and arguments[0] == "--replay" else None
    job = json.loads(given)
    wanted = wanted_from(job["wanted"])
    try:
        machine = machine_for(replay, image_checks=wanted.image_program is not None)
        answer: dict[str, Any] = examine(machine, wanted, job["rank"], record=job["record"]).as_dict()
    except Exception as problem:
        answer = {"problem": f"{type(problem).__name__}: {problem}"}
    sys.stdout.write(f"\n{MARK}{json.dumps(answer)}\n")
    sys.stdout.flush()
    return 0
