"""Recipe x cluster -> launch plan: per rank the environment and the argument list, before any quoting.

This is the only place that writes rendezvous flags and interface variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.context import Context
from mimo_gb10.names import with_port
from mimo_gb10.placeholders import fill
from mimo_gb10.recipe import FlagValue
from mimo_gb10.release import Flag

COMMAND = ("python3", "-m", "sglang.launch_server")


@dataclass(frozen=True, slots=True)
class RankLaunch:
    """What one rank runs.

    Attributes:
        rank: From 0; 0 is the head.
        address: The node's fabric address.
        env: Environment variables to set, in order.
        argv: The whole argument list, the program first.
    """

    rank: int
    address: str
    env: Mapping[str, str]
    argv: tuple[str, ...]

    def option(self, name: str) -> str | None:
        """The value of an option as argparse would read it: the last one given; None if there is none."""
        found = None
        for position, word in enumerate(self.argv):
            if word == name and position + 1 < len(self.argv):
                found = self.argv[position + 1]
            elif word.startswith(f"{name}="):
                found = word.removeprefix(f"{name}=")
        return found


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What every rank of one launch runs.

    Attributes:
        recipe: Name of the recipe.
        title: Its title.
        release: SGLang release.
        image: Container image.
        cluster: Name of the cluster.
        model_path: Absolute path of the checkpoint on every node.
        ranks: In rank order.
        defects: The upstream defects whose patches go on SGLang first, in the recipe's order.
    """

    recipe: str
    title: str
    release: str
    image: str
    cluster: str
    model_path: str
    ranks: tuple[RankLaunch, ...]
    defects: tuple[str, ...] = ()

    @property
    def start_order(self) -> list[int]:
        """Ranks in the order in which to start them: the workers, then the head, all within the timeout."""
        return [*range(1, len(self.ranks)), 0]

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for ``--json``."""
        return {
            "recipe": self.recipe,
            "release": self.release,
            "image": self.image,
            "defects": list(self.defects),
            "cluster": self.cluster,
            "start_order": self.start_order,
            "ranks": [
                {"rank": rank.rank, "address": rank.address, "env": dict(rank.env), "argv": list(rank.argv)}
                for rank in self.ranks
            ],
        }


def make_plan(context: Context) -> LaunchPlan:
    """The launch of a checked recipe on a checked cluster."""
    recipe, cluster = context.recipe, context.cluster
    head = cluster.head
    rendezvous = with_port(head.address, cluster.rendezvous_port)
    ranks = []
    for rank, node in enumerate(cluster.nodes):
        values = {
            "address": node.address,
            "head": head.address,
            "rank": str(rank),
            "socket_interface": node.socket_interface,
            "rdma_devices": ",".join(node.rdma_devices),
        }
        from_cluster = {
            "SGLANG_HOST_IP": node.address,
            "NCCL_SOCKET_IFNAME": node.socket_interface,
            "GLOO_SOCKET_IFNAME": node.socket_interface,
            "NCCL_IB_HCA": values["rdma_devices"],
        }
        env = {name: value for name, value in from_cluster.items() if name not in recipe.env}
        env |= {name: fill(value, values) for name, value in recipe.env.items() if value is not None}
        argv = [
            *COMMAND,
            *_argument("--model-path", cluster.model_path),
            "--nnodes",
            str(len(cluster.nodes)),
            "--node-rank",
            str(rank),
            *_argument("--dist-init-addr", rendezvous),
        ]
        for name, value in recipe.flags.items():
            argv += _flag_arguments(context.release.flag(name), name, value, values)
        argv += [*_argument("--host", cluster.serve_host), "--port", str(cluster.serve_port)]
        ranks.append(RankLaunch(rank, node.address, env, tuple(argv)))
    return LaunchPlan(
        recipe=recipe.name,
        title=recipe.title,
        release=recipe.sglang,
        image=recipe.image,
        cluster=cluster.name,
        model_path=cluster.model_path,
        ranks=tuple(ranks),
        defects=tuple(recipe.defects),
    )


def _flag_arguments(flag: Flag | None, name: str, value: FlagValue, values: Mapping[str, str]) -> Sequence[str]:
    option = f"--{name}"
    if value is False:
        # Leaving a switch out is its default; only one with a --no- spelling can be turned off.
        negation = f"--no-{name}"
        return (negation,) if flag is not None and negation in flag.options else ()
    if value is True:
        return (option,)
    if isinstance(value, list):
        return (option, *(_text(item, values) for item in value))
    return _argument(option, _text(value, values))


def _text(value: str | int | float, values: Mapping[str, str]) -> str:
    return fill(value, values) if isinstance(value, str) else str(value)


def _argument(option: str, value: str) -> Sequence[str]:
    # argparse takes a word that begins with a dash for an option, unless it is joined to its own.
    return (f"{option}={value}",) if value.startswith("-") else (option, value)
