"""``--all``: every node over ssh at once; a stand-in for ssh answers as recorded nodes, and fails as ssh does."""

from __future__ import annotations

import ast
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.paths import ROOT
from mimo_gb10.preflight.bundle import NODE_MODULES, program
from mimo_gb10.preflight.node import MARK
from mimo_gb10.preflight.remote import read_answer
from mimo_gb10.preflight.show import Progress
from tests.preflight.support import NODES, RECIPE, SCRIPT, by_check, examined, run_preflight, wanted
from tests.preflight.support import program as stand_in

# Reads how each host behaves from a file; runs the program that it is given in a recorded node, as ssh in a real one.
SSH = """
import json, os, subprocess, sys, time
plan = json.load(open(os.environ["STAND_IN_SSH"]))
at = sys.argv.index("--")
host, command = sys.argv[at + 1], sys.argv[at + 2:]
with open(plan["log"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
how = plan["hosts"][host]
if "err" in how:
    sys.stderr.write(how["err"])
    sys.exit(how.get("code", 255))
if "hang" in how:
    sys.stdin.read()
    subprocess.Popen(["sleep", "60"])
    time.sleep(60)
if "out" in how:
    sys.stdin.read()
    sys.stdout.write(how["out"])
    sys.exit(how.get("code", 0))
sys.stdout.write("Welcome to DGX OS 7\\n")
sys.stdout.flush()
assert command == ["python3", "-I", "-"]
time.sleep(how.get("sleep", 0))
done = subprocess.run([how.get("python", sys.executable), "-I", "-S", "-", "--replay", how["replay"]], stdin=sys.stdin)
sys.exit(done.returncode)
"""


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        stand_in(self.bin, "ssh", SSH)
        names = ["healthy", "healthy-1", "healthy-2", "healthy-3"]
        self.hosts: dict[str, dict[str, Any]] = {
            f"192.168.100.{10 + rank}": {"replay": str(NODES / f"{name}.json")} for rank, name in enumerate(names)
        }

    def run(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        return run_preflight("--recipe", RECIPE, "--all", *arguments, path=[self.bin], env=self.env(), seconds=seconds)

    def env(self) -> Mapping[str, str]:
        plan = self.folder / "plan.json"
        plan.write_text(json.dumps({"hosts": self.hosts, "log": str(self.folder / "log")}), encoding="utf-8")
        return {"STAND_IN_SSH": str(plan)}

    def report(self, *arguments: str) -> dict[str, Any]:
        done = self.run("--json", *arguments)
        assert "Traceback" not in done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if report["ok"] else 1)
        return report

    def overlay(self, name: str, base: str, **changes: Any) -> str:
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"about": "made by a test", "base": str(NODES / f"{base}.json"), **changes}))
        return str(file)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def between(report: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {result["check"]: result for result in report["between"]}


def ssh_problem(report: dict[str, Any], rank: int) -> dict[str, str]:
    results = report["nodes"][rank]["results"]
    assert len(results) == 1
    assert results[0]["check"] == "ssh"
    assert results[0]["status"] == "fail"
    found: dict[str, str] = results[0]
    return found


# --- the program itself


def imports_of(module: str) -> set[str]:
    path = ROOT / "scripts" / module.replace(".", "/")
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    found = set()
    for node in ast.walk(ast.parse(text, feature_version=(3, 10))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            name = str(node.module)
            inner = {f"{name}.{alias.name}" for alias in node.names} & set(NODE_MODULES)
            found |= inner or {name}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("module", NODE_MODULES)
def test_the_program_holds_all_that_it_imports(module: str) -> None:
    for name in imports_of(module):
        assert name in NODE_MODULES or name.partition(".")[0] in sys.stdlib_module_names


def test_no_module_travels_for_nothing() -> None:
    needed = {"mimo_gb10.preflight.node"}
    while new := {name for module in needed for name in imports_of(module) if name in NODE_MODULES} - needed:
        needed |= new
    parents = {".".join(name.split(".")[:end]) for name in needed for end in range(1, name.count(".") + 1)}
    assert needed | parents == set(NODE_MODULES)


def pythons(*versions: str) -> list[str]:
    """Other Pythons of this machine, as pyenv, apt or uv put them; there may be none."""
    places = [Path.home() / ".pyenv" / "versions", Path("/usr/bin"), Path("/usr/local/bin")]
    found = []
    for version in versions:
        candidates = [*places[0].glob(f"{version}.*/bin/python"), *(place / f"python{version}" for place in places[1:])]
        found += [str(path) for path in candidates if path.exists()][:1]
    return found


def run_program(python: str, name: str = "healthy") -> str:
    text = program(wanted(), 0)
    command = [python, "-I", "-S", "-", "--replay", str(NODES / f"{name}.json")]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


def test_the_program_says_what_the_library_says() -> None:
    for name in ("healthy", "pairing-crossed", "bare"):
        report, problem = read_answer(run_program(sys.executable, name), "", 0, "host", 0)
        assert problem is None
        assert report is not None
        assert report.results == examined(name).results
        assert report.shared == examined(name).shared


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_program_runs_on_every_python_that_a_node_may_have(version: str) -> None:
    found = pythons(version)
    if not found:
        pytest.skip(f"there is no Python {version} on this machine")
    report, _ = read_answer(run_program(found[0]), "", 0, "host", 0)
    assert report is not None
    assert report.python.startswith(version)
    assert report.results == examined("healthy").results


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.9"])
def test_an_old_python_says_that_it_is_old(version: str) -> None:
    found = pythons(version)
    if not found:
        pytest.skip(f"there is no Python {version} on this machine")
    # 2.7 has no -I.
    done = subprocess.run([found[0], "-"], input=program(wanted(), 0), capture_output=True, text=True, check=False)
    report, problem = read_answer(done.stdout, done.stderr, done.returncode, "host", 0)
    assert report is None
    assert problem is not None
    assert problem.text.startswith(f"its python3 is {version}")


def test_the_program_can_be_printed_and_carried_by_hand() -> None:
    done = run_preflight("--recipe", RECIPE, "--program", "2")
    assert done.returncode == 0
    compile(done.stdout, "program", "exec")
    assert done.stdout == program(wanted(), 2)


def test_a_program_that_breaks_says_so() -> None:
    text = program(wanted(), 0)
    command = [sys.executable, "-I", "-S", "-", "--replay", "/nowhere.json"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    report, problem = read_answer(done.stdout, done.stderr, done.returncode, "host", 0)
    assert report is None
    assert problem is not None
    assert "No such file" in problem.text
    assert "Traceback" not in done.stderr


# --- all nodes


def test_four_healthy_nodes(world: World) -> None:
    report = world.report()
    assert report["ok"]
    assert [node["hostname"] for node in report["nodes"]] == ["spark-0", "spark-1", "spark-2", "spark-3"]
    found = between(report)
    assert {name: result["status"] for name, result in found.items() if name != "clock-skew"} == {
        **dict.fromkeys(("same-image", "same-driver", "same-kernel", "same-mtu", "same-subnets", "same-weights"), "ok"),
        "same-nccl": "skipped",
    }
    log = [json.loads(line) for line in (world.folder / "log").read_text().splitlines()]
    assert len(log) == 4
    for words in log:
        assert words[:-4] == ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--"]
        assert words[-3:] == ["python3", "-I", "-"]


def test_nodes_are_asked_at_the_same_time(world: World) -> None:
    for how in world.hosts.values():
        how["sleep"] = 1.5
    start = time.monotonic()
    report = world.report()
    assert time.monotonic() - start < 4.5
    assert all(node["seconds"] >= 1.5 for node in report["nodes"])


FAILURES = {
    "refused": ("ssh: connect to host 192.168.100.11 port 22: Connection refused\n", 255, "it refuses connections"),
    "timed out": ("ssh: connect to host x port 22: Connection timed out\n", 255, "it cannot be reached"),
    "no route": ("ssh: connect to host x port 22: No route to host\n", 255, "it cannot be reached"),
    "host key": (
        "No ED25519 host key is known for x and you have requested strict checking.\r\n"
        "Host key verification failed.\r\n",
        255,
        "ssh does not know its host key",
    ),
    "changed key": (
        "@@@\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.\r\n",
        255,
        "its host key is not the one that ssh knows",
    ),
    "no key": ("user@x: Permission denied (publickey,password).\r\n", 255, "it lets no key of yours in"),
    "no name": (
        "ssh: Could not resolve hostname x: Name or service not known\r\n",
        255,
        "its name does not resolve here",
    ),
    "no python": ("bash: line 1: python3: command not found\n", 127, "it has no python3"),
    "dash": ("sh: 1: python3: not found\n", 127, "it has no python3"),
    "zsh": ("zsh:1: command not found: python3\n", 127, "it has no python3"),
    "killed": ("", 137, "no report came back: exit code 137"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_one_node_that_fails_does_not_hide_the_others(world: World, name: str) -> None:
    err, code, text = FAILURES[name]
    world.hosts["192.168.100.11"] = {"err": err, "code": code}
    report = world.report()
    assert not report["ok"]
    problem = ssh_problem(report, 1)
    assert problem["text"] == text
    assert problem["help"]
    others = [report["nodes"][rank] for rank in (0, 2, 3)]
    assert all(len(node["results"]) > 30 and node["hostname"] for node in others)
    assert between(report)["same-weights"]["status"] == "ok"


@pytest.mark.parametrize(
    ("out", "text"),
    [
        (f"{MARK}not json\n", "its answer is damaged"),
        (f"{MARK}{{}}\n", "its answer is damaged"),
        (f'{MARK}{{"old_python": "3.8.10"}}\n', "its python3 is 3.8.10"),
        ("Welcome\n", "no report came back: exit code 0"),
        (f'{MARK}{{"problem": "OSError: x"}}\n', "reading it failed: OSError: x"),
    ],
)
def test_odd_answers(world: World, out: str, text: str) -> None:
    world.hosts["192.168.100.12"] = {"out": out}
    assert ssh_problem(world.report(), 2)["text"] == text


def test_a_node_that_hangs_is_given_up(world: World) -> None:
    world.hosts["192.168.100.13"] = {"hang": True}
    start = time.monotonic()
    report = world.report("--timeout", "3")
    assert time.monotonic() - start < 8
    assert ssh_problem(report, 3)["text"] == "no answer within 3 s"
    assert len(report["nodes"][0]["results"]) > 30


def test_all_fail(world: World) -> None:
    for host in world.hosts:
        world.hosts[host] = {"err": "Permission denied (publickey).\n", "code": 255}
    report = world.report()
    assert [result["check"] for result in report["between"]] == ["between-nodes"]


def test_ctrl_c_ends_every_ssh(world: World) -> None:
    for how in world.hosts.values():
        how["hang"] = True
    env = {**os.environ, **world.env(), "PATH": f"{world.bin}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, str(SCRIPT), "--all"]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log = world.folder / "log"
    deadline = time.monotonic() + 20
    while not (log.exists() and len(log.read_text().splitlines()) == 4) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"Traceback" not in err
    children = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(world.bin / "ssh") not in children


def test_other_names_for_ssh(world: World) -> None:
    world.hosts = dict(zip("abcd", world.hosts.values(), strict=True))
    assert world.report("--hosts", "a,b,c,d")["ok"]
    for wrong in ("a,b", "a,b,,d", "a,b,c,-oProxyCommand=x"):
        done = world.run("--hosts", wrong)
        assert done.returncode == 1
        assert "error[hosts]" in done.stderr


def test_progress_on_stderr_and_report_on_stdout(world: World) -> None:
    done = world.run()
    assert "node 2 (192.168.100.12): answered after" in done.stderr
    assert "between the nodes" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_progress_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with Progress(["10.0.0.1", "10.0.0.2"], stream) as progress:
        progress.told(0, "asked")
        progress.told(1, "answered")
        time.sleep(0.5)
    shown = stream.getvalue().split("\r\x1b[K")
    assert any(part.endswith("1 of 2 nodes, waiting for 0") for part in shown)
    assert shown[-1] == ""


def test_without_ssh_the_environment_is_at_fault(tmp_path: Path) -> None:
    done = run_preflight("--all", env={"PATH": str(tmp_path)})
    assert done.returncode == 3
    assert "error[ssh-missing]" in done.stderr


# --- nodes that differ


@pytest.mark.parametrize(
    ("check", "status", "change", "text"),
    [
        (
            "same-kernel",
            "warn",
            {"files": {"/proc/sys/kernel/osrelease": "6.17.0-1008-nvidia\n"}},
            "6.17.0-1014-nvidia on nodes 0, 1, 3; 6.17.0-1008-nvidia on node 2",
        ),
        (
            "same-driver",
            "warn",
            {"files": {"/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module  580.142  X\n"}},
            "580.95.05 on nodes 0, 1, 3; 580.142 on node 2",
        ),
        (
            "same-mtu",
            "fail",
            {"files": {"/sys/class/net/enP2p1s0f0np0/mtu": "4200\n"}},
            "9000 on nodes 0, 1, 3; 4200 on node 2",
        ),
        (
            "same-weights",
            "fail",
            {"files": {"/models/mimo-v2.5/tokenizer_config.json": "{}"}},
            "tokenizer_config.json: ",
        ),
        (
            "same-weights",
            "fail",
            {"sizes": {"/models/mimo-v2.5/model-00002-of-00004.safetensors": 1}},
            "model-00002-of-00004.safetensors: 78,757,500,120 bytes on nodes 0, 1, 3; 1 bytes on node 2",
        ),
    ],
)
def test_one_node_differs(world: World, check: str, status: str, change: dict[str, Any], text: str) -> None:
    world.hosts["192.168.100.12"] = {"replay": world.overlay("other", "healthy-2", **change)}
    found = between(world.report())[check]
    assert found["status"] == status
    assert found["text"].startswith(text)
    assert found["help"]


def inspected(image: str, digest: str) -> dict[str, Any]:
    import shlex

    from mimo_gb10.preflight.machine import IMAGE_FORMAT

    command = shlex.join(["docker", "image", "inspect", "--format", IMAGE_FORMAT, "--", "lmsysorg/sglang:v0.5.23"])
    answer = {"id": image, "digests": [f"lmsysorg/sglang@{digest}"], "architecture": "arm64", "created": ""}
    return {"commands": {command: {"out": answer}}}


@pytest.mark.parametrize(
    ("image", "digest", "status"),
    [
        ("sha256:" + "11" * 32, "sha256:" + "9a" * 32, "ok"),  # one digest, unpacked by another store
        ("sha256:" + "4d" * 32, "sha256:" + "22" * 32, "ok"),  # the same image, pushed twice
        ("sha256:" + "11" * 32, "sha256:" + "22" * 32, "fail"),
    ],
)
def test_images_are_compared_by_digest_and_id(world: World, image: str, digest: str, status: str) -> None:
    world.hosts["192.168.100.12"] = {"replay": world.overlay("other", "healthy-2", **inspected(image, digest))}
    assert between(world.report())["same-image"]["status"] == status


def test_halves_that_are_numbered_differently(world: World) -> None:
    base = json.loads((NODES / "healthy-2.json").read_text())["commands"]["ip -json addr"]["out"]
    text = json.dumps(base).replace("192.168.101.12", "192.168.55.12")
    change = {"commands": {"ip -json addr": {"out": json.loads(text)}}}
    world.hosts["192.168.100.12"] = {"replay": world.overlay("other", "healthy-2", **change)}
    found = between(world.report())["same-subnets"]
    assert found["status"] == "fail"
    assert "192.168.55.0/24 on node 2" in found["text"]


def test_an_address_that_two_nodes_have(world: World) -> None:
    base = json.loads((NODES / "healthy-2.json").read_text())["commands"]["ip -json addr"]["out"]
    text = json.dumps(base).replace("192.168.101.12", "192.168.101.11")
    change = {"commands": {"ip -json addr": {"out": json.loads(text)}}}
    world.hosts["192.168.100.12"] = {"replay": world.overlay("other", "healthy-2", **change)}
    assert between(world.report())["same-subnets"]["text"] == "192.168.101.11/24 is on nodes 1, 2"


@pytest.mark.parametrize(("seconds", "status"), [(0.0, "ok"), (30.0, "warn"), (-30.0, "warn")])
def test_clocks(world: World, seconds: float, status: str) -> None:
    """Recorded clocks stand still; they are set to now, and one of them beside it."""
    now = time.time() + 1.0
    for rank in range(4):
        name = "healthy" if rank == 0 else f"healthy-{rank}"
        file = world.overlay(f"clock-{rank}", name, now=now + (seconds if rank == 2 else 0))
        world.hosts[f"192.168.100.{10 + rank}"] = {"replay": file, "sleep": 1.0}
    found = between(world.report())["clock-skew"]
    assert found["status"] == status
    if seconds > 0:
        assert "the clock of node 2 is at least 2" in found["text"]
    elif seconds < 0:
        assert found["text"].endswith("ahead of that of node 2")


def test_recordings_of_all_nodes_replay_to_the_same_results(world: World) -> None:
    report = world.report("--record", str(world.folder / "kept"))
    files = sorted(path.name for path in (world.folder / "kept").iterdir())
    assert files == ["node0.json", "node1.json", "node2.json", "node3.json"]
    for rank in range(4):
        kept = str(world.folder / "kept" / f"node{rank}.json")
        again = run_preflight("--recipe", RECIPE, "--replay", kept, "--node", str(rank), "--json")
        assert json.loads(again.stdout)["nodes"][0]["results"] == report["nodes"][rank]["results"]


def test_this_machine_is_not_asked_over_ssh(tmp_path: Path) -> None:
    cluster = ROOT / "tests" / "cases" / "valid" / "cluster-one-node.yaml"
    stand_in(tmp_path / "bin", "ssh", "raise SystemExit('ssh was called')")
    done = run_preflight(str(cluster), "--all", "--json", path=[tmp_path / "bin"])
    report = json.loads(done.stdout)
    assert len(report["nodes"][0]["results"]) > 30
    assert by_check(examined("healthy").results).keys() == {item["check"] for item in report["nodes"][0]["results"]}
