"""Load, check, plan: from names and overrides to a launch plan and its findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mimo_gb10 import evidence
from mimo_gb10.cluster import Cluster, load_cluster
from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.findings import Finding, Location, Refused, error, has_errors, warning, worst_first
from mimo_gb10.flag_checks import check_cluster_text, check_env, check_flags, check_why
from mimo_gb10.model import Model, load_model
from mimo_gb10.paths import CLUSTERS, MODELS, RECIPES, names_in
from mimo_gb10.plan import LaunchPlan, make_plan
from mimo_gb10.recipe import Recipe, load_recipe
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.rules import ALL_RULES
from mimo_gb10.rules.parallel import NodeCount
from mimo_gb10.text.document import Document, NodePath, parse_document, parse_scalar, read_document
from mimo_gb10.text.suggest import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class Checked:
    """The outcome of a check.

    Attributes:
        findings: Everything that was found, worst first.
        context: What was checked; None if it could not be put together.
        strict: Whether warnings count as errors.
    """

    findings: tuple[Finding, ...]
    context: Context | None
    strict: bool = False

    @property
    def refused(self) -> bool:
        """Whether nothing may be printed or written but the findings."""
        return self.context is None or has_errors(self.findings, strict=self.strict)

    def plan(self) -> LaunchPlan:
        """The launch plan.

        Raises:
            Refused: If the findings forbid a launch.
        """
        if self.context is None or self.refused:
            raise Refused(self.findings)
        return make_plan(self.context)


def check(recipe: str, cluster: str, overrides: Sequence[str] = (), *, strict: bool = False) -> Checked:
    """Check a recipe on a cluster, both by name or path, with ``--set`` overrides.

    Every problem of both files is collected, not only the first.
    """
    findings: list[Finding] = []
    recipe_document = _collect(findings, lambda: find_document(recipe, RECIPES, "recipe"))
    cluster_document = _collect(findings, lambda: find_document(cluster, CLUSTERS, "cluster"))
    return check_documents(recipe_document, cluster_document, overrides, findings=findings, strict=strict)


def check_documents(
    recipe_document: Document | None,
    cluster_document: Document | None,
    overrides: Sequence[str] = (),
    *,
    findings: Sequence[Finding] = (),
    strict: bool = False,
) -> Checked:
    """The same for files that were read already; None stands for one that could not be, and `findings` says why."""
    findings = list(findings)
    for override in overrides:
        problem, recipe_document, cluster_document = _override(override, recipe_document, cluster_document)
        findings += problem
    loaded_recipe: Recipe | None = None
    loaded_cluster: Cluster | None = None
    if recipe_document is not None:
        loaded_recipe = _collect(findings, lambda: load_recipe(recipe_document))
    if cluster_document is not None:
        loaded_cluster = _collect(findings, lambda: load_cluster(cluster_document))
    context: Context | None = None
    if loaded_recipe is not None and loaded_cluster is not None:
        context = _collect(findings, lambda: make_context(loaded_recipe, loaded_cluster))
        if context is not None:
            findings += run_checks(context)
    elif loaded_recipe is not None or loaded_cluster is not None:
        findings += _check_half(loaded_recipe, loaded_cluster)
    return Checked(tuple(worst_first(findings)), context, strict)


def run_checks(context: Context) -> list[Finding]:
    """Findings of every check and rule about one recipe on one cluster."""
    findings = [
        *_check_names(context),
        *check_flags(context),
        *check_env(context),
        *check_why(context.recipe),
        *check_cluster_text(context),
    ]
    for rule in ALL_RULES:
        if rule.applies_to(context.release.version):
            findings += rule.check(context)
    return findings


def find_document(name: str, folder: Path, kind: str) -> Document:
    """Read a config by its name in `folder`, or by path.

    Raises:
        Refused: If there is none of that name, or the file cannot be used.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        return read_document(Path(name))
    known = names_in(folder)
    if name not in known:
        remedy = did_you_mean(name, known, f"Known: {', '.join(known)}. A path must hold a slash or end in .yaml.")
        raise Refused([error(f"{kind}-unknown", f"there is no {kind} {name!r}", remedy)])
    path = folder / f"{name}.yaml"
    return read_document(path, _shown(path))


def _shown(path: Path) -> str:
    """A config's path as a person in the checkout or elsewhere can open it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def make_context(recipe: Recipe, cluster: Cluster) -> Context:
    """Put a recipe, a cluster and what the recipe refers to together.

    Raises:
        Refused: If there is no such model or release.
    """
    problems: list[Finding] = []
    model: Model | None = None
    models = names_in(MODELS)
    if recipe.model in models:
        path = MODELS / f"{recipe.model}.yaml"
        model = _collect(problems, lambda: load_model(path, _shown(path)))
    else:
        remedy = did_you_mean(recipe.model, models, f"Known: {', '.join(models)}.")
        place = recipe.document.location(("model",))
        problems.append(error("model-unknown", f"there is no model {recipe.model!r}", remedy, place))
    if recipe.sglang not in known_releases():
        known = ", ".join(known_releases())
        place = recipe.document.location(("sglang",))
        remedy = f"Known: {known}. A new one is added by: python scripts/generate.py releases --add {recipe.sglang}"
        problems.append(error("release-unknown", f"there is no catalog of SGLang {recipe.sglang}", remedy, place))
    if model is None or problems:
        raise Refused(problems)
    return Context(recipe, cluster, model, load_release(recipe.sglang))


def _check_half(recipe: Recipe | None, cluster: Cluster | None) -> list[Finding]:
    """Findings about one file when the other cannot be used: a default stands in for it."""
    document = (recipe or cluster).document  # type: ignore[union-attr]
    recipe = recipe or load_recipe(find_document(DEFAULT_RECIPE, RECIPES, "recipe"))
    cluster = cluster or load_cluster(find_document(DEFAULT_CLUSTER, CLUSTERS, "cluster"))
    try:
        findings = run_checks(make_context(recipe, cluster))
    except Refused as refused:
        findings = list(refused.findings)
    own = {document.file, *document.overrides.values()}
    return [
        found for found in findings if found.code != NodeCount.code and found.location and found.location.file in own
    ]


def _check_names(context: Context) -> list[Finding]:
    found = []
    for name, document in (
        (context.recipe.name, context.recipe.document),
        (context.cluster.name, context.cluster.document),
    ):
        file = Path(document.file)
        if file.suffix in (".yaml", ".yml") and file.stem != name:
            place = document.location(("name",))
            found.append(
                warning("config-name", f"the file is {file.name}, its name is {name!r}", f"Name it {file.stem}.", place)
            )
    return found


def _collect(findings: list[Finding], load: Callable[[], T]) -> T | None:
    try:
        return load()
    except Refused as refused:
        findings.extend(refused.findings)
        return None


def _override(
    text: str, recipe: Document | None, cluster: Document | None
) -> tuple[list[Finding], Document | None, Document | None]:
    shown = f"--set {text}"
    place = Location(shown)
    key, equals, raw = text.partition("=")
    section, _, rest = key.partition(".")
    if not equals or not rest or section not in ("flags", "env", "cluster"):
        remedy = "Write flags.NAME=VALUE, env.NAME=VALUE or cluster.KEY=VALUE."
        return [error("set-form", f"'{text}' is not an override", remedy, place)], recipe, cluster
    try:
        raw.encode("utf-8")
    except UnicodeEncodeError:
        return [error("control-character", "the value is not UTF-8 text", "Correct it.", place)], recipe, cluster
    try:
        if section == "cluster":
            # No list has a billion items; a longer number is a key like any other.
            path: NodePath = tuple(
                int(part) if part.isascii() and part.isdecimal() and len(part) < 10 else part
                for part in rest.split(".")
            )
            return [], recipe, cluster and cluster.with_override(path, _yaml_value(raw, shown), shown)
        value = (None if raw == "null" else raw) if section == "env" else _flag_value(raw, shown)
        return [], recipe and recipe.with_override((section, rest), value, shown), cluster
    except Refused as refused:
        return list(refused.findings), recipe, cluster
    except KeyError as problem:
        owner = "cluster" if section == "cluster" else "recipe"
        message = f"the {owner} has no place for {problem.args[0]!r} in '{rest}'"
        return [error("set-form", message, "Look at the file's keys.", place)], recipe, cluster


def _flag_value(raw: str, shown: str) -> Any:
    # JSON and other text with YAML's own characters is taken as it is; only a list needs YAML.
    if raw.startswith("["):
        return _yaml_value(raw, shown)
    try:
        return parse_scalar(raw)
    except ValueError as problem:
        raise Refused([error("yaml-ambiguous", str(problem), "Write it in full.", Location(shown))]) from None


def _yaml_value(raw: str, shown: str) -> Any:
    try:
        document = parse_document(f"value: {raw}".encode(), shown)
        if len(document.value) > 1:
            raise Refused(
                [error("set-form", "an override is one value", "Set other keys one by one.", Location(shown))]
            )
        return document.value["value"]
    except Refused as refused:
        # Line and column count inside the argument and would only confuse.
        raise Refused(
            error(found.code, found.message, found.help, Location(shown)) for found in refused.findings
        ) from None


def recipes() -> list[Recipe]:
    """Every recipe that comes with the project.

    Raises:
        Refused: If one of them is broken.
    """
    return [load_recipe(find_document(name, RECIPES, "recipe")) for name in names_in(RECIPES)]


def example_cluster(recipe: Recipe) -> str:
    """The cluster of this project that a recipe is shown on: the default one if it fits, else the first that does.

    Raises:
        ValueError: If the recipe has errors on every one of them.
    """
    for name in sorted(names_in(CLUSTERS), key=lambda name: (name != DEFAULT_CLUSTER, name)):
        cluster = load_cluster(find_document(name, CLUSTERS, "cluster"))
        if len(cluster.nodes) == recipe.nodes and not has_errors(run_checks(make_context(recipe, cluster))):
            return name
    raise ValueError(f"no cluster in {CLUSTERS} is one for recipe {recipe.name}")


def on_example(name: str) -> Checked:
    """The check of a recipe of this project, by name, on the cluster that it is shown on."""
    return check(name, example_cluster(load_recipe(find_document(name, RECIPES, "recipe"))))


def list_configs() -> dict[str, list[dict[str, str]]]:
    """Every recipe and cluster that comes with the project, as plain data for ``--list``.

    Raises:
        Refused: If one of them is broken.
    """
    clusters = [load_cluster(find_document(name, CLUSTERS, "cluster")) for name in names_in(CLUSTERS)]
    return {
        "recipes": [
            {
                "name": recipe.name,
                "nodes": str(recipe.nodes),
                "release": recipe.sglang,
                "level": evidence.level(recipe),
                "title": recipe.title,
            }
            for recipe in recipes()
        ],
        "clusters": [
            {
                "name": cluster.name,
                "nodes": str(len(cluster.nodes)),
                "gpus_per_node": str(cluster.gpus_per_node),
                "head": cluster.head.address,
            }
            for cluster in clusters
        ],
    }
