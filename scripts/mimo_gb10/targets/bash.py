"""A complete script per rank that runs SGLang in the current environment."""

from __future__ import annotations

from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets.header import header
from mimo_gb10.text.shell import command_lines, comment, quote


def render(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The script of one rank: exports, then SGLang in place of the shell."""
    exports = "".join(f"export {name}={quote(value)}\n" for name, value in rank.env.items())
    exports = f"{exports}\n" if exports else ""
    command = command_lines(("exec", *rank.argv[:3]), rank.argv[3:])
    return f"{header(plan, rank)}{_patches(plan)}set -euo pipefail\n\n{exports}{command}\n"


def _patches(plan: LaunchPlan) -> str:
    """The comment that says which patches the environment needs."""
    if not plan.defects:
        return ""
    names = " ".join(quote(comment(name)) for name in plan.defects)
    return f"# Once, in this environment: python3 scripts/apply_patches.py {names}\n"
