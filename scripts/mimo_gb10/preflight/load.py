"""From names or paths of configs to what is wanted, with PyYAML or without."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimo_gb10.findings import Finding, Location, Refused, error
from mimo_gb10.names import is_host
from mimo_gb10.paths import CLUSTERS, MODELS, RECIPES, SCHEMAS, names_in
from mimo_gb10.preflight.plain_schema import check_plain
from mimo_gb10.preflight.plain_yaml import PlainDocument, parse_plain
from mimo_gb10.preflight.wanted import ENV_THAT_MATTERS, Wanted, WantedNode, WantedRecipe
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.text.suggest import did_you_mean

_NCCL = "nvidia-nccl-cu13"


def has_libraries() -> bool:
    """Whether the libraries of the project's own loaders are installed."""
    try:
        import jsonschema  # noqa: F401
        import yaml  # noqa: F401
    except ImportError:
        return False
    return True


def load_wanted(cluster: str, recipe: str | None, image: str | None) -> tuple[Wanted, list[Finding]]:
    """Read a cluster and a recipe, each by name or path; with the findings that are worth showing (warnings, notes).

    Raises:
        Refused: If one of them cannot be used.
    """
    if has_libraries():
        wanted, findings = _with_libraries(cluster, recipe)
    else:
        wanted, findings = plain_wanted(cluster, recipe), []
    if image is not None:
        if wanted.recipe is None:
            remedy = "Name the recipe too: the image is checked against it."
            raise Refused([error("recipe-missing", "--image needs --recipe", remedy, Location("--image"))])
        pattern = _schema("recipe")["properties"]["image"]
        document = PlainDocument("--image", {"image": image})
        found = check_plain(document, {"type": "object", "properties": {"image": pattern}})
        if found:
            raise Refused(found)
        wanted = dataclasses.replace(wanted, recipe=dataclasses.replace(wanted.recipe, image=image))
    return wanted, findings


def _with_libraries(cluster: str, recipe: str | None) -> tuple[Wanted, list[Finding]]:
    from mimo_gb10.cluster import load_cluster
    from mimo_gb10.launch import check, find_document
    from mimo_gb10.text.document import read_document

    if recipe is None:
        loaded = load_cluster(find_document(cluster, CLUSTERS, "cluster"))
        findings = _check_addresses(
            [node.address for node in loaded.nodes],
            [loaded.document.location(("nodes", index, "address")) for index in range(len(loaded.nodes))],
        )
        if findings:
            raise Refused(findings)
        return _cluster_part(loaded), []
    checked = check(recipe, cluster)
    if checked.context is None or checked.refused:
        raise Refused(checked.findings)
    context = checked.context
    fraction = context.value("mem-fraction-static")
    part = WantedRecipe(
        name=context.recipe.name,
        image=context.recipe.image,
        sglang=context.recipe.sglang,
        nodes=context.recipe.nodes,
        tensor_parallel=context.number("tp-size", 1),
        mem_fraction=float(fraction) if isinstance(fraction, int | float) else None,
        defects=context.recipe.defects,
        env=_env(context.recipe.env),
        nccl=_pinned(context.recipe.sglang),
        architecture=context.model.architecture,
        weights_bytes=read_document(MODELS / f"{context.recipe.model}.yaml").value["weights"]["bytes"],
    )
    return dataclasses.replace(_cluster_part(context.cluster), recipe=part), list(checked.findings)


def _cluster_part(cluster: Any) -> Wanted:
    return Wanted(
        cluster=cluster.name,
        model_path=cluster.model_path,
        gpus_per_node=cluster.gpus_per_node,
        rendezvous_port=cluster.rendezvous_port,
        serve_host=cluster.serve_host,
        serve_port=cluster.serve_port,
        nodes=tuple(WantedNode(node.address, node.socket_interface, node.rdma_devices) for node in cluster.nodes),
    )


def plain_wanted(cluster: str, recipe: str | None) -> Wanted:
    """The same without PyYAML and jsonschema. A recipe's flags are read, not checked against its release.

    Raises:
        Refused: If a file cannot be used.
    """
    document = _document(cluster, CLUSTERS, "cluster")
    value = document.value
    places = [document.location(("nodes", index, "address")) for index in range(len(value["nodes"]))]
    found = _check_addresses([node["address"] for node in value["nodes"]], places)
    if found:
        raise Refused(found)
    fabric = value["fabric"]
    wanted = Wanted(
        cluster=value["name"],
        model_path=value["model_path"],
        gpus_per_node=value.get("gpus_per_node", 1),
        rendezvous_port=value["rendezvous"]["port"],
        serve_host=value["serve"]["host"],
        serve_port=value["serve"]["port"],
        nodes=tuple(
            WantedNode(
                node["address"],
                node.get("socket_interface", fabric["socket_interface"]),
                tuple(node.get("rdma_devices", fabric["rdma_devices"])),
            )
            for node in value["nodes"]
        ),
    )
    if recipe is None:
        return wanted
    return dataclasses.replace(wanted, recipe=_plain_recipe(recipe, len(wanted.nodes)))


def _plain_recipe(name: str, nodes: int) -> WantedRecipe:
    document = _document(name, RECIPES, "recipe")
    value = document.value
    if value["nodes"] != nodes:
        message = f"recipe {value['name']} is for {value['nodes']} nodes, the cluster has {nodes}"
        raise Refused(
            [error("node-count", message, "Take the recipe for that many nodes.", document.location(("nodes",)))]
        )
    if value["sglang"] not in known_releases():
        message = f"there is no catalog of SGLang {value['sglang']}"
        raise Refused([error("release-unknown", message, f"Known: {', '.join(known_releases())}.")])
    if value["model"] not in names_in(MODELS):
        raise Refused(
            [
                error(
                    "model-unknown",
                    f"there is no model {value['model']!r}",
                    did_you_mean(value["model"], names_in(MODELS)),
                )
            ]
        )
    model = _document(value["model"], MODELS, "model").value
    fraction = _flag(value["flags"], value["sglang"], "mem-fraction-static")
    split = _flag(value["flags"], value["sglang"], "tp-size")
    return WantedRecipe(
        name=value["name"],
        image=value["image"],
        sglang=value["sglang"],
        nodes=value["nodes"],
        tensor_parallel=split if isinstance(split, int) and not isinstance(split, bool) else 1,
        mem_fraction=float(fraction) if isinstance(fraction, int | float) else None,
        defects=tuple(value["defects"]),
        env=_env(value["env"]),
        nccl=_pinned(value["sglang"]),
        architecture=model["architecture"],
        weights_bytes=model["weights"]["bytes"],
    )


def _flag(flags: Mapping[str, Any], version: str, name: str) -> Any:
    """The value of a flag under whichever of its spellings the recipe gives it, or None."""
    release = load_release(version)
    meant = release.flag(name)
    for given, value in flags.items():
        flag = release.flag(given)
        if flag is not None and meant is not None and flag.dest == meant.dest:
            return value
    return None


def _document(name: str, folder: Path, kind: str) -> PlainDocument:
    """A config by its name in a folder, or by path, read by the small reader and held against its schema."""
    path = Path(name)
    if "/" not in name and not name.endswith((".yaml", ".yml")):
        known = names_in(folder)
        if name not in known:
            remedy = did_you_mean(name, known, f"Known: {', '.join(known)}. A path must hold a slash or end in .yaml.")
            raise Refused([error(f"{kind}-unknown", f"there is no {kind} {name!r}", remedy)])
        path = folder / f"{name}.yaml"
    try:
        data = path.read_bytes()
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        place = Location(str(path))
        raise Refused(
            [error("file-unreadable", f"{str(path)!r} cannot be read: {reason}", "Check the path.", place)]
        ) from None
    document = parse_plain(data, str(path))
    # The project's own models are validated by its tests.
    found = check_plain(document, _schema(kind)) if kind != "model" else []
    if found:
        raise Refused(found)
    return document


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


def _check_addresses(addresses: Sequence[str], places: Sequence[Location]) -> list[Finding]:
    remedy = "Write the node's fabric address; on the node: ip -br -4 address"
    return [
        error("node-address", f"{address!r} is neither an IP address nor a host name of a node", remedy, place)
        for address, place in zip(addresses, places, strict=True)
        if not is_host(address)
    ]


def _env(env: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name in ENV_THAT_MATTERS if (value := env.get(name)) is not None}


def _pinned(version: str) -> str | None:
    pinned = load_release(version).pins().get(_NCCL)
    return None if pinned == "any" else pinned
