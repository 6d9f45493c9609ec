"""The sbatch script: every value comes through bash, and a real Slurm runs what the plan says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given

from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.launch import check, on_example
from mimo_gb10.paths import RECIPES, names_in
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.targets import container, slurm
from tests.support.hostile import plans, slow_process, with_template
from tests.support.run import make_stubs, run_script
from tests.targets import slurm_cluster
from tests.targets.slurm_cluster import Slurm

# Stands in for ip: each node has the address of its number.
_IP = """#!/bin/sh
echo "2: $6    inet 192.168.100.1$((${SLURMD_NODENAME#spark} - 1))/24 scope global $6\\\\  valid_lft"
echo "2: $6    inet 10.99.0.1/24 scope global secondary $6\\\\  valid_lft"
"""
# Stands in for python3 and docker: says what it was started with, once for each rank.
_STUB = """#!{python} -IS
import json, os, sys
if sys.argv[1:2] == ["rm"]:
    sys.exit(1)
seen = {{"argv": [os.path.basename(sys.argv[0]), *sys.argv[1:]], "env": dict(os.environ)}}
json.dump(seen, open(os.environ["STUB_OUT"] + os.environ["SLURM_PROCID"], "w"))
"""


@slow_process
@given(plan=plans())
def test_every_value_comes_back(tmp_path_factory: pytest.TempPathFactory, plan: LaunchPlan) -> None:
    folder = tmp_path_factory.getbasetemp() / "stubs"
    make_stubs(folder)
    plan = with_template(plan)
    assert not slurm.refuse(plan)
    script = slurm.render(plan)
    function = "rank_task() {" + script.partition("rank_task() {")[2].partition("\n}\n")[0] + "\n}\n"
    for rank in plan.ranks:
        # declare -f and bash -c, as srun gets it.
        lines = f"export SLURM_PROCID={rank.rank} ADDRESSES='10.0.0.1 10.0.0.2' IMAGE=i:t CONTAINER="
        again = '\nexec bash -c "$(declare -f rank_task); rank_task"\n'
        seen = run_script(f"{function}{lines}none{again}", folder)
        assert tuple(seen.argv) == rank.argv
        own = {name: value for name, value in seen.env.items() if name.startswith("V_")}
        assert own == rank.env
        seen = run_script(f"{function}{lines}docker{again}", folder)
        wanted = container.run_options(plan, rank)
        assert seen.argv == ["docker", "run", *wanted, "i:t", *rank.argv]


@pytest.mark.parametrize("recipe", names_in(RECIPES))
def test_shellcheck_finds_nothing(recipe: str, tmp_path: Path) -> None:
    script = tmp_path / "job.sbatch"
    script.write_text(slurm.render(on_example(recipe).plan()), encoding="utf-8")
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:/usr/bin")
    assert program
    done = subprocess.run([program, "--shell=bash", str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_nodes_that_differ_are_refused() -> None:
    plan = check("gb10x4-omni", DEFAULT_CLUSTER, ["cluster.nodes.2.socket_interface=eth9"]).plan()
    assert [found.code for found in slurm.refuse(plan)] == ["slurm-nodes-differ"]
    assert not slurm.refuse(check("gb10x4-omni", DEFAULT_CLUSTER).plan())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if not slurm_cluster.installed():
        pytest.skip("slurm-wlm and munge are not installed, or this is not root")
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "bin").mkdir()
    for name in ("python3", "docker"):
        (folder / "bin" / name).write_text(_STUB.format(python=sys.executable), encoding="utf-8")
    (folder / "bin" / "ip").write_text(_IP, encoding="utf-8")
    for stub in (folder / "bin").iterdir():
        stub.chmod(0o755)
    with slurm_cluster.running(folder) as started:
        yield started


@pytest.mark.parametrize("mode", ["none", "docker"])
@pytest.mark.parametrize("recipe", names_in(RECIPES))
def test_slurm_runs_what_the_plan_says(cluster: Slurm, recipe: str, mode: str) -> None:
    # A node is found to have the address that the stand-in for ip says.
    plan = check(recipe, on_example(recipe).plan().cluster, ["cluster.nodes.0.address=192.168.100.10"]).plan()
    script = cluster.folder / slurm.file_name(plan)
    script.write_text(slurm.render(plan), encoding="utf-8")
    out = cluster.folder / f"{recipe}-{mode}."
    said = cluster.run(script, {"STUB_OUT": str(out), "CONTAINER": mode})
    assert said.startswith("0\n"), said
    for rank in plan.ranks:
        seen = json.loads(Path(f"{out}{rank.rank}").read_text(encoding="utf-8"))
        if mode == "docker":
            wanted = [*container.run_options(plan, rank), container.image(plan), *rank.argv]
            assert seen["argv"] == ["docker", "run", *wanted]
        else:
            assert tuple(seen["argv"]) == rank.argv
            assert {name: seen["env"].get(name) for name in rank.env} == rank.env
        assert seen["env"]["SLURMD_NODENAME"] == f"spark{rank.rank + 1}"


def test_a_node_without_an_address_stops_the_job(cluster: Slurm) -> None:
    plan = check("gb10x4-omni", DEFAULT_CLUSTER).plan()
    script = cluster.folder / "lost.sbatch"
    text = slurm.render(plan).replace("ip -o -4", "[[ $SLURM_PROCID == 2 ]] || ip -o -4")
    script.write_text(text, encoding="utf-8")
    said = cluster.run(script, {"STUB_OUT": str(cluster.folder / "lost."), "CONTAINER": "none"})
    assert said.startswith("1\n")
    assert "not every one of 4 nodes has an address on enP2p1s0f0np0" in said
    assert not list(cluster.folder.glob("lost.[0-9]"))


def test_one_rank_ends_all(cluster: Slurm) -> None:
    plan = check("gb10x4-omni", DEFAULT_CLUSTER).plan()
    script = cluster.folder / "ends.sbatch"
    text = slurm.render(plan).replace("  __head=${__all[0]}\n", '  [ "$__rank" = 3 ] && exit 7\n  exec sleep 600\n')
    script.write_text(text, encoding="utf-8")
    said = cluster.run(script, {"CONTAINER": "none"})
    # srun ends with the worst of all ends: those that it ended itself count as 128 + SIGTERM.
    assert said.startswith("143\n"), said
