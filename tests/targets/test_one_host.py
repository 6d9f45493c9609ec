"""What targets make of a host without a fabric."""

from __future__ import annotations

import pytest

from mimo_gb10.defaults import TARGETS
from mimo_gb10.launch import on_example
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.targets import launch_files, refusals

RDMA = ("/dev/infiniband", "rdma/")


def text(recipe: str, target: str) -> str:
    files = launch_files(target, plan(recipe))
    return "".join(file.text for file in files if not file.is_copy and not file.name.endswith(".md"))


def plan(recipe: str) -> LaunchPlan:
    return on_example(recipe).plan()


def test_only_sparkrun_refuses_a_node_with_many_gpus() -> None:
    refused = {target: [found.code for found in refusals(target, plan("hopperx8-omni"))] for target in TARGETS}
    assert {target: codes for target, codes in refused.items() if codes} == {"sparkrun": ["sparkrun-gpus"]}


@pytest.mark.parametrize("target", ["docker", "compose", "systemd", "quadlet", "slurm", "lws"])
def test_a_host_alone_is_handed_no_rdma_device(target: str) -> None:
    assert any(name in text("gb10x4-omni", target) for name in RDMA)
    assert not any(name in text("hopperx8-omni", target) for name in RDMA)


def test_kubernetes_is_asked_for_every_gpu() -> None:
    assert "nvidia.com/gpu: '8'" in text("hopperx8-omni", "lws").replace('"', "'")
