"""Targets: a launch plan as the text for one way to start it. They do not know one another."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import cast

from mimo_gb10.defaults import TARGETS
from mimo_gb10.plan import LaunchPlan, RankLaunch

Render = Callable[[LaunchPlan, RankLaunch], str]
Prepare = Callable[[LaunchPlan], Mapping[str, str]]


def renderer(target: str) -> Render:
    """The function that renders one rank for a target.

    Raises:
        KeyError: If there is no such target.
    """
    return cast(Render, _module(target).render)


def preparations(target: str, plan: LaunchPlan) -> Mapping[str, str]:
    """Scripts to run on every node before the first launch, by file name; most targets have none.

    Raises:
        KeyError: If there is no such target.
    """
    prepare = cast("Prepare | None", getattr(_module(target), "prepare", None))
    return prepare(plan) if prepare is not None else {}


def file_name(rank: RankLaunch) -> str:
    """The name of one rank's script."""
    return f"rank{rank.rank}.sh"


def _module(target: str) -> ModuleType:
    if target not in TARGETS:
        raise KeyError(target)
    return importlib.import_module(f"mimo_gb10.targets.{target}")
