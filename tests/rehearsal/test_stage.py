"""A check that brings the server down: it is noted, and the server is started again for the next one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimo_gb10.plan import RankLaunch
from mimo_gb10.rehearsal import stage as module
from mimo_gb10.rehearsal.ranks import Ranks
from mimo_gb10.rehearsal.stage import Stage
from mimo_gb10.smoke.check import Check, Outcome, Session, Status, fail, ok
from mimo_gb10.smoke.client import Client, parse_url
from tests.rehearsal.ports import free_port

# A server that answers /health, and dies of /die.
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(9)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(module, "_SETTLE", 0.5)
    monkeypatch.setattr(module, "_PAUSE", 0.05)
    port = free_port()
    launch = RankLaunch(0, "127.0.0.1", {}, (sys.executable, "-c", SERVER.replace("PORT", str(port))))
    with Ranks([launch], tmp_path, os.environ) as ranks:
        client = Client(parse_url(f"http://127.0.0.1:{port}"), None, 2.0)
        yield Stage(ranks, client, 10)


def asks(path: str) -> Callable[[Session], Outcome]:
    def run(session: Session) -> Outcome:
        session.client.get(path).expect()
        return ok("answered")

    return run


def check(name: str, path: str) -> Check:
    return Check(name, "test", name, asks(path))


def test_a_death_is_noted_and_the_next_check_finds_a_server(stage: Stage) -> None:
    assert stage.wait()
    checks = [check("first", "/health"), check("deadly", "/die"), check("after", "/health")]
    results = list(stage.play(checks, Session(stage.client)))
    assert [result.outcome.status for result in results] == [Status.OK, Status.FAIL, Status.OK]
    assert "rank 0 ended with 9" in results[1].outcome.says
    assert stage.deaths == [("deadly", "rank 0 ended with 9")]
    assert len(stage.starts) == 2
    # A client knows nothing of ranks, and a recording is what a client saw.
    assert [result.check.name for result in stage.answered] == ["first", "deadly", "after"]
    assert "rank 0" not in stage.answered[1].outcome.says
    assert results[1].outcome.says.startswith(stage.answered[1].outcome.says)


def test_a_check_that_revives_by_itself_leaves_its_death_too(stage: Stage) -> None:
    def run(session: Session) -> Outcome:
        with pytest.raises(Exception, match="broke"):
            session.client.get("/die")
        while stage.ranks.why_dead() is None:
            time.sleep(0.05)
        return fail("it died") if stage.revive() else fail("it does not come back")

    assert stage.wait()
    (result,) = stage.play([Check("upload", "broken", "x", run)], Session(stage.client))
    assert result.outcome.says == "it died"
    assert stage.deaths == [("upload", "rank 0 ended with 9")]
    assert len(stage.starts) == 2


def test_a_server_that_hangs_is_said_to_hang(stage: Stage) -> None:
    assert stage.wait()
    assert stage.revive()
    assert stage.deaths == [("", "the server hung")]
    assert len(stage.starts) == 2


def test_one_that_does_not_come_up_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REVIVALS", 0)
    assert stage.wait()
    checks = [check("deadly", "/die"), check("after", "/health")]
    results = list(stage.play(checks, Session(stage.client)))
    assert [result.outcome.status for result in results] == [Status.FAIL, Status.SKIP]
    assert "that is enough" in results[1].outcome.says


def test_a_rank_that_ends_while_it_starts(tmp_path: Path) -> None:
    launch = RankLaunch(0, "127.0.0.1", {}, (sys.executable, "-c", "import sys; sys.exit(4)"))
    with Ranks([launch], tmp_path, os.environ) as ranks:
        stage = Stage(ranks, Client(parse_url(f"http://127.0.0.1:{free_port()}"), None, 2.0), 10)
        assert not stage.wait()
    assert stage.not_ready is not None
    assert stage.not_ready.startswith("rank 0 ended with 4")


def test_one_that_takes_too_long(tmp_path: Path) -> None:
    launch = RankLaunch(0, "127.0.0.1", {}, (sys.executable, "-c", "import time; time.sleep(600)"))
    with Ranks([launch], tmp_path, os.environ) as ranks:
        stage = Stage(ranks, Client(parse_url(f"http://127.0.0.1:{free_port()}"), None, 2.0), 0.5)
        assert not stage.wait()
    assert stage.not_ready is not None
    assert stage.not_ready.startswith("not ready after")
