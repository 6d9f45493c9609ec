"""Recorded nodes get exactly the failures and warnings that the table says, and every check can fail."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml

from mimo_gb10.preflight import node as node_module
from mimo_gb10.preflight.checks import Check, Node, Outcome
from mimo_gb10.preflight.machine import MISSING, TIMED_OUT, NotAllowed, check_allowed
from mimo_gb10.preflight.node import ALL_CHECKS, examine
from mimo_gb10.preflight.recorded import Recorded, load_recording
from mimo_gb10.preflight.results import FAIL, OK, SKIPPED, WARN, Result
from mimo_gb10.preflight.wanted import Wanted, WantedRecipe, wanted_from
from tests.preflight.support import NODES, by_check, examined, rank_of, recorded, recording_names, wanted

TABLE: dict[str, list[dict[str, str]]] = yaml.safe_load((NODES / "expected.yaml").read_text(encoding="utf-8"))
IMAGE_ANSWERS = ["image-asked", "image-broken", "image-unknown", "image-unmended"]


def recipe(**changes: Any) -> Wanted:
    base = wanted()
    assert base.recipe is not None
    return dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, **changes))


def test_every_recording_is_in_the_table() -> None:
    assert sorted([*TABLE, *IMAGE_ANSWERS]) == recording_names()


@pytest.mark.parametrize("name", recording_names())
def test_no_recording_claims_to_be_one(name: str) -> None:
    about = load_recording(str(NODES / f"{name}.json"))["about"]
    assert about.startswith(
        "Written from documentation of what such files and commands look like, not recorded on GB10"
    )


@pytest.mark.parametrize("name", TABLE)
def test_recorded_node(name: str) -> None:
    results = examined(name).results
    found = [result for result in results if result.status in (FAIL, WARN)]
    assert [(result.status, result.check) for result in found] == [
        (status, row[status]) for row in TABLE[name] for status in (FAIL, WARN) if status in row
    ]
    for result, row in zip(found, TABLE[name], strict=True):
        assert result.text.startswith(row["text"])
        assert result.help.startswith(row["help"])
    assert [result.check for result in results] == [check.id for check in ALL_CHECKS]


def test_the_healthy_node_skips_only_what_needs_a_container() -> None:
    results = examined("healthy").results
    assert [result.check for result in results if result.status == SKIPPED] == ["patches"]


def test_without_a_recipe_only_what_it_adds_is_skipped() -> None:
    results = examined("healthy", wanted(recipe=None)).results
    assert {result.check for result in results if result.status == SKIPPED} == {
        *("image", "nccl", "patches", "container-name")
    }
    assert not [result for result in results if result.status in (FAIL, WARN)]


def cases_beyond_the_table() -> dict[str, Result]:
    """Failures and warnings that depend on cluster and recipe, or on the image's answer."""
    old_nccl, gid = recipe(nccl="2.28.9"), recipe(env={"NCCL_IB_GID_INDEX": "5"})
    other_host = dataclasses.replace(wanted(), serve_host="10.9.9.9")
    one_half = wanted("post-4x-gb10")
    return {
        "nccl": by_check(examined("healthy", old_nccl).results)["nccl"],
        "gid": by_check(examined("healthy", gid).results)["gid"],
        "serve-address": by_check(examined("healthy", other_host).results)["serve-address"],
        "other-half": by_check(examined("healthy", one_half).results)["other-half"],
        "patches": by_check(examined("image-unmended", image_checks=True).results)["patches"],
    }


def test_cases_beyond_the_table() -> None:
    found = cases_beyond_the_table()
    assert found["nccl"].status == FAIL
    assert "below 2.29.3 it can deadlock" in found["nccl"].text
    assert found["nccl"].source == "https://github.com/NVIDIA/nccl/issues/2353"
    assert found["gid"].status == FAIL
    assert "NCCL_IB_GID_INDEX=5" in found["gid"].text
    assert found["serve-address"].status == FAIL
    assert found["other-half"].status == WARN
    assert "rocep1s0f0" in found["other-half"].text
    assert found["patches"].status == FAIL


def test_every_check_fails_or_warns_somewhere_and_says_what_to_do() -> None:
    seen = [result for name in TABLE for result in examined(name).results] + list(cases_beyond_the_table().values())
    bad = [result for result in seen if result.status in (FAIL, WARN)]
    assert {result.check for result in bad} == {check.id for check in ALL_CHECKS}
    assert all(result.help and result.text for result in bad)
    assert all(not result.help for result in seen if result.status in (OK, SKIPPED))


def test_every_check_says_what_it_is() -> None:
    ids = [check.id for check in ALL_CHECKS]
    assert len(set(ids)) == len(ids)
    assert all(check.about.endswith((".", ":")) or len(check.about) > 20 for check in ALL_CHECKS)


def test_the_same_node_twice_gives_the_same_report() -> None:
    assert examined("pairing-crossed").results == examined("pairing-crossed").results


@pytest.mark.parametrize(
    ("version", "status"),
    [
        *(("2.28.9", FAIL), ("2.29.2", FAIL), ("2.29.3", OK), ("2.29.7", OK), ("2.30.7", OK), ("2.9.9", FAIL)),
        *(("3.0", OK), ("2.29", FAIL)),
    ],
)
def test_nccl_threshold(version: str, status: str) -> None:
    assert by_check(examined("healthy", recipe(nccl=version)).results)["nccl"].status == status


def test_nccl_is_not_guessed_where_the_recipe_names_a_library() -> None:
    found = by_check(examined("healthy", recipe(nccl="2.28.9", env={"LD_PRELOAD": "/opt/libnccl.so.2"})).results)
    assert found["nccl"].status == SKIPPED
    assert "--image-checks" in found["nccl"].text


def test_one_node_needs_no_nccl() -> None:
    assert by_check(examined("healthy", recipe(nccl="2.28.9", nodes=1)).results)["nccl"].status == SKIPPED


@pytest.mark.parametrize(
    ("name", "nccl", "patches"),
    [
        ("image-asked", OK, OK),
        ("image-unmended", FAIL, FAIL),
        ("image-unknown", OK, WARN),
        ("image-broken", OK, SKIPPED),
    ],
)
def test_what_the_image_answers(name: str, nccl: str, patches: str) -> None:
    found = by_check(examined(name, image_checks=True).results)
    assert (found["nccl"].status, found["patches"].status) == (nccl, patches)
    assert ("the image loads it" in found["nccl"].text) is (name in ("image-asked", "image-unmended"))


def test_wanted_survives_the_way_through_json() -> None:
    for what in (wanted(), wanted(recipe=None)):
        assert wanted_from(json.loads(json.dumps(what.as_dict()))) == what


def test_only_the_variables_that_matter_travel() -> None:
    found = wanted("example-4x-gb10", "gb10x4-post").recipe
    assert isinstance(found, WantedRecipe)
    assert not found.env


# --- whatever a node says


GARBAGE = [
    "",
    "garbage\n",
    "{}",
    "[]",
    "null",
    "[1]",
    '{"a": 1}',
    "[{}]",
    "\x00\xff",
    "1\n" * 5,
    '[{"ifname": 1, "addr_info": 5}]',
]


GARBAGE += ['[{"ifname": "lo", "addr_info": [{"local": 1, "prefixlen": "x"}]}]', "[" * 20_000]


@pytest.mark.parametrize("text", GARBAGE, ids=lambda text: repr(text[:20]))
def test_garbage_breaks_no_check(text: str) -> None:
    """Every file and every command of a node in turn says something else; the rest of the report stays."""
    data = load_recording(str(NODES / "healthy.json"))
    for part in ("files", "commands"):
        for name in data[part]:
            odd = {**data, part: {**data[part], name: text if part == "files" else {"out": text}}}
            report = examine(Recorded(odd), wanted(), 0)
            assert len(report.results) == len(ALL_CHECKS)
            assert not [result for result in report.results if "this check broke" in result.text], (
                name,
                report.results,
            )
            json.dumps(report.as_dict())


@pytest.mark.parametrize("error", ["EACCES", "EIO", "EINVAL"])
def test_files_that_cannot_be_read_break_no_check(error: str) -> None:
    data = load_recording(str(NODES / "healthy.json"))
    for name in data["files"]:
        odd = {**data, "files": {**data["files"], name: {"error": error}}}
        assert not [result for result in examine(Recorded(odd), wanted(), 0).results if "broke" in result.text]


def test_commands_that_fail_or_hang_break_no_check() -> None:
    data = load_recording(str(NODES / "healthy.json"))
    for name in data["commands"]:
        for code in (1, TIMED_OUT, MISSING):
            odd = {**data, "commands": {**data["commands"], name: {"code": code, "err": "it failed"}}}
            assert not [result for result in examine(Recorded(odd), wanted(), 0).results if "broke" in result.text]


def test_a_check_that_breaks_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(node: Node) -> Outcome:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr(node_module, "ALL_CHECKS", (Check("odd", breaks), *ALL_CHECKS))
    results = examined("healthy").results
    assert results[0].status == SKIPPED
    assert results[0].text == "this check broke: ZeroDivisionError: unforeseen"
    assert results[1:] == examined("healthy").results[1:]


# --- read-only


@pytest.mark.parametrize("name", recording_names())
def test_only_reading_commands_are_asked_for(name: str) -> None:
    """An independent list: whatever the code's own list says, nothing that these words start may change a node."""
    machine = recorded(name)
    examine(machine, wanted(), rank_of(name))
    for command in machine.commands:
        assert command[0] in ("nvidia-smi", "ip", "ping", "getent", "df", "timedatectl", "docker")
        words = set(command[1:])
        assert not words & {"set", "add", "del", "change", "replace", "flush", "rm", "run", "exec", "pull", "start"}
        assert not words & {"stop", "kill", "prune", "create", "load", "tag", "-r", "-pm", "-pl", "--gpu-reset"}
    assert len(machine.commands) > (3 if name == "bare" else 10)


@pytest.mark.parametrize(
    "command",
    [
        ["ip", "link", "set", "eth0", "mtu", "9000"],
        ["ip", "-json", "addr", "add", "10.0.0.1/24", "dev", "eth0"],
        ["ip", "-json", "route", "get", "-force"],
        ["docker", "run", "--rm", "image"],
        ["docker", "image", "inspect", "--format", "{{json .}}", "--", "image"],
        ["docker", "rm", "--force", "x"],
        ["nvidia-smi", "--gpu-reset"],
        ["sh", "-c", "true"],
        ["df", "-P", "-B1", "--", "relative"],
        ["getent", "ahosts", "--help"],
        ["getent", "ahosts", "host; reboot"],
        ["nvidia-smi", "--version-and-more"],
        ["ip", "-json", "addrlabel"],
        ["ip", "-json", "route", "get", "10.0.0.1", "fibmatch"],
        ["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "89720000", "10.0.0.1"],
        [],
    ],
)
def test_anything_else_is_refused(command: list[str]) -> None:
    with pytest.raises(NotAllowed):
        check_allowed(command)


def test_a_container_only_with_image_checks() -> None:
    command = ["docker", "run", "--rm", "--interactive", "--network=none", "--pull=never", "--entrypoint=python3"]
    command += ["--label=mimo-gb10=preflight", "lmsysorg/sglang:v0.5.23", "-"]
    with pytest.raises(NotAllowed):
        check_allowed(command)
    check_allowed(command, image_checks=True)
    with pytest.raises(NotAllowed):
        check_allowed([*command[:-2], "--privileged", "-"], image_checks=True)
