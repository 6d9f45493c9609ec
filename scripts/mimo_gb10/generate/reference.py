"""Reference pages: releases side by side, rules, config files, flags, and what each command says of itself."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from unittest import mock

from mimo_gb10.compare import thinking_text
from mimo_gb10.defects import PRESENT, load_verdicts
from mimo_gb10.files import Output
from mimo_gb10.generate import schema_pages
from mimo_gb10.generate.markdown import code, mark, table
from mimo_gb10.paths import ROOT
from mimo_gb10.release import Release, known_releases, load_release
from mimo_gb10.rules import ALL_RULES, Rule
from mimo_gb10.spans import runs, span

FOLDER = "docs/reference"

_PINS = ("torch", "nvidia-nccl-cu13", "triton", "transformers", "flashinfer_python", "sglang-kernel", "decord2", "av")
_PARSERS = ("mimo", "qwen3")


def make() -> Mapping[str, Output]:
    """The pages of the folder."""
    releases = [load_release(version) for version in known_releases()]
    return {
        f"{FOLDER}/releases.md": Output(_releases(releases)),
        f"{FOLDER}/rules.md": Output(_rules(releases)),
        f"{FOLDER}/commands.md": Output(_commands()),
        **{f"{FOLDER}/{file}": Output(make_page(releases)) for file, make_page in schema_pages.PAGES.items()},
    }


def _releases(releases: list[Release]) -> str:
    parts = [
        "# Releases\n",
        mark("configs/releases/"),
        "Every SGLang release that can serve MiMo-V2.5, read from its wheel (aarch64, Python 3.12) without running it. "
        "`python scripts/compare_releases.py` shows what changes between two of them.\n",
        "## What comes along\n",
        "What a release requires on GB10. NCCL and triton are what its pinned torch requires.\n",
        table(
            ["Release", "Date", *_PINS],
            [
                [release.version, str(release.facts["date"]), *(release.pins().get(name, "") for name in _PINS)]
                for release in releases
            ],
        ),
        "## What it accepts\n",
        table(
            ["Release", "Flags", "Deprecated flags", "Variables that the server reads"],
            [
                [
                    release.version,
                    str(len(release.flags)),
                    str(sum(flag.deprecated for flag in release.flags)),
                    str(sum(variable.reads for variable in release.environment.values())),
                ]
                for release in releases
            ],
        ),
        "## Reasoning parsers\n",
        "When the server expects reasoning, if the chat template gives no hint. From the release on that says so, "
        "a switch found in the template comes first, and both names then behave alike; a switch written with `{%-` is "
        "not found ([reasoning and tool parsers](../parsers.md)).\n",
        table(
            ["Release", *(code(name) for name in _PARSERS), "Template first"],
            [
                [release.version, *(_parser(release, name) for name in _PARSERS), _template(release)]
                for release in releases
            ],
        ),
        "## Defects\n",
        table(
            ["Defect", *(release.version for release in releases)],
            [
                [code(name), *("yes" if verdict.in_release(r.version) == PRESENT else "" for r in releases)]
                for name, verdict in load_verdicts().items()
            ],
        ),
    ]
    return "\n".join(parts)


def _parser(release: Release, name: str) -> str:
    entry = release.entry("reasoning_parsers", name)
    return f"{code(str(entry['class']))}: {thinking_text(entry)}" if entry else "none"


def _template(release: Release) -> str:
    return "yes" if release.facts["reasoning_rule"]["template_first"] else "no"


def _rules(releases: list[Release]) -> str:
    parts = [
        "# Rules\n",
        mark("scripts/mimo_gb10/rules/"),
        "What SGLang enforces only at start-up, or not at all. `gen_launch.py` and `check_command.py` check each "
        "of them before anything starts.\n",
    ]
    for rule in ALL_RULES:
        parts += [f"## {rule.code}\n", _doc(rule), f"Releases: {_range(rule)}.\n"]
        places = _places(rule, releases)
        if places:
            parts.append(
                "Upstream:\n\n" + "".join(f"- {versions}: {code(place)}\n" for place, versions in places.items())
            )
    return "\n".join(parts)


def _doc(rule: Rule) -> str:
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", (type(rule).__doc__ or "").strip())]
    return "".join(f"{paragraph}\n\n" for paragraph in paragraphs).rstrip("\n") + "\n"


def _range(rule: Rule) -> str:
    if rule.first is None and rule.last is None:
        return "all"
    return f"{rule.first or known_releases()[0]} to {rule.last or known_releases()[-1]}"


def _places(rule: Rule, releases: list[Release]) -> dict[str, str]:
    """Upstream places with the releases that have them, neighbours joined."""
    found = runs(
        (release.passages[rule.code], release.version) for release in releases if rule.code in release.passages
    )
    return {place: span(versions) for place, versions in found}


def _commands() -> str:
    parts = ["# Commands\n", mark("scripts/*.py --help")]
    for path in sorted((ROOT / "scripts").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"command_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # argparse wraps at the terminal's width; the page has its own. How it folds the usage differs between Pythons.
        with mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}):
            text = module.parser().format_help().partition("\n\n")[2]
        parts.append(f"## {path.name}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)
