"""``gen_launch.py``: print, write, check or explain a launch."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from mimo_gb10 import cli
from mimo_gb10.defaults import SCRIPT_TARGETS, TARGETS
from mimo_gb10.files import Output, write_files
from mimo_gb10.findings import Location, Refused, error
from mimo_gb10.launch import Checked, check, list_configs
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.report import Paint, summary
from mimo_gb10.targets import file_name, launch_files, preparations, refusals, renderer
from mimo_gb10.targets.files import README, LaunchFile


def gen_launch(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        return _gen_launch(options, out)
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        return cli.ERRORS


def _gen_launch(options: argparse.Namespace, out: TextIO) -> int:
    if options.list:
        return _list(options, out)
    if options.new_cluster is not None:
        return _new_cluster(options.new_cluster, out)
    checked = check(options.recipe, options.cluster, options.overrides, strict=options.strict)
    if checked.context is not None:
        _refuse_unknown_rank(len(checked.context.cluster.nodes), options.rank)
    if options.check:
        return _check(options, checked, out)
    cli.show(checked.findings, no_color=options.no_color)
    if checked.context is None or checked.refused:
        return cli.ERRORS
    plan = checked.plan()
    if options.explain:
        from mimo_gb10.explain import explain, explain_text

        choices = explain(checked.context, plan)
        if options.json:
            cli.print_json([choice.as_dict() for choice in choices], out)
        else:
            width = min(shutil.get_terminal_size().columns, 110) if out.isatty() else 110
            out.write(explain_text(choices, width, Paint.for_stream(out, no_color=options.no_color)))
        return cli.OK
    if refused := refusals(options.target, plan):
        raise Refused(refused)
    ranks = _chosen_ranks(plan, options.rank)
    if options.json:
        wanted = {rank.rank for rank in ranks}
        shown = plan.as_dict()
        shown["ranks"] = [entry for entry in shown["ranks"] if entry["rank"] in wanted]
        cli.print_json(shown, out)
    elif options.target not in SCRIPT_TARGETS:
        chosen = [file for file in launch_files(options.target, plan) if _is_chosen(file, options.rank)]
        _write_files(chosen, options.out, out) if options.out is not None else _print_files(chosen, out)
    elif options.out is not None:
        _write(plan, ranks, options.target, options.out, out)
    else:
        _print(plan, ranks, options, out)
    return cli.OK


def _chosen_ranks(plan: LaunchPlan, rank: int | None) -> Sequence[RankLaunch]:
    return plan.ranks if rank is None else [plan.ranks[rank]]


def _is_chosen(file: LaunchFile, rank: int | None) -> bool:
    return rank is None or file.rank in (None, rank)


def _print_files(files: Sequence[LaunchFile], out: TextIO) -> None:
    """What starts the ranks; scripts to prepare a node and the README are for a folder."""
    shown = [file for file in files if file.name != README and not file.executable]
    for position, file in enumerate(shown):
        name = f"# {file.name}\n" if len(shown) > 1 else ""
        out.write(("\n" if position else "") + name + file.text)


def _write_files(files: Sequence[LaunchFile], folder: Path, out: TextIO) -> None:
    write_files(folder, {file.name: Output(file.text, executable=file.executable) for file in files})
    out.write(f"wrote {', '.join(file.name for file in files)} to {folder}\n")
    out.write(f"what to run where: {folder / README}\n")


def _refuse_unknown_rank(count: int, rank: int | None) -> None:
    if rank is not None and not 0 <= rank < count:
        remedy = f"Ranks are 0 to {count - 1}." if count > 1 else "There is only rank 0."
        raise Refused([error("rank-unknown", f"there is no rank {rank}", remedy, Location("--rank"))])


def _print(plan: LaunchPlan, ranks: Sequence[RankLaunch], options: argparse.Namespace, out: TextIO) -> None:
    paint = Paint.for_stream(out, no_color=options.no_color)
    render = renderer(options.target)
    for position, rank in enumerate(ranks):
        if position:
            out.write("\n")
        text = render(plan, rank)
        if paint.enabled:
            comments = (line.startswith("#") for line in text.splitlines())
            text = "".join(
                f"{paint('dim', line) if is_comment else line}\n"
                for line, is_comment in zip(text.splitlines(), comments, strict=True)
            )
            out.write(paint("heading", f"rank {rank.rank} on {rank.address}") + "\n\n")
        out.write(text)
    if len(ranks) > 1 and out.isatty():
        out.write("\n" + paint("heading", "start order") + f": {_order(plan)}\n")


def _order(plan: LaunchPlan) -> str:
    last = len(plan.ranks) - 1
    if last < 1:
        return "rank 0"
    workers = "rank 1" if last == 1 else f"ranks 1 to {last}"
    return f"{workers} first, then rank 0 (the head), all within a few minutes"


def _write(plan: LaunchPlan, ranks: Sequence[RankLaunch], target: str, folder: Path, out: TextIO) -> None:
    render = renderer(target)
    outputs = {file_name(rank): Output(render(plan, rank), executable=True) for rank in ranks}
    prepared = preparations(target, plan)
    outputs |= {name: Output(text, executable=True) for name, text in prepared.items()}
    outputs["start-order.txt"] = Output(start_order_text(plan, prepared))
    write_files(folder, outputs)
    shown = file_name(ranks[0]) if len(ranks) == 1 else f"{file_name(ranks[0])} to {file_name(ranks[-1])}"
    shown = ", ".join([*prepared, shown])
    out.write(f"wrote {shown} and start-order.txt to {folder}\n")
    out.write("".join(f"first, once on every node: {name}\n" for name in prepared))
    out.write(f"start order: {_order(plan)}\n")


def start_order_text(plan: LaunchPlan, prepared: Iterable[str] = ()) -> str:
    """The content of ``start-order.txt``: which script on which node, in which order.

    Args:
        plan: The launch.
        prepared: Names of the scripts to run on every node before the first launch.
    """
    lines = [
        f"Start {plan.recipe} on {plan.cluster} in this order; start the head within a few minutes of the workers.",
        "",
        *(f"Before the first start, once on every node: ./{name}\n" for name in prepared),
    ]
    for position, rank in enumerate(plan.start_order, 1):
        launch = plan.ranks[rank]
        lines.append(f"{position}. on {launch.address}: ./{file_name(launch)}{'' if rank else '   (the head)'}")
    return "\n".join(lines) + "\n"


def _check(options: argparse.Namespace, checked: Checked, out: TextIO) -> int:
    if options.json:
        cli.print_json([finding.as_dict() for finding in checked.findings], out)
    else:
        cli.show(checked.findings, no_color=options.no_color)
        if not checked.refused:
            out.write(f"{options.recipe} on {options.cluster}: {summary(checked.findings)}\n")
    return cli.ERRORS if checked.refused else cli.OK


def _list(options: argparse.Namespace, out: TextIO) -> int:
    lists: dict[str, Any] = {
        **list_configs(),
        "targets": [{"name": name, "what": what} for name, what in TARGETS.items()],
    }
    if options.json:
        cli.print_json(lists, out)
        return cli.OK
    paint = Paint.for_stream(out, no_color=options.no_color)
    for position, (title, rows) in enumerate(lists.items()):
        out.write(("\n" if position else "") + paint("heading", title) + "\n")
        widths = [max(len(row[key]) for row in rows) for key in rows[0]]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row.values(), widths, strict=True)]
            out.write("  " + "  ".join(cells).rstrip() + "\n")
    return cli.OK


def _new_cluster(path: Path, out: TextIO) -> int:
    from mimo_gb10.new_cluster import new_cluster

    new_cluster(path)
    out.write(f"wrote {path}: fill it in, then run: python scripts/gen_launch.py --cluster {path}\n")
    return cli.OK
