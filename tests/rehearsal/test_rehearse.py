"""The whole command, with real ranks, a real SGLang tree, and a stand-in for what SGLang serves."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rehearse as script
from mimo_gb10 import cli
from mimo_gb10.commands import rehearse as module
from mimo_gb10.evidence import contradictions
from mimo_gb10.paths import ROOT
from mimo_gb10.rehearsal.adapt import Local, encoders_as_on_hopper, on_one_machine
from mimo_gb10.rehearsal.checkpoint.make import Made
from mimo_gb10.rehearsal.machine import Gpu, Machine
from mimo_gb10.rehearsal.programme import read_programme
from mimo_gb10.rehearsal.variant import check_variant
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import read_document
from tests.rehearsal import make_receipts
from tests.rehearsal.ports import free_port
from tests.support.trees import copy_of, pristine

RELEASE = "0.5.11"

# In place of SGLang's own: rank 0 answers, the others wait, and `fate` says what becomes of a rank.
LAUNCH_SERVER = """
import json, os, pathlib, sys, time
words = sys.argv
after = lambda name: words[words.index(name) + 1]
rank, port = int(after("--node-rank")), int(after("--port"))
here = pathlib.Path(__file__).parent
fate = json.loads((here / "fate.json").read_text())
print("rank", rank, "sees GPU", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
import os
print(f"{sys.modules['sitecustomize'].__file__}: {os.environ.get('REHEARSAL_FAULT')}", flush=True)
if str(rank) in fate:
    print(fate[str(rank)], flush=True)
    sys.exit(1)
if rank:
    time.sleep(600)
from tests.rehearsal.stand_in import StandIn
StandIn(port=port).serve_forever()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = copy_of(RELEASE, tmp_path / "site")
    info = f"sglang-{RELEASE}.dist-info"
    shutil.copytree(pristine(RELEASE) / info, folder / info)
    # The package itself would import what only a GPU machine has.
    for name, text in (("launch_server", LAUNCH_SERVER), ("__init__", "")):
        file = folder / "sglang" / f"{name}.py"
        file.unlink()
        file.write_text(text)
    (folder / "sglang" / "fate.json").write_text("{}")
    return folder


def machine_of(tree: Path, gpus: int) -> Machine:
    gpu, packages = Gpu("A GPU", "9.0", 81559), {"torch": "2.11.0"}
    return Machine((gpu,) * gpus, "580.0", "13.0", "2.28.9", "6.1", "x86_64", "3.12.3", packages, tree / "sglang")


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    """Two GPUs, and a model that is written without PyTorch."""
    machine = machine_of(tree, 2)

    def make(folder: Path, tensor_parallel: int, seed: int, mtp_layers: int = 3) -> Made:
        folder.mkdir(parents=True, exist_ok=True)
        return Made(folder, tensor_parallel, seed, mtp_layers, 1, {"config.json": "0" * 64})

    monkeypatch.setattr(module, "read_machine", lambda env: machine)
    monkeypatch.setattr(module, "make_checkpoint", make)
    monkeypatch.setattr(module, "validate", lambda folder, ranks: [])
    monkeypatch.setattr(module, "_missing", list)
    monkeypatch.setattr(module, "_reference", lambda folder, context: None)
    # The ranks import the stand-in from the checkout.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "scripts")]))


def run(tmp_path: Path, tree: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    words = ["gb10x4-post", "--cluster", "post-4x-gb10", "--sglang-dir", str(tree), "--out", str(tmp_path / "out")]
    words += [
        "--port",
        str(free_port(1, 500)),
        "--timeout",
        "5",
        "--ready",
        "20",
        "--stress",
        "1",
        "--only",
        "greedy-finite",
    ]
    options = script.parser().parse_args([*words, *arguments])
    out = io.StringIO()
    code = module.rehearse(options, out)
    file = tmp_path / "out" / "receipt.json"
    return code, out.getvalue(), json.loads(file.read_text()) if file.exists() else {}


def check_receipt(tmp_path: Path) -> None:
    document = read_document(tmp_path / "out" / "receipt.json")
    assert check_schema(document, "rehearsal") == []
    assert contradictions(document.value) == []


def test_a_rehearsal(tmp_path: Path, tree: Path) -> None:
    code, text, receipt = run(tmp_path, tree, "--unpatched")
    assert code == cli.OK, text
    check_receipt(tmp_path)
    assert receipt["ended"] == "stopped by us"
    assert [check["name"] for check in receipt["checks"]] == ["greedy-finite"]
    assert receipt["variant"] == {"mtp": False, "patched": False}
    assert receipt["ranks"] == 2
    assert receipt["sglang"]["version"] == RELEASE
    assert "sglang/launch_server.py" in receipt["sglang"]["differs_from_wheel"]
    assert len(receipt["greedy"]["continuations"]) == 12
    assert (tmp_path / "out" / "rank1.log").read_text().startswith("rank 1 sees GPU 1")
    assert not (tmp_path / "out" / "model").exists()
    assert "receipt: " in text


def test_with_the_patches_of_the_recipe(tmp_path: Path, tree: Path) -> None:
    before = (tree / "sglang/srt/models/mimo_audio.py").read_bytes()
    code, text, receipt = run(tmp_path, tree, "--keep")
    assert code == cli.OK, text
    check_receipt(tmp_path)
    assert receipt["variant"]["patched"]
    assert "audio-encoder-flash-attn" in receipt["sglang"]["mended"]
    assert "sglang/srt/models/mimo_audio.py" in receipt["sglang"]["differs_from_wheel"]
    # The copy was patched, not what is installed.
    assert (tree / "sglang/srt/models/mimo_audio.py").read_bytes() == before
    assert (tmp_path / "out/sglang-patched/sglang/srt/models/mimo_audio.py").read_bytes() != before
    assert (tmp_path / "out" / "model").is_dir()


def test_what_was_seen_is_written_after_each_check(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is lost under way leaves a receipt that says so."""
    written: list[tuple[int, str]] = []
    real = module._write_receipt

    def note(data: dict[str, Any], *rest: Any) -> None:
        real(data, *rest)
        written.append((len(data["checks"]), data["ended"]))

    monkeypatch.setattr(module, "_write_receipt", note)
    run(tmp_path, tree, "--unpatched", "--only", "health,greedy-finite")
    assert written == [(1, "interrupted"), (2, "interrupted"), (2, "stopped by us")]


def test_a_rank_that_dies_at_its_start(tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = (ROOT / "tests/diagnose/logs/mtp-triton-window/match-0.5.11.log").read_text()
    (tree / "sglang" / "fate.json").write_text(json.dumps({"1": log}))
    code, text, receipt = run(tmp_path, tree, "--unpatched", "--mtp", "on")
    assert code == cli.ERRORS, text
    check_receipt(tmp_path)
    assert receipt["ended"] == "died at start"
    assert receipt["not_ready"].startswith("rank 1 ended with 1")
    assert receipt["variant"]["mtp"]
    assert "mtp-triton-window" in [one["id"] for one in receipt["symptoms"]]
    shown = capsys.readouterr().err
    assert "error[not-started]" in shown
    assert "diagnose.py" in shown


def test_greedy_text_is_compared_with_another_run(tmp_path: Path, tree: Path) -> None:
    _, _, receipt = run(tmp_path, tree, "--unpatched")
    changed = receipt["greedy"]["continuations"][3]
    base = tmp_path / "base.json"
    base.write_text(json.dumps(receipt))
    code, text, _ = run(tmp_path, tree, "--unpatched", "--base", str(base), "--only", "greedy-equals-base")
    assert code == cli.OK, text
    tokens = changed["tokens"].split()
    tokens[5] = str((int(tokens[5]) + 1) % 256)
    changed["tokens"] = " ".join(tokens)
    base.write_text(json.dumps(receipt))
    code, text, _ = run(tmp_path, tree, "--unpatched", "--base", str(base), "--only", "greedy-equals-base")
    assert code == cli.ERRORS, text


def test_text_of_another_model_is_not_compared(tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, receipt = run(tmp_path, tree, "--unpatched")
    receipt["model"]["sha256"] = "1" * 64
    base = tmp_path / "base.json"
    base.write_text(json.dumps(receipt))
    code, _, _ = run(tmp_path, tree, "--unpatched", "--base", str(base))
    assert code == cli.ERRORS
    assert "another tiny model" in capsys.readouterr().err


def test_encoders_that_attend_otherwise_are_told_from_wrong_ones(tmp_path: Path, tree: Path) -> None:
    _, _, receipt = run(tmp_path, tree, "--unpatched", "--only", "greedy-senses")
    mine, base = receipt["sglang"]["present"], tmp_path / "base.json"
    assert "vision-sinks-window" in mine
    for present, kinds in ((mine, ""), ([name for name in mine if name != "vision-sinks-window"], "image and video")):
        base.write_text(json.dumps(receipt | {"sglang": receipt["sglang"] | {"present": present}}))
        code, text, again = run(tmp_path, tree, "--unpatched", "--base", str(base), "--only", "greedy-senses")
        assert code == cli.OK, text
        (says,) = (check["says"] for check in again["checks"] if check["name"] == "greedy-senses")
        assert (f"attends otherwise ({kinds})" in says) == ("attends otherwise" in says) == bool(kinds)


def test_a_model_for_more_ranks_than_run(tmp_path: Path, tree: Path) -> None:
    code, text, receipt = run(tmp_path, tree, "--unpatched", "--model-ranks", "4")
    assert code == cli.OK, text
    assert (receipt["ranks"], receipt["model"]["tensor_parallel"]) == (2, 4)


def test_the_server_is_to_say_what_the_rehearsal_asked_for() -> None:
    """And not what the recipe says, where the two differ on purpose."""
    checked = check_variant("gb10x4-omni", "post-4x-gb10")
    assert checked.context is not None
    local = Local(2, "/model", 30000, "9.0")
    plan, changes = on_one_machine(checked.plan(), checked.context, local)
    plan, told = encoders_as_on_hopper(plan)
    stand = SimpleNamespace(context=checked.context, plan=plan, changes=(*changes, *told))
    flags = module._as_adapted(stand).flags  # type: ignore[arg-type]
    assert (flags["tensor-parallel-size"], flags["mm-attention-backend"]) == (2, "fa3")
    assert flags["reasoning-parser"] == checked.context.recipe.flags["reasoning-parser"]


def test_a_fault_reaches_the_ranks(tmp_path: Path, tree: Path) -> None:
    code, text, receipt = run(tmp_path, tree, "--unpatched", "--fault", "pin-memory", "--stand-in", "Something.")
    assert code == cli.OK, text
    assert receipt["stand_ins"][0] == "Something."
    assert "made to fail" in receipt["stand_ins"][1]
    assert "injected/sitecustomize.py: pin-memory" in (tmp_path / "out" / "rank1.log").read_text()


def test_as_many_ranks_as_the_model_splits_over(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_machine", lambda env: machine_of(tree, 3))
    _, _, receipt = run(tmp_path, tree, "--unpatched")
    assert receipt["ranks"] == 2


def test_without_a_gpu(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = Machine((), None, None, None, "6.1", "x86_64", "3.12.3", {}, None)
    monkeypatch.setattr(module, "read_machine", lambda env: none)
    code, text, receipt = run(tmp_path, tree)
    assert code == cli.OK
    assert receipt == {}
    assert "no GPU" in text
    assert "--dist-init-addr 127.0.0.1:" in text
    assert "--model-path: /models/mimo-v2.5 -> " in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--ranks", "4"], cli.USAGE, "this machine has 2 GPUs"),
        (["--model-ranks", "1"], cli.USAGE, "2 ranks load a tiny model that is made for 2, 4"),
        (["--ranks", "3"], cli.USAGE, "splits over 1, 2, 4 ranks"),
        (["--rank", "4"], cli.USAGE, "ranks 0 to 3"),
        (["--only", "greedy-finit"], cli.USAGE, "Did you mean 'greedy-finite'"),
        (["--sglang", "0.5.17"], cli.ERRORS, "SGLang 0.5.11 is installed, the recipe is for 0.5.17"),
        (["--sglang", "0.5.99"], cli.ERRORS, "0.5.99"),
        (["--base", "nowhere.json"], cli.ERRORS, "cannot be read"),
        (["--set", "flags.tensor-paralel-size=4"], cli.ERRORS, "Did you mean"),
    ],
)
def test_refused(
    tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    found, _, receipt = run(tmp_path, tree, *arguments)
    assert (found, receipt) == (code, {})
    assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("out/rank*.log"))


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed here")
def test_without_pytorch(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/rehearse.py", "--out", str(tmp_path / "out")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == cli.ENVIRONMENT
    assert "error[no-torch]" in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "out").exists()


DRIVER = """
import sys
sys.path[:0] = [{root!r}, {scripts!r}]
import pytest, rehearse as script
from mimo_gb10.commands import rehearse as module
from mimo_gb10 import cli
from tests.rehearsal import test_rehearse as tests
import pathlib
monkeypatch = pytest.MonkeyPatch()
tests._machine.__wrapped__(monkeypatch, pathlib.Path({tree!r}))
cli.run(lambda _: module.rehearse(script.parser().parse_args({words!r}), sys.stdout))
"""


CLUSTER = """
name: loopbacks
model_path: /models/mimo-v2.5
rendezvous: {port: 29500}
serve: {host: 127.0.0.1, port: PORT}
fabric: {socket_interface: lo, rdma_devices: [roceP2p1s0f0]}
nodes: [{address: 127.0.0.1}, {address: 127.0.0.2}, {address: 127.0.0.3}, {address: 127.0.0.4}]
"""


def test_on_its_nodes(tmp_path: Path, tree: Path) -> None:
    """A worker with the cluster's addresses, and the head, which ends it by ending."""
    cluster = tmp_path / "loopbacks.yaml"
    cluster.write_text(CLUSTER.replace("PORT", str(free_port())))
    words = ["gb10x4-post", "--cluster", str(cluster), "--sglang-dir", str(tree), "--unpatched", "--ready", "20"]
    words += ["--only", "greedy-finite"]
    worker_words = [*words, "--rank", "1", "--out", str(tmp_path / "worker")]
    code = DRIVER.format(root=str(ROOT), scripts=str(ROOT / "scripts"), tree=str(tree), words=worker_words)
    code = code.replace("cli.run", "module._HEAD_GONE = 1.0\ncli.run")
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        options = script.parser().parse_args([*words, "--rank", "0", "--out", str(tmp_path / "out"), "--timeout", "5"])
        out = io.StringIO()
        assert module.rehearse(options, out) == cli.OK, out.getvalue()
        said, _ = worker.communicate(timeout=30)
    finally:
        worker.kill()
    assert worker.returncode == cli.OK, said
    assert "the head is gone: stopping" in said
    receipt = json.loads((tmp_path / "out" / "receipt.json").read_text())
    assert receipt["hosts"] == receipt["ranks"] == 4
    assert {change["what"] for change in receipt["changes"]} >= {"--model-path"}
    assert "--dist-init-addr" not in {change["what"] for change in receipt["changes"]}
    assert not (tmp_path / "out" / "rank1.log").exists()
    assert "rank 1 sees GPU" not in (tmp_path / "out" / "rank0.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_it_is_interrupted(tmp_path: Path, tree: Path, number: int) -> None:
    out = tmp_path / "out"
    words = ["gb10x4-post", "--cluster", "post-4x-gb10", "--sglang-dir", str(tree), "--out", str(out)]
    words += ["--port", str(free_port(1, 500)), "--unpatched", "--only", "stress", "--stress", "60"]
    code = DRIVER.format(root=str(ROOT), scripts=str(ROOT / "scripts"), tree=str(tree), words=words)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        end = time.monotonic() + 30
        while not (out / "rank1.log").exists() or "ready after" not in (
            process.stdout.readline() if process.stdout else ""
        ):
            assert time.monotonic() < end
        process.send_signal(number)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    left = subprocess.run(["pgrep", "-f", f"{out}/model"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    shutil.rmtree(out)


def test_no_run_starts_with_half_a_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site, out = tmp_path / "site", tmp_path / "out"
    assert make_receipts.main(["--site", f"0.5.11={site}", "--out", str(out)]) == 1
    assert str(site) in capsys.readouterr().err
    assert not out.exists()


def test_a_wave_begins_when_the_one_before_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    running: list[subprocess.Popen[bytes]] = []

    def start(run: make_receipts.Run, *rest: object) -> subprocess.Popen[bytes]:
        seen.append((run.name, sum(process.poll() is None for process in running)))
        running.append(subprocess.Popen(["sleep", "0.2"]))
        return running[-1]

    monkeypatch.setattr(make_receipts, "start", start)
    monkeypatch.setattr(make_receipts, "incomplete", lambda site: None)
    monkeypatch.setattr(make_receipts, "PAUSE", 0.01)
    (tmp_path / "out").mkdir()
    words = ["--site", "0.5.17=x", "--out", str(tmp_path / "out")]
    assert make_receipts.main([*words, "--at-once", "3"]) == 0
    assert [name for name, _ in seen] == [run.name for wave in make_receipts.WAVES for run in wave if not run.needs_fa3]
    beside = dict(seen)
    assert max(beside.values()) == 2
    # Alone, and the first of a wave: with nothing beside them.
    assert [
        beside[name] for name in ("unpatched", "mtp-unpatched-eager-alone", "two-ranks-of-four", "hunt-mma-v2")
    ] == [0] * 4
    assert max(beside[f"hunt-{name}"] for name in make_receipts.HUNTS) == 1
    seen.clear()
    assert make_receipts.main([*words, "--seconds", "0"]) == 0
    assert not seen
    assert make_receipts.main([*words, "--fa3-site", "0.5.17=y", "--only", "0.5.17-senses-fa3"]) == 0
    assert [name for name, _ in seen] == ["senses-fa3"]


def test_a_run_that_is_alone_gets_a_gpu_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the one beside it lives longer than two that follow one another."""
    monkeypatch.setattr(make_receipts, "PAUSE", 0.01)
    held: dict[subprocess.Popen[bytes], int] = {}
    hunts = make_receipts.WAVES[-1]
    short = len(hunts) - 2
    seconds = iter(("0.1", "3", *["0.1"] * short))

    def begin(release: str, run: make_receipts.Run, own: Sequence[int]) -> subprocess.Popen[bytes]:
        (gpu,) = own
        assert gpu not in [of for process, of in held.items() if process.poll() is None]
        assert make_receipts.arguments_of(run, release, own=own)[3:5] == ["--gpus", str(gpu)]
        process = subprocess.Popen(["sleep", next(seconds)])
        held[process] = gpu
        return process

    make_receipts.play([("0.5.17", run) for run in hunts], begin, 5, 2, time.monotonic() + 60)
    assert list(held.values()) == [0, 1, *[0] * short]


def test_the_runs_that_receipts_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a command that rehearse.py takes, of a launch without errors."""
    names = set()
    for release in ("0.5.11", "0.5.17"):
        for one in (one for wave in make_receipts.WAVES for one in wave if one.only in ("", release)):
            more = make_receipts.arguments_of(one, release)
            words = [one.recipe_for(release), "--sglang", release, *more]
            options = script.parser().parse_args(words)
            read_programme(options.only, options.skip, options.base)
            checked = check_variant(
                options.recipe,
                options.cluster,
                options.overrides,
                sglang=options.sglang,
                mtp=options.mtp == "on" or None,
            )
            assert not checked.refused, checked.findings
            names.add(f"{release}-{one.name}")
    assert len(names) == sum(1 if one.only else 2 for wave in make_receipts.WAVES for one in wave)
    four = next(one for wave in make_receipts.WAVES for one in wave if one.name == "four-ranks")
    assert make_receipts.arguments_of(four, "0.5.11", gpus=2)[:2] == ["--gpus", "0,0,1,1"]
    assert make_receipts.arguments_of(four, "0.5.11", gpus=8)[:2] == ["--gpus", "0,1,2,3"]
    eager = next(one for wave in make_receipts.WAVES for one in wave if one.name == "mtp-unpatched-eager-alone")
    hunt = next(one for wave in make_receipts.WAVES for one in wave if one.name == "hunt-wgmma")
    assert [make_receipts.at_once([one], 5, 2) for one in (four, eager, hunt)] == [5, 1, 2]
    assert make_receipts.main(["--list", "--out", "x", "--site", "0.5.11=x", "--only", "0.5.11-patched"]) == 0
    assert capsys.readouterr().out.startswith("0.5.11-patched: --skip broken")
