"""A systemd unit per node that runs the recipe's container with docker."""

from __future__ import annotations

from collections.abc import Sequence

from mimo_gb10.names import container_name
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets import container, unit
from mimo_gb10.targets.files import LaunchFile, executables, on_each, per_node, readme, ready, shell
from mimo_gb10.text.shell import comment, quote
from mimo_gb10.text.systemd import command

DOCKER = "/usr/bin/docker"

_READY = (
    'until docker exec "$0" "$@" 2>/dev/null; do sleep 15; docker inspect "$0" >/dev/null; done'  # -e: ends with it
)


def files(plan: LaunchPlan) -> Sequence[LaunchFile]:
    """The image's script, a unit per rank, and the README."""
    scripts = executables(container.prepare(plan))
    units = [LaunchFile(unit.unit_name(plan, rank), render(plan, rank), "ini", rank.rank) for rank in plan.ranks]
    return (*scripts, *units, _readme(plan))


def render(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The unit of one rank."""
    name = container_name(plan.recipe, rank.rank)
    options = ["--pull=never", *container.run_options(plan, rank)]
    parts = [
        unit.unit_section(plan, rank, after="docker.service"),
        "\n[Service]\nType=exec\n",
        unit.wait_for_fabric(rank),
        command("ExecStartPre", (f"-{DOCKER}", "rm", "--force", name)),
        command("ExecStart", (DOCKER, "run"), options, [container.image(plan)], rank.argv),
        _ready(name, rank),
        command("ExecStop", (DOCKER, "stop", f"--time={container.STOP_SECONDS}", name)),
        unit.service_limits(),
        unit.INSTALL,
    ]
    return "".join(parts)


def _ready(name: str, rank: RankLaunch) -> str:
    """The head's unit is started once a completion has come back; it fails when the container ends before."""
    if rank.rank:
        return ""
    words = ("/bin/sh", "-ec", _READY, name, *container.health_command(rank))
    return "# Started means: a completion has come back.\n" + command("ExecStartPost", words)


def _readme(plan: LaunchPlan) -> LaunchFile:
    names = {rank.rank: unit.unit_name(plan, rank) for rank in plan.ranks}
    any_unit = f"{container_name(plan.recipe, 0)[:-1]}N.service" if len(plan.ranks) > 1 else names[0]
    pull = "" if plan.defects else "The units never pull:\n\n" + shell(f"docker pull {quote(plan.image)}") + "\n"
    install = {
        rank: [f"sudo install -m 644 {name} /etc/systemd/system/", "sudo systemctl daemon-reload"]
        for rank, name in names.items()
    }
    start = {rank: [f"sudo systemctl enable --now {'' if rank == 0 else '--no-block '}{names[rank]}"] for rank in names}
    sections = {
        "Before the first start": "\n".join(
            filter(None, [container.prepare_note(plan, plan.ranks[0]), pull, per_node(plan, install)])
        ),
        "Start": per_node(plan, start),
        "Ready": f"`systemctl start {comment(names[0])}` returns once a completion has come back.\n\n" + ready(plan),
        "Logs and state": on_each(plan, f"systemctl status {any_unit}", f"journalctl --unit={any_unit} --follow"),
        "Stop": on_each(plan, f"sudo systemctl disable --now {any_unit}"),
        "When a rank ends": unit.AGAIN,
    }
    return readme(plan, "systemd", sections)
