"""The bring-up guide: its order, its generated commands, and that each command of this project parses."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.generate.blocks import guide
from mimo_gb10.launch import check
from mimo_gb10.paths import DOCS
from mimo_gb10.preflight.node import ALL_CHECKS
from mimo_gb10.rules.pins import can_deadlock
from mimo_gb10.targets import container, docker

PAGES = sorted(path.stem for path in guide.FOLDER.glob("*.md"))


def bash_blocks(text: str) -> list[str]:
    return re.findall(r"^[ ]*```bash\n(.*?)^[ ]*```$", text, re.MULTILINE | re.DOTALL)


def test_every_page_is_a_step_and_numbered_by_its_place() -> None:
    assert set(PAGES) == {"index", *guide.STEPS}
    assert [guide.step(slug).number for slug in guide.STEPS] == list(range(1, len(guide.STEPS) + 1))


@pytest.mark.parametrize("page", PAGES)
def test_each_page_leads_on_and_each_step_has_a_check(page: str) -> None:
    text = (guide.FOLDER / f"{page}.md").read_text(encoding="utf-8")
    assert f"<!-- generated: guide-next-{page} -->" in text
    assert page == "index" or re.search(r"^## Check", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_numbers_of_steps_in_the_text_are_those_of_the_pages(page: str) -> None:
    text = (guide.FOLDER / f"{page}.md").read_text(encoding="utf-8")
    for number, target in re.findall(r"\[[Ss]tep (\d+)\]\(([a-z-]+)\.md", text):
        assert guide.step(target).number == int(number)


def test_numbers_of_steps_in_generated_parts_are_those_of_the_pages() -> None:
    meant = {"5": "image", "6": "memory", "11": "smoke-test"}
    for number in re.findall(r"step (\d+)", guide.BLOCKS["guide-log"]()):
        assert guide.step(meant[number]).number == int(number)


def test_every_block_is_on_a_page() -> None:
    used = set()
    for path in DOCS.rglob("*.md"):
        used |= set(re.findall(r"<!-- generated: (guide-[a-z0-9-]+) -->", path.read_text(encoding="utf-8")))
    assert used == set(guide.BLOCKS)


def test_a_page_without_its_facts_is_refused(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "FOLDER", tmp_path)
    (guide.FOLDER / "fabric.md").write_text("# 3. Fabric\n\n- **Time**: 1 hour\n- **Risk**: low\n")
    guide.step.cache_clear()
    with pytest.raises(ValueError, match="Way back"):
        guide.step("fabric")
    guide.step.cache_clear()


def test_halves_have_a_subnet_each_and_the_cluster_files_address_on_its_interface() -> None:
    context = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).context
    assert context is not None
    cluster = context.cluster
    for rank, node in enumerate(cluster.nodes):
        own, other = guide.halves(cluster, rank)
        assert (own.interface, own.address) == (node.socket_interface, node.address)
        assert {own.device, other.device} == set(node.rdma_devices)
        assert own.address.rpartition(".")[0] != other.address.rpartition(".")[0]
        assert own.address.rpartition(".")[2] == other.address.rpartition(".")[2]


def test_the_netplan_file_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", guide.BLOCKS["guide-netplan"](), re.DOTALL)
    ethernets = yaml.safe_load(text)["network"]["ethernets"]
    assert {name: one["addresses"] for name, one in ethernets.items()} == {
        "enP2p1s0f0np0": ["192.168.100.10/24"],
        "enp1s0f0np0": ["192.168.101.10/24"],
    }
    assert {one["mtu"] for one in ethernets.values()} == {9000}


def test_names_pair_as_linux_has_them() -> None:
    shown = guide.BLOCKS["guide-names"]()
    for interface, device in (("enp1s0f0np0", "rocep1s0f0"), ("enP2p1s0f1np1", "roceP2p1s0f1")):
        assert f"| `{interface}` | `{device}` |" in shown


def test_the_launch_is_the_targets_own() -> None:
    plan = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).plan()
    assert docker.render(plan, plan.ranks[0]) in guide.BLOCKS["guide-launch"]()


def test_the_image_that_gets_nccl_is_the_one_that_the_scripts_run() -> None:
    tag = container.image(check(DEFAULT_RECIPE, DEFAULT_CLUSTER).plan())
    shown = guide.BLOCKS["guide-image-nccl"]()
    assert f"--tag {tag} " in shown
    assert f"FROM {tag}\n" in shown
    assert not can_deadlock(guide.GOOD_NCCL)


def test_every_check_of_preflight_is_listed() -> None:
    shown = guide.BLOCKS["guide-preflight-checks"]()
    assert re.findall(r"^    \| `([a-z-]+)` \|", shown, re.MULTILINE) == [one.id for one in ALL_CHECKS]
    assert "`same-weights`" in shown


def test_fabric_of_a_good_node_is_good() -> None:
    lines = guide.BLOCKS["guide-preflight-fabric"]().splitlines()[1:-1]
    assert len(lines) > 10
    assert all(line.startswith("  ok ") for line in lines)


def test_a_log_that_lacks_a_milestone_is_refused() -> None:
    with pytest.raises(ValueError, match="sglang is using nccl"):
        guide.milestones("The server is fired up and ready to roll!")


@pytest.mark.parametrize("page", PAGES)
def test_shell_blocks_are_bash(page: str) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    for block in bash_blocks((guide.FOLDER / f"{page}.md").read_text(encoding="utf-8")):
        done = subprocess.run([bash, "-n"], input=block, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
