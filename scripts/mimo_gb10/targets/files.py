"""What a target writes: files, and the page that says what to run where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mimo_gb10.findings import Finding, error
from mimo_gb10.names import with_port
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.text.shell import comment, quote

README = "README.md"


@dataclass(frozen=True, slots=True)
class LaunchFile:
    """One file of a launch.

    Attributes:
        name: Its name in the launch's folder; may hold slashes.
        text: Its content.
        language: What it is written in, as a page's code block names it.
        rank: The rank that it belongs to; None if it belongs to all.
        executable: Whether it is a script to run.
        is_copy: Whether it is a file of this project as it is.
    """

    name: str
    text: str
    language: str
    rank: int | None = None
    executable: bool = False
    is_copy: bool = False


def executables(scripts: Mapping[str, str]) -> list[LaunchFile]:
    """Scripts to run on every node before the first start, by file name."""
    return [LaunchFile(name, text, "bash", executable=True) for name, text in scripts.items()]


def same_for_all(plan: LaunchPlan) -> RankLaunch:
    """The launch of every rank with marks in it, for a system that picks which node runs which rank.

    Raises:
        ValueError: If the nodes are not alike; a target's `refuse` says so first.
    """
    template = plan.one_for_all()
    if template is None:
        raise ValueError("the nodes are not alike")
    return template


def nodes_differ(target: str, why: str) -> Finding:
    """What is wrong with a plan whose nodes are not alike, for such a system."""
    return error(
        f"{target}-nodes-differ",
        f"the nodes differ in more than their address, and {why}",
        "Give all nodes the same socket_interface and rdma_devices, or use another target.",
    )


def heading(plan: LaunchPlan, rank: RankLaunch | None = None) -> str:
    """What a file is, in lines of text for a comment at its top."""
    lines = [
        comment(plan.title),
        f"Recipe {comment(plan.recipe)}, cluster {comment(plan.cluster)}, SGLang {plan.release}.",
    ]
    if rank is not None:
        role = "the head" if rank.rank == 0 else "a worker"
        lines.append(f"Rank {rank.rank} of {len(plan.ranks)}, {role}, on {comment(rank.address)}.")
    return "\n".join(lines)


def hash_comment(text: str) -> str:
    """Lines of text as comment lines."""
    return "".join(f"# {line}\n" for line in text.split("\n"))


def per_node(plan: LaunchPlan, commands: Mapping[int, Sequence[str]]) -> str:
    """Commands for each node, the workers first and the head last."""
    parts = []
    for rank in plan.start_order:
        last = ", the head, last" if rank == 0 and len(plan.ranks) > 1 else ""
        where = f"# rank {rank}, on {comment(plan.ranks[rank].address)}{last}"
        parts.append("\n".join([where, *commands[rank]]))
    return shell("\n".join(parts))


def on_each(plan: LaunchPlan, *commands: str) -> str:
    """Commands for every node, with N for its rank."""
    where = "On each node, with its own rank for N:\n\n" if len(plan.ranks) > 1 else ""
    text = "\n".join(commands)
    return where + shell(text if len(plan.ranks) > 1 else text.replace("rankN", "rank0"))


def shell(text: str) -> str:
    """A block of commands."""
    return f"```bash\n{text}\n```\n"


def readme(plan: LaunchPlan, kind: str, sections: Mapping[str, str]) -> LaunchFile:
    """``README.md``: what this folder is, then each section in order; one without text is left out."""
    parts = [f"# {comment(plan.recipe)} on {comment(plan.cluster)}: {kind}\n"]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return LaunchFile(README, "\n".join(parts), "markdown")


def ready(plan: LaunchPlan) -> str:
    """How to see that the server answers: a right answer in every modality, not only an open port."""
    head = plan.ranks[0]
    url = f"http://{with_port(head.address, int(head.option('--port') or 30000))}"
    return "Every modality, with answers compared, from a checkout of mimo-gb10:\n\n" + shell(
        f"python scripts/smoke_test.py --url {quote(url)} --recipe {quote(plan.recipe)} --wait 3600"
    )
