"""What the launch builder's page shows without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, SCRIPT_TARGETS, TARGETS
from mimo_gb10.launch import check
from mimo_gb10.targets import file_name, preparations, renderer


def example() -> str:
    """The default recipe on the example cluster, one fold a target."""
    intro = f"Recipe [{DEFAULT_RECIPE}](../recipes/{DEFAULT_RECIPE}.md) on the cluster file `{DEFAULT_CLUSTER}`.\n"
    return intro + "".join(f"\n{part}" for part in _targets())


def _targets() -> Iterator[str]:
    plan = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).plan()
    for target in SCRIPT_TARGETS:
        render = renderer(target)
        scripts = {**preparations(target, plan), **{file_name(rank): render(plan, rank) for rank in plan.ranks}}
        body = "\n".join(f"`{name}`:\n\n```bash\n{text}```\n" for name, text in scripts.items())
        indented = "".join(f"    {line}\n" if line else "\n" for line in body.splitlines())
        yield f'??? example "{target}: {TARGETS[target]}"\n\n{indented}'


BLOCKS: Mapping[str, Callable[[], str]] = {"builder-example": example}
