"""``preflight.py``: what is wrong with the nodes, before anything is started."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import time
from typing import TextIO

from mimo_gb10 import cli
from mimo_gb10.files import Output, write_files
from mimo_gb10.findings import Location, Refused, error, has_errors
from mimo_gb10.preflight import bundle
from mimo_gb10.preflight.compare import compare
from mimo_gb10.preflight.load import has_libraries, load_wanted
from mimo_gb10.preflight.node import ALL_CHECKS, examine, machine_for, own_ranks
from mimo_gb10.preflight.remote import Asked, ask_all, recordings
from mimo_gb10.preflight.results import FAIL, WARN
from mimo_gb10.preflight.show import Progress, all_results, as_json, report_text
from mimo_gb10.preflight.wanted import Wanted
from mimo_gb10.report import Paint

_NODE_SECONDS = 60.0
_IMAGE_SECONDS = 180.0


def preflight(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command with parsed arguments, writing results to `out`; returns the exit code."""
    if options.list:
        width = max(len(check.id) for check in ALL_CHECKS)
        out.write("".join(f"{check.id.ljust(width)}  {check.about}\n" for check in ALL_CHECKS))
        return cli.OK
    try:
        return _preflight(options, out)
    except Refused as refused:
        cli.show(refused.findings, no_color=options.no_color)
        return cli.ENVIRONMENT if any(found.code == "ssh-missing" for found in refused.findings) else cli.ERRORS


def _preflight(options: argparse.Namespace, out: TextIO) -> int:
    wanted, findings = load_wanted(options.cluster, options.recipe, options.image)
    cli.show(findings, no_color=options.no_color)
    if options.strict and has_errors(findings, strict=True):
        return cli.ERRORS
    if options.recipe is not None and not has_libraries():
        sys.stderr.write("note: PyYAML and jsonschema are not installed here: the recipe's flags were not checked.\n")
    if options.image_checks:
        if wanted.recipe is None:
            remedy = "Name the recipe: it says which image, and which defects to look for."
            raise Refused(
                [error("recipe-missing", "--image-checks needs --recipe", remedy, Location("--image-checks"))]
            )
        wanted = dataclasses.replace(wanted, image_program=bundle.image_program(wanted.recipe))
    if options.program is not None:
        out.write(bundle.program(wanted, _rank(options.program, wanted, "--program"), record=False))
        return cli.OK
    asked = _ask_all(options, wanted) if options.all else [_ask_here(options, wanted)]
    between = compare(asked) if options.all else []
    if options.record is not None:
        write_files(options.record, {name: Output(text) for name, text in recordings(asked).items()})
    if options.json:
        cli.print_json(as_json(wanted, asked, between), out)
    else:
        paint = Paint.for_stream(out, no_color=options.no_color)
        out.write(report_text(wanted, asked, between, paint, brief=options.problems))
    bad = (FAIL, WARN) if options.strict else (FAIL,)
    return cli.ERRORS if any(result.status in bad for result in all_results(asked, between)) else cli.OK


def _rank(rank: int, wanted: Wanted, option: str) -> int:
    if rank >= len(wanted.nodes):
        last = len(wanted.nodes) - 1
        message = f"there is no node {rank}: the cluster has nodes 0 to {last}"
        raise Refused([error("node-unknown", message, "Count from 0, the head.", Location(option))])
    return rank


def _ask_here(options: argparse.Namespace, wanted: Wanted) -> Asked:
    try:
        machine = machine_for(options.replay, image_checks=options.image_checks)
    except (OSError, ValueError) as problem:
        raise Refused(
            [error("recording", f"the recording cannot be read: {problem}", "Check the path.", Location("--replay"))]
        ) from None
    if options.node is not None:
        rank = _rank(options.node, wanted, "--node")
    else:
        found = own_ranks(machine, wanted)
        if len(found) != 1:
            held = f"this machine has the addresses of nodes {found}" if found else "this machine has no node's address"
            remedy = "Say which node it is with --node N (0 is the head), or ask all over ssh with --all."
            raise Refused([error("node-unknown", held, remedy, Location(options.cluster))])
        rank = found[0]
    with Progress([wanted.nodes[rank].address]) as progress:
        sent = time.time()
        progress.told(0, "asked")
        try:
            report = examine(machine, wanted, rank, record=options.record is not None)
        except Exception as problem:
            message = f"reading this machine failed: {type(problem).__name__}: {problem}"
            raise Refused([error("reading", message, "Please report it, with the files of --record.")]) from None
    return Asked(rank, "this machine", report, None, sent, time.time())


def _ask_all(options: argparse.Namespace, wanted: Wanted) -> list[Asked]:
    hosts = options.hosts.split(",") if options.hosts else [node.address for node in wanted.nodes]
    if len(hosts) != len(wanted.nodes) or not all(hosts) or any(host.startswith("-") for host in hosts):
        message = f"--hosts names {len(hosts)} hosts, the cluster has {len(wanted.nodes)} nodes"
        remedy = "Write one name a node, in rank order, with commas between."
        raise Refused([error("hosts", message, remedy, Location("--hosts"))])
    here = own_ranks(machine_for(None, image_checks=False), wanted)
    if len(here) < len(hosts) and shutil.which("ssh") is None:
        raise Refused([error("ssh-missing", "there is no ssh on this machine", "Install openssh-client.")])
    default = _IMAGE_SECONDS if options.image_checks else _NODE_SECONDS
    seconds = options.timeout if options.timeout is not None else default
    with Progress([node.address for node in wanted.nodes]) as progress:
        return ask_all(wanted, hosts, here, seconds=seconds, record=options.record is not None, told=progress.told)
