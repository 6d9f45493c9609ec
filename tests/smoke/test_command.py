"""The command as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mimo_gb10.commands.smoke_test import api_key
from mimo_gb10.findings import Refused
from mimo_gb10.paths import ROOT
from mimo_gb10.smoke.catalog import ALL_CHECKS, select
from mimo_gb10.smoke.check import fail, ok, warn
from mimo_gb10.smoke.reports import About, as_junit
from mimo_gb10.smoke.runner import Result
from mimo_gb10.smoke.waiting import State, look, wait
from tests.smoke.server import serve
from tests.smoke.support import client_of

Run = subprocess.CompletedProcess[str]
QUICK = ("--only", "server,chat-exact,chat-shape", "--timeout", "5")


def smoke(*arguments: str, **env: str) -> Run:
    command = [sys.executable, str(ROOT / "scripts" / "smoke_test.py"), *arguments]
    variables = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")} | env
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=variables, cwd=ROOT)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# --- exit codes


def test_a_good_server() -> None:
    with serve() as server:
        done = smoke("--url", server.url, *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ok    chat-exact +0\.\d s  17 \* 23 = 391$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith(f"{server.url}: 6 ok, 1 skip\n")


def test_a_wrong_answer() -> None:
    with serve("wrong-sum") as server:
        done = smoke("--url", server.url, *QUICK)
    assert done.returncode == 1
    assert f"{server.url}: error[chat-exact]: 17 * 23 is 391; it said '388'" in done.stderr
    assert "  help: A server that is up and computes wrongly" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_warnings(strict: tuple[str, ...], code: int) -> None:
    with serve("chatty") as server:
        done = smoke("--url", server.url, "--only", "chat-exact", *strict)
    assert done.returncode == code
    assert "warning[chat-exact]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "chat-exakt"], "Did you mean 'chat-exact'?"),
        (["--skip", "nothing-like-it"], "--list shows"),
        (["--url", "ftp://x"], "not http"),
        (["--reference-url", "http://a:b@c"], "process lists"),
        (["--only", "chat-exact", "--skip", "chat"], "no check is left"),
        (["--only", "chat-exact", "--profile", "structural"], "no check is left"),
        (["--timeout", "0"], "above 0"),
        (["--timeout", "inf"], "invalid"),
        (["--timeout", "nan"], "invalid"),
        (["--streams", "0"], "invalid"),
        (["--profile", "half"], "invalid choice"),
        (["--onyl", "x"], "unrecognized"),
    ],
)
def test_usage(arguments: list[str], words: str) -> None:
    done = smoke(*arguments)
    assert (done.returncode, words in done.stderr, done.stdout) == (2, True, ""), done.stderr


def test_an_unknown_recipe() -> None:
    done = smoke("--recipe", "gb10x4-mpt")
    assert done.returncode == 1
    assert "Did you mean 'gb10x4-mtp'?" in done.stderr


def test_nothing_listens() -> None:
    done = smoke("--url", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (3, "")
    assert "error[server-unreachable]: nothing listens" in done.stderr
    assert "--wait" in done.stderr


def test_it_is_no_http_server() -> None:
    with serve("not-http") as server:
        done = smoke("--url", server.url)
    assert done.returncode == 3
    assert "does not answer in HTTP" in done.stderr


def test_a_server_that_is_not_ready_is_an_error_and_not_waited_for() -> None:
    with serve("sick") as server:
        start = time.monotonic()
        done = smoke("--url", server.url, "--timeout", "1")
    assert done.returncode == 1
    assert "error[health]" in done.stderr
    assert f"{len(ALL_CHECKS) - 1} skip" in done.stdout
    assert time.monotonic() - start < 10


def test_only_skipped_is_not_good() -> None:
    with serve() as server:
        done = smoke("--url", server.url, "--only", "reference,flags")
    assert done.returncode == 1
    assert "error[nothing-checked]" in done.stderr


# --- choosing


def test_list() -> None:
    done = smoke("--list")
    assert done.returncode == 0
    for check in ALL_CHECKS:
        assert re.search(rf"^  {check.name} +{check.profiles()} +{re.escape(check.what)}$", done.stdout, re.MULTILINE)
    listed = json.loads(smoke("--list", "--json", "--profile", "structural").stdout)
    assert [entry["name"] for entry in listed] == [check.name for check in ALL_CHECKS if not check.trained]


def test_names_are_unique_and_no_area_is_a_check() -> None:
    names = [check.name for check in ALL_CHECKS]
    assert len(set(names)) == len(names)
    # `health` alone would be both, were there an area of that name.
    assert not set(names) & {check.area for check in ALL_CHECKS}


def test_selecting() -> None:
    assert [check.name for check in select(["health", "rates"], ["rate-one"], "full")] == ["health", "rate-many"]
    assert len(select([], ["refusals"], "full")) == len([c for c in ALL_CHECKS if c.area != "refusals"])


# --- reports


def test_json() -> None:
    with serve("wrong-sum") as server:
        done = smoke("--url", server.url, "--recipe", "gb10x4-omni", "--json", *QUICK)
    assert (done.returncode, done.stderr) == (1, "")
    data = json.loads(done.stdout)
    assert (data["url"], data["profile"], data["recipe"]) == (server.url, "full", "gb10x4-omni")
    assert (data["release"], data["model"]) == ("0.5.23", "mimo-v2.5")
    assert sum(data["summary"].values()) == len(data["checks"]) == 7
    exact = next(entry for entry in data["checks"] if entry["name"] == "chat-exact")
    assert (exact["status"], exact["area"]) == ("fail", "chat")
    assert exact["seconds"] >= 0
    assert any("388" in line for line in exact["evidence"])
    assert exact["help"]


def test_json_of_a_dead_server_is_empty() -> None:
    done = smoke("--url", f"http://127.0.0.1:{free_port()}", "--json")
    assert (done.returncode, done.stdout) == (3, "")


def test_junit(tmp_path: Path) -> None:
    file = tmp_path / "new" / "smoke.xml"
    with serve("chatty") as server:
        done = smoke("--url", server.url, "--junit", str(file), *QUICK)
        strict = tmp_path / "strict.xml"
        smoke("--url", server.url, "--junit", str(strict), "--strict", *QUICK)
    assert done.returncode == 0
    suite = ElementTree.parse(file).getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("testsuite", "7", "0", "1")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases["chat-exact"].get("classname") == "smoke.chat"
    assert "not the number alone" in (cases["chat-exact"].findtext("system-out") or "")
    assert cases["flags"].find("skipped") is not None
    assert ElementTree.parse(strict).getroot().get("failures") == "1"


def test_junit_with_what_xml_cannot_say() -> None:
    outcomes = [make("a\x00\x1b\ud800\ufffe<&>", "\x08 ünï \U0001f600") for make in (fail, warn, ok)]
    results = [Result(ALL_CHECKS[at], outcome, 0.1) for at, outcome in enumerate(outcomes)]
    about = About("http://x", "full", None, None, "m\x01", "2026-01-01T00:00:00+00:00")
    suite = ElementTree.fromstring(as_junit(results, about, strict=False).encode())
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "a\ufffd\ufffd\ufffd\ufffd<&>"
    assert "ünï \U0001f600" in (failure.text or "")


def test_junit_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with serve() as server:
        done = smoke("--url", server.url, "--junit", str(tmp_path / "file" / "x.xml"), "--only", "chat-shape")
    assert done.returncode == 1
    assert "error[out-unwritable]" in done.stderr
    assert "ok    chat-shape" in done.stdout


def test_what_a_server_says_cannot_move_the_cursor(tmp_path: Path) -> None:
    file = tmp_path / "x.xml"
    with serve("escape-codes") as server:
        done = smoke("--url", server.url, "--only", "chat-exact", "--verbose", "--junit", str(file))
    # An XML parser refuses control characters.
    assert ElementTree.parse(file).getroot().get("tests") == "1"
    assert "\x1b" not in done.stdout + done.stderr
    assert "\\x1b[2J" in done.stdout


# --- the key


@pytest.mark.parametrize("name", ["SGLANG_API_KEY", "OPENAI_API_KEY"])
def test_the_key_is_sent_and_never_shown(name: str, tmp_path: Path) -> None:
    key = "sk-very-secret-42"
    with serve("wrong-sum") as server:
        server.key = key
        env = {name: key}
        good = smoke("--url", server.url, "--verbose", "--only", "server,chat", **env)
        wrong = smoke("--url", server.url, "--verbose", "--only", "models", **{name: f"{key}-not"})
        file = tmp_path / "x.xml"
        data = smoke("--url", server.url, "--json", "--junit", str(file), "--only", "server,chat", **env)
    assert "ok    models" in good.stdout
    assert "HTTP 401" in wrong.stdout
    for text in (good.stdout, good.stderr, wrong.stdout, wrong.stderr, data.stdout, data.stderr, file.read_text()):
        assert key not in text


def test_which_key() -> None:
    assert api_key({}) is None
    assert api_key({"OPENAI_API_KEY": " a \n"}) == "a"
    # The one that is meant for this server wins over one that may be meant for another.
    assert api_key({"OPENAI_API_KEY": "a", "SGLANG_API_KEY": "b"}) == "b"
    assert api_key({"OPENAI_API_KEY": "a", "SGLANG_API_KEY": " "}) == "a"
    for value in ("a\nb: c", "ключ", "a\x00"):
        with pytest.raises(Refused, match="cannot be sent") as found:
            api_key({"OPENAI_API_KEY": value})
        assert value not in str(found.value)


# --- waiting


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_states() -> None:
    with serve() as server:
        client = client_of(server)
        assert look(client).ready
        server.health = [503, 502]
        warming = look(client)
        assert (warming.ready, warming.answers, "not ready yet" in warming.says) == (False, True, True)
        assert "proxy" in look(client).says
    gone = look(client)
    assert (gone.ready, gone.answers, gone.hopeless) == (False, False, False)
    assert "loaded the weights" in gone.says


def test_waiting_ends_when_it_is_ready() -> None:
    told: list[tuple[float, State]] = []
    clock = Clock()
    with serve() as server:
        server.health = [503, 503, 200]
        state = wait(client_of(server), 100, lambda *seen: told.append(seen), clock, clock.sleep)
    assert state.ready
    assert [seen.ready for _, seen in told] == [False, False, True]
    assert [passed for passed, _ in told] == [0, 2, 4]


def test_waiting_ends_when_the_time_is_over() -> None:
    clock = Clock()
    with serve("sick") as server:
        state = wait(client_of(server), 7, lambda *_: None, clock, clock.sleep)
    assert not state.ready
    assert 7 <= clock.now < 8


def test_a_name_that_is_unknown_is_not_waited_for() -> None:
    start = time.monotonic()
    done = smoke("--url", "http://no-such-host.invalid:1", "--wait", "30")
    assert done.returncode == 3
    assert "is unknown" in done.stderr
    assert time.monotonic() - start < 20


def test_a_server_that_comes_up_is_waited_for() -> None:
    with serve() as server:
        server.health = [503, 503]
        done = smoke("--url", server.url, "--wait", "20", "--only", "chat-exact")
    assert done.returncode == 0
    assert done.stdout.startswith("0 s: it listens, and is not ready yet (/health 503)\n")
    assert "ok    chat-exact" in done.stdout


def test_a_server_that_does_not_come_up() -> None:
    done = smoke("--url", f"http://127.0.0.1:{free_port()}", "--wait", "1")
    assert done.returncode == 3
    assert "not ready after 1 s" in done.stderr
    assert "log of every rank" in done.stderr


# --- a terminal


def on_terminal(*arguments: str) -> tuple[str, int]:
    """What is seen on a terminal, and the exit code."""
    parent, child = pty.openpty()
    command = [sys.executable, str(ROOT / "scripts" / "smoke_test.py"), *arguments]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdout=child, stderr=child, stdin=child, env=env, cwd=ROOT)
    os.close(child)
    seen = b""
    while True:
        try:
            data = os.read(parent, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(parent)
    return seen.decode(), process.wait(timeout=30)


def test_a_terminal_shows_what_runs() -> None:
    with serve("slow") as server:
        seen, code = on_terminal("--url", server.url, "--only", "chat-exact,chat-shape")
    assert code == 0
    assert re.search(r"\r\x1b\[K\.\.\.\.  chat-exact +0\.[2-9] s  \[1/2\] an arithmetic answer", seen)
    assert "\x1b[1;32mok  \x1b[0m  chat-exact" in seen
    # What was rewritten is gone from what stays.
    stays = [line.rpartition("\x1b[K")[2] for line in seen.replace("\r\n", "\n").split("\n")]
    assert not [line for line in stays if line.startswith("....")]


def test_a_pipe_shows_plain_lines_as_they_come() -> None:
    with serve("slow") as server:
        command = [sys.executable, str(ROOT / "scripts" / "smoke_test.py"), "--url", server.url]
        command += ["--only", "health,chat-exact,chat-shape"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert process.poll() is None
            rest = process.stdout.read()
            assert process.wait(timeout=30) == 0
    assert first.startswith("ok    health")
    assert "\x1b" not in first + rest
    assert "...." not in first + rest


def test_an_interrupt_ends_it_at_once() -> None:
    with serve("hang-chat") as server:
        command = [
            sys.executable,
            str(ROOT / "scripts" / "smoke_test.py"),
            "--url",
            server.url,
            "--only",
            "concurrency",
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        while not any(path == "/v1/chat/completions" for _, path, _ in server.seen):
            time.sleep(0.05)
        threading.Timer(0.1, process.send_signal, [2]).start()
        start = time.monotonic()
        _, stderr = process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert "Traceback" not in stderr
