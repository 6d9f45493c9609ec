"""Compose files: the Compose Specification's schema takes them, and every value comes back as it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given

from mimo_gb10.launch import on_example
from mimo_gb10.paths import RECIPES, names_in
from mimo_gb10.plan import COMMAND, LaunchPlan, RankLaunch
from mimo_gb10.targets import compose, container
from mimo_gb10.text.document import parse_document
from tests.support.hostile import plans, slow_process
from tests.support.run import run_command

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
# A program that reads a file with compose-go, as docker compose does, and prints the project as JSON.
COMPOSE_GO = os.environ.get("MIMO_GB10_COMPOSE_GO")


def interpolated(value: Any) -> Any:
    """What Compose makes of a value in an empty environment: two dollar signs are one."""
    if isinstance(value, str):
        assert not re.sub(r"\$\$", "", value).count("$"), value
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [interpolated(item) for item in value]
    if isinstance(value, dict):
        return {key: interpolated(item) for key, item in value.items()}
    return value


def service_of(text: str) -> dict[str, Any]:
    """The one service, read by two YAML parsers that must agree, and checked against the schema."""
    project = parse_document(text.encode(), "compose.yaml").value
    assert yaml.safe_load(text) == project
    VALIDATOR.validate(project)
    service: dict[str, Any] = interpolated(project["services"][compose.SERVICE])
    return service


def holds(service: dict[str, Any], plan: LaunchPlan, rank: RankLaunch) -> None:
    assert tuple(service["command"]) == rank.argv
    assert service["environment"] == rank.env
    assert service["image"] == container.image(plan)
    (volume,) = service["volumes"]
    assert (volume["source"], volume["target"], volume["read_only"]) == (plan.model_path, plan.model_path, True)


@slow_process
@given(plan=plans())
def test_every_value_comes_back(plan: LaunchPlan, tmp_path_factory: pytest.TempPathFactory) -> None:
    for rank in plan.ranks:
        text = compose.render(plan, rank)
        holds(service_of(text), plan, rank)
        if COMPOSE_GO:
            file = tmp_path_factory.getbasetemp() / "compose.yaml"
            file.write_text(text, encoding="utf-8", newline="\n")
            done = subprocess.run(
                [COMPOSE_GO, str(file)], capture_output=True, check=False, env={"HOME": "/h", "A": "1"}
            )
            assert done.returncode == 0, done.stderr
            service = json.loads(done.stdout)["services"][compose.SERVICE]
            service.setdefault("environment", {})
            # The path is cleaned on the way: what differs is dots and slashes that name the same file.
            assert Path(os.path.normpath(plan.model_path)) == Path(os.path.normpath(service["volumes"][0]["source"]))
            assert (tuple(service["command"]), service["environment"]) == (rank.argv, rank.env)


@pytest.mark.parametrize("recipe", names_in(RECIPES))
def test_recipes(recipe: str) -> None:
    plan = on_example(recipe).plan()
    for rank in plan.ranks:
        service = service_of(compose.render(plan, rank))
        holds(service, plan, rank)
        # The same container as docker run makes, key by key.
        made = {
            f"--network={service['network_mode']}", f"--ipc={service['ipc']}", f"--shm-size={service['shm_size']}",
            *(f"--ulimit={name}={value}" for name, value in service["ulimits"].items()),
            *(f"--cap-add={name}" for name in service["cap_add"]),
            *(f"--device={name.split(':')[0]}" for name in service.get("devices", ())),
            f"--gpus={service['deploy']['resources']['reservations']['devices'][0]['count']}",
        }  # fmt: skip
        assert made == set(container.CORE.options(fabric=container.has_fabric(plan)))
        assert ("healthcheck" in service) == (rank.rank == 0)
        assert service["restart"] == "unless-stopped"
        assert service.get("pull_policy") == ("never" if plan.defects else None)


def test_the_key_is_a_secret_file() -> None:
    rank = RankLaunch(0, "10.0.0.1", {}, (*COMMAND, "--config", "/etc/mimo/$key.yaml", "--port", "1"))
    plan = LaunchPlan("r", "t", "0.5.11", "i:t", "c", "/m", (rank,))
    project = parse_document(compose.render(plan, rank).encode(), "f").value
    VALIDATOR.validate(project)
    assert interpolated(project["secrets"]) == {"server-config": {"file": "/etc/mimo/$key.yaml"}}
    service = interpolated(project["services"][compose.SERVICE])
    assert service["secrets"] == [{"source": "server-config", "target": "/etc/mimo/$key.yaml"}]
    assert "install -m 600" in compose.files(plan)[-1].text


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (["--host", "0.0.0.0", "--port", "30000"], "http://127.0.0.1:30000/health_generate"),
        (["--host", "::", "--port", "1"], "http://[::1]:1/health_generate"),
        (["--host=10.0.0.1", "--port", "2", "--ssl-certfile", "c"], "https://10.0.0.1:2/health_generate"),
    ],
)
def test_health_asks_the_head_for_a_token(given: list[str], url: str) -> None:
    rank = RankLaunch(0, "10.0.0.1", {}, (*COMMAND, *given))
    assert container.health_url(rank) == url
    program, option, code = container.health_command(rank)
    assert (program, option) == ("python3", "-c")
    compile(code, "health", "exec")
    assert repr(url) in code


def test_out_writes_one_file_a_node_and_a_readme(tmp_path: Path) -> None:
    done = run_command("gen_launch.py", "--target", "compose", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    names = {"build-image.sh", "README.md", *(f"rank{rank}.compose.yaml" for rank in range(4))}
    assert {path.name for path in tmp_path.iterdir()} == names
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    ups = re.findall(r"rank(\d)\.compose\.yaml up --detach", readme)
    assert ups == ["1", "2", "3", "0"]
    assert all(f"rankN.compose.yaml {word}" in readme for word in ("ps", "logs", "down"))
    one = run_command("gen_launch.py", "--target", "compose", "--rank", "2")
    assert one.stdout == (tmp_path / "rank2.compose.yaml").read_text(encoding="utf-8")
