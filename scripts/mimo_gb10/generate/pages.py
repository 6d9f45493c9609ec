"""The page of each recipe: what it is, how well supported, its commands, choices and findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, TARGETS
from mimo_gb10.evidence import level, proofs
from mimo_gb10.explain import Choice, explain
from mimo_gb10.files import Output
from mimo_gb10.findings import Finding
from mimo_gb10.generate.markdown import code, mark, table
from mimo_gb10.launch import check
from mimo_gb10.paths import RECIPES, names_in
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.targets import preparations, renderer

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
        checked = check(name, DEFAULT_CLUSTER)
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
    parts = [
        f"# {recipe.title}\n\n{_MARK}",
        f"{recipe.summary}\n",
        f"{_LEVELS[level(recipe)]}\n",
        f"- Recipe: `{recipe.name}`\n- Model: {context.model.title}\n- SGLang: {recipe.sglang}\n"
        f"- Image: `{recipe.image}`\n- Nodes: {recipe.nodes}\n",
        "## Evidence\n",
        _evidence(context),
        "## Findings\n",
        _findings(findings),
        "## Commands\n",
        f"For the nodes of `{DEFAULT_CLUSTER}`. For your own: "
        f"`python scripts/gen_launch.py {recipe.name} --cluster YOUR.yaml`. "
        "Start ranks 1 to 3 first, then rank 0.\n",
        *_commands(plan),
        "## Choices\n",
        _choices(explain(context, plan)),
    ]
    return "\n".join(parts)


def _evidence(context: Context) -> str:
    recipe = context.recipe
    lines = [f"- [{name}](../rehearsals/{name}.md): a rehearsal of this very launch.\n" for name in proofs(recipe)]
    lines += [f"- <{item.link}>: {item.shows}\n" for item in recipe.evidence]
    return "".join(lines) or "None: not proven. Nobody is known to have run this recipe.\n"


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "None.\n"
    lines = []
    for finding in findings:
        lines.append(f"- **{finding.severity.label}** `{finding.code}`: {finding.message}.")
        lines[-1] += f" {finding.help}" if finding.help else ""
    return "\n".join(lines) + "\n"


def _commands(plan: LaunchPlan) -> Iterable[str]:
    for target, what in TARGETS.items():
        render = renderer(target)
        yield f"### {target}: {what}\n"
        for script, text in preparations(target, plan).items():
            yield f"`{script}`, once on every node, in a checkout of this repository:\n"
            yield f"```bash\n{text}```\n"
        for rank in plan.ranks:
            yield f"Rank {rank.rank}, on {rank.address}:\n"
            yield f"```bash\n{render(plan, rank)}```\n"


def _choices(choices: Sequence[Choice]) -> str:
    rows = []
    for choice in choices:
        default = "" if choice.default is None else f"`{choice.default}`"
        rows.append([f"`{choice.name}`", f"`{choice.value}`", default, choice.why, code(choice.source)])
    return table(["Flag or variable", "Value", "SGLang's default", "Why", "Declared in"], rows)
