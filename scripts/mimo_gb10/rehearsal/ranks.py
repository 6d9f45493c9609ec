"""The processes of the ranks: started together, watched, and stopped whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from mimo_gb10.plan import RankLaunch

_GRACE = 15.0
"""Seconds between the request to end and the kill."""

_TAIL = 64 * 1024


class Ranks:
    """Starts ranks as process groups of their own, and ends every one of them when the block ends.

    Args:
        launches: What each rank runs.
        folder: Where the logs go: ``rank0.log`` and so on.
        env: Variables that every rank gets beneath its own.
    """

    def __init__(self, launches: Sequence[RankLaunch], folder: Path, env: Mapping[str, str]) -> None:
        self._launches = launches
        self._env = env
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.logs = {launch.rank: folder / f"rank{launch.rank}.log" for launch in launches}

    def __enter__(self) -> Ranks:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every rank; their logs are continued."""
        for launch in self._launches:
            # The program is this Python, so that a rank sees the packages that were looked at.
            argv = [sys.executable, *launch.argv[1:]] if launch.argv[0] == "python3" else list(launch.argv)
            with self.logs[launch.rank].open("ab") as log:
                self._processes[launch.rank] = subprocess.Popen(
                    argv,
                    env={**self._env, **launch.env},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def ended(self) -> dict[int, int]:
        """The exit codes of the ranks that are not running, by rank."""
        codes = {rank: process.poll() for rank, process in self._processes.items()}
        return {rank: code for rank, code in codes.items() if code is not None}

    def why_dead(self) -> str | None:
        """Which ranks ended, and how; None while all of them run."""
        ended = self.ended()
        return ", ".join(f"rank {rank} {_how(code)}" for rank, code in ended.items()) or None

    @property
    def leaders(self) -> dict[int, int]:
        """The process that leads the session of each rank."""
        return {rank: process.pid for rank, process in self._processes.items()}

    def last_line(self, rank: int) -> str:
        """The last line of a rank's log that is not empty."""
        with contextlib.suppress(OSError), self.logs[rank].open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
            if lines:
                return lines[-1].strip()
        return ""

    def stop(self) -> None:
        """End every rank with all that it started: politely, and after `_GRACE` seconds for certain."""
        for process in self._processes.values():
            _signal(process, signal.SIGTERM)
        until = time.monotonic() + _GRACE
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, until - time.monotonic()))
        for process in self._processes.values():
            # The group, even when its first process has ended: schedulers outlive a parent that died.
            _signal(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def restart(self) -> None:
        """Stop all ranks and start them anew."""
        self.stop()
        self.start()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
