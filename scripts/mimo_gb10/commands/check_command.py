"""``check_command.py``: what is wrong with a launch command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.command.checks import Verdict, as_json, check_launch, check_line_ends
from mimo_gb10.command.reader import MAX_CHARACTERS, Launch, Lines, find_launches
from mimo_gb10.command.to_recipe import amounts_to, release_of_image
from mimo_gb10.config_text import cluster_text, recipe_text
from mimo_gb10.files import Output, write_files
from mimo_gb10.findings import Finding, Location, Refused, Severity, error, has_errors, worst_first
from mimo_gb10.model import Model, load_model
from mimo_gb10.paths import MODELS, names_in
from mimo_gb10.release import Release, known_releases, load_release
from mimo_gb10.report import Paint, summary
from mimo_gb10.text.suggest import did_you_mean


def check_command(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        return _check_command(options, out)
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        return cli.ERRORS


def _check_command(options: argparse.Namespace, out: TextIO) -> int:
    model = _model(options.model)
    name, text = _read(options.file)
    lines = Lines(text, name)
    launches = find_launches(text)
    if not launches:
        remedy = "A launch is 'python3 -m sglang.launch_server ...' or 'sglang serve ...'."
        raise Refused([error("launch-missing", "no SGLang launch was found", remedy, Location(name))])
    if options.all_releases:
        return _table(options, launches, model, lines, out)
    releases = [_release(options.release, launch) for launch in launches]
    verdicts = [check_launch(launch, release, model, lines) for launch, release in zip(launches, releases, strict=True)]
    findings = [*check_line_ends(text, lines), *(found for verdict in verdicts for found in verdict.findings)]
    if options.as_recipe is not None:
        _write_recipe(options.as_recipe, verdicts, releases[0], options.model or "mimo-v2.5", lines, out)
    if options.json:
        cli.print_json(as_json(verdicts, lines), out)
    else:
        cli.show(worst_first(findings), no_color=options.no_color)
        for verdict in verdicts:
            out.write(
                f"{lines.location(verdict.launch.start)}: SGLang {verdict.release}: {summary(verdict.findings)}\n"
            )
    return cli.ERRORS if has_errors(findings, strict=options.strict) else cli.OK


def _model(name: str | None) -> Model | None:
    if name is None:
        return None
    known = names_in(MODELS)
    if name not in known:
        remedy = did_you_mean(name, known, f"Known: {', '.join(known)}.")
        raise Refused([error("model-unknown", f"there is no model {name!r}", remedy, Location("--model"))])
    # The project's own files are validated by its tests; the validator alone takes half the time of a check.
    return load_model(MODELS / f"{name}.yaml", validate=False)


def _release(wanted: str | None, launch: Launch) -> Release:
    known = known_releases()
    if wanted is not None and wanted not in known:
        message = f"there is no catalog of SGLang {wanted}"
        raise Refused([error("release-unknown", message, f"Known: {', '.join(known)}.", Location("--release"))])
    from_image = release_of_image(launch.image)
    return load_release(wanted or (from_image if from_image in known else known[-1]))


def _read(file: str) -> tuple[str, str]:
    name = "<stdin>" if file == "-" else file
    place = Location(name)
    try:
        if file == "-":
            data = sys.stdin.buffer.read(4 * MAX_CHARACTERS + 1)
        else:
            with Path(file).open("rb") as stream:
                data = stream.read(4 * MAX_CHARACTERS + 1)
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        raise Refused(
            [error("file-unreadable", f"{name!r} cannot be read: {reason}", "Check the path.", place)]
        ) from None
    if len(data) > 4 * MAX_CHARACTERS:
        raise Refused(
            [error("file-too-large", "the input is larger than 16 MiB", "Give the part with the launch.", place)]
        )
    # A stray byte in a page is no reason to refuse the launch in it.
    return name, data.decode("utf-8-sig", errors="replace").replace("\0", "\ufffd")


def _table(
    options: argparse.Namespace, launches: Sequence[Launch], model: Model | None, lines: Lines, out: TextIO
) -> int:
    paint = Paint.for_stream(out, no_color=options.no_color)
    rows: list[Verdict] = []
    for launch in launches:
        for version in known_releases():
            rows.append(check_launch(launch, load_release(version), model, lines))
    if options.json:
        cli.print_json(as_json(rows, lines), out)
        return cli.OK
    shown: Launch | None = None
    for verdict in rows:
        if verdict.launch is not shown:
            out.write(("\n" if shown else "") + paint("heading", f"{lines.location(verdict.launch.start)}") + "\n")
            shown = verdict.launch
        worst = verdict.findings[0] if verdict.findings else None
        word = "ok" if worst is None or worst.severity is Severity.NOTE else worst.severity.label
        style = {"ok": "help"}.get(word, word)
        detail = f"  {_first(verdict.findings)}" if word != "ok" else ""
        out.write(f"  {verdict.release:<14}{paint(style, word)}{detail}\n")
    return cli.OK


def _first(findings: Sequence[Finding]) -> str:
    worst = findings[0]
    same = [found for found in findings if found.severity is worst.severity]
    more = f" (+{len(same) - 1})" if len(same) > 1 else ""
    return f"{worst.message}{more}"


def _write_recipe(
    folder: Path, verdicts: Sequence[Verdict], release: Release, model: str, lines: Lines, out: TextIO
) -> None:
    amounts = amounts_to(
        [verdict.launch for verdict in verdicts],
        [verdict.read.given for verdict in verdicts],
        release,
        model,
        lines.location,
    )
    names = (amounts.recipe.name, amounts.cluster.name)
    outputs = {
        f"{names[0]}.yaml": Output(recipe_text(amounts.recipe, amounts.notes)),
        f"{names[1]}.yaml": Output(cluster_text(amounts.cluster, amounts.notes)),
    }
    for file in outputs:
        if (folder / file).exists():
            raise Refused(
                [
                    error(
                        "file-exists",
                        f"{str(folder / file)!r} exists and is left as it is",
                        "Name another folder, or move the file away.",
                        Location(str(folder / file)),
                    )
                ]
            )
    write_files(folder, outputs)
    out.write(f"wrote {' and '.join(outputs)} to {folder}\n")
    if amounts.holes:
        out.write(f"left open by the command, fill in: {', '.join(amounts.holes)}\n")
