"""Whatever a user writes reaches SGLang unchanged, or is refused: proven by a real bash."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mimo_gb10.cluster import load_cluster
from mimo_gb10.findings import has_errors
from mimo_gb10.launch import make_context, run_checks
from mimo_gb10.plan import COMMAND, LaunchPlan, RankLaunch, make_plan
from mimo_gb10.recipe import load_recipe
from mimo_gb10.targets import bash, container, docker
from mimo_gb10.text.document import parse_document
from tests.support.hostile import slow_process, value, variable
from tests.support.run import Seen, make_stubs, run_script


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    make_stubs(folder)
    return folder


def docker_env(argv: list[str]) -> dict[str, str]:
    pairs = (word.removeprefix("--env=") for word in argv if word.startswith("--env="))
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def check_docker(seen: Seen, plan: LaunchPlan, rank: RankLaunch) -> None:
    assert seen.argv[:2] == ["docker", "run"]
    image = len(seen.argv) - len(rank.argv) - 1
    assert seen.argv[image] == container.image(plan)
    assert tuple(seen.argv[image + 1 :]) == rank.argv
    options = seen.argv[2:image]
    assert all(option.startswith("--") for option in options)
    assert docker_env(options) == rank.env
    (mount,) = (option.removeprefix("--mount=") for option in options if option.startswith("--mount="))
    (fields,) = csv.reader(io.StringIO(mount, newline=""))
    assert fields == ["type=bind", f"source={plan.model_path}", f"target={plan.model_path}", "readonly"]


@slow_process
@given(
    env=st.dictionaries(variable, value, max_size=4),
    arguments=st.lists(value, max_size=5),
    words=st.tuples(value, value, value),
    path=value,
    defects=st.lists(value, max_size=2),
)
@example(
    env={"A": "x\ny"},
    arguments=["--a", "-b", "\n--c d"],
    words=("t\nrm", "r", "c"),
    path='/a,b"c:d',
    defects=["x\ny", "'"],
)
def test_any_plan_survives_the_shell(
    stubs: Path, env: dict[str, str], arguments: list[str], words: tuple[str, str, str], path: str, defects: list[str]
) -> None:
    rank = RankLaunch(1, words[2], env, (*COMMAND, *arguments))
    title, recipe, cluster = words
    plan = LaunchPlan(recipe, title, "0.5.11", "image:tag", cluster, path, (rank, rank), tuple(defects))

    seen = run_script(bash.render(plan, rank), stubs)
    assert tuple(seen.argv) == rank.argv
    assert seen.env == env

    check_docker(run_script(docker.render(plan, rank), stubs), plan, rank)


RECIPE = """
name: property
title: {title}
model: mimo-v2.5
sglang: 0.5.11
image: image:tag
nodes: 2
flags:
  tensor-parallel-size: 2
  enable-dp-attention: false
  served-model-name: {text}
  lora-paths: [{listed}]
env:
  MY_VALUE: {variable}
defects: []
why: {{}}
evidence: []
"""
CLUSTER = """
name: property
model_path: {path}
gpus_per_node: 1
rendezvous: {{port: 29500}}
serve: {{host: 0.0.0.0, port: 30000}}
fabric: {{socket_interface: eth0, rdma_devices: [mlx5_0]}}
nodes: [{{address: 10.0.0.1}}, {{address: 10.0.0.2}}]
"""


@slow_process
@given(title=value, text=value, listed=value, variable=value, path=value)
def test_any_config_value_arrives_or_is_refused(
    stubs: Path, title: str, text: str, listed: str, variable: str, path: str
) -> None:
    path = "/" + path
    recipe_text = RECIPE.format(
        title=quoted("t" + title), text=quoted(text), listed=quoted(listed), variable=quoted(variable)
    )
    recipe = load_recipe(parse_document(recipe_text.encode(), "property.yaml"))
    cluster = load_cluster(parse_document(CLUSTER.format(path=quoted(path)).encode(), "property.yaml"))
    context = make_context(recipe, cluster)
    # Neither the sizes nor the backend are the point here: two ranks keep the run short.
    besides = ("fused-qkv-attention-tp", "vision-backend")
    findings = [found for found in run_checks(context) if found.code not in besides]
    if has_errors(findings):
        unusable = text + listed + variable + path
        assert any(not ch.isprintable() for ch in unusable) or "{" in unusable or listed.startswith("-")
        return
    plan = make_plan(context)
    for rank in plan.ranks:
        seen = run_script(bash.render(plan, rank), stubs)
        assert tuple(seen.argv) == rank.argv
        assert seen.env == rank.env
        assert rank.env["MY_VALUE"] == filled(variable, rank)
        assert option(seen.argv, "--model-path") == path
        assert option(seen.argv, "--served-model-name") == filled(text, rank)
        assert option(seen.argv, "--lora-paths") == filled(listed, rank)
    check_docker(run_script(docker.render(plan, plan.ranks[0]), stubs), plan, plan.ranks[0])


def quoted(text: str) -> str:
    """A double-quoted YAML scalar that holds any text."""
    return '"' + "".join(ch if ch.isascii() and ch.isalnum() else f"\\U{ord(ch):08x}" for ch in text) + '"'


def filled(text: str, rank: RankLaunch) -> str:
    known = {"address": rank.address, "head": "10.0.0.1", "rank": str(rank.rank), "socket_interface": "eth0"}
    for name, replacement in {**known, "rdma_devices": "mlx5_0"}.items():
        text = text.replace(f"{{{name}}}", replacement)
    return text


def option(argv: list[str], name: str) -> str:
    for position, word in enumerate(argv):
        if word == name:
            return argv[position + 1]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    raise AssertionError(f"{name} is not in {argv}")
