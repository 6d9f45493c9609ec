"""A LeaderWorkerSet and its Service, for Kubernetes: the set's controller says each pod its rank and the head."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mimo_gb10.findings import Finding, error
from mimo_gb10.plan import MARKS, LaunchPlan, RankLaunch
from mimo_gb10.targets import container
from mimo_gb10.targets.container import CORE, config_file, slug
from mimo_gb10.targets.files import (
    LaunchFile,
    executables,
    hash_comment,
    heading,
    nodes_differ,
    readme,
    same_for_all,
    shell,
)
from mimo_gb10.text.shell import comment, quote
from mimo_gb10.text.yaml import Words, dump

# What the controller of the set puts into each container, and what the pod asks of Kubernetes itself.
VARIABLES = {"rank": "LWS_WORKER_INDEX", "head": "LWS_LEADER_ADDRESS", "address": "POD_IP"}
_PART = re.compile(f"([{''.join(MARKS.values())}])")
_REFERENCE = {MARKS[name]: f"$({variable})" for name, variable in VARIABLES.items()}
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_LONGEST = 50

# NVIDIA's Network Operator gives it this name unless told otherwise.
RDMA = "rdma/rdma_shared_device_a"
_SHM, _MODEL, _CONFIG = "dshm", "model", "server-config"
_KEY_FILE = "server-config.yaml"


def refuse(plan: LaunchPlan) -> Sequence[Finding]:
    """Kubernetes picks which node runs which rank, so the nodes have to be alike; and the name has to be one of its."""
    found = []
    if plan.one_for_all() is None:
        found.append(nodes_differ("lws", "Kubernetes picks which node runs which rank"))
    name = slug(plan.recipe)
    if not _NAME.match(name) or len(name) > _LONGEST:
        message = f"Kubernetes takes no Service of the name {name!r}: a letter first, and at most {_LONGEST} characters"
        found.append(error("lws-name", message, "Rename the recipe."))
    return found


def files(plan: LaunchPlan) -> Sequence[LaunchFile]:
    """The image's script, the set with its Service, and the README."""
    scripts = executables(container.prepare(plan))
    return (*scripts, LaunchFile(file_name(plan), render(plan), "yaml"), _readme(plan))


def file_name(plan: LaunchPlan) -> str:
    """The name of the file with both objects."""
    return f"{slug(plan.recipe)}.lws.yaml"


def render(plan: LaunchPlan) -> str:
    """Both objects.

    Raises:
        ValueError: If the nodes are not alike; `refuse` says so first.
    """
    template = same_for_all(plan)
    name = slug(plan.recipe)
    leader = {"metadata": {"labels": {"role": "leader"}}, "spec": _pod(plan, template, is_leader=True)}
    group = {
        "size": len(plan.ranks),
        "#restart": "A pod that ends takes its whole group with it, and the group starts anew.",
        "restartPolicy": "RecreateGroupOnPodRestart",
        "leaderTemplate": leader,
        "workerTemplate": {"spec": _pod(plan, template, is_leader=False)},
    }
    lws = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name},
        "spec": {"replicas": 1, "leaderWorkerTemplate": group},
    }
    port = int(template.option("--port") or 30000)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{name}-head"},
        "spec": {
            "selector": {"leaderworkerset.sigs.k8s.io/name": name, "role": "leader"},
            "ports": [{"name": "http", "protocol": "TCP", "port": port, "targetPort": port}],
        },
    }
    return f"{hash_comment(heading(plan))}{dump(lws)}---\n{dump(service)}"


def _pod(plan: LaunchPlan, template: RankLaunch, *, is_leader: bool) -> Mapping[str, Any]:
    config = config_file(template)
    volumes: list[Mapping[str, Any]] = [
        {"name": _MODEL, "hostPath": {"path": plan.model_path, "type": "Directory"}},
        {"name": _SHM, "emptyDir": {"medium": "Memory", "sizeLimit": CORE.shm_size.upper() + "i"}},
    ]
    mounts: list[Mapping[str, Any]] = [
        {"name": _MODEL, "mountPath": plan.model_path, "readOnly": True},
        {"name": _SHM, "mountPath": "/dev/shm"},
    ]
    if config is not None:
        secret = {"secretName": f"{slug(plan.recipe)}-{_CONFIG}", "defaultMode": 0o400}
        volumes.append({"name": _CONFIG, "secret": secret})
        mounts.append({"name": _CONFIG, "mountPath": config, "subPath": _KEY_FILE, "readOnly": True})
    # A reference is to a variable that stands before it.
    env: list[Mapping[str, Any]] = [
        {"name": VARIABLES["address"], "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        *({"name": name, "value": text(value)} for name, value in template.env.items()),
    ]
    rdma = {"#rdma": "As your RDMA device plugin names it: kubectl describe node.", RDMA: "1"}
    limits = {"nvidia.com/gpu": str(plan.gpus), **(rdma if container.has_fabric(plan) else {})}
    return {
        "hostNetwork": CORE.network == "host",
        "#dns": "A pod on the host's network finds the head's name only with this.",
        "dnsPolicy": "ClusterFirstWithHostNet",
        "terminationGracePeriodSeconds": container.STOP_SECONDS,
        "containers": [
            {
                "name": "sglang",
                "image": container.image(plan),
                "imagePullPolicy": "IfNotPresent",
                "args": Words(text(word) for word in template.argv),
                "env": env,
                "securityContext": {"capabilities": {"add": [CORE.capability]}},
                "resources": {"limits": limits},
                **(_probes(template) if is_leader else {}),
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }


def _probes(template: RankLaunch) -> Mapping[str, Any]:
    command = Words(text(word) for word in container.health_command(template))
    probe = {"exec": {"command": command}, "periodSeconds": 60, "timeoutSeconds": container.HEALTH_SECONDS + 10}
    return {
        "#probes": "Each asks for one token. There is no liveness probe: kernels that are built at the\n"
        "first requests can fail one for minutes.",
        "startupProbe": {**probe, "failureThreshold": container.LOAD_SECONDS // 60},
        "readinessProbe": {**probe, "failureThreshold": 5},
    }


def text(value: str) -> str:
    """`value` with each dollar sign doubled, which Kubernetes reads as one, and its own references for the marks."""
    # The head has a name here, and a name needs no brackets.
    value = value.replace(f"[{MARKS['head']}]", MARKS["head"])
    return "".join(_REFERENCE.get(part) or part.replace("$", "$$") for part in _PART.split(value))


def _readme(plan: LaunchPlan) -> LaunchFile:
    name, file = slug(plan.recipe), file_name(plan)
    template = plan.ranks[0]
    plugins = "NVIDIA's device plugin" + (" and an RDMA device\nplugin" if container.has_fabric(plan) else "")
    before = [
        f"The cluster needs [LeaderWorkerSet](https://lws.sigs.k8s.io/), {plugins}; "
        "every node needs the checkpoint. Kubernetes sets no limit on locked memory: give containerd\n"
        "`LimitMEMLOCK=infinity`. The pods are on the node's network, and `SGLANG_HOST_IP` is the node's own\n"
        "address there, not the fabric's.\n"
    ]
    if plan.defects:
        before.append(
            f"`./{container.BUILD_SCRIPT} CHECKOUT` builds the image with the recipe's patches. Push it to a registry\n"
            f"that every node reaches, and put its name there into `{file}`.\n"
        )
    if config_file(template) is not None:
        before.append(
            "The API key, one line `api-key: ...`, ended with Ctrl-D:\n\n"
            + shell(f"kubectl create secret generic {name}-{_CONFIG} --from-file={_KEY_FILE}=/dev/stdin")
        )
    port = template.option("--port") or "30000"
    sections = {
        "Before the first start": "\n".join(before),
        "Start": shell(f"kubectl apply --filename={file}"),
        "Ready": "The head's pod is ready once a completion has come back.\n\n"
        + shell(
            f"kubectl wait --for=condition=Ready --timeout={container.LOAD_SECONDS}s "
            f"pod --selector=leaderworkerset.sigs.k8s.io/name={name},role=leader\n"
            f"kubectl port-forward service/{name}-head {port}:{port} &\n"
            f"python scripts/smoke_test.py --url http://127.0.0.1:{port} --recipe {quote(comment(plan.recipe))}"
        ),
        "Logs and state": shell(
            f"kubectl get pods --selector=leaderworkerset.sigs.k8s.io/name={name} --output=wide\n"
            f"kubectl logs --selector=leaderworkerset.sigs.k8s.io/name={name} --prefix --follow"
        ),
        "Stop": shell(f"kubectl delete --filename={file}"),
        "When a rank ends": "Its whole group is ended and made anew.\n",
    }
    return readme(plan, "LeaderWorkerSet", sections)
