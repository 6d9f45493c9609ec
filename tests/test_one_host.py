"""A host with many GPUs: what is made for GB10 says so, and does not guess."""

from __future__ import annotations

import pytest

from tests.support.run import run_command

HOPPER = ("hopperx8-omni", "--cluster", "example-1x-hopper")


@pytest.mark.parametrize(("script", "code"), [("plan_memory.py", "plan-not-gb10"), ("rehearse.py", "rehearse-gpus")])
def test_what_is_made_for_gb10_refuses(script: str, code: str) -> None:
    done = run_command(script, *HOPPER)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"configs/clusters/example-1x-hopper.yaml:9:16: error[{code}]: " in done.stderr


def test_on_the_default_cluster_the_launch_names_what_is_wrong() -> None:
    done = run_command("gen_launch.py", HOPPER[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[node-count]: recipe hopperx8-omni is for 1 nodes" in done.stderr


def test_a_sparkrun_recipe_of_it_is_refused() -> None:
    done = run_command("gen_launch.py", *HOPPER, "--target", "sparkrun")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[sparkrun-gpus]: the nodes have 8 GPUs each" in done.stderr
