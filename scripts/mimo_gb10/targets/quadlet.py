"""A Podman Quadlet per node: systemd runs the recipe's container with podman."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from mimo_gb10.findings import Finding, error
from mimo_gb10.names import container_name
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets import container, unit
from mimo_gb10.targets.container import CORE, config_file
from mimo_gb10.targets.files import LaunchFile, executables, on_each, per_node, readme, ready, shell
from mimo_gb10.text.shell import quote
from mimo_gb10.text.systemd import command, literal


def files(plan: LaunchPlan) -> Sequence[LaunchFile]:
    """The image's script, a Quadlet per rank, and the README."""
    plan = replace(plan, image=_qualified(plan.image))
    scripts = executables(container.prepare(plan, "podman"))
    units = [LaunchFile(file_name(plan, rank), render(plan, rank), "ini", rank.rank) for rank in plan.ranks]
    return (*scripts, *units, _readme(plan))


def file_name(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The file of a rank; Quadlet makes the unit of the same name from it."""
    return f"{container_name(plan.recipe, rank.rank)}.container"


def refuse(plan: LaunchPlan) -> Sequence[Finding]:
    """Podman's generator writes an empty argument and a lone semicolon without quotes, and systemd then loses them."""
    return [
        error(
            "quadlet-argument",
            f"rank {rank.rank} has the argument {lost!r}, which Podman's generator does not pass on",
            "Leave it out, or use the target systemd.",
            source="https://github.com/containers/podman/blob/c6580b4a5219c9efb9ab79a540637d8a58b736f8/pkg/systemd/parser/split.go#L440",
        )
        for rank in plan.ranks
        for lost in ("", ";")
        if lost in rank.argv
    ]


def _qualified(image: str) -> str:
    """The image with its registry: podman asks or refuses where docker assumes Docker Hub."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def image(plan: LaunchPlan) -> str:
    """The image that is run; one that podman built itself has the registry localhost."""
    return f"localhost/{container.image(plan)}" if plan.defects else _qualified(plan.image)


def secret_name(plan: LaunchPlan) -> str:
    """The podman secret that holds the file with the API key."""
    return f"{container.slug(plan.recipe)}-server-config"


def render(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The Quadlet of one rank."""
    # With the host's IPC podman takes no size for /dev/shm: it is the host's.
    settings = [
        f"ContainerName={container_name(plan.recipe, rank.rank)}\n",
        f"Image={literal(image(plan))}\n",
        "Pull=never\n",
        "RunInit=true\n",
        f"Network={CORE.network}\n",
        f"PodmanArgs=--ipc={CORE.ipc}\n",
        f"AddDevice=nvidia.com/gpu={CORE.gpus}\n",
        *([f"AddDevice={CORE.device}\n"] if container.has_fabric(plan) else []),
        f"AddCapability={CORE.capability}\n",
        *(f"Ulimit={name}={value}:{value}\n" for name, value in CORE.ulimits.items()),
        command("PodmanArgs", [f"--mount={container.mount(plan.model_path)}"]),
        *_secret(plan, rank),
        *(command("Environment", [f"{name}={value}"]) for name, value in rank.env.items()),
        command("Exec", (), rank.argv),
        *_health(rank),
    ]
    parts = [
        unit.unit_section(plan, rank),
        "\n[Container]\n",
        *settings,
        "\n[Service]\n",
        unit.wait_for_fabric(rank),
        unit.service_limits(),
        unit.INSTALL,
    ]
    return "".join(parts)


def _secret(plan: LaunchPlan, rank: RankLaunch) -> Sequence[str]:
    config = config_file(rank)
    if config is None:
        return ()
    return [command("Secret", [f"{secret_name(plan)},type=mount,target={config},mode=0400"])]


def _health(rank: RankLaunch) -> Sequence[str]:
    """The head is started once a completion has come back."""
    if rank.rank:
        return ()
    return [
        "# Started means: a completion has come back. Nothing is ended when a later one fails.\n",
        "Notify=healthy\n",
        f"HealthCmd={literal(json.dumps(['CMD', *container.health_command(rank)]))}\n",
        "HealthInterval=60s\n",
        f"HealthTimeout={container.HEALTH_SECONDS + 10}s\n",
        "HealthRetries=5\n",
        f"HealthStartPeriod={container.LOAD_SECONDS}s\n",
    ]


def _readme(plan: LaunchPlan) -> LaunchFile:
    units = {rank.rank: unit.unit_name(plan, rank) for rank in plan.ranks}
    any_unit = f"{container_name(plan.recipe, 0)[:-1]}N.service" if len(plan.ranks) > 1 else units[0]
    pull = "" if plan.defects else "The units never pull:\n\n" + shell(f"podman pull {quote(image(plan))}")
    build = f"`./{container.BUILD_SCRIPT} CHECKOUT` builds the image with the recipe's patches: once on every node.\n"
    device = "Podman 5 or later, and the GPU as a CDI device, once on every node:\n\n" + shell(
        "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    )
    secret = ""
    if (config := config_file(plan.ranks[0])) is not None:
        secret = (
            f"The API key, once on every node: `{config}` is the file's name inside the container. Give podman one "
            "line, `api-key: ...`, and end it with Ctrl-D:\n\n"
            + shell(f"sudo podman secret create {secret_name(plan)} -")
        )
    install = {
        rank.rank: [
            f"sudo install -D -m 644 -t /etc/containers/systemd {file_name(plan, rank)}",
            "sudo systemctl daemon-reload",
        ]
        for rank in plan.ranks
    }
    start = {rank: [f"sudo systemctl start {'' if rank == 0 else '--no-block '}{units[rank]}"] for rank in units}
    steps = [device, build if plan.defects else pull, secret, per_node(plan, install)]
    sections = {
        "Before the first start": "\n".join(filter(None, steps)),
        "Start": per_node(plan, start),
        "Ready": f"`systemctl start {units[0]}` returns once a completion has come back.\n\n" + ready(plan),
        "Logs and state": on_each(plan, f"systemctl status {any_unit}", f"journalctl --unit={any_unit} --follow"),
        "Stop": on_each(plan, f"sudo systemctl stop {any_unit}")
        + "\nIt starts again at the next boot, until its file in `/etc/containers/systemd` is gone.\n",
        "When a rank ends": unit.AGAIN,
    }
    return readme(plan, "Podman Quadlet", sections)
