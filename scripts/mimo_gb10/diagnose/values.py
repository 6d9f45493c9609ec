"""A recipe's and a cluster's values in the commands of a fix."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from mimo_gb10 import placeholders

NAMES: Mapping[str, str] = {
    "recipe": "name or path of the recipe",
    "cluster": "name or path of the cluster",
    "release": "the SGLang release",
    "image": "the container image",
    "container": "the container's name on this rank's node",
    "model_path": "the checkpoint's folder",
    "serve_port": "the HTTP port",
    "rendezvous_port": "the port where the ranks meet",
    "lower_mem_fraction": "the recipe's mem-fraction-static less 0.05",
    **placeholders.PLACEHOLDERS,
}
"""What may stand between braces in a command of ``docs/symptoms.yaml``."""

_LOWER_BY = 0.05


def values_of(recipe: str | None, cluster: str | None, rank: int = 0) -> dict[str, str]:
    """What a recipe and a cluster say, as far as they are named.

    Args:
        recipe: Name or path of a recipe, or None.
        cluster: Name or path of a cluster, or None.
        rank: The rank whose address, interface and devices are meant.

    Raises:
        Refused: If one of them cannot be read.
    """
    from mimo_gb10.cluster import load_cluster
    from mimo_gb10.launch import find_document
    from mimo_gb10.paths import CLUSTERS, RECIPES
    from mimo_gb10.recipe import load_recipe

    values: dict[str, str] = {"rank": str(rank)}
    if recipe is not None:
        loaded = load_recipe(find_document(recipe, RECIPES, "recipe"))
        values |= {"recipe": recipe, "release": loaded.sglang, "image": loaded.image}
        values["container"] = f"{loaded.name}-rank{rank}"
        fraction = loaded.flags.get("mem-fraction-static")
        if isinstance(fraction, int | float) and not isinstance(fraction, bool):
            values["lower_mem_fraction"] = f"{fraction - _LOWER_BY:.2f}"
    if cluster is not None:
        nodes = load_cluster(find_document(cluster, CLUSTERS, "cluster"))
        node = nodes.nodes[rank] if rank < len(nodes.nodes) else nodes.head
        values |= {
            "cluster": cluster,
            "model_path": nodes.model_path,
            "serve_port": str(nodes.serve_port),
            "rendezvous_port": str(nodes.rendezvous_port),
            "head": nodes.head.address,
            "address": node.address,
            "socket_interface": node.socket_interface,
            "rdma_devices": ",".join(node.rdma_devices),
        }
    return values


def filled(command: str, values: Mapping[str, str]) -> str:
    """A command with its placeholders filled in, quoted for a shell; without a value, with the name in capitals."""
    shown = {name: shlex.quote(values[name]) if name in values else name.upper() for name in NAMES}
    return placeholders.fill(command, shown)
