"""A complete ``docker run`` per rank."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping

from mimo_gb10.names import container_name
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets.header import header
from mimo_gb10.text.shell import command_lines, comment, quote

# What published multi-node launches on DGX Spark have in common. Host network and IPC: NCCL and gloo speak on the
# node's own interfaces and shared memory. memlock and IPC_LOCK: RDMA registers (pins) memory. With --ipc host the
# size of /dev/shm is the host's; --shm-size speaks where somebody takes --ipc host out.
CONTAINER = (
    "--network=host",
    "--ipc=host",
    "--gpus=all",
    "--ulimit=memlock=-1",
    "--ulimit=stack=67108864",
    "--cap-add=IPC_LOCK",
    "--device=/dev/infiniband",
    "--shm-size=32g",
)


DOCKERFILE = "docker/Dockerfile"
BUILD_SCRIPT = "build-image.sh"


def image(plan: LaunchPlan) -> str:
    """The image that is run: the recipe's own, or the one built from it when the recipe lists defects."""
    if not plan.defects:
        return plan.image
    # A name in an image reference is narrower than a recipe's: no separator at its ends, nor two in a row.
    name = re.sub(r"[^a-z0-9]+", "-", plan.recipe.lower()).strip("-") or "recipe"
    return f"mimo-gb10/{name}:{plan.release}-patched"


def prepare(plan: LaunchPlan) -> Mapping[str, str]:
    """The script that builds the patched image, if the recipe lists defects."""
    if not plan.defects:
        return {}
    lines = [
        comment(plan.title),
        f"Recipe {comment(plan.recipe)}, SGLang {plan.release}: builds the image that the rank scripts run.",
        "Run it in a checkout of mimo-gb10, or name the checkout: ./build-image.sh DIR. Once on every node.",
    ]
    build = command_lines(("exec", "docker", "build"), _build_words(plan))
    head = "#!/usr/bin/env bash\n" + "".join(f"# {line}\n" for line in lines)
    return {BUILD_SCRIPT: f'{head}set -euo pipefail\n\ncd -- "${{1:-.}}"\n{build} \\\n  .\n'}


def _build_words(plan: LaunchPlan) -> list[str]:
    return [
        f"--build-arg=BASE_IMAGE={plan.image}",
        f"--build-arg=DEFECTS={' '.join(plan.defects)}",
        f"--tag={image(plan)}",
        f"--file={DOCKERFILE}",
    ]


def _image_first(plan: LaunchPlan) -> str:
    """The comment that says how the patched image is made."""
    if not plan.defects:
        return ""
    # What a value holds may not end the comment's line; the script of the same name has it unescaped.
    words = ["docker", "build", *_build_words(plan), "."]
    command = " ".join(quote(comment(word)) for word in words)
    return f"# Once on this node, in a checkout of mimo-gb10:\n#   {command}\n"


def mount(path: str) -> str:
    """A read-only bind mount of `path` at the same place; docker parses the value as one line of CSV."""
    line = io.StringIO()
    csv.writer(line).writerow(["type=bind", f"source={path}", f"target={path}", "readonly"])
    return line.getvalue().removesuffix("\r\n")


def render(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The script of one rank: ``docker run`` in the foreground, in place of the shell."""
    options = ["--rm", "--init", f"--name={container_name(plan.recipe, rank.rank)}", *CONTAINER]
    options += [f"--mount={mount(plan.model_path)}"]
    options += [f"--env={name}={value}" for name, value in rank.env.items()]
    run = command_lines(("exec", "docker", "run"), options)
    inside = command_lines(rank.argv[:3], rank.argv[3:], indent="    ")
    head = f"{header(plan, rank)}{_image_first(plan)}set -euo pipefail\n\n"
    return f"{head}{run} \\\n  {quote(image(plan))} \\\n  {inside}\n"
