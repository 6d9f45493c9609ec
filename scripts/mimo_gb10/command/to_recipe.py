"""A launch command as the recipe and the cluster that it amounts to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.cluster import Cluster, Node
from mimo_gb10.command.arguments import Given, Locate
from mimo_gb10.command.reader import Assignment, Launch
from mimo_gb10.flag_checks import CLUSTER_FLAGS, CLUSTER_VARIABLES
from mimo_gb10.names import is_host
from mimo_gb10.recipe import Recipe
from mimo_gb10.release import Release
from mimo_gb10.text.document import Document, Mark, NodePath

_STAND_IN = ipaddress.ip_address("198.18.0.1")
"""The first of the addresses that stand for those that the command leaves open: a range for tests (RFC 2544)."""

_ADDRESS_VARIABLES = ("SGLANG_HOST_IP", "HOST_IP", "VLLM_HOST_IP")
_VERSION_IN_IMAGE = re.compile(r":v(\d+\.\d+\.\d+(?:\.post\d+)?)(?:-|@|\Z)")


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a command amounts to.

    Attributes:
        recipe: Flags and variables.
        cluster: Addresses, interfaces, ports and path; what the command leaves open has stand-ins.
        holes: What the command leaves open, in words.
    """

    recipe: Recipe
    cluster: Cluster
    holes: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What is left to fill in, as comments for the files."""
        return [f"Left open by the command; fill in: {', '.join(self.holes)}"] if self.holes else []


def release_of_image(image: str | None) -> str | None:
    """The release that an image's tag names, or None."""
    match = _VERSION_IN_IMAGE.search(image or "")
    return match[1] if match else None


def amounts_to(
    launches: Sequence[Launch], options: Sequence[Sequence[Given]], release: Release, model: str, locate: Locate
) -> Amounts:
    """The recipe and cluster of one launch, or of the ranks of one launch.

    Args:
        launches: The ranks, in the order of the text; the first one's flags are the recipe's.
        options: Their options, as `read_arguments` gives them.
        release: The release to write into the recipe.
        model: Name of the model file.
        locate: Gives the place of an offset.
    """
    first = launches[0]
    by_owner = _split(options[0], release)
    holes: list[str] = []
    cluster = _cluster(launches, options, release, holes, locate)
    marks: dict[NodePath, Mark] = {}
    flags: dict[str, Any] = {}
    for given in by_owner["recipe"]:
        value = given.value
        if given.is_open:
            holes.append(f"--{given.option}")
            value = [word.text for word in given.words] if isinstance(value, list) else given.words[0].text
        name = given.flag.name
        flags[name] = False if given.flag.can_be_negated and given.option.startswith("no-") else value
        marks["flags", name] = _mark(locate, given.start)
    env = _recipe_env(first.env, cluster, len(launches) > 1, holes)
    for name in env:
        if name in first.env:
            marks["env", name] = _mark(locate, first.env[name].start)
    here = locate(first.start)
    marks[()] = marks["flags",] = marks["env",] = _mark(locate, first.start)
    document = Document(here.file, {"flags": flags, "env": env}, marks, marks)
    recipe = Recipe(
        name="from-command",
        title="A launch command, as a recipe",
        summary="",
        model=model,
        sglang=release.version,
        image=first.image or f"lmsysorg/sglang:v{release.version}",
        nodes=len(cluster.nodes),
        flags=flags,
        env=env,
        defects=(),
        why={name: "The command does not set it." for name, value in env.items() if value is None},
        evidence=(),
        document=document,
    )
    return Amounts(recipe, cluster, tuple(dict.fromkeys(holes)))


def _split(options: Sequence[Given], release: Release) -> dict[str, list[Given]]:
    """Options by who owns them: the cluster (by the name of the flag) or the recipe."""
    owned = {id(release.flag(name)): name for name in CLUSTER_FLAGS}
    split: dict[str, list[Given]] = {"recipe": []}
    for given in options:
        split.setdefault(owned.get(id(given.flag), "recipe"), []).append(given)
    return split


def _mark(locate: Locate, offset: int) -> Mark:
    place = locate(offset)
    return Mark(place.line or 1, place.column or 1)


def _cluster(
    launches: Sequence[Launch],
    options: Sequence[Sequence[Given]],
    release: Release,
    holes: list[str],
    locate: Locate,
) -> Cluster:
    own = _split(options[0], release)

    def text(name: str) -> str | None:
        given = own.get(name, [])
        if not given or not given[-1].words:
            return None
        if given[-1].is_open:
            holes.append(f"--{name}")
        return given[-1].words[0].text

    marks: dict[NodePath, Mark] = {
        (key, "port"): _mark(locate, own[name][-1].start)
        for key, name in (("serve", "port"), ("rendezvous", "dist-init-addr"))
        if name in own
    }
    if "host" in own:
        marks["serve", "host"] = _mark(locate, own["host"][-1].start)
    count = _whole(text("nnodes")) or 1
    head, port = _address_and_port(text("dist-init-addr"))
    stand_ins = [str(_STAND_IN + rank) for rank in range(count)]
    addresses = list(stand_ins)
    addresses[0] = head if head and is_host(head) else ("127.0.0.1" if count == 1 else addresses[0])
    for launch, given in zip(launches, options, strict=True):
        rank = _whole(next((g.words[0].text for g in _split(given, release).get("node-rank", []) if g.words), None))
        for name in _ADDRESS_VARIABLES:
            assigned = launch.env.get(name)
            if assigned and not assigned.is_open and is_host(assigned.value) and rank is not None and rank < count:
                addresses[rank] = assigned.value
    if count > 1 and set(addresses) & set(stand_ins):
        holes.append("the nodes' addresses")
    env = launches[0].env
    interface = _closed(env.get("NCCL_SOCKET_IFNAME")) or _closed(env.get("GLOO_SOCKET_IFNAME"))
    devices = _closed(env.get("NCCL_IB_HCA"))
    if interface is None and count > 1:
        holes.append("the fabric interface (NCCL_SOCKET_IFNAME)")
    if devices is None and count > 1:
        holes.append("the RDMA devices (NCCL_IB_HCA)")
    if "NCCL_IB_HCA" in env:
        marks["fabric", "rdma_devices"] = _mark(locate, env["NCCL_IB_HCA"].start)
    listed = tuple(device for device in (devices or "unknown").split(",") if device) or ("unknown",)
    nodes = tuple(Node(address, interface or "unknown", listed) for address in addresses)
    marks[()] = marks["nodes",] = _mark(locate, own["nnodes"][-1].start if "nnodes" in own else launches[0].start)
    document = Document(locate(0).file, {"nodes": [{} for _ in nodes]}, marks, marks)
    ranks = _tensor_parallel(options[0], release)
    path = text("model-path")
    return Cluster(
        name="from-command-cluster",
        model_path=path if path and path.startswith("/") else "/models/mimo-v2.5",
        gpus_per_node=max(1, ranks // count),
        rendezvous_port=port or 29500,
        serve_host=_closed_text(text("host")) or _default(release, "host", "127.0.0.1"),
        serve_port=_whole(text("port")) or int(_default(release, "port", "30000")),
        nodes=nodes,
        document=document,
    )


def _tensor_parallel(options: Sequence[Given], release: Release) -> int:
    sizes = {"tp-size": 1, "pp-size": 1}
    for name in sizes:
        flag = release.flag(name)
        for given in options:
            if given.flag is flag and isinstance(given.value, int):
                sizes[name] = given.value
    return sizes["tp-size"] * sizes["pp-size"]


def _default(release: Release, name: str, otherwise: str) -> str:
    flag = release.flag(name)
    return otherwise if flag is None or flag.default is None else str(flag.default)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else None


def _closed(assigned: Assignment | None) -> str | None:
    return assigned.value if assigned and assigned.value and not assigned.is_open else None


def _closed_text(text: str | None) -> str | None:
    return text if text and is_host(text) else None


def _address_and_port(text: str | None) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    host, _, port = text.rpartition(":")
    return host.strip("[]") or None, _whole(port)


def _recipe_env(
    env: Mapping[str, Assignment], cluster: Cluster, several_ranks: bool, holes: list[str]
) -> dict[str, str | None]:
    """The variables that a recipe would set: the cluster's own left out, its values as placeholders."""
    made: dict[str, str | None] = {}
    addresses = {node.address for node in cluster.nodes}
    interface = cluster.head.socket_interface
    for name, assigned in env.items():
        if name in CLUSTER_VARIABLES:
            continue
        if name in _ADDRESS_VARIABLES or (several_ranks and assigned.value in addresses):
            made[name] = "{address}"
        elif interface != "unknown" and assigned.value == interface:
            made[name] = "{socket_interface}"
        else:
            made[name] = assigned.value
            if assigned.is_open:
                holes.append(name)
    if len(cluster.nodes) > 1:
        made |= {name: None for name in ("SGLANG_HOST_IP",) if name not in env}
    return made
