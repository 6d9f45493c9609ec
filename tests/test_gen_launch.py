"""The launch command from end to end, as a user runs it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, SCRIPT_TARGETS, TARGETS
from mimo_gb10.launch import check, on_example, recipes
from mimo_gb10.paths import RECIPES, ROOT, names_in
from mimo_gb10.release import load_release
from mimo_gb10.text.document import read_document
from tests.support.run import make_stubs, run_command, run_script

GOLDEN = ROOT / "tests" / "golden"
SCRIPTS = [
    (recipe.name, target, rank) for recipe in recipes() for target in SCRIPT_TARGETS for rank in range(recipe.nodes)
]


def golden(recipe: str, target: str, rank: int) -> str:
    return (GOLDEN / recipe / target / f"rank{rank}.sh").read_text(encoding="utf-8")


def test_the_default_prints_the_golden_scripts() -> None:
    done = run_command("gen_launch.py")
    assert done.returncode == 0
    assert done.stdout == "\n".join(golden(DEFAULT_RECIPE, "bash", rank) for rank in range(4))
    assert "error[" not in done.stderr


def test_out_writes_the_golden_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "launch"
    for _ in range(2):  # a second run replaces the files of the first
        done = run_command("gen_launch.py", "gb10x4-post", "--target", "docker", "--out", str(folder))
        assert done.returncode == 0
    written = ["build-image.sh", *(f"rank{r}.sh" for r in range(4)), "start-order.txt"]
    assert sorted(path.name for path in folder.iterdir()) == written
    for name in written:
        snapshot = GOLDEN / "gb10x4-post" / "docker" / name
        assert (folder / name).read_text(encoding="utf-8") == snapshot.read_text(encoding="utf-8")
    for rank in range(4):
        script = folder / f"rank{rank}.sh"
        assert script.read_text(encoding="utf-8") == golden("gb10x4-post", "docker", rank)
        assert os.access(script, os.X_OK)
    assert "wrote build-image.sh, rank0.sh to rank3.sh" in done.stdout


@pytest.mark.parametrize("target", SCRIPT_TARGETS)
def test_start_order_is_workers_then_head(target: str) -> None:
    lines = (GOLDEN / DEFAULT_RECIPE / target / "start-order.txt").read_text(encoding="utf-8").splitlines()
    assert re.findall(r"rank(\d)\.sh", "\n".join(lines)) == ["1", "2", "3", "0"]


def test_json_is_the_plan() -> None:
    done = run_command("gen_launch.py", "gb10x4-mtp", "--json")
    plan = json.loads(done.stdout)
    assert plan == json.loads((GOLDEN / "gb10x4-mtp" / "plan.json").read_text(encoding="utf-8"))
    assert plan["release"] == "0.5.17"
    assert [rank["rank"] for rank in plan["ranks"]] == [0, 1, 2, 3]
    assert plan["ranks"][2]["argv"][:3] == ["python3", "-m", "sglang.launch_server"]
    one = json.loads(run_command("gen_launch.py", "gb10x4-mtp", "--json", "--rank", "2").stdout)
    assert one["ranks"] == [plan["ranks"][2]]


@pytest.mark.parametrize(("recipe", "target", "rank"), SCRIPTS)
def test_golden_scripts_run_what_the_plan_says(tmp_path: Path, recipe: str, target: str, rank: int) -> None:
    make_stubs(tmp_path)
    seen = run_script(golden(recipe, target, rank), tmp_path)
    launch = on_example(recipe).plan().ranks[rank]
    if target == "bash":
        assert tuple(seen.argv) == launch.argv
        assert seen.env == launch.env
    else:
        assert tuple(seen.argv[-len(launch.argv) :]) == launch.argv
        assert [f"--env={name}={value}" for name, value in launch.env.items()] == [
            word for word in seen.argv if word.startswith("--env=")
        ]


def test_explain_has_every_flag_and_variable() -> None:
    done = run_command("gen_launch.py", "--explain", "--json")
    choices = {choice["name"]: choice for choice in json.loads(done.stdout)}
    launch = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).plan().ranks[0]
    flags = {word.removeprefix("--") for word in launch.argv if word.startswith("--")}
    assert set(choices) == flags | set(launch.env)
    assert all(choice["why"] for choice in choices.values())
    memory = choices["mem-fraction-static"]
    assert (memory["value"], memory["default"]) == ("0.8", None)
    assert memory["source"].startswith("sglang/srt/server_args.py:")
    assert choices["swa-full-tokens-ratio"]["default"] == 0.8
    text = run_command("gen_launch.py", "--explain").stdout
    assert all(name in text for name in choices)
    assert max(map(len, text.splitlines())) <= 140


def test_list() -> None:
    done = run_command("gen_launch.py", "--list")
    assert done.returncode == 0
    for name in (*names_in(RECIPES), DEFAULT_CLUSTER, *TARGETS):
        assert re.search(rf"(?m)^  {name} ", done.stdout), name


def test_set_changes_the_launch() -> None:
    done = run_command(
        "gen_launch.py", "--rank", "3",
        "--set", "flags.mem-fraction-static=0.75", "--set", "env.OMP_NUM_THREADS=8",
        "--set", "cluster.nodes.3.address=fd00::13", "--set", "cluster.fabric.rdma_devices=[mlx5_0, mlx5_1]",
        "--set", "flags.json-model-override-args={\"a\": {\"b\": 1}}", "--set", "env.SGLANG_HOST_IP=null",
        "--set", "flags.log-level=-x",
    )  # fmt: skip
    assert done.returncode == 1  # a cluster-made variable needs a reason to be off
    assert "error[why-missing]" in done.stderr
    done = run_command(
        "gen_launch.py", "--rank", "3", "--set", "flags.mem-fraction-static=0.75", "--set", "env.OMP_NUM_THREADS=8",
        "--set", "cluster.nodes.3.address=fd00::13", "--set", "cluster.fabric.rdma_devices=[mlx5_0, mlx5_1]",
        "--set", "flags.json-model-override-args={\"a\": {\"b\": 1}}", "--set", "flags.log-level=-x",
        "--set", "cluster.nodes.0.address=fd00::10",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--mem-fraction-static 0.75 \\\n" in done.stdout
    assert "export OMP_NUM_THREADS=8\n" in done.stdout
    assert "export SGLANG_HOST_IP=fd00::13\n" in done.stdout
    assert "export NCCL_IB_HCA=mlx5_0,mlx5_1\n" in done.stdout
    assert "--dist-init-addr '[fd00::10]:29500'" in done.stdout
    assert '--json-model-override-args \'{"a": {"b": 1}}\'' in done.stdout
    assert "--log-level=-x" in done.stdout


def test_a_switch_with_a_negation_can_be_turned_off() -> None:
    done = run_command("gen_launch.py", "--rank", "0", "--set", "flags.trust-remote-code=false")
    assert "trust-remote-code" not in done.stdout
    negatable = next(flag for flag in load_release("0.5.23").flags if flag.can_be_negated).name
    done = run_command("gen_launch.py", "gb10x4-mtp", "--rank", "0", "--set", f"flags.{negatable}=false")
    assert f"--no-{negatable} " in done.stdout


def test_four_node_recipe_on_three_nodes_is_refused(tmp_path: Path) -> None:
    cluster = tmp_path / "three.yaml"
    text = (ROOT / "configs" / "clusters" / "post-4x-gb10.yaml").read_text(encoding="utf-8")
    text = text.replace("name: post-4x-gb10", "name: three").replace("  - {address: 192.168.100.13}\n", "")
    cluster.write_text(text, encoding="utf-8")
    done = run_command("gen_launch.py", "--cluster", str(cluster))
    assert (done.returncode, done.stdout) == (1, "")
    assert "recipe gb10x4-omni is for 4 nodes, cluster three has 3" in done.stderr


def test_new_cluster_is_ready_to_use(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    done = run_command("gen_launch.py", "--new-cluster", str(file))
    assert done.returncode == 0
    text = file.read_text(encoding="utf-8")
    schema = re.search(r"\$schema=(\S+)", text)
    assert schema is not None
    assert (file.parent / schema[1]).resolve() == ROOT / "configs" / "schema" / "cluster.schema.json"
    assert read_document(file).value["name"] == "lab"
    assert text.count("#") > 10
    assert run_command("gen_launch.py", "--cluster", str(file), "--check").returncode == 0


@pytest.mark.parametrize("other", ["--check", "--explain", "--list", "--json"])
def test_out_writes_scripts_and_nothing_else(other: str, tmp_path: Path) -> None:
    done = run_command("gen_launch.py", "--out", str(tmp_path / "out"), other)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--out: not allowed with argument {other}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "soon"])
def test_a_variable_is_a_finite_number(value: str) -> None:
    setting = f"env.SGLANG_BUCKET_EVICTION_DURATION={value}"
    done = run_command("gen_launch.py", "gb10x4-mtp", "--check", "--set", setting)
    assert done.returncode == 1
    assert "error[env-value]" in done.stderr


def test_help_needs_no_library() -> None:
    done = run_command("gen_launch.py", "--help")
    assert done.returncode == 0
    assert DEFAULT_RECIPE in done.stdout
    source = (ROOT / "scripts" / "gen_launch.py").read_text(encoding="utf-8")
    heavy = re.findall(r"(?m)^(?:from|import) (?!__future__|argparse|sys|pathlib|collections)(\S+)", source)
    assert set(heavy) <= {"mimo_gb10", "mimo_gb10.defaults"}
