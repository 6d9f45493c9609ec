"""Units: systemd takes them, and every value comes through its quoting, specifiers and variables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.launch import check, on_example
from mimo_gb10.paths import RECIPES, names_in
from mimo_gb10.plan import COMMAND, LaunchPlan, RankLaunch
from mimo_gb10.targets import container, quadlet, systemd, unit
from tests.support.hostile import plans, slow_process
from tests.targets import units

# Podman's generator, where it is installed; or what the variable names.
QUADLET = next(
    (
        path
        for path in (os.environ.get("MIMO_GB10_QUADLET", ""), "/usr/libexec/podman/quadlet", "/usr/lib/podman/quadlet")
        if path and Path(path).is_file()
    ),
    None,
)
needs_systemd = pytest.mark.skipif(
    not units.SYSTEMD.is_file() or not shutil.which("systemd-analyze"), reason="systemd is not installed"
)
few = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def of(text: str, key: str) -> list[list[str]]:
    return [
        [units.expanded(word) for word in units.words(value)] for name, value in units.settings(text) if name == key
    ]


def start_of(plan: LaunchPlan, rank: RankLaunch) -> list[str]:
    options = ["--pull=never", *container.run_options(plan, rank)]
    return [systemd.DOCKER, "run", *options, container.image(plan), *rank.argv]


@slow_process
@given(plan=plans())
def test_every_value_comes_back(plan: LaunchPlan) -> None:
    for rank in plan.ranks:
        assert of(systemd.render(plan, rank), "ExecStart") == [start_of(plan, rank)]
        text = quadlet.render(plan, rank)
        assert of(text, "Exec") == [list(rank.argv)]
        assert dict(word.split("=", 1) for (word,) in of(text, "Environment")) == rank.env
        assert [f"--mount={container.mount(plan.model_path)}"] in of(text, "PodmanArgs")


def test_what_systemd_prints_is_read_as_bytes() -> None:
    """What is printable stands there as it is, the rest as octal escapes, in one word."""
    assert units._shell_words('a "/\u00c2\u0080\\037" /\u00e9 \\303\\251 $$HOME') == [
        "a", "/\u00c2\u0080\x1f", "/\u00e9", "\u00e9", "$HOME",
    ]  # fmt: skip


@needs_systemd
@few
@given(plan=plans(ranks=1))
def test_systemd_itself_reads_the_same(plan: LaunchPlan, tmp_path: Path) -> None:
    (rank,) = plan.ranks
    lines = units.loaded(systemd.render(plan, rank), tmp_path)
    assert start_of(plan, rank) in lines
    ready = next(line for line in lines if line[-2:-1] == ["-c"] and line[:2] == ["/bin/sh", "-ec"])
    assert tuple(ready[-3:]) == container.health_command(rank)


@needs_systemd
@pytest.mark.skipif(QUADLET is None, reason="Podman's generator is not installed")
@few
@given(plan=plans(ranks=1))
def test_quadlet_and_systemd_read_the_same(plan: LaunchPlan, tmp_path: Path) -> None:
    (rank,) = plan.ranks
    if quadlet.refuse(plan):
        assert {"", ";"} & set(rank.argv)
        return
    lines = units.loaded(converted(quadlet.render(plan, rank), tmp_path), tmp_path)
    start = next(line for line in lines if line[:2] == ["/usr/bin/podman", "run"])
    image = len(start) - len(rank.argv) - 1
    assert start[image:] == [quadlet.image(plan), *rank.argv]
    given_env = [start[at + 1] for at, word in enumerate(start[:image]) if word == "--env"]
    assert sorted(given_env) == sorted(f"{name}={value}" for name, value in rank.env.items())
    assert f"--mount={container.mount(plan.model_path)}" in start[:image]


def converted(text: str, folder: Path) -> str:
    """The unit that Podman's generator makes."""
    source = folder / "quadlets"
    source.mkdir(exist_ok=True)
    (source / "probe.container").write_text(text, encoding="utf-8", newline="\n")
    env = {"QUADLET_UNIT_DIRS": str(source), "PATH": "/usr/bin:/bin", "PODMAN": "/usr/bin/podman"}
    done = subprocess.run([str(QUADLET), "-dryrun"], env=env, capture_output=True, check=False)
    output = done.stdout.decode()
    assert done.returncode == 0, (done.stderr, text)
    return output.partition("---probe.service---\n")[2].partition("\n---")[0]


@needs_systemd
@pytest.mark.parametrize("recipe", names_in(RECIPES))
def test_systemd_verifies_the_units(recipe: str, tmp_path: Path) -> None:
    plan = on_example(recipe).plan()
    # The program has to exist for systemd to be content, and docker need not be installed.
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    for rank in plan.ranks:
        text = systemd.render(plan, rank).replace(systemd.DOCKER, "/bin/true")
        file = tmp_path / unit.unit_name(plan, rank)
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", f"./{file.name}"],
            cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        assert ("ExecStartPost" in text) == (rank.rank == 0)


@pytest.mark.parametrize("render", [systemd.render, quadlet.render])
def test_a_group_starts_anew_and_waits_for_its_fabric(render: Callable[[LaunchPlan, RankLaunch], str]) -> None:
    plan = check("gb10x4-omni", DEFAULT_CLUSTER).plan()
    found = units.settings(render(plan, plan.ranks[2]))
    assert ("Restart", "always") in found
    assert any(key == "TimeoutStartSec" and int(value) > container.LOAD_SECONDS for key, value in found)
    assert any(key == "ExecStartPre" and value.endswith(" 192.168.100.12") for key, value in found)


def test_a_host_name_has_no_interface_to_wait_for() -> None:
    rank = RankLaunch(1, "spark-2", {}, COMMAND)
    plan = LaunchPlan("r", "t", "0.5.11", "i:t", "c", "/m", (rank,))
    assert "ip -o" not in systemd.render(plan, rank)


def test_the_key_reaches_neither_text_nor_arguments() -> None:
    rank = RankLaunch(0, "10.0.0.1", {}, (*COMMAND, "--config", "/etc/mimo/key.yaml"))
    plan = LaunchPlan("r", "t", "0.5.11", "i:t", "c", "/m", (rank,))
    (start,) = of(systemd.render(plan, rank), "ExecStart")
    assert f"--mount={container.mount('/etc/mimo/key.yaml')}" in start
    text = quadlet.render(plan, rank)
    assert of(text, "Secret") == [["r-server-config,type=mount,target=/etc/mimo/key.yaml,mode=0400"]]
    assert "podman secret create r-server-config -" in quadlet.files(plan)[-1].text


@pytest.mark.parametrize("lost", ["", ";"])
def test_what_podman_loses_is_refused(lost: str) -> None:
    rank = RankLaunch(0, "h", {"A": lost}, (*COMMAND, "x;", lost))
    plan = LaunchPlan("r", "t", "0.5.11", "i:t", "c", "/m", (rank,))
    assert [found.code for found in quadlet.refuse(plan)] == ["quadlet-argument"]
    assert not quadlet.refuse(replace(plan, ranks=(replace(rank, argv=(*COMMAND, "x;")),)))


@pytest.mark.parametrize(
    ("image", "qualified"),
    [
        ("lmsysorg/sglang:v1", "docker.io/lmsysorg/sglang:v1"),
        ("sglang:v1", "docker.io/library/sglang:v1"),
        ("ghcr.io/a/b@sha256:1", "ghcr.io/a/b@sha256:1"),
        ("localhost:5000/a", "localhost:5000/a"),
    ],
)
def test_podman_gets_the_registry(image: str, qualified: str) -> None:
    plan = LaunchPlan("r", "t", "0.5.11", image, "c", "/m", (RankLaunch(0, "h", {}, COMMAND),))
    assert quadlet.image(plan) == qualified


def test_readmes_start_workers_first() -> None:
    plan = check("gb10x4-omni", DEFAULT_CLUSTER).plan()
    for target in (systemd, quadlet):
        readme = target.files(plan)[-1].text
        starts = re.findall(r"(?m)^sudo systemctl (?:enable --now|start) .*rank(\d)\.service", readme)
        assert starts == ["1", "2", "3", "0"]
        assert "gb10x4-omni-rankN.service --follow" in readme
