"""``rehearse.py``: a recipe's launch with a tiny random model."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from mimo_gb10 import cli
from mimo_gb10.context import Context
from mimo_gb10.files import Output, write_files
from mimo_gb10.findings import Finding, Location, Refused, error, has_errors
from mimo_gb10.names import with_port
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.recipe import Recipe
from mimo_gb10.rehearsal import receipt as receipts
from mimo_gb10.rehearsal.adapt import (
    ENCODERS,
    Change,
    Local,
    audio_as_on_gb10,
    encoders_as_on_hopper,
    on_its_nodes,
    on_one_machine,
)
from mimo_gb10.rehearsal.checkpoint.make import make_checkpoint
from mimo_gb10.rehearsal.checkpoint.shape import SIZES
from mimo_gb10.rehearsal.checkpoint.validate import validate
from mimo_gb10.rehearsal.checks import greedy
from mimo_gb10.rehearsal.machine import Machine, read_machine
from mimo_gb10.rehearsal.nccl import topology
from mimo_gb10.rehearsal.programme import SMOKE_AREAS, Programme, attention_of, read_programme
from mimo_gb10.rehearsal.ranks import Ranks
from mimo_gb10.rehearsal.reference import Reference
from mimo_gb10.rehearsal.stage import Stage
from mimo_gb10.rehearsal.stand import Stand
from mimo_gb10.rehearsal.symptoms import symptoms_in
from mimo_gb10.rehearsal.tree import Tree, patched_copy, read_tree, wrong_release
from mimo_gb10.rehearsal.variant import check_variant
from mimo_gb10.report import Paint
from mimo_gb10.smoke import reports
from mimo_gb10.smoke.check import Check, Session
from mimo_gb10.smoke.client import Client, Failure, parse_url
from mimo_gb10.smoke.live import Live
from mimo_gb10.smoke.record import Recorder
from mimo_gb10.smoke.runner import Result

_HEAD_GONE = 30.0
"""Seconds without the head after which a worker's rank is stopped."""

_SEED = 7

_INJECTED = Path(__file__).resolve().parents[1] / "rehearsal" / "injected"
_FAULTS = {
    "pin-memory": "Pinning of large tensors was made to fail, as it does where unified memory is nearly full.",
    "pdl": "Programmatic dependent launch was switched off where SGLang asks for it.",
}


def rehearse(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing progress to `out`; returns the exit code."""
    try:
        with _ended_by_signals():
            return _rehearse(options, out)
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        codes = {finding.code for finding in refused.findings}
        if codes <= {"usage"}:
            return cli.USAGE
        return cli.ENVIRONMENT if codes <= {"no-torch", "no-sglang"} else cli.ERRORS


def _rehearse(options: argparse.Namespace, out: TextIO) -> int:
    say = sys.stderr if options.json else out
    checked = check_variant(options.recipe, options.cluster, options.overrides, sglang=options.sglang, mtp=options.mtp)
    if checked.context is None or has_errors(checked.findings):
        raise Refused(checked.findings)
    context = checked.context
    if not context.is_gb10:
        what = f"a rehearsal starts one rank a node, and these have {context.cluster.gpus_per_node} GPUs each"
        place = context.cluster.document.location(("gpus_per_node",))
        raise Refused([error("rehearse-gpus", what, "Rehearse a recipe for GB10, on any GPUs: gb10x4-omni.", place)])
    programme = read_programme(options.only, options.skip, options.base)
    folder = options.out.absolute()
    missing = _missing()
    if missing:
        remedy = f"Run it in the recipe's image, or: pip install {' '.join(missing)}"
        what = f"the tiny model is made with {', '.join(missing)}, which this Python lacks"
        raise Refused([error("no-torch", what, remedy)])
    env = _environment(options.sglang_dir)
    machine = read_machine(env)
    ranks = _ranks(options, context, machine)
    plan, changes = _adapted(options, context, checked.plan(), machine, ranks)
    split = _model_ranks(options, ranks)
    model = make_checkpoint(Path(plan.model_path), split, _SEED)
    problems = validate(model.folder, split)
    if problems:
        place = Location(str(model.folder))
        raise Refused(error("model", what, "Report it: the tiny model is this project's.", place) for what in problems)
    if programme.base_model not in (None, receipts.model_digest(model.files)):
        remedy = (
            "Compare with a rehearsal of as many ranks (or give --model-ranks), made by this version of the project."
        )
        raise Refused([error("base", "it is of another tiny model", remedy, Location(str(options.base)))])
    say.write(f"tiny model: {model.folder}, {model.bytes / 2**20:.0f} MiB, valid\n")
    if not machine.gpus:
        return _only_said(plan, changes, say)
    tree = _tree(options, context, machine, folder)
    if options.fa3_encoders:
        plan, told = encoders_as_on_hopper(plan)
    else:
        plan, told = audio_as_on_gb10(plan, machine.gpus[0].capability, tree.patched())
    where = plan.ranks[0]
    url = f"http://{with_port(where.address if options.rank is not None else '127.0.0.1', _port_of(where.argv))}"
    stand = Stand(
        context=context,
        plan=plan,
        changes=(*changes, *told),
        machine=machine,
        tree=tree,
        model=model,
        url=url,
        folder=folder,
        hosts=ranks if options.rank is not None else 1,
        overrides=tuple(options.overrides),
        stand_ins=(*options.stand_in, *(_FAULTS[name] for name in options.fault)),
    )
    if options.fault:
        env["REHEARSAL_FAULT"] = " ".join(options.fault)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_INJECTED), str(tree.path), env.get("PYTHONPATH", "")]))
    programme.reference = _reference(model.folder, context)
    programme.attention = attention_of(tree.present(), options.fa3_encoders)
    try:
        if options.rank:
            return _worker(stand, options.rank, env, say)
        return _head(stand, options, programme, env, out, say)
    finally:
        if not options.keep:
            shutil.rmtree(model.folder, ignore_errors=True)
            shutil.rmtree(folder / "sglang-patched", ignore_errors=True)


# --- what is settled first


def _missing() -> list[str]:
    """What the making of the tiny model lacks here."""
    return [name for name in ("torch", "safetensors", "tokenizers") if importlib.util.find_spec(name) is None]


def _ranks(options: argparse.Namespace, context: Context, machine: Machine) -> int:
    """How many ranks start: on its nodes all of the cluster, on one machine what is asked for, or one a GPU."""
    if options.rank is not None:
        return len(context.cluster.nodes)
    if options.ranks is not None:
        if options.ranks not in SIZES:
            raise _usage(f"--ranks {options.ranks}: the tiny model splits over {', '.join(map(str, SIZES))} ranks")
        return int(options.ranks)
    most = min(len(machine.gpus), context.recipe.nodes)
    return max((size for size in SIZES if size <= most), default=1)


def _model_ranks(options: argparse.Namespace, ranks: int) -> int:
    """For how many ranks the fused weights of the tiny model are laid out."""
    split: int = options.model_ranks or ranks
    if split not in SIZES or split % ranks:
        sizes = ", ".join(str(size) for size in SIZES if size % ranks == 0)
        raise _usage(f"--model-ranks {split}: {ranks} ranks load a tiny model that is made for {sizes}")
    return split


def _reference(folder: Path, context: Context) -> greedy.Reference:
    """The text model by its definition, with the roundings of the recipe's number formats."""
    made: list[Reference] = []

    def rows(prompt: Sequence[int], tokens: Sequence[int]) -> Sequence[Sequence[float]]:
        if not made:
            is_fp8 = "fp8" in str(context.value("kv-cache-dtype"))
            made.append(Reference(folder, activations="fp8", kv="fp8" if is_fp8 else "exact", rounding="bf16"))
        found = made[0].logprobs((*prompt, *tokens), [len(prompt)])
        return found[len(prompt) - 1 :].tolist()  # type: ignore[no-any-return]

    return rows


def _environment(sglang_dir: Path | None) -> dict[str, str]:
    env = dict(os.environ)
    if sglang_dir is not None:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(sglang_dir.absolute()), env.get("PYTHONPATH", "")]))
    # No model hub is asked for anything: the model is on this disk.
    return env | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def _adapted(
    options: argparse.Namespace, context: Context, plan: LaunchPlan, machine: Machine, ranks: int
) -> tuple[LaunchPlan, tuple[Change, ...]]:
    capability = machine.gpus[0].capability if machine.gpus else "12.1"
    checkpoint = str(options.out.absolute() / "model")
    if options.rank is not None:
        if options.rank >= len(plan.ranks):
            raise _usage(f"--rank {options.rank}: the cluster has ranks 0 to {len(plan.ranks) - 1}")
        return on_its_nodes(plan, context, checkpoint, capability)
    if options.gpus and len(options.gpus) != ranks:
        raise _usage(f"--gpus names {len(options.gpus)} GPUs, and there are {ranks} ranks")
    if machine.gpus and not options.gpus and ranks > len(machine.gpus):
        remedy = f"Name the GPU of each rank to share them, which is slow: --gpus {_shared(ranks, len(machine.gpus))}"
        what = f"--ranks {ranks}: this machine has {len(machine.gpus)} GPUs, and a rank gets one to itself"
        raise Refused([error("usage", what, remedy)])
    try:
        return on_one_machine(plan, context, Local(ranks, checkpoint, options.port, capability, options.gpus))
    except ValueError as problem:
        raise _usage(f"--ranks {ranks}: {problem}") from None


def _shared(ranks: int, gpus: int) -> str:
    return ",".join(str(rank * gpus // ranks) for rank in range(ranks))


def _tree(options: argparse.Namespace, context: Context, machine: Machine, folder: Path) -> Tree:
    """The SGLang to run: as it is, or a copy with the recipe's patches."""
    path = options.sglang_dir.absolute() if options.sglang_dir else machine.sglang and machine.sglang.parent
    if path is None or machine.sglang is None:
        remedy = "Run it in the recipe's image, or name site-packages: --sglang-dir DIR"
        raise Refused([error("no-sglang", "this Python has no SGLang", remedy)])
    tree = read_tree(path)
    wrong = wrong_release(tree, context.recipe.sglang)
    if wrong is not None:
        raise Refused([wrong])
    if options.unpatched:
        if tree.patched():
            what = f"--unpatched: {', '.join(tree.patched())} are mended in this SGLang"
            remedy = f"python scripts/apply_patches.py --revert --sglang-dir {path}"
            raise Refused([error("sglang-patched", what, remedy, Location(str(path)))])
        return tree
    lacking = tree.lacks(context.recipe.defects)
    return patched_copy(tree, folder / "sglang-patched", lacking) if lacking else tree


def _port_of(argv: Sequence[str]) -> int:
    return int(argv[argv.index("--port") + 1])


def _usage(message: str) -> Refused:
    return Refused([error("usage", message)])


def _only_said(plan: LaunchPlan, changes: Sequence[Change], say: TextIO) -> int:
    say.write("no GPU here: nothing was started. What would run, and how it differs from the recipe's launch:\n")
    for rank in plan.ranks:
        say.write(f"rank {rank.rank}: {' '.join(rank.argv)}\n")
    for change in changes:
        say.write(f"  {change.what}: {change.before or 'not set'} -> {change.after or 'not set'}. {change.why}\n")
    return cli.OK


# --- the run


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A signal that ends this process ends it as Ctrl-C does, so that no rank is left behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _worker(stand: Stand, rank: int, env: Mapping[str, str], say: TextIO) -> int:
    """Run one rank until it ends, or the head has come up and is gone."""
    launch = stand.plan.ranks[rank]
    head = Client(parse_url(stand.url), timeout=10)
    stand.folder.mkdir(parents=True, exist_ok=True)
    came_up, seen = False, time.monotonic()
    with Ranks([launch], stand.folder, env) as ranks:
        say.write(f"rank {rank} runs; its log: {ranks.logs[rank]}\n")
        while (dead := ranks.why_dead()) is None:
            with contextlib.suppress(Exception):
                head.get("/health")
                came_up, seen = True, time.monotonic()
            if came_up and time.monotonic() - seen > _HEAD_GONE:
                say.write("the head is gone: stopping\n")
                return cli.OK
            time.sleep(2)
        say.write(f"{dead}\n")
        return cli.OK if came_up else cli.ERRORS


def _head(
    stand: Stand,
    options: argparse.Namespace,
    programme: Programme,
    env: Mapping[str, str],
    out: TextIO,
    say: TextIO,
) -> int:
    mine = stand.plan.ranks[:1] if options.rank is not None else stand.plan.ranks
    paint, live = Paint.for_stream(say, no_color=options.no_color), Live(say)
    results: list[Result] = []
    facts: dict[str, Any] = {}
    held = greedy.Held()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with contextlib.ExitStack() as stack:
        recorder, client = None, Client(parse_url(stand.url), None, options.timeout)
        if options.record is not None:
            recorder = stack.enter_context(Recorder(options.record, about=_about(stand)))
            client = recorder.client(parse_url(stand.url), None, options.timeout)
        ranks = stack.enter_context(Ranks(mine, stand.folder, env))
        # Waiting is not recorded: a replay's server is there at once.
        waiting = Client(parse_url(stand.url), None, options.timeout)
        stage = Stage(ranks, waiting, options.ready, _teller(live, say))

        def show_started(check: Check) -> None:
            live.show(lambda seconds: reports.waiting_row(check, len(results) + 1, len(results) + 1, seconds))
            if recorder is not None:
                recorder.started(check)
                if check.area not in SMOKE_AREAS and not recorder.is_over:
                    # The load after the smoke test is thousands of requests, and nothing is replayed from it.
                    recorder.results(session, stage.answered)

        interrupted = False
        try:
            if stage.wait():
                live.clear()
                say.write(f"ready after {stage.starts[-1]:.0f} s\n")
                session = Session(client, recipe=_as_adapted(stand), trained=False, salt="rehearsal")
                for result in programme.play(stage, session, held, options.stress, show_started):
                    live.clear()
                    results.append(result)
                    say.write(reports.row(result, paint, evidence=False))
                    say.flush()
                    # Until the end comes: a machine that is lost leaves what was seen.
                    _write_receipt(receipts.make(stand, stage, results, facts, held, (), started), stand, True)
                    if result.check.area == "stress":
                        # Before broken uploads, after which the server may be another one.
                        facts = _facts(session)
                facts = facts or _facts(session)
                if recorder is not None and not recorder.is_over:
                    recorder.results(session, stage.answered)
        except KeyboardInterrupt:
            interrupted = True
        live.clear()
        # Before the ranks are stopped: what they say then is our doing.
        symptoms = symptoms_in(ranks.logs)
    data = receipts.make(stand, stage, results, facts, held, symptoms, started, topology(ranks.logs))
    _write_receipt(data, stand, interrupted)
    if options.json:
        cli.print_json(data, out)
    counted = reports.summary(results) or "nothing was checked"
    say.write(f"{data['ended']}; {counted}; receipt: {stand.folder / 'receipt.json'}\n")
    cli.show(_findings(data, results, stand), no_color=options.no_color)
    if interrupted:
        # What was seen until then is kept; the exit code is that of an interrupted command.
        raise KeyboardInterrupt
    return cli.ERRORS if data["ended"] != "stopped by us" or receipts.failed(results) else cli.OK


def _write_receipt(data: dict[str, Any], stand: Stand, interrupted: bool) -> None:
    if interrupted:
        data["ended"] = "interrupted"
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    write_files(stand.folder, {"receipt.json": Output(text)})


def _as_adapted(stand: Stand) -> Recipe:
    """The recipe that the server should say it runs: with as many ranks as there are, and its encoders as asked."""
    recipe = stand.context.recipe
    size = len(stand.plan.ranks)
    flag = stand.context.release.flag("tensor-parallel-size")
    spellings = {option.lstrip("-") for option in flag.options} if flag is not None else set()
    flags = {name: size if name in spellings else value for name, value in recipe.flags.items()}
    flags |= {
        ENCODERS.lstrip("-"): change.after for change in stand.changes if change.what == ENCODERS and change.after
    }
    return dataclasses.replace(recipe, flags=flags)


def _teller(live: Live, say: TextIO) -> Callable[[float, str], None]:
    """Shows how a start goes: in place on a terminal, a line a minute elsewhere."""
    last = [-60.0]

    def tell(passed: float, says: str) -> None:
        if live.enabled:
            live.show(lambda more: f"starting, {passed + more:.0f} s: {says}"[: shutil.get_terminal_size().columns - 1])
        elif passed - last[0] >= 60:
            say.write(f"starting, {passed:.0f} s: {says}\n")
            say.flush()
            last[0] = passed

    return tell


def _facts(session: Session) -> dict[str, Any]:
    """What the server says of itself at the end."""
    try:
        return dict(session.fresh_info())
    except Failure:
        return {}


def _about(stand: Stand) -> dict[str, Any]:
    return {
        "release": stand.tree.version,
        "recipe": stand.context.recipe.name,
        "patched": stand.is_patched,
        "model": "tiny, random weights",
        "gpus": [gpu.name for gpu in stand.machine.gpus],
        "ranks": len(stand.plan.ranks),
    }


def _findings(data: Mapping[str, Any], results: Sequence[Result], stand: Stand) -> list[Finding]:
    """What went wrong, worst first, with where to look."""
    found = []
    if not data["starts"]:
        logs = " ".join(str(log) for log in sorted(stand.folder.glob("rank*.log")))
        found.append(
            error("not-started", f"{data['ended']}: {data['not_ready']}", f"python scripts/diagnose.py {logs}")
        )
    found += [
        error("symptom", f"{one['id']} (rank {', '.join(map(str, one['ranks']))}): {one['line']}",
              f"docs/troubleshooting/index.md#{one['id']}")
        for one in data["symptoms"] if one["severity"] == "error"
    ]  # fmt: skip
    return [*found, *reports.findings(results, stand.url)]
