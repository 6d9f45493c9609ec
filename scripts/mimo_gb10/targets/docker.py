"""A complete ``docker run`` per rank."""

from __future__ import annotations

from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets.container import build_words, image, prepare, run_options
from mimo_gb10.targets.header import header
from mimo_gb10.text.shell import command_lines, comment, quote

__all__ = ["prepare", "render"]


def _image_first(plan: LaunchPlan) -> str:
    """The comment that says how the patched image is made."""
    if not plan.defects:
        return ""
    # What a value holds may not end the comment's line; the script of the same name has it unescaped.
    words = ["docker", "build", *build_words(plan), "."]
    command = " ".join(quote(comment(word)) for word in words)
    return f"# Once on this node, in a checkout of mimo-gb10:\n#   {command}\n"


def render(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The script of one rank: ``docker run`` in the foreground, in place of the shell."""
    options = run_options(plan, rank)
    run = command_lines(("exec", "docker", "run"), options)
    inside = command_lines(rank.argv[:3], rank.argv[3:], indent="    ")
    head = f"{header(plan, rank)}{_image_first(plan)}set -euo pipefail\n\n"
    return f"{head}{run} \\\n  {quote(image(plan))} \\\n  {inside}\n"
