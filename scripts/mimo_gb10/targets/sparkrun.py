"""A sparkrun recipe (format 2), with the patches as a mod: sparkrun itself finds the nodes and their addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mimo_gb10.findings import Finding, error
from mimo_gb10.model import Model
from mimo_gb10.paths import ROOT
from mimo_gb10.plan import MARKS, LaunchPlan, RankLaunch
from mimo_gb10.targets.container import CORE, config_file, slug
from mimo_gb10.targets.files import LaunchFile, hash_comment, heading, nodes_differ, readme, shell
from mimo_gb10.text.shell import command_lines, comment, quote
from mimo_gb10.text.yaml import dump

MOD = "mimo-gb10-patches"
SOURCE = "https://github.com/spark-arena/sparkrun/blob/0041b8f8fc1320ffa2e85d2d0ac760ee6be19de7"

# sparkrun sets what belongs to the nodes, and adds the rendezvous to the command.
NOT_CARRIED = ("SGLANG_HOST_IP", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NCCL_IB_HCA")
_RENDEZVOUS = ("--nnodes", "--node-rank", "--dist-init-addr")
# What a user may override with sparkrun's own names; the planner reads them too.
_DEFAULTS = {
    "--port": "port",
    "--host": "host",
    "--tensor-parallel-size": "tensor_parallel",
    "--mem-fraction-static": "gpu_memory_utilization",
}
_PLACEHOLDER = re.compile(r"\{[^{}\s]*\}")
_DTYPES = {"fp8_e4m3": "fp8", "fp8_e5m2": "fp8_e5m2", "bf16": "bfloat16", "bfloat16": "bfloat16", "auto": "bfloat16"}


def refuse(plan: LaunchPlan) -> Sequence[Finding]:
    """What the format has no place for, or would change on the way."""
    return list(_refusals(plan))


def _refusals(plan: LaunchPlan) -> Iterator[Finding]:
    template, model = plan.one_for_all(), plan.model
    if plan.gpus > 1:
        yield error(
            "sparkrun-gpus",
            f"the nodes have {plan.gpus} GPUs each, and sparkrun counts one GPU a node: it is made for DGX Spark",
            "Use another target.",
            source=f"{SOURCE}/src/sparkrun/core/parallelism.py",
        )
    if template is None or model is None:
        yield nodes_differ("sparkrun", "sparkrun finds names of interfaces by itself")
        return
    if config_file(template) is not None:
        yield error(
            "sparkrun-key",
            "sparkrun has no place for a file with the API key: it takes a key as an argument, for all to read",
            "Leave --config out and keep the port behind a firewall, or use another target.",
            source=f"{SOURCE}/src/sparkrun/runtimes/sglang.py#L17",
        )
    for word in _command(template):
        if isinstance(word, _Placeholder):
            continue
        if _PLACEHOLDER.search(word) or any(not ch.isprintable() for ch in word):
            yield error(
                "sparkrun-argument",
                f"sparkrun would take a part of the argument {word!r} for a placeholder of its own",
                "Leave it out, or use another target.",
                source=f"{SOURCE}/src/sparkrun/core/recipe.py#L744",
            )
    own = {plan.interface, *(template.env.get("NCCL_IB_HCA") or "").split(",")} - {""}
    for name, value in _env(template).items():
        if "$" in value:
            yield error(
                "sparkrun-variable",
                f"{name} has a dollar sign, and sparkrun puts a variable of the control machine in its place",
                "Write the value out, or use another target.",
                source=f"{SOURCE}/src/sparkrun/core/recipe.py#L613",
            )
        if any(mark in value for mark in MARKS.values()) or own & set(value.split(",")):
            yield error(
                "sparkrun-cluster-value",
                f"{name} is an address, a rank or a name of a node, and a sparkrun recipe holds none",
                "Leave it out of the recipe, or use another target.",
            )


def files(plan: LaunchPlan) -> Sequence[LaunchFile]:
    """The recipe, the mod, and the README."""
    return (LaunchFile(file_name(plan), render(plan), "yaml"), *_mod(plan), _readme(plan))


def file_name(plan: LaunchPlan) -> str:
    """The recipe's file."""
    return f"{slug(plan.recipe)}.yaml"


def render(plan: LaunchPlan) -> str:
    """The recipe.

    Raises:
        ValueError: If the nodes are not alike; `refuse` says so first.
    """
    template, model = plan.one_for_all(), plan.model
    if template is None or model is None:
        raise ValueError("the nodes are not alike")
    defaults = {key: _number(value) for option, key in _DEFAULTS.items() if (value := template.option(option))}
    recipe: dict[str, Any] = {
        "recipe_version": "2",
        "name": slug(plan.recipe),
        "description": plan.title,
        "model": model.facts["repository"],
        "model_revision": model.facts["revision"],
        "runtime": "sglang",
        "container": plan.image,
        "min_nodes": len(plan.ranks),
        "max_nodes": len(plan.ranks),
        "metadata": _metadata(plan, model, template),
        "defaults": defaults,
        "env": dict(_env(template)),
        **({"mods": [MOD]} if plan.defects else {}),
        "executor_config": {
            "shm_size": f"{CORE.shm_size}b",
            "gpus": CORE.gpus,
            "ipc": CORE.ipc,
            "network": CORE.network,
        },
    }
    words = _command(template)
    # sparkrun wants its braces, and no quotes around them.
    text = command_lines(words[:3], words[3:])
    for key in ("model", *_DEFAULTS.values()):
        text = text.replace(quote(f"{{{key}}}"), f"{{{key}}}")
    block = "".join(f"  {line}\n" for line in text.split("\n"))
    return f"{hash_comment(heading(plan))}{dump(recipe)}command: |\n{block}"


def _metadata(plan: LaunchPlan, model: Model, template: RankLaunch) -> Mapping[str, Any]:
    weights, kv = model.facts["weights"], template.option("--kv-cache-dtype") or "auto"
    return {
        "model_params": weights["parameters"],
        "model_dtype": _DTYPES.get(weights["dtype"], weights["dtype"]),
        "#kv": "sparkrun has no word for layers with a sliding window: it counts every layer in full.",
        "kv_dtype": _DTYPES.get(kv, kv),
        "num_layers": model.facts["text"]["layers"],
        "num_kv_heads": model.facts["attention"]["full"]["kv_heads"],
        "head_dim": model.facts["attention"]["head_dim"],
    }


def _number(value: str) -> Any:
    # A number only where its text, which SGLang gets, stays the same.
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        if str(number) == value and value[-1].isdigit() and "e" not in value:
            return number
    return value


def _command(template: RankLaunch) -> Sequence[str]:
    """The command without rendezvous, and with sparkrun's placeholders for what its options can change."""
    words: list[str] = []
    rest = iter(template.argv)
    for word in rest:
        name, _, _ = word.partition("=")
        joined = name != word
        if name in _RENDEZVOUS:
            if not joined:
                next(rest)
            continue
        if name == "--model-path" or name in _DEFAULTS:
            if not joined:
                next(rest)
            words += [name, _Placeholder(f"{{{_DEFAULTS.get(name, 'model')}}}")]
            continue
        words.append(word)
    return words


class _Placeholder(str):
    """A word that sparkrun fills in."""


def _env(template: RankLaunch) -> Mapping[str, str]:
    return {name: value for name, value in template.env.items() if name not in NOT_CARRIED}


def _mod(plan: LaunchPlan) -> Sequence[LaunchFile]:
    """The patches, as sparkrun puts them into each container before the start."""
    if not plan.defects:
        return ()
    names = " ".join(map(quote, plan.defects))
    script = (
        "#!/usr/bin/env bash\n"
        "# Puts the recipe's patches on the SGLang of this container; fails unless each of them is on.\n"
        "set -euo pipefail\n\n"
        'case $0 in */*) cd -- "${0%/*}" ;; esac\n'
        f"python3 scripts/apply_patches.py -- {names}\n"
        f"python3 scripts/apply_patches.py --require -- {names}\n"
    )
    folder = f"mods/{MOD}"
    made = [LaunchFile(f"{folder}/run.sh", script, "bash", executable=True)]
    sources = [ROOT / "scripts" / "apply_patches.py", *sorted(p for p in (ROOT / "patches").rglob("*") if p.is_file())]
    made += [
        LaunchFile(f"{folder}/{path.relative_to(ROOT)}", path.read_text(encoding="utf-8"), "text", is_copy=True)
        for path in sources
    ]
    return made


def _readme(plan: LaunchPlan) -> LaunchFile:
    file = file_name(plan)
    carried = (
        "- "
        + "\n- ".join(
            [
                f"{', '.join(f'`{name}`' for name in NOT_CARRIED)}: sparkrun finds interfaces and addresses.",
                "The rendezvous, its port, and the order of start: sparkrun adds them.",
                f"`{comment(plan.model_path)}`: sparkrun downloads the checkpoint and gives it to the nodes.",
                f"`{CORE.capability}`, `{CORE.device}` and the limits: its containers are privileged.",
                "A health check that asks for a completion, and a restart as a group.",
                "An API key that is not an argument: a recipe with one is refused.",
                "A check of the flags: sparkrun makes none, so they were checked before this file was written.",
            ]
        )
        + "\n"
    )
    hosts = ",".join(f"HOST{rank.rank}" for rank in plan.ranks)
    sections = {
        "Start": "The hosts are yours, the head first:\n\n" + shell(f"sparkrun run ./{file} --hosts {hosts}"),
        "Look first": shell(f"sparkrun recipe validate ./{file}\nsparkrun run ./{file} --hosts {hosts} --dry-run"),
        "Logs and state": shell(f"sparkrun cluster status --hosts {hosts}\nsparkrun logs ./{file} --hosts {hosts}"),
        "Stop": shell(f"sparkrun stop ./{file} --hosts {hosts}"),
        "What the format cannot carry": carried,
    }
    return readme(plan, "sparkrun", sections)
