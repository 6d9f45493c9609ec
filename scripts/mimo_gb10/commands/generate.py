"""``generate.py``: write or check everything that is made from the configs and the wheels."""

from __future__ import annotations

import argparse
import sys
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.claims import load_claims, passages
from mimo_gb10.extract import catalog
from mimo_gb10.extract.wheel import EnvironmentProblem
from mimo_gb10.files import Output, write_files
from mimo_gb10.findings import Finding, Location, Refused, error, has_errors, worst_first
from mimo_gb10.generate import stale, write
from mimo_gb10.paths import RELEASES, ROOT
from mimo_gb10.release import known_releases
from mimo_gb10.rules import ALL_RULES


def generate(options: argparse.Namespace, out: TextIO) -> int:
    """Remake or check the files made from the configs; returns the exit code."""
    try:
        if options.check:
            findings = stale()
            cli.show(findings, no_color=options.no_color)
            return cli.ERRORS if findings else cli.OK
        for path in write():
            out.write(f"wrote {path}\n")
    except Refused as refused:
        cli.show(worst_first(refused.findings), no_color=options.no_color)
        return cli.ERRORS
    return cli.OK


def generate_releases(options: argparse.Namespace, out: TextIO) -> int:
    """Extract release catalogs from their wheels, and write or compare them; returns the exit code."""
    versions = options.versions or ([] if options.add else known_releases())
    wanted = {**{rule.code: rule.passages for rule in ALL_RULES}, **passages(load_claims()[1])}
    findings: list[Finding] = []
    for version in [*versions, *([options.add] if options.add else [])]:
        path = RELEASES / f"sglang-{version}.json"
        sys.stderr.write(f"sglang {version}: extracting\n")
        try:
            made = catalog.extract_release(version, options.cache, path, wanted)
        except EnvironmentProblem as problem:
            cli.show(problem.findings, no_color=options.no_color)
            return cli.ENVIRONMENT
        except Refused as refused:
            findings += refused.findings
            continue
        findings += made.findings
        text = made.as_json_text()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        shown = str(path.relative_to(ROOT))
        if options.check:
            remedy = f"Run: python scripts/generate.py releases {version}"
            findings.append(error("catalog-stale", "the catalog differs from the wheel", remedy, Location(shown)))
        elif not has_errors(made.findings):
            write_files(path.parent, {path.name: Output(text)})
            out.write(f"wrote {shown}\n")
    cli.show(worst_first(findings), no_color=options.no_color)
    return cli.ERRORS if has_errors(findings) else cli.OK
