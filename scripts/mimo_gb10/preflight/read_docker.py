"""Reading the container runtime and, where asked for, the image itself."""

from __future__ import annotations

from mimo_gb10.preflight.facts import Container, Docker, Image, InImage, Unread
from mimo_gb10.preflight.machine import CONTAINER_FORMAT, DOCKER_FORMAT, IMAGE_FORMAT, Machine
from mimo_gb10.preflight.read_system import json_object, unread
from mimo_gb10.preflight.wanted import Wanted

GPU_HOOK = "/usr/bin/nvidia-container-runtime-hook"
"""What docker runs for ``--gpus``, where the nvidia runtime is not registered by name."""

ANSWER = "MIMO-GB10-IMAGE "
"""What the program in the image prints in front of its answer."""


def read_docker(machine: Machine, wanted: Wanted) -> Docker | Unread:
    """The container runtime; an Unread where it does not answer."""
    done = machine.run(("docker", "info", "--format", DOCKER_FORMAT))
    if not done.ok:
        return unread("docker", done)
    info = json_object(done.out)
    if info is None:
        return Unread("docker info printed no JSON")
    if not info.get("version"):
        # Without its daemon docker info succeeds, and says why on stderr.
        return Unread(
            f"docker: {done.err.strip().splitlines()[-1] if done.err.strip() else 'the daemon does not answer'}"
        )
    image = _image(machine, wanted)
    return Docker(
        version=str(info["version"]),
        runtimes=tuple(sorted(info.get("runtimes") or ())),
        gpu_hook=_exists(machine, GPU_HOOK),
        containers=_containers(machine),
        image=image,
        in_image=_in_image(machine, wanted) if isinstance(image, Image) else None,
    )


def _exists(machine: Machine, path: str) -> bool:
    try:
        machine.size(path)
    except OSError:
        return False
    return True


def _containers(machine: Machine) -> tuple[Container, ...] | Unread:
    done = machine.run(("docker", "ps", "--all", "--no-trunc", "--format", CONTAINER_FORMAT))
    if not done.ok:
        return unread("docker ps", done)
    rows = [line.split("\t") for line in done.out.splitlines()]
    return tuple(Container(*row) for row in rows if len(row) == 3)


def _image(machine: Machine, wanted: Wanted) -> Image | Unread | None:
    if wanted.recipe is None:
        return None
    done = machine.run(("docker", "image", "inspect", "--format", IMAGE_FORMAT, "--", wanted.recipe.image))
    if not done.ok:
        missing = "no such image" in done.err.lower()
        return Unread(f"docker image inspect: {done.why}", missing)
    data = json_object(done.out)
    if data is None or not {"id", "digests", "architecture", "created"} <= set(data):
        return Unread("docker image inspect printed something else")
    digests = sorted(str(digest) for digest in data["digests"] or ())
    return Image(str(data["id"]), tuple(digests), str(data["architecture"]), str(data["created"]))


def _in_image(machine: Machine, wanted: Wanted) -> InImage | Unread | None:
    recipe = wanted.recipe
    if recipe is None or wanted.image_program is None:
        return None
    command = ("docker", "run", "--rm", "--interactive", "--network=none", "--pull=never", "--entrypoint=python3")
    done = machine.run((*command, "--label=mimo-gb10=preflight", recipe.image, "-"), wanted.image_program)
    lines = [line[len(ANSWER) :] for line in done.out.splitlines() if line.startswith(ANSWER)]
    if not lines:
        return unread("docker run", done)
    data = json_object(lines[-1])
    if data is None:
        return Unread("the program in the image printed no JSON")
    nccl, patches = data.get("nccl"), data.get("patches")
    return InImage(
        nccl=str(nccl) if nccl else Unread(str(data.get("nccl_problem", "no answer"))),
        sglang=data.get("sglang"),
        patches={str(name): str(status) for name, status in patches.items()}
        if isinstance(patches, dict)
        else Unread(str(data.get("patches_problem", "no answer"))),
    )
