"""The one way in which a node is read: a few methods, and a list of the commands that may be run.

Nothing here writes to the node. `check_allowed` is asked before every command, so a command that is not on the list
cannot be run by mistake.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_FILE = 64 * 1024 * 1024
MAX_OUTPUT = 8 * 1024 * 1024
COMMAND_SECONDS = 10.0
CONTAINER_SECONDS = 120.0
CONNECT_SECONDS = 1.5

MISSING = 127
"""The exit code of a command that is not installed, as a shell gives it."""

TIMED_OUT = 124
"""The exit code of a command that was ended because it took too long, as ``timeout`` gives it."""


@dataclass(frozen=True)
class Ran:
    """What a command did.

    Attributes:
        code: Its exit code; `MISSING` or `TIMED_OUT` when it was not there or took too long.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: str = ""
    err: str = ""

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.code == 0

    @property
    def why(self) -> str:
        """Why it failed, in a few words."""
        if self.code == MISSING:
            return "not installed"
        if self.code == TIMED_OUT:
            return "no answer in time"
        # What went wrong is the last thing on standard error; nvidia-smi says it first, on standard output.
        errors, lines = ([line.strip() for line in text.splitlines() if line.strip()] for text in (self.err, self.out))
        return (errors[-1:] or lines[:1] or [f"exit code {self.code}"])[0][:300]


class Machine(Protocol):
    """What a check may ask of a node."""

    def read_file(self, path: str, limit: int = MAX_FILE, offset: int = 0) -> bytes:
        """At most `limit` bytes of a file. Raises OSError."""

    def list_dir(self, path: str) -> list[str]:
        """The names in a folder, sorted. Raises OSError."""

    def real_path(self, path: str) -> str:
        """The path with every link followed. Raises OSError."""

    def size(self, path: str) -> int:
        """The bytes of a file, links followed. Raises OSError."""

    def run(self, command: Sequence[str], stdin: str = "") -> Ran:
        """Run one of the allowed commands. Raises NotAllowed."""

    def connect(self, address: str, port: int) -> str:
        """Open a TCP connection and close it: ``open``, ``refused`` (somebody answered), or why not."""

    def now(self) -> float:
        """Seconds since 1970 by the node's clock."""


class NotAllowed(Exception):
    """The command is not on the list."""


_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:%-]*"
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9_./:@-]*"

GPU_FIELDS = "name,compute_cap,driver_version,utilization.gpu"
APP_FIELDS = "pid,process_name,used_memory"
IMAGE_FORMAT = (
    '{"id":{{json .Id}},"digests":{{json .RepoDigests}},"architecture":{{json .Architecture}},'
    '"created":{{json .Created}}}'
)
DOCKER_FORMAT = '{"version":{{json .ServerVersion}},"runtimes":{{json .Runtimes}},"driver":{{json .Driver}}}'
CONTAINER_FORMAT = "{{.Names}}\t{{.Image}}\t{{.State}}"

ALLOWED: tuple[tuple[str, ...], ...] = (
    ("nvidia-smi", rf"--query-gpu={re.escape(GPU_FIELDS)}", "--format=csv,noheader,nounits"),
    ("nvidia-smi", rf"--query-compute-apps={re.escape(APP_FIELDS)}", "--format=csv,noheader,nounits"),
    ("nvidia-smi", "--version"),
    ("ip", "-json", "addr"),
    ("ip", "-json", "route", "get", _NAME),
    ("ping", "-c", "1", "-W", "1", "-M", "do", "-s", r"\d{1,5}", _NAME),
    ("getent", "ahosts", _NAME),
    ("df", "-P", "-B1", "--", r"/.*"),
    ("timedatectl", "show", "--property=NTPSynchronized", "--value"),
    ("docker", "info", "--format", re.escape(DOCKER_FORMAT)),
    ("docker", "ps", "--all", "--no-trunc", "--format", re.escape(CONTAINER_FORMAT)),
    ("docker", "image", "inspect", "--format", re.escape(IMAGE_FORMAT), "--", _IMAGE),
)
"""Every command that preflight runs by itself: one pattern a word. All of them only read."""

ALLOWED_WITH_IMAGE_CHECKS: tuple[tuple[str, ...], ...] = (
    (
        *("docker", "run", "--rm", "--interactive", "--network=none", "--pull=never", "--entrypoint=python3"),
        *("--label=mimo-gb10=preflight", _IMAGE, "-"),
    ),
)
"""What ``--image-checks`` adds: a container of the image that reads its program from standard input and is removed."""


def check_allowed(command: Sequence[str], *, image_checks: bool = False) -> None:
    """Do nothing for a command that may be run.

    Raises:
        NotAllowed: If no pattern fits every word.
    """
    patterns = ALLOWED + (ALLOWED_WITH_IMAGE_CHECKS if image_checks else ())
    for pattern in patterns:
        if len(pattern) == len(command) and all(
            re.fullmatch(part, word, re.DOTALL) for part, word in zip(pattern, command, strict=True)
        ):
            return
    raise NotAllowed(f"preflight does not run {list(command)!r}")


class Live:
    """The machine that this program runs on."""

    def __init__(self, *, image_checks: bool = False) -> None:
        self._image_checks = image_checks

    def read_file(self, path: str, limit: int = MAX_FILE, offset: int = 0) -> bytes:
        """At most `limit` bytes of a file."""
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 (unbuffered: one read a sysfs file)
            if offset:
                stream.seek(offset)
            parts = []
            while limit > 0:
                part = stream.read(min(limit, 1 << 20))
                if not part:
                    break
                parts.append(part)
                limit -= len(part)
            return b"".join(parts)

    def list_dir(self, path: str) -> list[str]:
        """The names in a folder, sorted."""
        return sorted(os.listdir(path))  # noqa: PTH208

    def real_path(self, path: str) -> str:
        """The path with every link followed."""
        return os.path.realpath(path, strict=True)

    def size(self, path: str) -> int:
        """The bytes of a file."""
        return os.stat(path).st_size  # noqa: PTH116

    def run(self, command: Sequence[str], stdin: str = "") -> Ran:
        """Run one of the allowed commands, in English and for a limited time."""
        check_allowed(command, image_checks=self._image_checks)
        seconds = CONTAINER_SECONDS if list(command[:2]) == ["docker", "run"] else COMMAND_SECONDS
        try:
            done = subprocess.run(
                list(command),
                input=stdin.encode(),
                capture_output=True,
                timeout=seconds,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            return Ran(MISSING)
        except PermissionError as problem:
            return Ran(126, "", str(problem))
        except subprocess.TimeoutExpired:
            return Ran(TIMED_OUT)
        text = [part[:MAX_OUTPUT].decode("utf-8", "replace") for part in (done.stdout, done.stderr)]
        return Ran(done.returncode, *text)

    def connect(self, address: str, port: int) -> str:
        """Open a TCP connection and close it."""
        try:
            with socket.create_connection((address, port), timeout=CONNECT_SECONDS):
                return "open"
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "no answer"
        except OSError as problem:
            return (problem.strerror or str(problem)).lower()

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()
