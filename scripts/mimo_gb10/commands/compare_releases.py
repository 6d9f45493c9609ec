"""``compare_releases.py``: what changes between two releases."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.compare import Change, compare, moved_recipe
from mimo_gb10.config_text import recipe_text
from mimo_gb10.context import Context
from mimo_gb10.files import create_file
from mimo_gb10.findings import Location, Refused, error
from mimo_gb10.launch import check
from mimo_gb10.release import Release, known_releases, load_release, refuse_unknown, version_key
from mimo_gb10.report import Paint, visible

TITLES = {
    "flag-gone": "Flags that are gone",
    "flag-deprecated": "Flags that are deprecated",
    "flag-default": "Defaults that changed",
    "flag-choices": "Choices that changed",
    "flag-new": "Flags that are new",
    "variable-gone": "Variables that are no longer read",
    "variable-new": "Variables that are read now",
    "parser": "Parsers that behave otherwise",
    "pin": "Libraries that come along (aarch64)",
    "defect-mended": "Defects that are mended",
    "defect-new": "Defects that are new",
    "rule-begins": "Rules that begin",
    "rule-ends": "Rules that end",
    "finding-new": "Findings that begin",
    "finding-gone": "Findings that end",
}


def compare_releases(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    try:
        return _compare_releases(options, out)
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        return cli.ERRORS


def _compare_releases(options: argparse.Namespace, out: TextIO) -> int:
    context: Context | None = None
    if options.recipe is not None:
        checked = check(options.recipe, options.cluster)
        if checked.context is None:
            raise Refused(checked.findings)
        context = checked.context
    elif options.write is not None:
        raise Refused([error("recipe-missing", "there is no recipe to write", "Name one.", Location("--write"))])
    known = known_releases()
    old = _release(options.old or (context.recipe.sglang if context else known[0]), "--from")
    new = _release(options.new or known[-1], "--to")
    if version_key(old.version) >= version_key(new.version):
        message = f"{new.version} is not later than {old.version}"
        raise Refused([error("release-order", message, "Give the older one to --from.", Location("--to"))])
    if context is not None and context.release.version != old.version:
        context = Context(replace(context.recipe, sglang=old.version), context.cluster, context.model, old)
    changes = compare(old, new, context)
    text = ""
    if context is not None:
        moved, notes = moved_recipe(context.recipe, old, new)
        text = recipe_text(moved, notes)
    if options.write is not None:
        create_file(options.write, text)
    if options.json:
        result = {
            "from": old.version,
            "to": new.version,
            "changes": [change.as_dict() for change in changes],
            "recipe": text or None,
        }
        cli.print_json(result, out)
        return cli.OK
    paint = Paint.for_stream(out, no_color=options.no_color)
    width = min(shutil.get_terminal_size().columns, 110) if out.isatty() else 110
    _print(changes, old, new, width, paint, out)
    if options.write is not None:
        out.write(f"\nwrote {options.write}\n")
    elif text:
        out.write(f"\n{paint('heading', f'The recipe for {new.version}')}\n\n{text}")
    return cli.OK


def _release(version: str, option: str) -> Release:
    refuse_unknown(version, option)
    return load_release(version)


def _print(changes: Sequence[Change], old: Release, new: Release, width: int, paint: Paint, out: TextIO) -> None:
    out.write(f"SGLang {old.version} to {new.version}: {len(changes)} changes\n")
    for kind, title in TITLES.items():
        rows = [change for change in changes if change.kind == kind]
        if not rows:
            continue
        out.write(f"\n{paint('heading', title)}\n")
        for change in rows:
            out.write(f"  {paint('bold', visible(change.name))}\n")
            for line in _details(change):
                out.write(textwrap.fill(line, width, initial_indent="    ", subsequent_indent="    ") + "\n")


def _details(change: Change) -> list[str]:
    lines = []
    if change.before and change.after:
        lines.append(f"{change.before} -> {change.after}")
    elif change.before or change.after:
        lines.append(change.before or change.after)
    lines += [text for text in (change.do, change.source) if text]
    return [visible(line) for line in lines]
