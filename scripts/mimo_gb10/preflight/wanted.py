"""What is to be checked, as plain data that travels to a node as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class WantedNode:
    """One node of the cluster file; the fields are those of `mimo_gb10.cluster.Node`."""

    address: str
    socket_interface: str
    rdma_devices: tuple[str, ...]


@dataclass(frozen=True)
class WantedRecipe:
    """What a recipe asks of a node.

    Attributes:
        name: The recipe's name.
        image: The container image.
        sglang: The release.
        nodes: How many nodes one server spans.
        tensor_parallel: Over how many ranks the weights are split.
        mem_fraction: The share of available memory that SGLang takes, or None where the recipe leaves it open.
        defects: Ids of the upstream bugs that patches must mend.
        env: Those of the recipe's variables that decide something here.
        nccl: The NCCL version that the release's pinned torch requires, or None.
        architecture: The model's architecture name.
        weights_bytes: The bytes of all weights.
    """

    name: str
    image: str
    sglang: str
    nodes: int
    tensor_parallel: int
    mem_fraction: float | None
    defects: tuple[str, ...]
    env: Mapping[str, str]
    nccl: str | None
    architecture: str
    weights_bytes: int


ENV_THAT_MATTERS = ("LD_PRELOAD", "NCCL_IB_GID_INDEX", "SGLANG_NCCL_SO_PATH")
"""The recipe's variables that travel to a node. No other does: a recipe's environment is nobody else's business."""


@dataclass(frozen=True)
class Wanted:
    """A cluster, and the recipe that is to run on it.

    Attributes:
        cluster: The cluster's name.
        model_path: The checkpoint's folder.
        gpus_per_node: GPUs in one node.
        rendezvous_port: TCP port on the head where the ranks meet.
        serve_host: Address that the head binds for HTTP.
        serve_port: TCP port for HTTP.
        nodes: In rank order; the first is the head.
        recipe: The recipe, or None.
        image_program: What to run inside the image (``--image-checks``), or None.
    """

    cluster: str
    model_path: str
    gpus_per_node: int
    rendezvous_port: int
    serve_host: str
    serve_port: int
    nodes: tuple[WantedNode, ...]
    recipe: WantedRecipe | None = None
    image_program: str | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def wanted_from(data: Mapping[str, Any]) -> Wanted:
    """The reverse of `Wanted.as_dict`, also after a way through JSON."""
    recipe = data["recipe"]
    nodes = [{**node, "rdma_devices": tuple(node["rdma_devices"])} for node in data["nodes"]]
    return Wanted(
        **{
            **data,
            "nodes": tuple(WantedNode(**node) for node in nodes),
            "recipe": WantedRecipe(**{**recipe, "defects": tuple(recipe["defects"])}) if recipe else None,
        }
    )
