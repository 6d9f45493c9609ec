"""What the README says of the recipes, so that it cannot claim more than the receipts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mimo_gb10.defaults import DEFAULT_RECIPE, TARGETS
from mimo_gb10.evidence import level, proofs, rehearsals
from mimo_gb10.generate.markdown import table
from mimo_gb10.generate.rehearsals import where
from mimo_gb10.launch import on_example
from mimo_gb10.paths import RECIPES, names_in
from mimo_gb10.recipe import Recipe


def _recipes() -> str:
    """Each recipe, its release and what supports it."""
    rows = []
    for name in names_in(RECIPES):
        context = on_example(name).context
        assert context is not None
        default = " (default)" if name == DEFAULT_RECIPE else ""
        rows.append([f"`{name}`{default}", context.recipe.sglang, _support(context.recipe)])
    return table(["Recipe", "SGLang", "Supported by"], rows)


def _targets() -> str:
    """Every target: what it writes, and for whom."""
    return table(["`--target`", "Writes"], [[f"`{name}`", what] for name, what in TARGETS.items()])


def _support(recipe: Recipe) -> str:
    """The level first, then what it rests on."""
    parts = [f"**{level(recipe)}**"]
    for name in proofs(recipe):
        parts.append(f"a tiny random model, {where(rehearsals()[name])} ([receipt](docs/rehearsals/{name}.md))")
    parts += [f"a [public report]({item.link}): {item.shows}" for item in recipe.evidence if not item.is_receipt]
    return "; ".join(parts) if len(parts) > 1 else f"{parts[0]}: no run is known"


BLOCKS: Mapping[str, Callable[[], str]] = {"readme-recipes": _recipes, "readme-targets": _targets}
