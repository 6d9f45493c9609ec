"""Checks of the machine itself: GPU, driver, kernel, memory."""

from __future__ import annotations

from mimo_gb10.preflight.checks import GIB, Node, Outcome, check, fail, gib, ok, skipped, version_of, warn
from mimo_gb10.preflight.facts import Unread

_CAPABILITY = "12.1"
_BUSY_PERCENT = 20
_OWNER = "Find its owner: ps -o user,pid,etime,cmd -p PID"

_KERNELS_REPORTED = {
    (6, 17): "https://github.com/luxingcom/aicad-nccl-optimization/issues/1",
    (6, 11): "https://github.com/NVIDIA/workbench-example-llama2-finetune/issues/4",
}
"""Kernel series that people report running on DGX Spark, with one such report each."""

_KERNEL_7 = "https://github.com/MiaAI-Lab/DeepSeek-v4-Flash-DSpark-2x-DGX-Spark/issues/259"

_MIN_DRIVER = (580,)
_MIN_CUDA = (13, 0)
_CUDA_NOTES = "https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/"
_OPEN_ONLY = "https://download.nvidia.com/XFree86/Linux-aarch64/580.159.03/README/kernel_open.html"
_PAGE_CACHE = "https://github.com/MiaAI-Lab/GLM-5.3-Flash-EXL3-2x-DGX-Sparks/issues/47"


@check("gpu-model")
def gpu_model(node: Node) -> Outcome:
    """The GPU is a GB10 (compute capability 12.1, sm_121), and there are as many as the cluster file says."""
    gpus = node.facts.system.gpus
    wanted = node.wanted.gpus_per_node
    if isinstance(gpus, Unread):
        if gpus.missing:
            return fail(
                "nvidia-smi is not installed", "Install the NVIDIA driver; on DGX OS it is there from the start."
            )
        return fail(gpus.why, "Run nvidia-smi by hand; after a driver update a reboot is due.")
    names = ", ".join(f"{gpu.name} (compute capability {gpu.capability})" for gpu in gpus) or "no GPU"
    if len(gpus) < wanted:
        return fail(
            f"{names}; gpus_per_node is {wanted}", "Check the cluster file, and lspci -d 10de: for what is plugged in."
        )
    others = [gpu for gpu in gpus if gpu.capability != _CAPABILITY]
    if others and wanted == 1:
        return fail(
            f"{names}, not a GB10 (12.1)", "The recipes here are made for GB10; for other GPUs see the cookbook."
        )
    if others:
        return warn(
            f"{names}, not GB10 (12.1)", "These checks are made for GB10: those of memory and fabric need not fit."
        )
    return ok(names)


@check("gpu-idle")
def gpu_idle(node: Node) -> Outcome:
    """Nobody else computes on the GPU."""
    apps, gpus = node.facts.system.gpu_processes, node.facts.system.gpus
    if isinstance(apps, Unread):
        return skipped(apps.why)
    shown = [f"{app.name} (pid {app.pid}, {_mebibytes(app.mebibytes)})" for app in apps]
    if any(app.mebibytes is not None and app.mebibytes >= 1024 for app in apps):
        return fail(f"busy: {', '.join(shown)}", f"End it before the launch. {_OWNER}")
    if apps:
        return warn(f"in use: {', '.join(shown)}", f"Memory that it takes later is missing then. {_OWNER}")
    busy = [] if isinstance(gpus, Unread) else [gpu for gpu in gpus if (gpu.utilization or 0) > _BUSY_PERCENT]
    if busy:
        return warn(
            f"no process is shown, but the GPU is at {busy[0].utilization} %", "Look again with nvidia-smi pmon."
        )
    return ok("no process computes on it")


def _mebibytes(number: int | None) -> str:
    return "memory not shown" if number is None else f"{number} MiB"


@check("driver")
def driver(node: Node) -> Outcome:
    """The loaded driver is the open one, new enough for CUDA 13, and the one that nvidia-smi belongs to."""
    system = node.facts.system
    found = system.driver
    if isinstance(found, Unread):
        remedy = "Install the driver (DGX OS: nvidia-driver-580-open), or load it: sudo modprobe nvidia."
        return fail(f"no driver is loaded ({found.why})", remedy)
    if not found.is_open:
        return fail(
            f"{found.version}, the proprietary kernel module",
            "Install the open flavour of the driver: Blackwell is supported by no other.",
            _OPEN_ONLY,
        )
    if version_of(found.version)[:1] < _MIN_DRIVER:
        return fail(f"{found.version}; CUDA 13 needs 580 or later", "Update the driver.", _CUDA_NOTES)
    tools = {gpu.driver for gpu in system.gpus} if not isinstance(system.gpus, Unread) else set()
    if tools - {found.version}:
        shown = ", ".join(sorted(tools))
        return fail(
            f"the kernel runs {found.version}, the programs are of {shown}", "Reboot: the driver was updated meanwhile."
        )
    return ok(f"{found.version}, open kernel module")


@check("cuda")
def cuda(node: Node) -> Outcome:
    """The driver supports CUDA 13, which SGLang's images for GB10 are built with."""
    found = node.facts.system.cuda
    if isinstance(found, Unread):
        return skipped(found.why)
    if version_of(found) < _MIN_CUDA:
        return fail(f"the driver supports CUDA {found}; the images need 13.0", "Update the driver.", _CUDA_NOTES)
    return ok(f"the driver supports CUDA {found}")


@check("kernel")
def kernel(node: Node) -> Outcome:
    """The kernel is of a series that is reported to work, and memory can be registered for RDMA.

    On kernel 7.0 registering memory was reported to fail (ibv_reg_mr: ENOMEM) where /proc/meminfo shows more free
    contiguous memory than there is (CmaFree above CmaTotal); booting with kho=off cured it.
    """
    system = node.facts.system
    if isinstance(system.kernel, Unread):
        return skipped(system.kernel.why)
    series = version_of(system.kernel)[:2]
    memory = {} if isinstance(system.memory, Unread) else system.memory
    total, free = memory.get("CmaTotal"), memory.get("CmaFree")
    if total is not None and free is not None and free > total:
        return fail(
            f"{system.kernel}; CmaFree ({free >> 20} MiB) is above CmaTotal ({total >> 20} MiB): "
            "registering memory for RDMA fails there (reported)",
            "Boot with kho=off on the kernel's command line, or with a 6.17 kernel.",
            _KERNEL_7,
        )
    if series >= (7, 0):
        return warn(
            f"{system.kernel}; of the 7.0 series some builds work and some fail to register RDMA memory (reported)",
            "If NCCL ends with ibv_reg_mr ENOMEM: kho=off on the kernel's command line, or a 6.17 kernel.",
            _KERNEL_7,
        )
    if series not in _KERNELS_REPORTED:
        return warn(
            f"{system.kernel}; we know of no report about this series on GB10", "Prefer DGX OS's own: 6.17 (reported)."
        )
    return ok(f"{system.kernel}; the series is reported to run on GB10")


@check("memory-available")
def memory_available(node: Node) -> Outcome:
    """SGLang's share of the available memory holds the weights of one rank.

    On unified memory SGLang counts what Linux calls available before it loads, and takes mem-fraction-static of it
    for weights and KV cache (0.5.11, model_runner_kv_cache_mixin.py:64 and utils/common.py:518).
    """
    memory = node.facts.system.memory
    if isinstance(memory, Unread) or "MemAvailable" not in memory:
        return skipped(memory.why if isinstance(memory, Unread) else "/proc/meminfo has no MemAvailable")
    available, total = memory["MemAvailable"], memory.get("MemTotal", 0)
    shown = f"{gib(available)} of {gib(total)} available"
    recipe = node.recipe
    if recipe is None:
        return ok(f"{shown}; what the weights need is known with --recipe")
    share = recipe.weights_bytes / max(1, recipe.tensor_parallel)
    fraction = recipe.mem_fraction
    budget = available * (fraction if fraction is not None else 1.0)
    of = f"mem-fraction-static {fraction} of it is {gib(budget)}" if fraction is not None else f"that is {gib(budget)}"
    if budget <= share:
        return fail(
            f"{shown}; {of}, one rank's weights are {gib(share)}",
            "End other programs, drop the page cache, or raise mem-fraction-static.",
        )
    if budget - share < 4 * GIB:
        return warn(
            f"{shown}; {of}, which leaves {gib(budget - share)} beside the weights for the KV cache",
            "End other programs, or raise mem-fraction-static a little.",
        )
    return ok(f"{shown}; {of}, {gib(budget - share)} more than one rank's weights")


@check("page-cache")
def page_cache(node: Node) -> Outcome:
    """The page cache is small: CUDA and the cache compete for the same memory while the weights load."""
    memory = node.facts.system.memory
    if isinstance(memory, Unread):
        return skipped(memory.why)
    cached = memory.get("Cached", 0) + memory.get("Buffers", 0) - memory.get("Shmem", 0)
    if cached > 0.15 * memory.get("MemTotal", 0):
        return warn(
            f"{gib(cached)} of files are cached; allocations can fail although Linux counts it as available (reported)",
            "Before the launch: sync; echo 3 | sudo tee /proc/sys/vm/drop_caches",
            _PAGE_CACHE,
        )
    return ok(f"{gib(cached)} of files are cached")


@check("swap")
def swap(node: Node) -> Outcome:
    """Nothing was pushed out to swap."""
    memory = node.facts.system.memory
    if isinstance(memory, Unread):
        return skipped(memory.why)
    total = memory.get("SwapTotal", 0)
    used = total - memory.get("SwapFree", 0)
    if used > GIB:
        return warn(
            f"{gib(used)} of {gib(total)} are in use: memory was short before",
            "End what is not needed; a node that swaps under load stops answering.",
        )
    return ok(f"{gib(used)} of {gib(total)} in use" if total else "there is none")


@check("tenants")
def tenants(node: Node) -> Outcome:
    """No other program holds much memory."""
    large = [process for process in node.facts.system.largest if process.resident >= 4 * GIB]
    if large:
        shown = ", ".join(f"{process.name} (pid {process.pid}, {gib(process.resident)})" for process in large)
        return warn(f"large processes: {shown}", "End them before the launch; all memory of a GB10 is one pool.")
    return ok("no process holds 4 GiB or more")


@check("memlock")
def memlock(node: Node) -> Outcome:
    """Programs may lock as much memory as they like, which RDMA needs."""
    limit = node.facts.system.memlock
    if isinstance(limit, Unread):
        return skipped(limit.why)
    if limit is None:
        return ok("unlimited")
    docker = node.facts.docker
    if not isinstance(docker, Unread) or not docker.missing:
        return ok(f"{limit >> 10:,} KiB here; a container gets its own limit (--ulimit memlock=-1)")
    return fail(
        f"{limit >> 10:,} KiB, and without docker SGLang runs under this limit",
        "Set '* - memlock unlimited' in a file under /etc/security/limits.d, and log in again.",
    )


CHECKS = (
    *(gpu_model, gpu_idle, driver, cuda, kernel),
    *(memory_available, page_cache, swap, tenants, memlock),
)
