"""All nodes at once, over the user's own ssh."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from mimo_gb10.preflight.bundle import program
from mimo_gb10.preflight.node import MARK, NodeReport, report_from
from mimo_gb10.preflight.results import FAIL, Result
from mimo_gb10.preflight.wanted import Wanted

MAX_ANSWER = 64 * 1024 * 1024
CONNECT_SECONDS = 10

_FAILURES = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that ssh knows",
        "If the node was installed anew: ssh-keygen -R {host}, then ssh {host} once by hand and compare the key.",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "ssh does not know its host key",
        "Connect once by hand and compare the key: ssh {host}",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "it lets no key of yours in",
        "Set up a key that needs no question: ssh-copy-id {host} (with a passphrase: ssh-add first).",
    ),
    (
        r"Could not resolve hostname",
        "its name does not resolve here",
        "Give names that work here with --hosts, or add {host} to ~/.ssh/config.",
    ),
    (r"Connection refused", "it refuses connections", "Start its ssh server: sudo systemctl enable --now ssh"),
    (
        r"Connection timed out|Operation timed out|No route to host|Network is unreachable|Connection reset|closed by",
        "it cannot be reached",
        "Check that it is on, and that this machine has a way to it; other names go with --hosts.",
    ),
)


@dataclass(frozen=True)
class Asked:
    """What one node answered, and when.

    Attributes:
        rank: Which node.
        host: The name that ssh was given, or ``this machine``.
        report: Its report, or None.
        problem: Why there is none, or None.
        sent: Our time when we began.
        received: Our time when the answer was complete.
    """

    rank: int
    host: str
    report: NodeReport | None
    problem: Result | None
    sent: float
    received: float


def ask_all(
    wanted: Wanted,
    hosts: Sequence[str],
    here: Sequence[int],
    *,
    seconds: float,
    record: bool,
    told: Callable[[int, str], None],
) -> list[Asked]:
    """Examine every node, all at the same time.

    Args:
        wanted: What is to be checked.
        hosts: What ssh calls each node.
        here: The ranks that are this machine, which are not asked over ssh.
        seconds: How long a node may take.
        record: Whether the reports hold what was read.
        told: Called with a rank and a few words whenever there is news.
    """
    running: dict[int, subprocess.Popen[bytes]] = {}
    lock = threading.Lock()

    def ask(rank: int) -> Asked:
        host = "this machine" if rank in here else hosts[rank]
        command = [sys.executable, "-I", "-"] if rank in here else ssh_command(hosts[rank])
        told(rank, "asked")
        asked = _ask(rank, host, command, program(wanted, rank, record=record), seconds, running, lock)
        told(rank, "answered" if asked.report else f"no report: {asked.problem.text if asked.problem else ''}")
        return asked

    with ThreadPoolExecutor(min(64, len(hosts))) as pool:
        futures = [pool.submit(ask, rank) for rank in range(len(hosts))]
        try:
            return [future.result() for future in futures]
        except BaseException:
            # Ctrl-C: nothing may go on behind the user's back.
            for future in futures:
                future.cancel()
            with lock:
                for process in running.values():
                    _end(process)
            raise


def ssh_command(host: str) -> list[str]:
    """How a node is asked: with the user's own settings and keys, and no question that nobody would see."""
    options = ("-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}")
    return ["ssh", *options, "--", host, "python3", "-I", "-"]


def _ask(
    rank: int,
    host: str,
    command: list[str],
    text: str,
    seconds: float,
    running: dict[int, subprocess.Popen[bytes]],
    lock: threading.Lock,
) -> Asked:
    # Files, not pipes: a process that ssh leaves behind (ControlPersist) would hold a pipe open.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(text.encode())
        given.seek(0)
        sent = time.time()
        try:
            process = subprocess.Popen(command, stdin=given, stdout=out, stderr=err, start_new_session=True)
        except OSError as problem:
            return Asked(
                rank,
                host,
                None,
                _failed(f"ssh cannot be run: {problem.strerror}", "Install openssh-client."),
                sent,
                sent,
            )
        with lock:
            running[rank] = process
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            problem_text = f"no answer within {seconds:.0f} s"
            remedy = f"See what hangs: ssh {host} true; nvidia-smi and docker on the node. More time: --timeout."
            return Asked(rank, host, None, _failed(problem_text, remedy), sent, time.time())
        finally:
            with lock:
                running.pop(rank, None)
        received = time.time()
        answer = _read(out)
        report, failed = read_answer(answer, _read(err), code, host, rank)
        return Asked(rank, host, report, failed, sent, received)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read(MAX_ANSWER).decode("utf-8", "replace")


def read_answer(out: str, err: str, code: int, host: str, rank: int) -> tuple[NodeReport | None, Result | None]:
    """What a node printed: its report, or why there is none."""
    answers = [line[len(MARK) :] for line in out.splitlines() if line.startswith(MARK)]
    if not answers:
        return None, _why(err, code, host)
    try:
        data = json.loads(answers[-1])
        if "old_python" in data:
            return None, _failed(f"its python3 is {data['old_python']}", "Python 3.10 or later is needed there.")
        if "problem" in data:
            return None, _failed(f"reading it failed: {data['problem']}", "Please report it, with --record if you can.")
        report = report_from(data)
    except (ValueError, TypeError, KeyError):
        return None, _failed("its answer is damaged", "Try again; a login script that prints can be the cause.")
    if report.rank != rank:
        return None, _failed(f"it answered as node {report.rank}", "Please report it.")
    return report, None


def _why(err: str, code: int, host: str) -> Result:
    if code == 127 or re.search(r"python3: (?:command )?not found", err):
        return _failed("it has no python3", "sudo apt install python3 (on the node)")
    for pattern, text, remedy in _FAILURES:
        if re.search(pattern, err):
            return _failed(text, remedy.format(host=host))
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    last = lines[-1][:200] if lines else f"exit code {code}"
    return _failed(f"no report came back: {last}", f"Try by hand: ssh {host} python3 --version")


def _failed(text: str, help: str) -> Result:
    return Result("ssh", FAIL, text, help)


def recordings(asked: Sequence[Asked]) -> Mapping[str, str]:
    """The recordings of nodes as files to write."""
    found = {}
    for item in asked:
        if item.report is not None and item.report.recording is not None:
            found[f"node{item.rank}.json"] = json.dumps(item.report.recording, indent=1) + "\n"
    return found
