"""The symptom file itself: its schema, its rules, and that it agrees with the rest of the repository."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimo_gb10.defects import load_defects
from mimo_gb10.diagnose.symptoms import SYMPTOMS, load_symptoms
from mimo_gb10.diagnose.values import NAMES, filled, values_of
from mimo_gb10.findings import Refused
from mimo_gb10.paths import ROOT
from mimo_gb10.placeholders import names_used
from mimo_gb10.release import known_releases, load_release, version_key
from tests.diagnose.cases import diagnose, ids

KNOWN = load_symptoms()
DATA = yaml.safe_load(SYMPTOMS.read_text(encoding="utf-8"))
STEPS = [*(step for one in KNOWN.symptoms.values() for step in one.fix), *KNOWN.collect, *KNOWN.report]


def test_there_are_enough() -> None:
    assert len(KNOWN.symptoms) >= 30


def test_what_defects_say_of_logs_shows_their_symptom() -> None:
    """A log of a defect's lines shows each of its symptoms, and each line is one that such a symptom asks for."""
    for defect in load_defects().values():
        symptoms = [one for one in KNOWN.symptoms.values() if one.defect == defect.id]
        # A defect that shows in no log, only in answers, has no symptom here.
        assert bool(symptoms) == bool(defect.log), defect.id
        log = "".join(line + "\n" for line in defect.log).encode()
        assert {one.id for one in symptoms} <= set(ids(diagnose(log))), defect.id
    # The videos that are really broken say this too, so it proves nothing by itself.
    unproven = {"Video file is corrupted or cannot be decoded"}
    for defect in load_defects().values():
        names = frozenset().union(*(one.lines() for one in KNOWN.symptoms.values() if one.defect == defect.id))
        for line in set(defect.log) - unproven:
            assert any(re.search(KNOWN.lines[name].pattern, line) for name in names), f"{defect.id}: {line}"


def test_a_defect_brings_its_releases() -> None:
    assert (KNOWN.symptoms["mtp-triton-window"].first, KNOWN.symptoms["mtp-triton-window"].last) == ("0.5.11", "0.5.22")
    assert KNOWN.symptoms["audio-encoder-flash-attn"].last == "0.5.15.post1"
    assert KNOWN.symptoms["transcription-adapter"].last == known_releases()[-1]


def test_what_symptoms_say_of_pins_is_what_the_wheels_require() -> None:
    """Ranges of releases that come from a dependency, against the catalogs (aarch64)."""
    pins = {release: load_release(release).pins() for release in known_releases()}

    def known_in(symptom: str) -> list[str]:
        return [release for release in known_releases() if KNOWN.symptoms[symptom].is_known_in(release)]

    assert known_in("transformers-kernels") == [release for release in pins if pins[release]["kernels"] == "any"]
    assert not any("torchcodec" in packages for packages in pins.values())
    bad = KNOWN.lines["nccl-proxy-version"].pattern
    versions = {release: packages["nvidia-nccl-cu13"] for release, packages in pins.items()}
    with_bad = [release for release, version in versions.items() if re.search(bad, f"sglang is using nccl=={version}")]
    cause = KNOWN.symptoms["nccl-proxy-deadlock"].cause
    assert f"SGLang {with_bad[0]} to {with_bad[-1]} bring NCCL {versions[with_bad[0]]}" in " ".join(cause.split())
    for good in ("2.29.3", "2.29.7", "2.30.7"):
        assert not re.search(bad, f"sglang is using nccl=={good}")
    for found_bad in ("2.28.9", "2.29.2"):
        assert re.search(bad, f"sglang is using nccl=={found_bad}")


def test_releases_are_known_and_in_order() -> None:
    for one in KNOWN.symptoms.values():
        given = [release for release in (one.first, one.last) if release is not None]
        assert set(given) <= set(known_releases()), one.id
        assert given == sorted(given, key=version_key), one.id


def test_files_of_this_repository_that_are_cited_exist() -> None:
    for one in KNOWN.symptoms.values():
        for source in one.sources:
            if not source.at.startswith(("https://", "sglang/")):
                assert (ROOT / source.at).exists(), f"{one.id}: {source.at}"


def test_what_is_called_checked_can_be_looked_up_here() -> None:
    """A link is never *checked*: nothing of it was run here."""
    for one in KNOWN.symptoms.values():
        for source in one.sources:
            assert (source.sure == "checked") != source.at.startswith("https://"), f"{one.id}: {source.at}"


def test_commands_use_known_placeholders_only() -> None:
    for step in STEPS:
        assert set(names_used(re.sub(r"\{\{.*?\}\}", "", step.run))) <= set(NAMES), step.run


def test_commands_are_shell_and_name_scripts_and_recipes_that_exist() -> None:
    values = values_of("gb10x4-omni", "example-4x-gb10")
    for step in STEPS:
        words = shlex.split(filled(step.run, values))
        for word in words:
            if word.startswith("scripts/"):
                assert (ROOT / word).is_file(), step.run
            if word.startswith("gb10x4-"):
                assert (ROOT / "configs" / "recipes" / f"{word.removesuffix('-rank0')}.yaml").is_file(), step.run
        if "scripts/apply_patches.py" in words:
            assert set(words[2:]) <= set(load_defects()), step.run


def test_settings_that_a_fix_gives_are_accepted_by_the_generator() -> None:
    from mimo_gb10 import launch

    for step in STEPS:
        words = shlex.split(filled(step.run, values_of("gb10x4-omni", "example-4x-gb10")))
        if words[:2] != ["python", "scripts/gen_launch.py"]:
            continue
        overrides = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
        checked = launch.check(words[2], "example-4x-gb10", overrides)
        problems = [
            finding
            for finding in checked.findings
            if finding.severity.label == "error" and finding.code != "why-missing"
        ]
        assert not problems, (step.run, problems)


def test_a_filled_command_is_quoted() -> None:
    assert filled("ls {model_path}", {"model_path": "/models/it's $(here)"}) == "ls '/models/it'\"'\"'s $(here)'"
    assert filled("ls {model_path} {other}", {}) == "ls MODEL_PATH {other}"


def test_docker_format_braces_survive() -> None:
    commands = [step.run for step in STEPS if "--format" in step.run]
    assert any("'{{index .RepoDigests 0}}'" in filled(command, {}) for command in commands)


def test_values_of_a_recipe_and_a_rank() -> None:
    values = values_of("gb10x4-omni", "example-4x-gb10", 2)
    assert values["address"] == "192.168.100.12"
    assert values["head"] == "192.168.100.10"
    assert values["container"] == "gb10x4-omni-rank2"
    assert values["lower_mem_fraction"] == "0.75"
    assert values["rdma_devices"] == "rocep1s0f0,roceP2p1s0f0"


BROKEN: dict[str, tuple[str, Callable[[Any], None]]] = {
    "unknown key": ("key-unknown", lambda data: data["symptoms"][0].update(colour="red")),
    "no cause": ("key-missing", lambda data: data["symptoms"][0].pop("cause")),
    "unknown severity": ("value-invalid", lambda data: data["symptoms"][0].update(severity="bad")),
    "unknown line": ("line-unknown", lambda data: data["symptoms"][0].update(match="no-such-line")),
    "unknown symptom": ("symptom-unknown", lambda data: data["symptoms"][0].update(causes=["no-such-symptom"])),
    "twice": ("symptom-twice", lambda data: data["symptoms"].append(data["symptoms"][0])),
    "cause behind": ("causal-order", lambda data: data["symptoms"][-1].update(causes=[data["symptoms"][0]["id"]])),
    "unused line": ("line-unused", lambda data: data["lines"].update(spare={"pattern": "spare text", "from": "NCCL"})),
    "unknown defect": ("defect-unknown", lambda data: data["symptoms"][0].update(defect="no-such-defect")),
    "pattern": ("pattern", lambda data: data["lines"]["watchdog"].update(pattern="(?i)watchdog timeout")),
    "order of one": ("value-empty", lambda data: data["symptoms"][0].update(match={"order": ["watchdog"]})),
    "two words": ("value-invalid", lambda data: data["symptoms"][0].update(match={"last": "x", "all": ["x"]})),
    "no group": ("differ", lambda data: data["symptoms"][0].update(differ="watchdog")),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(name: str, tmp_path: Path) -> None:
    code, breaks = BROKEN[name]
    data = yaml.safe_load(SYMPTOMS.read_text(encoding="utf-8"))
    breaks(data)
    path = tmp_path / "symptoms.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000), encoding="utf-8")
    with pytest.raises(Refused) as refused:
        load_symptoms(path)
    assert code in {finding.code for finding in refused.value.findings}, refused.value.findings
    assert all(finding.location is not None and finding.location.line for finding in refused.value.findings)
