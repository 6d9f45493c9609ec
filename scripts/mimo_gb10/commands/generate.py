"""``generate.py``: write or check everything that is made from the configs and the wheels."""

from __future__ import annotations

import argparse
import sys
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.claims import load_claims, passages
from mimo_gb10.extract import catalog, patch_index
from mimo_gb10.extract import router as router_wheel
from mimo_gb10.extract.wheel import EnvironmentProblem, digest_of
from mimo_gb10.files import Output, write_files
from mimo_gb10.findings import Finding, Location, Refused, error, has_errors, worst_first
from mimo_gb10.generate import stale, write
from mimo_gb10.paths import PATCH_INDEX, RELEASES, ROOT, ROUTERS
from mimo_gb10.release import known_releases
from mimo_gb10.router import known_packages, load_catalog
from mimo_gb10.rules import ALL_RULES


def generate(options: argparse.Namespace, out: TextIO) -> int:
    """Remake or check the files made from the configs; returns the exit code."""
    try:
        if options.check:
            findings = [*stale(), *patch_index.changed_since()]
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


def generate_patches(options: argparse.Namespace, out: TextIO) -> int:
    """Make the index of the patches from the wheels, and write or compare it; returns the exit code."""
    try:
        made, findings = patch_index.build(patch_index.wheels(options.cache))
    except EnvironmentProblem as problem:
        cli.show(problem.findings, no_color=options.no_color)
        return cli.ENVIRONMENT
    except Refused as refused:
        cli.show(worst_first(refused.findings), no_color=options.no_color)
        return cli.ERRORS
    text = patch_index.as_text(made)
    fresh = PATCH_INDEX.is_file() and PATCH_INDEX.read_text(encoding="utf-8") == text
    shown = str(PATCH_INDEX.relative_to(ROOT))
    if not fresh and options.check:
        findings.append(
            error("patch-index", "the index differs from wheels and patches", patch_index.REMAKE, Location(shown))
        )
    elif not fresh and not has_errors(findings):
        write_files(PATCH_INDEX.parent, {PATCH_INDEX.name: Output(text)})
        out.write(f"wrote {shown}\n")
    cli.show(worst_first(findings), no_color=options.no_color)
    return cli.ERRORS if has_errors(findings) else cli.OK


def generate_router(options: argparse.Namespace, out: TextIO) -> int:
    """Extract what the router accepts from its wheels, and write or compare it; returns the exit code."""
    findings: list[Finding] = []
    for version in options.versions or known_packages():
        path = ROUTERS / f"{router_wheel.PACKAGE}-{version}.json"
        shown = Location(str(path.relative_to(ROOT)))
        try:
            wheel = router_wheel.fetch(version, cache=options.cache)
        except EnvironmentProblem as problem:
            cli.show(problem.findings, no_color=options.no_color)
            return cli.ENVIRONMENT
        # The parser's module is run, so only a wheel that was read before is run again.
        if version in known_packages() and digest_of(wheel) != load_catalog(version).sha256:
            remedy = "Find out why the published file changed; to accept it, delete the catalog."
            findings.append(error("wheel-checksum", f"{wheel.name} is not the wheel of the catalog", remedy, shown))
            continue
        text = router_wheel.as_text(router_wheel.make_catalog(wheel))
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if options.check:
            remedy = f"Run: python scripts/generate.py router {version}"
            findings.append(error("catalog-stale", "the catalog differs from the wheel", remedy, shown))
        else:
            write_files(path.parent, {path.name: Output(text)})
            out.write(f"wrote {path.relative_to(ROOT)}\n")
    cli.show(worst_first(findings), no_color=options.no_color)
    return cli.ERRORS if has_errors(findings) else cli.OK
