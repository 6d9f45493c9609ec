"""Ranks are started together and never left behind."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from mimo_gb10.plan import RankLaunch
from mimo_gb10.rehearsal import ranks as module
from mimo_gb10.rehearsal.processes import memory_of
from mimo_gb10.rehearsal.ranks import Ranks


def rank(number: int, code: str) -> RankLaunch:
    return RankLaunch(number, "127.0.0.1", {"WHO": str(number)}, ("python3", "-c", code))


STAY = "import time; print('up', flush=True); time.sleep(600)"
# A child in the same session that ignores the polite request, as a busy scheduler may.
WITH_CHILD = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', "
    "'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)']);"
    "print(child.pid, flush=True); time.sleep(600)"
)


def until(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def lives(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        # A zombie waits for a parent that is gone; it runs no more.
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    return False


def test_a_rank_gets_its_environment_and_its_log(tmp_path: Path) -> None:
    code = "import os; print(os.environ['WHO'], os.environ['BELOW'], flush=True)"
    launches = [rank(number, code) for number in (0, 1)]
    with Ranks(launches, tmp_path, {**os.environ, "BELOW": "all", "WHO": "nobody"}) as ranks:
        until(lambda: len(ranks.ended()) == 2)
        assert ranks.last_line(1) == "1 all"
    assert ranks.logs[0].read_text() == "0 all\n"


def test_who_died_and_how(tmp_path: Path) -> None:
    launches = [rank(0, STAY), rank(1, "import sys; sys.exit(3)"), rank(2, "import os; os.kill(os.getpid(), 9)")]
    with Ranks(launches, tmp_path, os.environ) as ranks:
        until(lambda: len(ranks.ended()) == 2)
        assert ranks.why_dead() == "rank 1 ended with 3, rank 2 was killed by SIGKILL"


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.5)
    children: list[int] = []

    def fail_while_it_runs() -> None:
        with Ranks([rank(0, WITH_CHILD)], tmp_path, os.environ) as ranks:
            until(lambda: ranks.last_line(0).isdecimal())
            children.append(int(ranks.last_line(0)))
            assert lives(children[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_while_it_runs()
    until(lambda: not lives(children[0]))


def test_the_children_of_a_rank_that_died_are_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.5)
    code = WITH_CHILD.replace('time.sleep(600)"', '"').rsplit("time.sleep(600)", 1)[0] + "sys.exit(1)"
    with Ranks([rank(0, code)], tmp_path, os.environ) as ranks:
        until(lambda: ranks.why_dead() is not None)
        child = int(ranks.last_line(0))
        assert lives(child)
    until(lambda: not lives(child))


def test_restarted(tmp_path: Path) -> None:
    with Ranks([rank(0, "print('once', flush=True)")], tmp_path, os.environ) as ranks:
        until(lambda: ranks.ended() == {0: 0})
        ranks.restart()
        until(lambda: ranks.ended() == {0: 0})
    assert ranks.logs[0].read_text() == "once\nonce\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_rank(tmp_path: Path) -> None:
    # A scheduler is a child of its rank: both count.
    big = "import time; data = b'x' * (100 << 20); print('up', flush=True); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {big!r}]).wait()"
    code = f"data = b'x' * (100 << 20); {code}"
    with Ranks([rank(0, code), rank(1, STAY)], tmp_path, os.environ) as ranks:
        until(lambda: ranks.last_line(0) == "up" and ranks.last_line(1) == "up")
        used = memory_of(ranks.leaders)
    assert 200 <= used["rank0 ram"] <= 260
    assert used["rank1 ram"] < 60
