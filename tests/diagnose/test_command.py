"""The command as a user runs it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mimo_gb10.diagnose.symptoms import load_symptoms
from mimo_gb10.paths import ROOT
from tests.diagnose.cases import LOGS
from tests.support.run import run_command

MTP = LOGS / "mtp-triton-window" / "match-recorded.log"
HEALTHY = LOGS / "healthy" / "written-0.5.23"
WARNING = LOGS / "kv-pool-full" / "match.log"
COMMAND = [sys.executable, str(ROOT / "scripts" / "diagnose.py")]


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, check=False, timeout=60)


def test_a_log_with_symptoms() -> None:
    done = run_command("diagnose.py", str(MTP))
    assert done.returncode == 1
    assert not done.stderr
    heads = [line for line in done.stdout.splitlines() if "error[" in line]
    assert [head.partition("error[")[2].partition("]")[0] for head in heads] == [
        "mtp-triton-window",
        "scheduler-exception",
        "child-failed",
    ]
    assert heads[0].startswith(f"{MTP}:91: error[mtp-triton-window]: MTP with the triton backend dies")
    assert f"  | {MTP}:198: triton.compiler.errors.CompilationError: at 164:16:" in done.stdout
    assert "      python scripts/apply_patches.py mtp-triton-window\n" in done.stdout
    assert "  source: https://github.com/sgl-project/sglang/issues/24481 (reported)\n" in done.stdout
    assert done.stdout.endswith("begin with mtp-triton-window; scheduler-exception, child-failed follow from it\n")
    assert "\x1b" not in done.stdout


def test_lines_are_where_they_are_said_to_be() -> None:
    done = run_command("diagnose.py", str(MTP), "--json")
    lines = MTP.read_bytes().decode().split("\n")
    for symptom in json.loads(done.stdout)["symptoms"]:
        for proof in symptom["proof"]:
            for line in proof["lines"]:
                assert line["text"].strip("…")[:40] in lines[line["line"] - 1]


def test_a_healthy_log() -> None:
    files = [str(path) for path in sorted(HEALTHY.iterdir())]
    done = run_command("diagnose.py", *files)
    assert done.returncode == 0
    assert done.stdout.startswith(
        f"None of the {len(load_symptoms().symptoms)} known symptoms was found in {files[0]} ("
    )
    assert "What to collect, on every node:" in done.stdout
    assert "Where to report it:" in done.stdout
    assert "https://github.com/sgl-project/sglang/issues" in done.stdout
    assert f"the last line of {files[0]}:" in done.stdout


def test_warnings_are_errors_when_strict() -> None:
    assert run_command("diagnose.py", str(WARNING)).returncode == 0
    assert run_command("diagnose.py", str(WARNING), "--strict").returncode == 1


def test_ranks_by_order_and_by_name() -> None:
    folder = LOGS / "rank-idle" / "match"
    spins, idles = str(folder / "rank0.log"), str(folder / "rank1.log")
    by_order = run_command("diagnose.py", spins, idles)
    assert "error[rank-idle]" in by_order.stdout
    assert f"  | rank 0  {spins}:" in by_order.stdout
    assert f"  | rank 1  {idles}:" in by_order.stdout
    named = run_command("diagnose.py", "--rank", f"3={spins}", "--rank", f"1={idles}")
    assert f"  | rank 3  {spins}:" in named.stdout
    assert named.stdout.index("rank 1  ") < named.stdout.index("rank 3  ")
    mixed = run_command("diagnose.py", "--rank", f"1={idles}", spins)
    assert f"  | rank 0  {spins}:" in mixed.stdout


def test_a_recipe_and_a_cluster_fill_the_commands_in() -> None:
    log = LOGS / "message-queue-interface" / "match" / "rank0.log"
    plain = run_command("diagnose.py", str(log)).stdout
    assert "export SGLANG_HOST_IP=ADDRESS\n" in plain
    filled = run_command(
        "diagnose.py", "--rank", f"2={log}", "--recipe", "gb10x4-omni", "--cluster", "example-4x-gb10"
    ).stdout
    assert "export SGLANG_HOST_IP=192.168.100.12\n" in filled


def test_a_release_that_is_not_among_the_known_ones_is_said() -> None:
    done = run_command("diagnose.py", str(MTP), "--release", "0.5.23")
    assert "  note: known in 0.5.11 to 0.5.22; the release at hand is 0.5.23\n" in done.stdout
    assert "  note: " not in run_command("diagnose.py", str(MTP), "--release", "0.5.17").stdout
    recipe = str(ROOT / "tests" / "data" / "gb10x4-mtp.yaml")
    by_recipe = run_command("diagnose.py", str(MTP), "--recipe", recipe)
    assert "the release at hand is 0.5.23" in by_recipe.stdout


def test_json() -> None:
    found = json.loads(run_command("diagnose.py", str(MTP), "--json", "--release", "0.5.17").stdout)
    assert found["release"] == "0.5.17"
    assert found["logs"] == [{"rank": "0", "file": str(MTP), "lines": MTP.read_bytes().count(b"\n")}]
    first, *_, last = found["symptoms"]
    assert (first["id"], first["defect"], first["known_in_release"]) == ("mtp-triton-window", "mtp-triton-window", True)
    assert first["leads_to"] == ["scheduler-exception", "child-failed"]
    assert last["follows_from"] == ["scheduler-exception", "mtp-triton-window"]
    nothing = json.loads(run_command("diagnose.py", str(HEALTHY / "rank1.log"), "--json").stdout)
    assert nothing["symptoms"] == []
    assert nothing["collect"]
    assert nothing["report"]


def test_the_list() -> None:
    lines = run_command("diagnose.py", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(load_symptoms().symptoms)
    assert len(json.loads(run_command("diagnose.py", "--list", "--json").stdout)) == len(lines)


@pytest.mark.parametrize("form", ["plain", "gzip", "two members", "utf-16", "crlf"])
def test_forms_of_a_log(form: str, tmp_path: Path) -> None:
    text = (LOGS / "ptxas-old" / "match.log").read_bytes()
    half = text.index(b"\n", len(text) // 2) + 1
    data = {
        "plain": text,
        "gzip": gzip.compress(text),
        "two members": gzip.compress(text[:half]) + gzip.compress(text[half:]),
        "utf-16": text.decode().encode("utf-16"),
        "crlf": text.replace(b"\n", b"\r\n"),
    }[form]
    path = tmp_path / "rank0.log"
    path.write_bytes(data)
    done = run_command("diagnose.py", str(path), "--json")
    found = json.loads(done.stdout)
    assert [one["id"] for one in found["symptoms"]] == ["ptxas-old", "scheduler-exception", "child-failed"]
    assert found["logs"][0]["lines"] == text.count(b"\n")


def test_a_docker_json_file() -> None:
    """The file under /var/lib/docker/containers: each line is JSON, in which quotes are escaped."""
    lines = [json.dumps({"log": f"{line}\n", "stream": "stderr"}) for line in MTP.read_bytes().decode().split("\n")]
    done = run("--json", stdin="\n".join(lines).encode())
    assert json.loads(done.stdout)["symptoms"][0]["id"] == "mtp-triton-window"


def test_secrets_are_not_repeated() -> None:
    log = (
        b"server_args=ServerArgs(api_key='sk-very-secret', hf_abcdefghijklmnopqrstuv, nnodes=4, x) "
        b"sglang is using nccl==2.28.9 ncclLocalOpAppend"
    )
    for arguments in ((), ("--json",)):
        done = run(*arguments, stdin=log)
        assert b"nccl-proxy-deadlock" in done.stdout
        assert b"sk-very-secret" not in done.stdout
        assert b"hf_abcdefgh" not in done.stdout
    nothing = run(stdin=b"api_key='sk-very-secret'")
    assert b"sk-very-secret" not in nothing.stdout


def test_control_characters_are_shown_as_such() -> None:
    done = run(stdin=b"CUDA error: an illegal memory access was encountered \x1b]0;title\x07\x08\xe2\x80\xae\n")
    assert b"\x1b" not in done.stdout
    assert b"\\x08" in done.stdout
    assert b"\\u202e" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["no-such.log"], 1, "error[file-unreadable]: 'no-such.log' cannot be read: No such file or directory"),
        (["/"], 1, "error[file-unreadable]: '/' cannot be read"),
        (["--rank", "x=y", "log"], 2, "error[usage]: --rank 'x=y' is not N=FILE"),
        (["--rank", "0=a", "--rank", "0=b"], 2, "error[usage]: rank 0 is given twice"),
        (["-", "-"], 2, "error[usage]: standard input is given twice"),
        (["--release", "0.5.99", "-"], 1, "error[release-unknown]: there is no catalog of SGLang 0.5.99"),
        (["--recipe", "gb10x4-omnii", "-"], 1, "did you mean"),
        (["--nonsense"], 2, "unrecognized arguments"),
    ],
)  # fmt: skip
def test_mistakes(arguments: Sequence[str], code: int, says: str) -> None:
    done = run(*arguments)
    assert done.returncode == code, done
    text = done.stderr.decode()
    assert says.lower() in text.lower()
    assert "Traceback" not in text
    assert not done.stdout


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "rank0.log.gz"
    data = bytearray(gzip.compress(MTP.read_bytes()))
    data[100:200] = bytes(100)
    path.write_bytes(data)
    done = run(str(path))
    assert done.returncode == 1
    assert b"error[file-damaged]" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_empty_log() -> None:
    done = run(stdin=b"")
    assert done.returncode == 0
    assert done.stdout.startswith(b"None of the ")


def test_a_closed_standard_input() -> None:
    done = subprocess.run(f"{sys.executable} {COMMAND[1]} - <&-", shell=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"error[file-unreadable]" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves() -> None:
    done = subprocess.run(
        f"{sys.executable} {COMMAND[1]} --list | head -1", shell=True, capture_output=True, check=False
    )
    assert done.stdout.count(b"\n") == 1
    assert not done.stderr


def test_help_is_quick_and_needs_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND[1], "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "docker logs -f NAME 2>&1" in done.stdout
    for module in ("yaml", "jsonschema", "mimo_gb10.diagnose"):
        assert f" {module}\n" not in done.stderr


# --- streams


class Live:
    """The command on a pipe that stays open."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.text = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while block := os.read(self.process.stdout.fileno(), 65536):
            self.text += block

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_for(self, text: bytes, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, self.text
            time.sleep(0.02)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(20)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def close(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(20)
        self._reader.join(20)
        return code


@pytest.fixture
def live() -> Iterator[Live]:
    started = Live("-")
    yield started
    started.end()


def test_a_stream_is_told_as_it_goes(live: Live) -> None:
    live.write(b"all is well\nKV cache pool is full. Retract requests.\n")
    live.wait_for(b"warning[kv-pool-full]")
    assert live.process.poll() is None
    live.write(b"Received sigquit from a child process. It usually means the child failed.\n")
    live.wait_for(b"error[child-failed]")
    assert live.close() == 1
    assert live.text.count(b"warning[kv-pool-full]") == 1
    assert live.text.endswith(b"2 symptoms in 3 lines; begin with child-failed, kv-pool-full\n")


def test_what_is_last_counts_only_at_the_end_of_a_stream(live: Live) -> None:
    live.write(
        b"sglang is using nccl==2.28.9\nKV cache pool is full. Retract requests.\nsglang is using nccl==2.28.9\n"
    )
    live.wait_for(b"warning[kv-pool-full]")
    assert b"nccl-init-stuck" not in live.text
    assert live.close() == 1
    assert b"error[nccl-init-stuck]" in live.text


def test_ctrl_c_ends_a_stream_with_what_was_found(live: Live) -> None:
    live.write(b"KV cache pool is full. Retract requests.\n")
    live.wait_for(b"warning[kv-pool-full]")
    live.process.send_signal(signal.SIGINT)
    assert live.process.wait(20) == 0
    live._reader.join(20)
    assert live.text.endswith(b"begin with kv-pool-full\n")
    assert live.process.stderr is not None
    assert b"Traceback" not in live.process.stderr.read()


def test_two_streams_at_once(tmp_path: Path) -> None:
    """Neither stream is waited for before the other is read."""
    pipes = [tmp_path / "a", tmp_path / "b"]
    for pipe in pipes:
        os.mkfifo(pipe)
    process = subprocess.Popen([*COMMAND, *map(str, pipes)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with pipes[0].open("wb") as first, pipes[1].open("wb") as second:
        second.write(b"[x TP1] Load weight end. elapsed=1 s\n")
        second.flush()
        first.write(b"Scheduler watchdog timeout (self.watchdog_timeout=300, self.soft=False)\n")
        first.flush()
    out, err = process.communicate(timeout=30)
    assert not err
    assert b"error[rank-idle]" in out
    assert b"rank 1  " in out


def test_a_burst_is_told_in_causal_order() -> None:
    """What arrives without a pause is told as one, most causal first, as a file is."""
    data = MTP.read_bytes()
    done = run(stdin=data)
    assert done.stdout.index(b"error[mtp-triton-window]") < done.stdout.index(b"error[scheduler-exception]")
    assert done.stdout.count(b"error[mtp-triton-window]") == 1
