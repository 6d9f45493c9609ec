"""What is settled before the first rank of a rehearsal starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimo_gb10.context import Context
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.rehearsal.adapt import Change
from mimo_gb10.rehearsal.checkpoint.make import Made
from mimo_gb10.rehearsal.machine import Machine
from mimo_gb10.rehearsal.tree import Tree


@dataclass(frozen=True)
class Stand:
    """Everything that is settled before the first rank starts.

    Attributes:
        context: Recipe, cluster, model and release.
        plan: The launch, adapted.
        changes: What was replaced in it.
        machine: What it runs on.
        tree: The SGLang that the ranks import.
        model: The tiny model.
        url: Where rank 0 answers.
        folder: For logs and the receipt.
        hosts: How many machines the ranks are on.
        overrides: What ``--set`` changed.
        stand_ins: What stood in for something, in words.
    """

    context: Context
    plan: LaunchPlan
    changes: tuple[Change, ...]
    machine: Machine
    tree: Tree
    model: Made
    url: str
    folder: Path
    hosts: int = 1
    overrides: tuple[str, ...] = ()
    stand_ins: tuple[str, ...] = ()

    @property
    def is_patched(self) -> bool:
        """Whether every defect that the recipe lists is mended."""
        return not self.tree.lacks(self.context.recipe.defects)
