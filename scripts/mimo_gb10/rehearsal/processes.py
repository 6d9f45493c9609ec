"""What the processes of the ranks use: memory of the machine and of its GPUs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mimo_gb10.rehearsal.machine import nvidia_smi

_PROC = Path("/proc")


def memory_of(leaders: Mapping[int, int]) -> dict[str, float]:
    """MiB by name: ``rank0 ram`` and ``rank0 gpu``; a GPU's is missing where the driver does not say, as on GB10.

    Args:
        leaders: By rank, the process that leads its session.
    """
    ranks = {session: rank for rank, session in leaders.items()}
    found: dict[str, float] = {}
    for session, kib in _resident():
        if session in ranks:
            name = f"rank{ranks[session]} ram"
            found[name] = round(found.get(name, 0.0) + kib / 1024, 1)
    for process, mib in _on_gpus():
        with contextlib.suppress(OSError):
            session = os.getsid(process)
            if session in ranks:
                name = f"rank{ranks[session]} gpu"
                found[name] = found.get(name, 0.0) + mib
    return found


def _resident() -> Iterator[tuple[int, float]]:
    """Session and proportional resident memory in KiB of every process that can be read."""
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, StopIteration):
            session = os.getsid(int(folder.name))
            lines = (folder / "smaps_rollup").read_text().splitlines()
            yield session, float(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def _on_gpus() -> Iterator[tuple[int, float]]:
    for line in nvidia_smi("--query-compute-apps=pid,used_memory"):
        with contextlib.suppress(ValueError):
            process, mib = line.split(",")
            yield int(process), float(mib)
