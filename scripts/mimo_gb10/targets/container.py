"""The container of a rank: one truth for every target that runs one."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mimo_gb10.names import container_name, with_port
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.text.shell import command_lines, comment, quote

DOCKERFILE = "docker/Dockerfile"
BUILD_SCRIPT = "build-image.sh"

# How long a rank may load before a health check counts. Reported loads of this size: 9 to 59 minutes.
LOAD_SECONDS = 3600
# What a rank gets to end by itself before it is killed.
STOP_SECONDS = 60
# The server gives up a health request of its own after 20 seconds (SGLANG_HEALTH_CHECK_TIMEOUT).
HEALTH_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Core:
    """What published multi-node launches on DGX Spark have in common.

    Host network and IPC: NCCL and gloo speak on the node's own interfaces and shared memory. memlock and IPC_LOCK: RDMA
    registers (pins) memory. With the host's IPC the size of /dev/shm is the host's; `shm_size` speaks where somebody
    takes that out.
    """

    network: str = "host"
    ipc: str = "host"
    gpus: str = "all"
    ulimits: Mapping[str, int] = field(default_factory=lambda: {"memlock": -1, "stack": 67108864})
    capability: str = "IPC_LOCK"
    device: str = "/dev/infiniband"
    shm_size: str = "32g"

    def options(self, *, fabric: bool = True) -> tuple[str, ...]:
        """The same as options of ``docker run``; `fabric` is whether there are RDMA devices to hand in."""
        return (
            f"--network={self.network}",
            f"--ipc={self.ipc}",
            f"--gpus={self.gpus}",
            *(f"--ulimit={name}={value}" for name, value in self.ulimits.items()),
            f"--cap-add={self.capability}",
            *((f"--device={self.device}",) if fabric else ()),
            f"--shm-size={self.shm_size}",
        )


CORE = Core()


def has_fabric(plan: LaunchPlan) -> bool:
    """Whether ranks speak with other nodes. A host alone need have no RDMA device, and docker fails without one."""
    return len(plan.ranks) > 1


def slug(name: str) -> str:
    """A recipe's name with dashes as its only separators, none at its ends and no two in a row."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "recipe"


def image(plan: LaunchPlan) -> str:
    """The image that is run: the recipe's own, or the one built from it when the recipe lists defects."""
    return f"mimo-gb10/{slug(plan.recipe)}:{plan.release}-patched" if plan.defects else plan.image


def build_words(plan: LaunchPlan) -> list[str]:
    """Options of ``docker build`` for the patched image."""
    return [
        f"--build-arg=BASE_IMAGE={plan.image}",
        f"--build-arg=DEFECTS={' '.join(plan.defects)}",
        f"--tag={image(plan)}",
        f"--file={DOCKERFILE}",
    ]


def prepare(plan: LaunchPlan, program: str = "docker") -> Mapping[str, str]:
    """The script that builds the patched image, if the recipe lists defects."""
    if not plan.defects:
        return {}
    lines = [
        comment(plan.title),
        f"Recipe {comment(plan.recipe)}, SGLang {plan.release}: builds the image that the rank scripts run.",
        "Run it in a checkout of mimo-gb10, or name the checkout: ./build-image.sh DIR. Once on every node.",
    ]
    build = command_lines(("exec", program, "build"), build_words(plan))
    head = "#!/usr/bin/env bash\n" + "".join(f"# {line}\n" for line in lines)
    return {BUILD_SCRIPT: f'{head}set -euo pipefail\n\ncd -- "${{1:-.}}"\n{build} \\\n  .\n'}


def run_options(plan: LaunchPlan, rank: RankLaunch, name: str = "") -> list[str]:
    """Options of ``docker run`` for a rank: all that stands between ``run`` and the image."""
    mounts = [plan.model_path]
    if (config := config_file(rank)) is not None:
        mounts.append(config)
    return [
        "--rm",
        "--init",
        f"--name={name or container_name(plan.recipe, rank.rank)}",
        *CORE.options(fabric=has_fabric(plan)),
        *(f"--mount={mount(path)}" for path in mounts),
        *(f"--env={name}={value}" for name, value in rank.env.items()),
    ]


def mount(path: str) -> str:
    """A read-only bind mount of `path` at the same place; docker parses the value as one line of CSV."""
    line = io.StringIO()
    csv.writer(line).writerow(["type=bind", f"source={path}", f"target={path}", "readonly"])
    return line.getvalue().removesuffix("\r\n")


def config_file(rank: RankLaunch) -> str | None:
    """The file that holds the API key, if the recipe names one: SGLang reads a key from ``--config`` or its arguments.

    No release from 0.5.11 to 0.5.23 takes one from an environment variable.
    """
    return rank.option("--config")


def health_url(rank: RankLaunch) -> str:
    """Where the head generates one token when asked, without a key: the path is exempt from authentication."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(given := rank.option("--host") or "127.0.0.1", given)
    scheme = "https" if rank.option("--ssl-certfile") else "http"
    return f"{scheme}://{with_port(host, int(rank.option('--port') or 30000))}/health_generate"


def health_command(rank: RankLaunch) -> tuple[str, ...]:
    """A command inside the container that ends with 0 if the server has just completed one token.

    Only the head can be asked: a worker answers every health request with 200, whatever its group does (0.5.11,
    sglang/srt/utils/common.py:2524). The image need have no curl.
    """
    code = (
        "import ssl, urllib.request as r; "
        "r.build_opener(r.ProxyHandler({}), r.HTTPSHandler(context=ssl._create_unverified_context()))"
        f".open({health_url(rank)!r}, timeout={HEALTH_SECONDS})"
    )
    return ("python3", "-c", code)


def prepare_note(plan: LaunchPlan, rank: RankLaunch) -> str:
    """What to do on every node before the first start, as text for a README."""
    steps = []
    if plan.defects:
        steps.append(f"`./{BUILD_SCRIPT} CHECKOUT` builds the image with the recipe's patches: once on every node.\n")
    if (path := config_file(rank)) is not None:
        steps.append(
            f"Put the API key into `{comment(path)}` on every node, in a file that only root can read "
            f"(`sudo install -m 600 /dev/null {quote(comment(path))}`, then an editor): one line, `api-key: ...`.\n"
        )
    return "\n".join(steps)
