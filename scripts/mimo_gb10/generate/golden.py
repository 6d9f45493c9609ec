"""Snapshots of every recipe x target x rank on the cluster that it is shown on: a change of output shows as a diff."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mimo_gb10.commands.gen_launch import start_order_text
from mimo_gb10.defaults import SCRIPT_TARGETS, TARGETS
from mimo_gb10.files import Output
from mimo_gb10.findings import Finding
from mimo_gb10.launch import on_example
from mimo_gb10.paths import RECIPES, names_in
from mimo_gb10.report import Paint, findings_text
from mimo_gb10.targets import launch_files, preparations, refusals

FOLDER = "tests/golden"


def make() -> Mapping[str, Output]:
    """Scripts, start order, plan and findings of every recipe."""
    made: dict[str, Output] = {}
    for name in names_in(RECIPES):
        checked = on_example(name)
        plan = checked.plan()
        folder = f"{FOLDER}/{name}"
        made[f"{folder}/findings.txt"] = Output(_findings(checked.findings))
        made[f"{folder}/plan.json"] = Output(json.dumps(plan.as_dict(), indent=2) + "\n")
        for target in TARGETS:
            if refused := refusals(target, plan):
                made[f"{folder}/{target}/findings.txt"] = Output(_findings(tuple(refused)))
                continue
            if target in SCRIPT_TARGETS:
                order = start_order_text(plan, preparations(target, plan))
                made[f"{folder}/{target}/start-order.txt"] = Output(order)
            for file in launch_files(target, plan):
                if file.is_copy:
                    continue
                made[f"{folder}/{target}/{file.name}"] = Output(file.text, executable=file.executable)
    return made


def _findings(findings: tuple[Finding, ...]) -> str:
    return findings_text(findings, Paint(False))
