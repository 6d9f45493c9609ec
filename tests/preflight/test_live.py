"""The readers on the machine that the tests run on: real /proc, /sys and commands, held against other ways to know."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mimo_gb10.paths import CLUSTERS, ROOT
from mimo_gb10.preflight.facts import Unread
from mimo_gb10.preflight.machine import MISSING, Live
from mimo_gb10.preflight.node import examine
from mimo_gb10.preflight.read_network import read_network
from mimo_gb10.preflight.read_system import read_system
from mimo_gb10.preflight.read_weights import free_bytes, read_weights
from mimo_gb10.preflight.recorded import Recorded, Recorder
from mimo_gb10.preflight.results import OK
from mimo_gb10.preflight.wanted import Wanted, WantedNode
from tests.preflight.support import RECIPE, SCRIPT, by_check, run_preflight, wanted

LOOPBACK = ROOT / "tests" / "cases" / "valid" / "cluster-one-node.yaml"


def here(model_path: str = "/nowhere", serve_port: int = 30000) -> Wanted:
    node = WantedNode("127.0.0.1", "lo", ("rocep1s0f0",))
    return Wanted("here", model_path, 1, 29500, "127.0.0.1", serve_port, (node,))


# --- /proc and /sys


def test_memory_is_what_the_system_says() -> None:
    memory = read_system(Live()).memory
    assert not isinstance(memory, Unread)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert abs(memory["MemTotal"] - pages) < 0.01 * pages
    assert 0 < memory["MemAvailable"] <= memory["MemTotal"]


def test_kernel_name_and_memlock_are_what_the_system_says() -> None:
    system = read_system(Live())
    assert system.kernel == os.uname().release
    assert system.hostname == os.uname().nodename
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    assert system.memlock == (None if soft == resource.RLIM_INFINITY else soft)


def test_a_large_process_is_seen(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"import time; x = bytearray(300 << 20); open({str(ready)!r}, 'w'); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        while not ready.exists():
            time.sleep(0.02)
        machine = Live()
        status = machine.read_file(f"/proc/{process.pid}/status").decode()
        from mimo_gb10.preflight import read_system as module

        found = module.text_of(machine, f"/proc/{process.pid}/status")
        assert not isinstance(found, Unread)
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident is not None
        assert int(resident[1]) > 300 << 10
        largest = read_system(machine).largest
        assert largest == tuple(sorted(largest, key=lambda item: -item.resident))
        assert largest[0].resident >= 300 << 20
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 is not installed")
def test_interfaces_are_those_of_the_system() -> None:
    found = read_network(Live(), here()).interfaces
    assert not isinstance(found, Unread)
    assert set(found) == {name for _, name in socket.if_nameindex()}
    loopback = found["lo"]
    assert loopback.mtu is not None
    assert loopback.mtu >= 16384
    assert "127.0.0.1" in [entry.address for entry in loopback.addresses]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_port_that_is_taken_is_seen(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        server = socket.socket(family, socket.SOCK_STREAM)
        server.bind((address, 0))
    except OSError as problem:
        pytest.skip(f"cannot bind {address}: {problem}")
    with server:
        port = server.getsockname()[1]
        assert by_check(examine(Live(), here(serve_port=port), 0).results)["ports"].status == OK
        server.listen()
        found = by_check(examine(Live(), here(serve_port=port), 0).results)["ports"]
        assert found.status == "fail"
        assert f"serve.port {port} is taken: somebody listens on {address}" in found.text


def test_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert Live().connect("127.0.0.1", port) == "open"
    assert Live().connect("127.0.0.1", port) == "refused"


def test_free_space_is_what_the_system_says(tmp_path: Path) -> None:
    found = free_bytes(Live(), str(tmp_path))
    assert isinstance(found, int)
    assert abs(found - shutil.disk_usage(tmp_path).free) < 1 << 30


def test_a_command_that_is_not_there_or_fails() -> None:
    assert Live().run(["nvidia-smi", "--version"]).code in (MISSING, 0)
    done = Live().run(["df", "-P", "-B1", "--", "/no/such/folder"])
    assert not done.ok
    assert "No such file" in done.why


# --- weights, as safetensors writes them


def write_checkpoint(folder: Path) -> None:
    """Two shards in the format's own words: length, header, tensors (https://github.com/huggingface/safetensors)."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["MiMoV2ForCausalLM"]}))
    mapping = {}
    for number in (1, 2):
        name = f"model-{number:05}-of-00002.safetensors"
        header = {
            "__metadata__": {"format": "pt"},
            f"a{number}": {"dtype": "F8_E4M3", "shape": [600], "data_offsets": [0, 600]},
            f"b{number}": {"dtype": "BF16", "shape": [50], "data_offsets": [600, 700]},
        }
        data = json.dumps(header).encode()
        (folder / name).write_bytes(len(data).to_bytes(8, "little") + data + bytes(700))
        mapping.update({f"a{number}": name, f"b{number}": name})
    index = {"metadata": {"total_size": 1400}, "weight_map": mapping}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def weights_results(folder: Path) -> dict[str, str]:
    found = by_check(examine(Live(), here(str(folder)), 0).results)
    return {name: found[name].status for name in ("weights-model", "weights-index", "weights-sizes")}


def test_a_checkpoint_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_checkpoint(folder)
    assert set(weights_results(folder).values()) == {OK}
    shards = read_weights(Live(), here(str(folder))).shards
    assert all(shard.size == shard.promised for shard in shards.values())
    shard = folder / "model-00002-of-00002.safetensors"
    whole = shard.read_bytes()
    for size in (len(whole) - 1, 100, 4, 0):
        shard.write_bytes(whole[:size])
        assert weights_results(folder)["weights-sizes"] == "fail"
    shard.write_bytes(whole + b"x")
    assert weights_results(folder)["weights-sizes"] == "fail"
    shard.unlink()
    assert weights_results(folder)["weights-index"] == "fail"
    # As the hub's cache has it: a link into a folder of blobs.
    (tmp_path / "blob").write_bytes(whole)
    shard.symlink_to(tmp_path / "blob")
    assert set(weights_results(folder).values()) == {OK}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_checkpoint_that_may_not_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_checkpoint(folder)
    folder.chmod(0)
    try:
        assert by_check(examine(Live(), here(str(folder)), 0).results)["weights-model"].status == "fail"
    finally:
        folder.chmod(0o755)


# --- the whole command


def test_a_recording_of_this_machine_replays_to_the_same_results(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model")
    what = here(str(tmp_path / "model"))
    recorder = Recorder(Live())
    live = examine(recorder, what, 0)
    data = json.loads(json.dumps(recorder.recording("by a test")))
    replayed = examine(Recorded(data), what, 0)
    assert replayed.results == live.results
    assert replayed.shared == live.shared


# Takes note of whatever opens a file for writing or changes one, and of every program that is started.
AUDIT = """
import os, sys
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
def hook(event, args):
    if event == "open" and len(args) > 2 and isinstance(args[2], int) and args[2] & WRITES:
        if args[0] != "/dev/null" and not isinstance(args[0], int):  # a number is a pipe to a program
            bad.append((event, str(args[0])))
    elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink",
                   "os.truncate", "os.utime", "os.kill", "os.killpg", "os.putenv", "os.setxattr", "shutil.rmtree",
                   "os.system", "os.exec", "os.posix_spawn", "socket.bind", "signal.pthread_kill"):
        bad.append((event, str(args)))
    elif event == "subprocess.Popen":
        started.append([str(word) for word in args[1]])
bad, started = [], []
sys.addaudithook(hook)
sys.argv = ["preflight.py", *sys.argv[1:]]
sys.path.insert(0, SCRIPTS)
import preflight
code = preflight.main(sys.argv[1:])
sys.stderr.write("AUDIT " + repr({"bad": bad, "started": started, "code": code}))
"""


def test_nothing_on_this_machine_is_changed(tmp_path: Path) -> None:
    import ast

    write_checkpoint(tmp_path / "model")
    text = LOOPBACK.read_text().replace("/models/mimo-v2.5", str(tmp_path / "model"))
    cluster = tmp_path / "cluster-one-node.yaml"
    cluster.write_text(text)
    before = {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code = f"SCRIPTS = {str(ROOT / 'scripts')!r}\n{AUDIT}"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(cluster)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    seen = ast.literal_eval(done.stderr.partition("AUDIT ")[2])
    assert seen["bad"] == []
    assert {command[0] for command in seen["started"]} <= {"nvidia-smi", "ip", "df", "docker", "timedatectl", "getent"}
    assert len(seen["started"]) >= 5
    assert {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_help_is_quick_and_complete() -> None:
    done = run_preflight("--help")
    assert done.returncode == 0
    for word in (
        "--recipe",
        "--all",
        "--hosts",
        "--image-checks",
        "--record",
        "--json",
        "--strict",
        "Nothing is changed",
    ):
        assert word in done.stdout
    code = f"sys.argv = ['preflight.py', '--help']; import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    modules = f"import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sorted(sys.modules)))); {code}"
    done = subprocess.run(
        [sys.executable, "-c", modules], capture_output=True, text=True, check=True, cwd=SCRIPT.parent
    )
    assert not {"yaml", "jsonschema", "mimo_gb10.preflight"} & set(done.stderr.split())


def test_the_local_part_takes_less_than_two_seconds(tmp_path: Path) -> None:
    """From process start to the end, with a recipe and three other nodes, all of them on this machine."""
    text = (CLUSTERS / "example-4x-gb10.yaml").read_text(encoding="utf-8")
    cluster = tmp_path / "example-4x-gb10.yaml"
    cluster.write_text(text.replace("192.168.100.1", "127.0.0.1"), encoding="utf-8")
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        done = run_preflight(str(cluster), "--node", "0", "--recipe", RECIPE)
        spent.append(time.perf_counter() - start)
        assert "3 others answer" in done.stdout
    assert statistics.median(spent) < 2


def test_silent_nodes_are_asked_at_the_same_time() -> None:
    class Slow(Live):
        def connect(self, address: str, port: int) -> str:
            time.sleep(0.3)
            return "no answer"

    nodes = tuple(WantedNode(f"127.0.0.{number}", "lo", ("x",)) for number in range(1, 21))
    what = Wanted("many", "/nowhere", 1, 29500, "0.0.0.0", 30000, nodes)
    start = time.perf_counter()
    report = examine(Slow(), what, 0)
    assert time.perf_counter() - start < 2.5
    assert "19" in by_check(report.results)["reach"].text or "and 15 more" in by_check(report.results)["reach"].text


def test_which_node_this_is() -> None:
    done = run_preflight(str(LOOPBACK))
    assert done.stdout.startswith("node 0: 127.0.0.1")
    done = run_preflight()
    assert done.returncode == 1
    assert "this machine has no node's address" in done.stderr
    done = run_preflight("--node", "4")
    assert done.returncode == 1
    assert "nodes 0 to 3" in done.stderr
    for wrong in (
        ["--node", "-1"],
        ["--node", "x"],
        ["--hosts", "a"],
        ["--all", "--replay", "x"],
        ["--all", "--node", "0"],
    ):
        assert run_preflight(*wrong).returncode == 2


def test_problems_only_and_strict() -> None:
    node = str(ROOT / "tests" / "preflight" / "nodes" / "mtu-1500.json")
    arguments = ["--replay", node]
    plain = run_preflight(*arguments)
    assert plain.returncode == 0
    assert run_preflight(*arguments, "--strict").returncode == 1
    brief = run_preflight(*arguments, "--problems").stdout
    assert "warn" in brief
    assert " ok " not in brief.partition("\n0 fail")[0]
    assert len(brief.splitlines()) < 8 < len(plain.stdout.splitlines())


def test_the_list_of_checks() -> None:
    done = run_preflight("--list")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(examine(Live(), here(), 0).results)


def test_what_a_node_says_cannot_move_the_cursor(tmp_path: Path) -> None:
    file = tmp_path / "odd.json"
    base = ROOT / "tests" / "preflight" / "nodes" / "healthy.json"
    change = {"files": {"/proc/sys/kernel/hostname": "x\x1b[2Jy", "/etc/nccl.conf": "A=\x1b]0;title\x07"}}
    file.write_text(json.dumps({"about": "made by a test", "base": str(base), **change}))
    done = run_preflight("--replay", str(file))
    assert "\x1b" not in done.stdout
    assert "\\x1b[2J" in done.stdout


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"about": "x", "unknown": 1}', '{"about": "x", "base": "no.json"}'])
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    done = run_preflight("--replay", str(file))
    assert done.returncode == 1
    assert "error[recording]" in done.stderr
    assert "Traceback" not in done.stderr


def test_image_options_need_a_recipe() -> None:
    for option in (["--image", "x"], ["--image-checks"]):
        done = run_preflight("--node", "0", *option)
        assert done.returncode == 1
        assert "error[recipe-missing]" in done.stderr
    done = run_preflight("--node", "0", "--recipe", RECIPE, "--image", "--privileged")
    assert done.returncode == 2 or "error[" in done.stderr
    done = run_preflight("--node", "0", "--recipe", RECIPE, "--image=--privileged")
    assert done.returncode == 1
    assert "error[value-form]" in done.stderr


def test_another_image_is_looked_for() -> None:
    node = str(ROOT / "tests" / "preflight" / "nodes" / "healthy.json")
    done = run_preflight("--replay", node, "--recipe", RECIPE, "--image", "lab/sglang:patched")
    assert "docker image inspect" in done.stdout or "docker pull lab/sglang:patched" in done.stdout
    assert wanted().recipe is not None
