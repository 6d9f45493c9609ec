"""Targets: a launch plan as the text for one way to start it. They do not know one another."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from mimo_gb10.defaults import TARGETS
from mimo_gb10.plan import LaunchPlan, RankLaunch

Render = Callable[[LaunchPlan, RankLaunch], str]


def renderer(target: str) -> Render:
    """The function that renders one rank for a target.

    Raises:
        KeyError: If there is no such target.
    """
    if target not in TARGETS:
        raise KeyError(target)
    module = importlib.import_module(f"mimo_gb10.targets.{target}")
    return cast(Render, module.render)


def file_name(rank: RankLaunch) -> str:
    """The name of one rank's script."""
    return f"rank{rank.rank}.sh"
