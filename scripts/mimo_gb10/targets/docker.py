"""A complete ``docker run`` per rank."""

from __future__ import annotations

import csv
import io

from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets.header import header
from mimo_gb10.text.shell import command_lines, quote

# What published multi-node launches on DGX Spark have in common. Host network and IPC: NCCL and gloo speak on the
# node's own interfaces and shared memory. memlock and IPC_LOCK: RDMA registers (pins) memory. With --ipc host the
# size of /dev/shm is the host's; --shm-size speaks where somebody takes --ipc host out.
CONTAINER = (
    "--network=host",
    "--ipc=host",
    "--gpus=all",
    "--ulimit=memlock=-1",
    "--ulimit=stack=67108864",
    "--cap-add=IPC_LOCK",
    "--device=/dev/infiniband",
    "--shm-size=32g",
)


def container_name(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The container's name: what to give to ``docker logs`` and ``docker stop``."""
    return f"{plan.recipe}-rank{rank.rank}"


def mount(path: str) -> str:
    """A read-only bind mount of `path` at the same place; docker parses the value as one line of CSV."""
    line = io.StringIO()
    csv.writer(line).writerow(["type=bind", f"source={path}", f"target={path}", "readonly"])
    return line.getvalue().removesuffix("\r\n")


def render(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The script of one rank: ``docker run`` in the foreground, in place of the shell."""
    options = ["--rm", "--init", f"--name={container_name(plan, rank)}", *CONTAINER]
    options += [f"--mount={mount(plan.model_path)}"]
    options += [f"--env={name}={value}" for name, value in rank.env.items()]
    run = command_lines(("exec", "docker", "run"), options)
    inside = command_lines(rank.argv[:3], rank.argv[3:], indent="    ")
    return f"{header(plan, rank)}set -euo pipefail\n\n{run} \\\n  {quote(plan.image)} \\\n  {inside}\n"
