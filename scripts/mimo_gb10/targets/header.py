"""The comment lines at the top of a generated script."""

from __future__ import annotations

from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.text.shell import comment


def header(plan: LaunchPlan, rank: RankLaunch) -> str:
    """Shebang, what this script is, and when to start it."""
    last = len(plan.ranks) - 1
    if last == 0:
        role, order = "the only rank", ""
    elif rank.rank == 0:
        role, order = "the head", f" Start it last, after rank{f's 1 to {last}' if last > 1 else ' 1'}."
    else:
        role, order = "a worker", " Start it before the head, rank 0."
    lines = [
        comment(plan.title),
        f"Recipe {comment(plan.recipe)}, cluster {comment(plan.cluster)}, SGLang {plan.release}.",
        f"Rank {rank.rank} of {len(plan.ranks)}, {role}, on {comment(rank.address)}.{order}",
    ]
    return "#!/usr/bin/env bash\n" + "".join(f"# {line}\n" for line in lines)
