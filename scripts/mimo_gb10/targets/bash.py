"""A complete script per rank that runs SGLang in the current environment."""

from __future__ import annotations

from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets.header import header
from mimo_gb10.text.shell import command_lines, quote


def render(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The script of one rank: exports, then SGLang in place of the shell."""
    exports = "".join(f"export {name}={quote(value)}\n" for name, value in rank.env.items())
    command = command_lines(("exec", *rank.argv[:3]), rank.argv[3:])
    return f"{header(plan, rank)}set -euo pipefail\n\n{exports}\n{command}\n"
