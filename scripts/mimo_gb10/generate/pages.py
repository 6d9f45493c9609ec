"""The page of each recipe: what it is, how well supported, its commands, choices and findings."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_RECIPE, SCRIPT_TARGETS, TARGETS
from mimo_gb10.evidence import level, proofs, rehearsals
from mimo_gb10.explain import Choice, explain
from mimo_gb10.files import Output
from mimo_gb10.findings import Finding
from mimo_gb10.generate.markdown import code, mark, table
from mimo_gb10.generate.prose import block
from mimo_gb10.generate.rehearsals import where
from mimo_gb10.launch import on_example
from mimo_gb10.paths import RECIPES, ROOT, names_in
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.targets import launch_files, preparations, refusals, renderer
from mimo_gb10.targets.container import BUILD_SCRIPT
from mimo_gb10.targets.files import README

FOLDER = "docs/recipes"

_MARK = mark("configs/")
_LEVELS = {
    "rehearsed": "**Rehearsed**: its launch ran with its patches and a tiny random model, and no check failed. The "
    "receipts stand under Evidence. Not on GB10.",
    "checked": "**Checked**: every flag and variable against the release's sources. No run is known.",
    "reported": "**Reported**: somebody published a run; what it shows stands under Evidence.",
}


def make() -> Mapping[str, Output]:
    """One page per recipe, and their index."""
    pages: dict[str, Output] = {}
    rows = []
    for name in names_in(RECIPES):
        checked = on_example(name)
        plan = checked.plan()
        assert checked.context is not None
        pages[f"{FOLDER}/{name}.md"] = Output(_page(checked.context, plan, checked.findings))
        recipe = checked.context.recipe
        default = " (default)" if name == DEFAULT_RECIPE else ""
        rows.append([f"[{name}]({name}.md){default}", recipe.title, recipe.sglang, level(recipe)])
    rows_table = table(["Recipe", "Title", "SGLang", "Level"], rows)
    levels = "".join(f"- {text}\n" for text in _LEVELS.values())
    intro = "A recipe says what to serve and how. It runs on any cluster file."
    text = f"# Recipes\n\n{_MARK}\n{intro}\n\n{rows_table}\n{levels}"
    pages[f"{FOLDER}/index.md"] = Output(text)
    return pages


def _page(context: Context, plan: LaunchPlan, findings: Sequence[Finding]) -> str:
    recipe = context.recipe
    path = f"configs/recipes/{recipe.name}.yaml"
    parts = [
        f"# {recipe.title}\n\n{_MARK}",
        f"{recipe.summary}\n",
        f"{_LEVELS[level(recipe)]}\n",
        _facts(context),
        "## Evidence\n",
        _evidence(context),
        "## Commands\n",
        f"For the nodes of `{plan.cluster}`. For your own: "
        f"`python scripts/gen_launch.py {recipe.name} --cluster YOUR.yaml`. {_order(plan)}\n",
        *_commands(plan),
        "## Findings\n",
        _findings(findings),
        "## Choices\n",
        _choices(explain(context, plan)),
        "## The recipe\n",
        f"`{path}`. What each key means: [config files](../reference/configs.md#recipe).\n",
        block((ROOT / path).read_text(encoding="utf-8"), "yaml"),
    ]
    return "\n".join(parts)


def _facts(context: Context) -> str:
    recipe = context.recipe
    defects = ", ".join(f"[{name}](../patches/{name}.md)" for name in recipe.defects)
    return (
        f"- Recipe: `{recipe.name}`\n- Model: {context.model.title}\n- SGLang: {recipe.sglang}\n"
        f"- Image: `{recipe.image}`\n- Nodes: {recipe.nodes}\n- Patches: {defects or 'none'}\n"
    )


def _order(plan: LaunchPlan) -> str:
    """In which order to start the ranks."""
    *first, last = plan.start_order
    if not first:
        return "There is one rank."
    some = f"ranks {first[0]} to {first[-1]}" if len(first) > 1 else f"rank {first[0]}"
    return f"Start {some} first, then rank {last}."


def _evidence(context: Context) -> str:
    recipe = context.recipe
    lines = [f"- {_receipt(name)}\n" for name in proofs(recipe)]
    lines += [f"- <{item.link}>: {item.shows}\n" for item in recipe.evidence]
    return "".join(lines) or "None: not proven. Nobody is known to have run this recipe.\n"


def _receipt(name: str) -> str:
    """A rehearsal of this very launch: when, on what, and how it ended."""
    receipt = rehearsals()[name]
    checks = Counter(check["status"] for check in receipt["checks"])
    counted = ", ".join(f"{checks[status]} {status}" for status in ("ok", "warn", "fail", "skip") if checks[status])
    return (
        f"[{name}](../rehearsals/{name}.md): a rehearsal of this very launch on {receipt['date'][:10]}, SGLang "
        f"{receipt['sglang']['version']}, {where(receipt)}; checks: {counted}."
    )


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "None.\n"
    lines = []
    for finding in findings:
        lines.append(f"- **{finding.severity.label}** `{finding.code}`: {finding.message}.")
        lines[-1] += f" {finding.help}" if finding.help else ""
    return "\n".join(lines) + "\n"


def _commands(plan: LaunchPlan) -> Iterable[str]:
    """A tab for each target, with the commands of every rank in it."""
    for target, what in TARGETS.items():
        parts = [f"{what[0].upper()}{what[1:]}.\n"]
        if target not in SCRIPT_TARGETS:
            parts += _files(target, plan)
            yield _tab(target, parts)
            continue
        render = renderer(target)
        for script, text in preparations(target, plan).items():
            parts.append(f"`{script}`, once on every node, in a checkout of this repository:\n\n{block(text, 'bash')}")
        for rank in plan.ranks:
            parts.append(f"Rank {rank.rank}, on {rank.address}:\n\n{block(render(plan, rank), 'bash')}")
        yield _tab(target, parts)


def _tab(target: str, parts: Iterable[str]) -> str:
    return f'=== "{target}"\n\n{textwrap.indent(chr(10).join(parts), "    ")}'


def _files(target: str, plan: LaunchPlan) -> Iterable[str]:
    """The head's files, and those of the launch as a whole; the other nodes' differ in their rank and addresses."""
    if refused := refusals(target, plan):
        yield _findings(refused)
        return
    files = launch_files(target, plan)
    for file in files:
        if file.rank in (None, 0) and file.name not in (README, BUILD_SCRIPT) and not file.is_copy:
            yield f"`{file.name}`:\n\n{block(file.text, file.language)}"
    if any(file.rank not in (None, 0) for file in files):
        command = f"gen_launch.py {plan.recipe} --target {target} --out DIR"
        yield f"`{command}` writes those of all ranks, and what to run where.\n"


def _choices(choices: Sequence[Choice]) -> str:
    rows = []
    for choice in choices:
        default = "" if choice.default is None else f"`{choice.default}`"
        rows.append([f"`{choice.name}`", f"`{choice.value}`", default, choice.why, code(choice.source)])
    return table(["Flag or variable", "Value", "SGLang's default", "Why", "Declared in"], rows)
