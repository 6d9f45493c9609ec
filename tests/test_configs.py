"""The configs that come with the project."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mimo_gb10.cluster import load_cluster
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, SCRIPT_TARGETS
from mimo_gb10.defects import load_defects
from mimo_gb10.evidence import level
from mimo_gb10.findings import Severity
from mimo_gb10.launch import check, example_cluster, find_document, on_example, recipes
from mimo_gb10.model import load_model
from mimo_gb10.paths import CLUSTERS, CONFIGS, DEFECTS, MODELS, RECIPES, SCHEMAS, names_in
from mimo_gb10.plan import make_plan
from mimo_gb10.targets import renderer

ALL = [*sorted(CONFIGS.glob("*/*.yaml")), DEFECTS]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_every_config_names_its_schema_for_editors(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert match, first
    schema = (path.parent / match[1]).resolve()
    assert schema.parent == SCHEMAS
    assert json.loads(schema.read_text(encoding="utf-8"))["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.name)
def test_schemas_are_schemas(path: Path) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


FITTING = [
    (recipe.name, cluster.name)
    for recipe in recipes()
    for cluster in (load_cluster(find_document(name, CLUSTERS, "cluster")) for name in names_in(CLUSTERS))
    if len(cluster.nodes) == recipe.nodes
]


@pytest.mark.parametrize(("recipe", "cluster"), FITTING)
def test_recipes_have_no_error_and_a_reason_for_each_choice(recipe: str, cluster: str) -> None:
    checked = check(recipe, cluster)
    assert not checked.refused
    assert not [found for found in checked.findings if found.severity is not Severity.WARNING]
    assert not {"why-orphan", "config-name", "flag-deprecated"} & {found.code for found in checked.findings}


def test_each_recipe_has_a_cluster_and_each_cluster_a_recipe() -> None:
    assert {recipe for recipe, _ in FITTING} == set(names_in(RECIPES))
    assert {cluster for _, cluster in FITTING} == set(names_in(CLUSTERS))
    shown = {recipe.name: example_cluster(recipe) for recipe in recipes()}
    assert shown.pop("hopperx8-omni") == "example-1x-hopper"
    assert set(shown.values()) == {DEFAULT_CLUSTER}


def test_hopper_has_nothing_of_gb10() -> None:
    context = on_example("hopperx8-omni").context
    assert context is not None
    assert not context.is_gb10
    (rank,) = make_plan(context).ranks
    assert rank.env == {}
    assert context.attention_tensor_parallel == 4
    assert "triton" not in " ".join(rank.argv)
    assert not check("hopperx8-omni", "example-1x-hopper", ["flags.mm-attention-backend=fa3"]).refused
    for found in check("hopperx8-omni", "example-1x-hopper", ["flags.mm-attention-backend=triton_attn"]).findings:
        if found.code == "defect-unlisted":
            assert "vision-sinks-window" in found.message
            break
    else:
        pytest.fail("the vision tower's defect bites where its backend is triton_attn")


def test_defaults_exist() -> None:
    assert DEFAULT_RECIPE in names_in(RECIPES)
    assert DEFAULT_CLUSTER in names_in(CLUSTERS)
    assert all(callable(renderer(target)) for target in SCRIPT_TARGETS)


def test_only_proven_recipes_are_the_default() -> None:
    levels = {}
    for name in names_in(RECIPES):
        context = on_example(name).context
        assert context is not None
        levels[name] = level(context.recipe)
    assert levels == {
        "gb10x4-post": "rehearsed",
        "gb10x4-omni": "rehearsed",
        "gb10x4-mtp": "rehearsed",
        "hopperx8-omni": "checked",
    }
    assert levels[DEFAULT_RECIPE] == "rehearsed"


def test_mtp_recipe_says_that_it_is_not_proven() -> None:
    checked = check("gb10x4-mtp", DEFAULT_CLUSTER)
    (finding,) = (found for found in checked.findings if found.code == "mtp-triton")
    assert "no run of MTP with the triton backend on GB10 is known" in finding.message
    assert "gb10x4-omni" in finding.help


def test_mtp_with_triton_is_an_error_before_it_is_filled() -> None:
    block = [
        "flags.speculative-algorithm=EAGLE",
        "flags.speculative-num-steps=3",
        "flags.speculative-eagle-topk=1",
        "flags.speculative-num-draft-tokens=4",
    ]
    checked = check("gb10x4-omni", DEFAULT_CLUSTER, block)
    assert checked.refused
    assert [found.code for found in checked.findings if found.severity is Severity.ERROR] == ["mtp-triton"]
    off = check("gb10x4-omni", DEFAULT_CLUSTER, [*block, "flags.disable-cuda-graph=true"])
    assert [found.code for found in off.findings if found.severity is Severity.ERROR] == ["mtp-triton"]


def test_model_shapes_agree_with_one_another() -> None:
    for name in names_in(MODELS):
        facts = load_model(MODELS / f"{name}.yaml").facts
        attention, text = facts["attention"], facts["text"]
        assert len(attention["full"]["layers"]) + attention["sliding_window"]["layers"] == text["layers"]
        assert facts["weights"]["bytes"] > facts["weights"]["parameters"]
        assert max(attention["full"]["layers"]) < text["layers"]


def test_defects_are_in_the_order_of_the_design() -> None:
    assert list(load_defects()) == [
        "transcription-token-list",
        "audio-encoder-flash-attn",
        "transcription-adapter",
        "video-pin-memory",
        "video-batch-tensor",
        "mtp-triton-window",
        "vision-sinks-window",
        "audio-causal-window",
    ]
