"""LeaderWorkerSets: the published schema takes them, and Kubernetes' expansion gives each pod what the plan says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given

from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.launch import check, on_example
from mimo_gb10.paths import RECIPES, names_in
from mimo_gb10.plan import COMMAND, LaunchPlan, RankLaunch, filled
from mimo_gb10.targets import container, lws
from tests.support.hostile import plans, slow_process, with_template

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "leaderworkerset-v1.json").read_text(encoding="utf-8"))
HEAD = "some-recipe-1-0.some-recipe-1.default"


def closed(schema: Any) -> Any:
    """The same schema that takes no key it does not name: a cluster drops such a key without a word."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    # An int-or-string is told by Kubernetes' own keyword; metadata is open here, and its own type elsewhere.
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


VALIDATOR = jsonschema.Draft202012Validator(closed(SCHEMA))


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """What Kubernetes makes of a text: two dollar signs are one, ``$(NAME)`` is a variable that is there."""
    found, at = [], 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            found.append(text[at])
            at += 1
        elif text[at + 1] == "$":
            found.append("$")
            at += 2
        elif text[at + 1] == "(" and (end := text.find(")", at)) > 0:
            # One that is not there stays as it is written; none of ours may be.
            found.append(variables[text[at + 2 : end]])
            at = end + 1
        else:
            found.append(text[at : at + 2])
            at += 2
    return "".join(found)


def pods(text: str) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """The set, its two pods, and the Service."""
    found, service = yaml.safe_load_all(text)
    VALIDATOR.validate(found)
    group = found["spec"]["leaderWorkerTemplate"]
    return found, [group["leaderTemplate"]["spec"], group["workerTemplate"]["spec"]], service


def launched(pod: Mapping[str, Any], rank: int) -> RankLaunch:
    """What a pod of the group runs."""
    (one,) = pod["containers"]
    known = {"LWS_WORKER_INDEX": str(rank), "LWS_LEADER_ADDRESS": HEAD}
    env = {}
    for entry in one["env"]:
        value = f"10.1.0.{rank}" if "valueFrom" in entry else expanded(entry["value"], known)
        known[entry["name"]] = env[entry["name"]] = value
    del env["POD_IP"]
    return RankLaunch(rank, f"10.1.0.{rank}", env, tuple(expanded(word, known) for word in one["args"]))


@slow_process
@given(plan=plans())
def test_every_value_comes_back(plan: LaunchPlan) -> None:
    plan = with_template(plan)
    assert plan.template is not None
    _, both, _ = pods(lws.render(plan))
    for rank, pod in enumerate(both):
        assert launched(pod, rank) == filled(plan.template, rank, f"10.1.0.{rank}", HEAD)
        assert pod["volumes"][0]["hostPath"]["path"] == plan.model_path


@pytest.mark.parametrize("recipe", names_in(RECIPES))
def test_recipes(recipe: str) -> None:
    plan = on_example(recipe).plan()
    found, (leader, worker), service = pods(lws.render(plan))
    group = found["spec"]["leaderWorkerTemplate"]
    assert (group["size"], group["restartPolicy"]) == (len(plan.ranks), "RecreateGroupOnPodRestart")
    selector = service["spec"]["selector"]
    assert selector.pop("leaderworkerset.sigs.k8s.io/name") == found["metadata"]["name"]
    assert selector.items() <= group["leaderTemplate"]["metadata"]["labels"].items()
    assert service["spec"]["ports"][0]["targetPort"] == int(plan.ranks[0].option("--port") or 0)
    assert "readinessProbe" in leader["containers"][0]
    assert not {"readinessProbe", "startupProbe", "livenessProbe"} & worker["containers"][0].keys()
    assert leader["containers"][0]["image"] == worker["containers"][0]["image"] == container.image(plan)
    for pod in (leader, worker):
        assert pod["containers"][0]["securityContext"] == {"capabilities": {"add": [container.CORE.capability]}}
        assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
        names = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == names


def test_the_head_has_no_brackets() -> None:
    overrides = [f"cluster.nodes.{n}.address=fd00::{n + 1}" for n in range(4)]
    text = lws.render(check("gb10x4-omni", DEFAULT_CLUSTER, overrides).plan())
    assert "$(LWS_LEADER_ADDRESS):29500" in text
    assert "[$(LWS" not in text


def test_the_key_is_a_secret() -> None:
    plan = check("gb10x4-omni", DEFAULT_CLUSTER, ["flags.config=/etc/mimo/key.yaml"]).plan()
    _, (leader, _), _ = pods(lws.render(plan))
    assert leader["volumes"][-1]["secret"] == {"secretName": "gb10x4-omni-server-config", "defaultMode": 0o400}
    assert leader["containers"][0]["volumeMounts"][-1]["mountPath"] == "/etc/mimo/key.yaml"
    readme = lws.files(plan)[-1].text
    assert re.search(r"kubectl create secret generic gb10x4-omni-server-config --from-file=server-config.yaml=", readme)


@pytest.mark.parametrize(("name", "codes"), [("8gb10", ["lws-name"]), ("a" * 60, ["lws-name"]), ("a.b-8", [])])
def test_names_are_kubernetes_own(name: str, codes: list[str]) -> None:
    template = RankLaunch(0, "h", {}, COMMAND)
    plan = LaunchPlan(name, "t", "0.5.11", "i:t", "c", "/m", (template,), (), template)
    assert [found.code for found in lws.refuse(plan)] == codes


def test_nodes_that_differ_are_refused() -> None:
    plan = check("gb10x4-omni", DEFAULT_CLUSTER, ["cluster.nodes.2.rdma_devices=[mlx5_9]"]).plan()
    assert [found.code for found in lws.refuse(plan)] == ["lws-nodes-differ"]
