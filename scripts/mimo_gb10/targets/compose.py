"""A Compose file per node, for ``docker compose``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mimo_gb10.names import container_name
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets import container
from mimo_gb10.targets.container import CORE, config_file, image, slug
from mimo_gb10.targets.files import LaunchFile, executables, hash_comment, heading, on_each, per_node, readme, ready
from mimo_gb10.text.yaml import Words, dump

SERVICE = "sglang"
_SECRET = "server-config"

_RESTART = (
    "When one rank ends, the others lose it and end too (inferred: each step begins with a broadcast to all of them,\n"
    "sglang/srt/managers/scheduler.py, recv_requests). Each is restarted on its own node, and they meet anew."
)


def files(plan: LaunchPlan) -> Sequence[LaunchFile]:
    """The image's script, a Compose file per rank, and the README."""
    scripts = executables(container.prepare(plan))
    ranks = [LaunchFile(file_name(rank), render(plan, rank), "yaml", rank.rank) for rank in plan.ranks]
    return (*scripts, *ranks, _readme(plan))


def file_name(rank: RankLaunch) -> str:
    """The name of one rank's file."""
    return f"rank{rank.rank}.compose.yaml"


def render(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The Compose file of one rank."""
    project = {"name": f"{slug(plan.recipe)}-rank{rank.rank}", "services": {SERVICE: _service(plan, rank)}}
    config = config_file(rank)
    secrets = {"secrets": {_SECRET: {"file": config}}} if config is not None else {}
    return hash_comment(heading(plan, rank)) + dump(_literal({**project, **secrets}))


def _service(plan: LaunchPlan, rank: RankLaunch) -> Mapping[str, Any]:
    config = config_file(rank)
    build = {"#pull": f"Built on this node: {container.BUILD_SCRIPT}.", "pull_policy": "never"} if plan.defects else {}
    gpus = {"driver": "nvidia", "count": CORE.gpus, "capabilities": ["gpu"]}
    volume = {"type": "bind", "source": plan.model_path, "target": plan.model_path, "read_only": True}
    return {
        "image": image(plan),
        **build,
        "container_name": container_name(plan.recipe, rank.rank),
        "init": True,
        "network_mode": CORE.network,
        "ipc": CORE.ipc,
        "shm_size": CORE.shm_size,
        "ulimits": dict(CORE.ulimits),
        "cap_add": [CORE.capability],
        **({"devices": [f"{CORE.device}:{CORE.device}"]} if container.has_fabric(plan) else {}),
        "deploy": {"resources": {"reservations": {"devices": [gpus]}}},
        "volumes": [{**volume, "bind": {"create_host_path": False}}],
        **({"secrets": [{"source": _SECRET, "target": config}]} if config is not None else {}),
        "environment": dict(rank.env),
        "command": Words(rank.argv),
        **(_health(rank) if rank.rank == 0 else {}),
        "#restart": _RESTART,
        "restart": "unless-stopped",
        "stop_grace_period": f"{container.STOP_SECONDS}s",
        "logging": {"driver": "local", "options": {"max-size": "100m", "max-file": "5"}},
    }


def _health(rank: RankLaunch) -> Mapping[str, Any]:
    return {
        "#health": "Asks for one token. Kernels that are built at the first requests can fail it for minutes; "
        "nothing is ended for it.",
        "healthcheck": {
            "test": ["CMD", *container.health_command(rank)],
            "interval": "60s",
            "timeout": f"{container.HEALTH_SECONDS + 10}s",
            "retries": 5,
            "start_period": f"{container.LOAD_SECONDS}s",
        },
    }


def _literal(value: Any) -> Any:
    """The same with each dollar sign doubled, which is how Compose writes one that is not a variable."""
    if isinstance(value, Words):
        return Words(word.replace("$", "$$") for word in value)
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: item if key.startswith("#") else _literal(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_literal(item) for item in value]
    return value


def _readme(plan: LaunchPlan) -> LaunchFile:
    up = {rank.rank: [f"docker compose --file {file_name(rank)} up --detach"] for rank in plan.ranks}
    any_rank = "docker compose --file rankN.compose.yaml"
    start = "Copy the folder to every node. Start all ranks within a few minutes of each other.\n\n"
    again = (
        "Each rank ends when one of its group ends, and Docker starts each again; after a reboot too. A node that\n"
        "stops without closing its connections (power, cable) leaves the others waiting, and the head unhealthy: stop\n"
        "all of them, then start all of them.\n"
    )
    sections = {
        "Before the first start": container.prepare_note(plan, plan.ranks[0]),
        "Start": start + per_node(plan, up),
        "Ready": "The head's container is `healthy` once a completion has come back.\n\n" + ready(plan),
        "Logs and state": on_each(plan, f"{any_rank} ps", f"{any_rank} logs --follow"),
        "Stop": on_each(plan, f"{any_rank} down"),
        "When a rank ends": again,
    }
    return readme(plan, "docker compose", sections)
