"""Checks of the container runtime and the image."""

from __future__ import annotations

from mimo_gb10 import names
from mimo_gb10.preflight.checks import Node, Outcome, check, fail, listed, ok, skipped, version_of, warn
from mimo_gb10.preflight.facts import Docker, Unread
from mimo_gb10.text.suggest import did_you_mean

_FIRST_GOOD_NCCL = (2, 29, 3)
_NCCL_ISSUE = "https://github.com/NVIDIA/nccl/issues/2353"
_ASK = "add --image-checks, which starts a container of the image"
_TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"


@check("docker")
def docker(node: Node) -> Outcome:
    """The container runtime answers this user."""
    found = node.facts.docker
    if not isinstance(found, Unread):
        return ok(f"docker {found.version}")
    if found.missing:
        return fail("docker is not installed", "Install it, or take a target that needs none: gen_launch.py --list.")
    if "permission denied" in found.why.lower():
        return fail(found.why, 'Let this user in: sudo usermod -aG docker "$USER", then log in again.')
    return fail(found.why, "Start it: sudo systemctl start docker")


def _docker(node: Node) -> Docker | Outcome:
    found = node.facts.docker
    return skipped("docker does not answer") if isinstance(found, Unread) else found


@check("gpu-runtime")
def gpu_runtime(node: Node) -> Outcome:
    """Containers get the GPU: the NVIDIA container toolkit is installed."""
    found = _docker(node)
    if isinstance(found, Outcome):
        return found
    if "nvidia" in found.runtimes:
        return ok("docker has the nvidia runtime")
    if found.gpu_hook:
        return ok("the NVIDIA container toolkit is installed")
    return fail(
        f"docker's runtimes are {', '.join(found.runtimes) or 'none'}; --gpus all needs NVIDIA's container toolkit",
        "Install nvidia-container-toolkit; sudo nvidia-ctk runtime configure --runtime=docker; restart docker.",
        _TOOLKIT,
    )


@check("image")
def image(node: Node) -> Outcome:
    """The recipe's image is on the node, for this processor, and of the digest that the recipe pins."""
    found = _docker(node)
    if isinstance(found, Outcome):
        return found
    recipe, held = node.recipe, found.image
    if recipe is None or held is None:
        return skipped("which image is known with --recipe")
    if isinstance(held, Unread):
        if held.missing:
            return fail(f"{recipe.image} is not here", f"docker pull {recipe.image}")
        return skipped(held.why)
    if held.architecture != "arm64" and node.wanted.gpus_per_node == 1:
        return fail(
            f"{recipe.image} is for {held.architecture}; a GB10 is arm64",
            f"docker pull --platform linux/arm64 {recipe.image}, and check that the tag has it: "
            f"docker manifest inspect {recipe.image}",
        )
    digests = [digest.rpartition("@")[2] for digest in held.digests]
    pinned = recipe.image.partition("@")[2]
    if pinned and pinned not in digests and digests:
        return fail(f"it is {digests[0]}, the recipe pins {pinned}", f"docker pull {recipe.image}")
    shown = f"{digests[0][:19]}..." if digests else f"built here, {held.id[:19]}..."
    return ok(f"{recipe.image}: {shown}, {held.architecture}")


@check("nccl")
def nccl(node: Node) -> Outcome:
    """The NCCL that the image loads is 2.29.3 or later: older ones can deadlock between nodes on aarch64.

    Bisected (NVIDIA/nccl issue 2353, reported): 2.28.9 and 2.29.2 bad, 2.29.3 and 2.30.7 good. Met with SGLang on two
    GB10 (sglang issue 33289, reported). Without asking the image, the version is what the release's torch requires.
    """
    recipe = node.recipe
    if recipe is None:
        return skipped("which NCCL is known with --recipe")
    if recipe.nodes < 2:
        return skipped("the recipe spans one node")
    found = node.facts.docker
    answer = None if isinstance(found, Unread) else found.in_image
    in_image = answer.nccl if answer is not None and not isinstance(answer, Unread) else None
    if isinstance(in_image, str):
        version, origin = in_image, "the image loads it"
    elif recipe.env.get("LD_PRELOAD") or recipe.env.get("SGLANG_NCCL_SO_PATH"):
        return skipped(f"the recipe names a library of its own; to see which: {_ASK}")
    elif recipe.nccl is None:
        return skipped(f"the catalog of SGLang {recipe.sglang} pins none; to see which: {_ASK}")
    else:
        version, origin = recipe.nccl, f"required by SGLang {recipe.sglang}; the image itself was not asked"
    if version_of(version) < _FIRST_GOOD_NCCL:
        return fail(
            f"{version} ({origin}): below 2.29.3 it can deadlock between nodes on aarch64",
            "Use a release with a newer one (0.5.18 or later), or install it in the image: "
            "pip install 'nvidia-nccl-cu13>=2.30.7'. The log line 'sglang is using nccl==' shows what is loaded.",
            _NCCL_ISSUE,
        )
    return ok(f"{version} ({origin})")


@check("patches")
def patches(node: Node) -> Outcome:
    """Every defect that the recipe lists is mended in the image, or not in it."""
    recipe = node.recipe
    if recipe is None or not recipe.defects:
        return skipped("the recipe lists no defects" if recipe else "which defects is known with --recipe")
    found = _docker(node)
    if isinstance(found, Outcome):
        return found
    answer = found.in_image
    if answer is None:
        return skipped(f"{len(recipe.defects)} defects to look for; {_ASK}")
    problem = answer if isinstance(answer, Unread) else answer.patches
    if isinstance(problem, Unread):
        return skipped(problem.why)
    present = [name for name in recipe.defects if problem.get(name) == "present"]
    if present:
        return fail(
            f"not mended: {', '.join(present)}",
            f"In the image: python3 scripts/apply_patches.py {' '.join(present)}; then preflight.py --image NAME.",
        )
    unknown = [name for name in recipe.defects if problem.get(name) in (None, "unknown")]
    if unknown:
        return warn(
            f"not recognised: {', '.join(unknown)}", "The image holds sources of no known release: see its pages."
        )
    return ok(f"{len(recipe.defects)} defects, each mended or not there")


@check("container-name")
def container_name(node: Node) -> Outcome:
    """No container has the name that the launch will use, and none is left running from before."""
    found = _docker(node)
    if isinstance(found, Outcome):
        return found
    if isinstance(found.containers, Unread):
        return skipped(found.containers.why)
    if node.recipe is None:
        return skipped("the name is known with --recipe")
    name = names.container_name(node.recipe.name, node.rank)
    same = [container for container in found.containers if container.name == name]
    if same:
        return fail(
            f"a container {name} is there already ({same[0].state})",
            f"Look at it with docker logs {name}; then: docker rm --force {name}",
        )
    running = [container.name for container in found.containers if container.state == "running"]
    return ok(f"{name} is free; running: {listed(running)}" if running else f"{name} is free; nothing runs")


@check("infiniband-files")
def infiniband_files(node: Node) -> Outcome:
    """Programs can open the RDMA devices: their files under /dev/infiniband are there."""
    rdma = node.facts.network.rdma
    missing = [name for name in node.own.rdma_devices if name in rdma and not rdma[name].uverbs]
    if not any(name in rdma for name in node.own.rdma_devices):
        return skipped("none of the cluster file's devices is there")
    if missing:
        return fail(
            f"/dev/infiniband has no uverbs file for {', '.join(missing)}",
            "sudo modprobe ib_uverbs; to keep it, add the line ib_uverbs to a file under /etc/modules-load.d.",
        )
    return ok(f"/dev/infiniband has the files of {', '.join(node.own.rdma_devices)}")


def spelled(name: str, known: list[str]) -> str:
    """What to do about a name that is not there."""
    there = f"Here are: {listed(known, 8)}." if known else ""
    return " ".join(part for part in (did_you_mean(name, known), there) if part)


CHECKS = (infiniband_files, docker, gpu_runtime, image, nccl, patches, container_name)
