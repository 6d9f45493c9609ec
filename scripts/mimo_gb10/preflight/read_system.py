"""Reading the machine itself: kernel, memory, processes, GPU and driver."""

from __future__ import annotations

import heapq
import json
import re
from typing import Any

from mimo_gb10.preflight.facts import Driver, Gpu, GpuProcess, Process, System, Unread
from mimo_gb10.preflight.machine import APP_FIELDS, GPU_FIELDS, MISSING, Machine, Ran

LEFTOVERS = ("/etc/nccl.conf",)
"""Files of the machine that change how NCCL behaves, whatever a recipe says."""

_MAX_PROCESSES = 8192
_SHOWN_PROCESSES = 3


def read_system(machine: Machine) -> System:
    """Everything about the machine but its network."""
    gpus = _command(machine, "nvidia-smi", f"--query-gpu={GPU_FIELDS}", "--format=csv,noheader,nounits")
    apps = _command(machine, "nvidia-smi", f"--query-compute-apps={APP_FIELDS}", "--format=csv,noheader,nounits")
    meminfo = text_of(machine, "/proc/meminfo")
    limits = text_of(machine, "/proc/self/limits")
    driver = text_of(machine, "/proc/driver/nvidia/version")
    hostname = text_of(machine, "/proc/sys/kernel/hostname")
    kernel = text_of(machine, "/proc/sys/kernel/osrelease")
    return System(
        hostname="unknown" if isinstance(hostname, Unread) else hostname.strip(),
        kernel=kernel if isinstance(kernel, Unread) else kernel.strip(),
        memory=meminfo if isinstance(meminfo, Unread) else parse_meminfo(meminfo),
        memlock=limits if isinstance(limits, Unread) else parse_memlock(limits),
        largest=_largest(machine),
        gpus=gpus if isinstance(gpus, Unread) else parse_gpus(gpus),
        gpu_processes=apps if isinstance(apps, Unread) else parse_gpu_processes(apps),
        driver=driver if isinstance(driver, Unread) else parse_driver(driver),
        cuda=_cuda(machine),
        clock_synchronized=_clock(machine),
        leftovers=_leftovers(machine),
    )


def text_of(machine: Machine, path: str) -> str | Unread:
    """The text of a small file."""
    try:
        return machine.read_file(path, 1 << 20).decode("utf-8", "replace")
    except OSError as problem:
        return Unread(f"{path}: {why(problem)}", isinstance(problem, FileNotFoundError))


def why(problem: OSError) -> str:
    """An error of the system in a few words."""
    return (problem.strerror or type(problem).__name__).lower()


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object, or None where the text is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_objects(text: str) -> list[dict[str, Any]] | None:
    """A JSON list, its objects alone; None where the text is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else None


def _command(machine: Machine, *command: str) -> str | Unread:
    done = machine.run(command)
    return done.out if done.ok else unread(command[0], done)


def unread(name: str, done: Ran) -> Unread:
    """What a failed command leaves."""
    return Unread(f"{name}: {done.why}", done.code == MISSING)


def parse_meminfo(text: str) -> dict[str, int]:
    """``/proc/meminfo`` in bytes."""
    found = re.findall(r"(?m)^([\w()]+):\s+(\d+) kB$", text)
    return {name: int(number) * 1024 for name, number in found}


def parse_memlock(text: str) -> int | Unread | None:
    """The soft limit of locked memory out of ``/proc/self/limits``; None is unlimited."""
    match = re.search(r"(?m)^Max locked memory\s+(\d+|unlimited)\s", text)
    if not match:
        return Unread("/proc/self/limits has no line 'Max locked memory'")
    return None if match[1] == "unlimited" else int(match[1])


def _cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]


def _whole(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Rows of ``nvidia-smi --query-gpu``. On GB10 some cells are ``[N/A]``."""
    return tuple(Gpu(row[0], row[1], row[2], _whole(row[3])) for row in _cells(text) if len(row) == 4)


def parse_gpu_processes(text: str) -> tuple[GpuProcess, ...]:
    """Rows of ``nvidia-smi --query-compute-apps``. A process name may hold commas."""
    rows = [row for row in _cells(text) if len(row) >= 3 and row[0].isdigit()]
    return tuple(GpuProcess(int(row[0]), ",".join(row[1:-1]), _whole(row[-1])) for row in rows)


def parse_driver(text: str) -> Driver | Unread:
    """The first line of ``/proc/driver/nvidia/version``."""
    first = text.partition("\n")[0]
    match = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", first)
    if not match:
        return Unread("/proc/driver/nvidia/version names no version")
    return Driver(match[1], "Open Kernel Module" in first)


def _cuda(machine: Machine) -> str | Unread:
    out = _command(machine, "nvidia-smi", "--version")
    if isinstance(out, Unread):
        return out
    # "CUDA Version" became "CUDA UMD Version" with driver 610.
    match = re.search(r"(?im)^CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)", out)
    return match[1] if match else Unread("nvidia-smi --version names no CUDA version")


def _clock(machine: Machine) -> bool | Unread:
    out = _command(machine, "timedatectl", "show", "--property=NTPSynchronized", "--value")
    if isinstance(out, Unread):
        return out
    return {"yes": True, "no": False}.get(out.strip(), Unread(f"timedatectl says {out.strip()!r}"))


def _largest(machine: Machine) -> tuple[Process, ...]:
    try:
        numbers = [name for name in machine.list_dir("/proc") if name.isdigit()][:_MAX_PROCESSES]
    except OSError:
        return ()
    found = []
    for number in numbers:
        text = text_of(machine, f"/proc/{number}/status")
        if isinstance(text, Unread):
            continue  # it has ended
        name = re.search(r"(?m)^Name:\s+(.*)$", text)
        resident = re.search(r"(?m)^VmRSS:\s+(\d+) kB$", text)
        if name and resident:
            found.append(Process(int(number), name[1], int(resident[1]) * 1024))
    return tuple(heapq.nlargest(_SHOWN_PROCESSES, found, key=lambda process: process.resident))


def _leftovers(machine: Machine) -> dict[str, tuple[str, ...]]:
    found = {}
    for path in LEFTOVERS:
        text = text_of(machine, path)
        if not isinstance(text, Unread):
            lines = (line.strip() for line in text.splitlines())
            found[path] = tuple(line for line in lines if line and not line.startswith("#"))
    return found
