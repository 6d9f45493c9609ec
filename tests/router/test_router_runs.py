"""The router itself, from its wheel, in front of stand-in servers: what our file and the page about it rest on."""

from __future__ import annotations

import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10 import router
from mimo_gb10.defaults import DEFAULT_RECIPE, DEFAULT_ROUTER
from mimo_gb10.extract import router as wheels
from tests.support.local_server import LocalServer
from tests.support.local_server import running as serving

pytestmark = [pytest.mark.upstream, pytest.mark.xdist_group("router")]

# The launcher, without the Python packages that only its debugging mode and its process title need.
_BOOT = """
import sys, types
sys.path.insert(0, sys.argv.pop(1))
title = types.ModuleType("setproctitle")
title.setproctitle = lambda text: None
debugging = types.ModuleType("sglang_router.mini_lb")
debugging.MiniLoadBalancer = None
sys.modules |= {"setproctitle": title, "sglang_router.mini_lb": debugging}
from sglang_router import launch_router
if sys.argv[1:2] == ["--parse"]:
    import dataclasses, json
    print(json.dumps(dataclasses.asdict(launch_router.parse_router_args(sys.argv[2:]))))
else:
    launch_router.main()
"""
_FAST = ["--health-check-interval-secs", "1"]


class Group:
    """A stand-in for one group's head."""

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.chats = 0
        self.keys: list[str | None] = []
        self.server: LocalServer | None = None

    @contextmanager
    def up(self, port: int = 0) -> Iterator[LocalServer]:
        group = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                self.answer(b"")

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers["content-length"])))

            def answer(self, body: bytes) -> None:
                if self.path.startswith("/health"):
                    return self.say(200, {})
                if group.key and self.headers["authorization"] != f"Bearer {group.key}":
                    return self.say(401, {"error": "no key"})
                if self.path in ("/server_info", "/get_server_info", "/model_info", "/get_model_info"):
                    return self.say(200, {"model_path": "/models/mimo-v2.5", "served_model_name": "mimo"})
                group.chats += 1
                group.keys.append(self.headers["authorization"])
                text = body.decode()
                if "SLOW" in text:
                    time.sleep(2)
                if "DEADLY" in text:
                    assert group.server is not None
                    # The socket closes without an answer, and no further one is taken.
                    threading.Thread(target=group.server.shutdown).start()
                    group.server.socket.close()
                    self.close_connection = True
                    return None
                if "STREAM" in text:
                    self.send_response(200)
                    self.send_header("content-type", "text/event-stream")
                    self.send_header("transfer-encoding", "chunked")
                    self.end_headers()
                    self.wfile.write(b"b\r\ndata: one\n\n\r\n")
                    self.close_connection = True
                    return None
                status = 400 if "WRONG" in text else 500 if "FAILS" in text else 200
                return self.say(status, {})

            def say(self, status: int, value: Any) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        with serving(LocalServer(Handler, port)) as server:
            self.server = server
            yield server


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        pytest.skip("the router has wheels for Linux on x86_64 and aarch64")
    routed = ours()
    assert routed.router is not None
    folder = tmp_path_factory.mktemp("router")
    with zipfile.ZipFile(wheels.fetch(routed.router.package, machine)) as archive:
        archive.extractall(folder)
    return folder


def ours() -> router.Routed:
    return router.route(DEFAULT_ROUTER, DEFAULT_RECIPE, ("example-8x-gb10-a", "example-8x-gb10-b"))


def our_flags() -> list[str]:
    argv = ours().argv()
    return list(argv[argv.index("--policy") :])


class Running:
    """A router with its groups."""

    def __init__(self, port: int, groups: Sequence[Group], late: int | None) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.groups = groups
        self.late = late

    def ask(self, text: str, key: str = "", path: str = "/v1/chat/completions") -> tuple[int, Any]:
        chat = {"model": "mimo", "messages": [{"role": "user", "content": text}], "stream": "STREAM" in text}
        body = json.dumps(chat).encode()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        return self.open(urllib.request.Request(self.url + path, body, headers))

    def get(self, path: str) -> tuple[int, Any]:
        return self.open(urllib.request.Request(self.url + path))

    def open(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, read(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, read(refused.read())

    def healthy(self) -> list[bool]:
        workers = sorted(self.get("/workers")[1]["workers"], key=lambda worker: str(worker["url"]))
        return [worker["is_healthy"] for worker in workers]

    def many(self, texts: Sequence[str]) -> list[int]:
        with ThreadPoolExecutor(len(texts)) as pool:
            return [status for status, _ in pool.map(self.ask, texts)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def read(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode()


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.1)


@contextmanager
def running(package: Path, flags: Sequence[str], key: str = "", *, late: bool = False) -> Iterator[Running]:
    groups = [Group(key), Group(key)]
    port, metrics = free_port(), free_port()
    with ExitStack() as stack:
        urls = [stack.enter_context(group.up()).url for group in groups[: 1 if late else 2]]
        absent = free_port() if late else None
        urls += [f"http://127.0.0.1:{absent}"] if late else []
        command = [sys.executable, "-c", _BOOT, str(package), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--worker-urls", *urls, *flags, "--prometheus-port", str(metrics), "--log-level", "error"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.send_signal, signal.SIGKILL)
        made = Running(port, groups, absent)

        def ready() -> bool:
            try:
                return len(made.healthy()) == (1 if late else 2) and all(made.healthy())
            except OSError:
                return False

        until(ready)
        yield made


def test_the_router_reads_our_command_as_it_is_meant(package: Path) -> None:
    argv = ours().argv()
    command = [sys.executable, "-c", _BOOT, str(package), "--parse", *argv[3:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    parsed = json.loads(done.stdout)
    assert parsed["worker_urls"] == ["http://192.168.100.10:30000", "http://192.168.100.14:30000"]
    routed = ours().router
    assert routed is not None
    assert {name: parsed[name.replace("-", "_")] for name in routed.flags} == dict(routed.flags)
    assert (parsed["host"], parsed["port"], parsed["api_key"]) == (routed.serve_host, routed.serve_port, None)


def test_a_known_beginning_goes_to_its_group_until_that_is_full(package: Path) -> None:
    beginning = "The same long beginning of every prompt. " * 20
    with running(package, our_flags()) as made:
        for turn in range(6):
            assert made.ask(f"{beginning}{turn}")[0] == 200
        assert sorted(group.chats for group in made.groups) == [0, 6]
        made.many([f"{beginning}SLOW{turn}" for turn in range(60)])
        assert min(group.chats for group in made.groups) >= 12
    with running(package, []) as made:
        made.many([f"{beginning}SLOW{turn}" for turn in range(60)])
        assert sorted(group.chats for group in made.groups) == [0, 60]


def test_a_clients_mistakes_shut_nobody_out(package: Path) -> None:
    with running(package, our_flags()) as made:
        assert {made.ask(f"WRONG {turn}")[0] for turn in range(40)} == {400}
        assert {made.ask(f"FAILS {turn}")[0] for turn in range(40)} == {500}
        assert made.ask("hello")[0] == 200
    with running(package, []) as made:
        assert 503 in {made.ask(f"WRONG {turn}")[0] for turn in range(40)}
        assert made.ask("hello")[0] == 503


def test_a_request_that_ends_a_group_is_not_sent_to_the_next(package: Path) -> None:
    with running(package, our_flags()) as made:
        assert made.ask("DEADLY")[0] == 500
        assert sorted(group.chats for group in made.groups) == [0, 1]
    with running(package, ["--cb-failure-threshold", "2"]) as made:
        assert made.ask("DEADLY")[0] == 503
        assert [group.chats for group in made.groups] == [1, 1]


def test_a_dead_group_is_left_out_and_taken_back(package: Path) -> None:
    with running(package, [*our_flags(), *_FAST]) as made:
        assert made.ask("DEADLY")[0] == 500
        (dead,) = [group for group in made.groups if group.chats == 1]
        until(lambda: sorted(made.healthy()) == [False, True])
        assert {made.ask(f"hello {turn}")[0] for turn in range(10)} == {200}
        assert made.get("/readiness")[1]["healthy_workers"] == 1
        assert dead.server is not None
        with dead.up(dead.server.server_address[1]):
            until(lambda: made.healthy() == [True, True])


def test_a_stream_whose_group_ends_breaks_off(package: Path) -> None:
    with running(package, our_flags()) as made:
        with pytest.raises(http.client.IncompleteRead) as broken:
            made.ask("STREAM")
        assert broken.value.partial == b"data: one\n\n"
        assert sum(group.chats for group in made.groups) == 1


def test_a_group_that_is_late_is_taken_when_it_is_there(package: Path) -> None:
    with running(package, our_flags(), late=True) as made:
        assert made.ask("hello")[0] == 200
        assert len(made.healthy()) == 1
        assert made.late is not None
        with made.groups[1].up(made.late):
            until(lambda: made.healthy() == [True, True], 60)


def test_a_group_can_be_taken_out_while_it_answers(package: Path) -> None:
    with running(package, our_flags()) as made, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(made.ask, "SLOW")
        until(lambda: any(group.chats for group in made.groups))
        (busy,) = [group for group in made.groups if group.chats]
        assert busy.server is not None
        (worker,) = [one for one in made.get("/workers")[1]["workers"] if one["url"] == busy.server.url]
        gone = urllib.request.Request(f"{made.url}/workers/{worker['id']}", method="DELETE")
        assert made.open(gone)[0] == 202
        until(lambda: len(made.get("/workers")[1]["workers"]) == 1)
        assert not asked.done()
        assert {made.ask(f"SLOW {turn}")[0] for turn in range(2)} == {200}
        assert asked.result()[0] == 200
        assert busy.chats == 1
        body = json.dumps({"url": busy.server.url}).encode()
        back = urllib.request.Request(f"{made.url}/workers", body, {"content-type": "application/json"})
        assert made.open(back)[0] == 202
        until(lambda: made.healthy() == [True, True])


def test_without_a_group_the_router_still_calls_itself_healthy(package: Path) -> None:
    with running(package, [*our_flags(), *_FAST]) as made:
        for _ in range(2):
            made.ask("DEADLY")
            until(lambda: False in made.healthy())
            until(lambda: made.ask("hello")[0] in (200, 503))
        until(lambda: not any(made.healthy()))
        assert made.get("/health")[0] == 200
        assert made.get("/readiness")[0] == 503
        assert made.ask("hello")[0] == 503


def test_keys_go_through_and_are_the_groups_to_check(package: Path) -> None:
    with running(package, our_flags(), key="secret") as made:
        assert made.ask("hello")[0] == 401
        assert made.ask("hello", "other")[0] == 401
        assert made.ask("hello", "secret")[0] == 200
        assert {key for group in made.groups for key in group.keys} == {"Bearer secret"}
        # Nobody is asked for a key who adds a group to the router.
        status, _ = made.open(
            urllib.request.Request(
                f"{made.url}/workers", b'{"url": "http://127.0.0.1:1"}', {"content-type": "application/json"}
            )
        )
        assert status == 202
        assert made.get("/v1/models")[1]["data"][0]["id"] == "unknown"


def test_what_the_router_does_not_pass_on(package: Path) -> None:
    with running(package, our_flags()) as made:
        answers = {
            path: made.ask("hello", path=path)[0] for path in ("/v1/audio/transcriptions", "/v1/chat/completions")
        }
    assert answers == {"/v1/audio/transcriptions": 404, "/v1/chat/completions": 200}
