"""Targets: a launch plan as the text for one way to start it. They do not know one another."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import cast

from mimo_gb10.defaults import SCRIPT_TARGETS, TARGETS
from mimo_gb10.findings import Finding
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets.files import LaunchFile, executables

Render = Callable[[LaunchPlan, RankLaunch], str]
Prepare = Callable[[LaunchPlan], Mapping[str, str]]
Files = Callable[[LaunchPlan], Sequence[LaunchFile]]
Refuse = Callable[[LaunchPlan], Sequence[Finding]]


def launch_files(target: str, plan: LaunchPlan) -> Sequence[LaunchFile]:
    """Everything that a target writes, in the order in which to read it.

    Raises:
        KeyError: If there is no such target.
    """
    if target not in SCRIPT_TARGETS:
        return cast(Files, _module(target).files)(plan)
    scripts = executables(preparations(target, plan))
    render = renderer(target)
    ranks = [LaunchFile(file_name(rank), render(plan, rank), "bash", rank.rank, executable=True) for rank in plan.ranks]
    return (*scripts, *ranks)


def refusals(target: str, plan: LaunchPlan) -> Sequence[Finding]:
    """What of a plan the target cannot express; most can express all.

    Raises:
        KeyError: If there is no such target.
    """
    refuse = cast("Refuse | None", getattr(_module(target), "refuse", None))
    return refuse(plan) if refuse is not None else ()


def renderer(target: str) -> Render:
    """The function that renders one rank for a target that writes a script per rank.

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
