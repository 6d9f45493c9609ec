"""sparkrun recipes: only fields that it knows, no name or address of a node, and every value as the plan has it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.launch import check
from mimo_gb10.plan import COMMAND, MARKS, LaunchPlan, RankLaunch, filled
from mimo_gb10.targets import sparkrun
from mimo_gb10.text.document import parse_document
from tests.support.hostile import plans, slow_process
from tests.support.run import make_stubs, run_command, run_script

# src/sparkrun/core/recipe.py:37 of sparkrun 0.2.40 (commit 0041b8f8); it takes any other key without a word.
KNOWN_KEYS = frozenset(
    "sparkrun_version recipe_version name description model model_revision runtime runtime_version mode min_nodes "
    "max_nodes container defaults env command runtime_config cluster_only solo_only benchmark metadata pre_exec "
    "post_exec post_commands mods stop_after_post builder builder_config executor_config distribution_config".split()
)


def recipe_of(text: str) -> dict[str, Any]:
    recipe = parse_document(text.encode(), "recipe.yaml").value
    assert yaml.safe_load(text) == recipe
    assert set(recipe) <= KNOWN_KEYS
    found: dict[str, Any] = recipe
    return found


def wanted(rank: RankLaunch, model: str) -> list[str]:
    """The plan's words, without what sparkrun adds and with what it knows of the model."""
    words = list(rank.argv)
    for name in ("--nnodes", "--node-rank", "--dist-init-addr"):
        at = words.index(name)
        del words[at : at + 2]
    at = words.index("--model-path")
    words[at + 1] = model
    return words


def rendered(recipe: dict[str, Any]) -> str:
    """The command as sparkrun fills it in: again and again until nothing changes."""
    values = {**recipe["defaults"], "model": recipe["model"]}
    text, last = recipe["command"].strip(), None
    while text != last:
        last = text
        text = re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), text)
    return re.sub(r"\\[ \t]+\n", "\\\n", text)


BASE = check("gb10x4-omni", DEFAULT_CLUSTER).plan()


@slow_process
@given(plan=plans(ranks=1))
def test_every_value_comes_back_or_is_refused(plan: LaunchPlan, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "stubs"
    make_stubs(folder)
    (given_rank,) = plan.ranks
    assert BASE.template is not None
    argv = (*BASE.template.argv, *given_rank.argv[len(COMMAND) :])
    template = replace(BASE.template, argv=argv, env={**BASE.template.env, **given_rank.env})
    head = BASE.ranks[0].address
    ranks = tuple(filled(template, rank.rank, rank.address, head) for rank in BASE.ranks)
    plan = replace(BASE, title=plan.title, ranks=ranks, template=template)
    if refused := sparkrun.refuse(plan):
        text = "".join((*given_rank.argv, *given_rank.env.values()))
        assert {found.code for found in refused} <= {"sparkrun-argument", "sparkrun-variable"}
        assert re.search(r"\{[^{}\s]*\}|\$", text) or not text.isprintable()
        return
    recipe = recipe_of(sparkrun.render(plan))
    seen = run_script(f"exec {rendered(recipe)}\n", folder)
    assert seen.argv == wanted(ranks[0], recipe["model"])
    assert recipe["env"] == {name: value for name, value in ranks[0].env.items() if name not in sparkrun.NOT_CARRIED}
    assert all(os.path.expandvars(value) == value for value in recipe["env"].values())


@pytest.mark.parametrize("name", ["gb10x4-omni", "gb10x4-mtp"])
def test_no_name_or_address_of_a_node(name: str) -> None:
    plan = check(name, DEFAULT_CLUSTER).plan()
    text = sparkrun.render(plan)
    assert plan.interface
    for own in (plan.interface, plan.model_path, "192.168.100", "rocep1s0f0", "29500", *MARKS.values()):
        assert own not in text
    recipe = recipe_of(text)
    assert (recipe["min_nodes"], recipe["max_nodes"], recipe["runtime"]) == (4, 4, "sglang")


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        (["flags.config=/k.yaml"], "sparkrun-key"),
        (["flags.served-model-name=a {model} b"], "sparkrun-argument"),
        (["env.MY_VALUE=$HOME", "env.OTHER=x"], "sparkrun-variable"),
        (["env.MY_VALUE={head}"], "sparkrun-cluster-value"),
        (["env.MY_VALUE={socket_interface}"], "sparkrun-cluster-value"),
        (["cluster.nodes.1.socket_interface=eth7"], "sparkrun-nodes-differ"),
    ],
)
def test_what_it_cannot_carry_is_refused(overrides: list[str], code: str) -> None:
    checked = check("gb10x4-omni", DEFAULT_CLUSTER, overrides)
    # A setting of this test has no reason in the recipe; that is not the point here.
    assert checked.context is not None
    from mimo_gb10.plan import make_plan

    assert {found.code for found in sparkrun.refuse(make_plan(checked.context))} == {code}


def test_a_misspelt_flag_never_gets_there() -> None:
    """sparkrun 0.2.40 calls such a recipe valid."""
    done = run_command("gen_launch.py", "--target", "sparkrun", "--set", "flags.mem-fraction-statick=0.8")
    assert (done.returncode, done.stdout) == (1, "")
    assert "mem-fraction-static" in done.stderr


def test_the_post_is_refused_with_the_reason() -> None:
    done = run_command("gen_launch.py", "gb10x4-post", "--target", "sparkrun")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[sparkrun-cluster-value]: VLLM_HOST_IP" in done.stderr


def test_the_mod_has_what_its_script_needs(tmp_path: Path) -> None:
    done = run_command("gen_launch.py", "--target", "sparkrun", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    mod = tmp_path / "mods" / sparkrun.MOD
    assert os.access(mod / "run.sh", os.X_OK)
    asked = subprocess.run(
        ["python3", "scripts/apply_patches.py", "--status"], cwd=mod, capture_output=True, text=True, check=False
    )
    assert asked.returncode in (0, 1, 3), asked.stderr
    assert "index.json" not in asked.stderr
    for defect in BASE.defects:
        assert defect in (mod / "run.sh").read_text(encoding="utf-8")
        assert list((mod / "patches" / defect).glob("*.patch"))
