"""Why each flag and variable is what it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mimo_gb10.context import Context
from mimo_gb10.flag_checks import CLUSTER_VARIABLES, cluster_gives
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.report import Paint


@dataclass(frozen=True, slots=True)
class Choice:
    """One flag or variable of a launch.

    Attributes:
        kind: ``flag`` or ``variable``.
        name: Its name, without dashes.
        value: The value of rank 0, as text.
        default: SGLang's default in this release; None when it has none.
        why: The recipe's reason, or where the cluster gives it.
        source: File inside the wheel and line of its declaration.
    """

    kind: str
    name: str
    value: str
    default: Any
    why: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """The choice as plain data, for ``--json``."""
        return asdict(self)


def explain(context: Context, plan: LaunchPlan) -> list[Choice]:
    """Every flag and variable of the launch's head, in the order of the command."""
    return [*_flags(context, plan), *_variables(context, plan)]


def _flags(context: Context, plan: LaunchPlan) -> Iterator[Choice]:
    for option, value in _options(plan.ranks[0].argv[3:]):
        name = option.removeprefix("--")
        flag = context.release.by_option[option]
        given = cluster_gives(context.release, flag)
        why = f"The cluster gives {given}." if given else context.recipe.why.get(name, "")
        yield Choice("flag", name, value, flag.effective_default, why, flag.source)


def _variables(context: Context, plan: LaunchPlan) -> Iterator[Choice]:
    for name, value in plan.ranks[0].env.items():
        variable = context.release.environment.get(name)
        why = context.recipe.why.get(name, "")
        if name in CLUSTER_VARIABLES and not why:
            why = f"The cluster gives {CLUSTER_VARIABLES[name]}."
        yield Choice(
            "variable", name, value, variable.default if variable else None, why, variable.source if variable else ""
        )


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    option = ""
    values: list[str] = []
    for argument in arguments:
        if argument.startswith("--"):
            if option:
                yield option, " ".join(values) or "on"
            option, equals, value = argument.partition("=")
            values = [value] if equals else []
        else:
            values.append(argument)
    if option:
        yield option, " ".join(values) or "on"


def explain_text(choices: Sequence[Choice], width: int, paint: Paint) -> str:
    """The choices as text no wider than `width` characters, where words allow."""
    import textwrap

    lines = []
    for kind, title in (("flag", "Flags"), ("variable", "Environment variables (of rank 0)")):
        lines += [paint("heading", title), ""]
        for choice in choices:
            if choice.kind != kind:
                continue
            default = "none" if choice.default is None else _shown(choice.default)
            lines.append(f"{paint('bold', choice.name)} = {choice.value}    {paint('dim', f'(default: {default})')}")
            lines += textwrap.wrap(
                choice.why or "no reason given",
                width=width,
                initial_indent="    ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            if choice.source:
                lines.append(paint("dim", f"    {choice.source}"))
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _shown(value: Any) -> str:
    if value is False:
        return "off"
    return "on" if value is True else str(value)
