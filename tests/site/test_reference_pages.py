"""The reference pages of config files and flags, and the recipe pages."""

from __future__ import annotations

import json
import re

import pytest

from mimo_gb10.defaults import SCRIPT_TARGETS, TARGETS
from mimo_gb10.evidence import proofs
from mimo_gb10.flag_checks import CLUSTER_FLAGS
from mimo_gb10.generate import pages, reference, schema_pages
from mimo_gb10.launch import on_example, recipes
from mimo_gb10.paths import RECIPES, SCHEMAS, names_in
from mimo_gb10.paths import RELEASES as RELEASE_FILES
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.rules import ALL_RULES
from mimo_gb10.targets import launch_files, refusals

RELEASES = [load_release(version) for version in known_releases()]


def rows(text: str, title: str) -> dict[str, list[str]]:
    """The rows of the table under a heading, by the first name in the first cell."""
    part = re.split(r"^##+ ", text, flags=re.MULTILINE)
    (found,) = [section for section in part if section.startswith(f"{title}\n")]
    lines = [line for line in found.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {re.search(r"`([^`]+)`", row[0])[1]: row for row in cells}  # type: ignore[index]


@pytest.fixture(scope="module")
def flags() -> str:
    return schema_pages.flags(RELEASES)


def test_reference_holds_the_pages() -> None:
    made = reference.make()
    assert {f"{reference.FOLDER}/{name}" for name in ("configs.md", "flags.md")} <= set(made)
    assert made[f"{reference.FOLDER}/configs.md"].text == schema_pages.configs()


@pytest.mark.parametrize("name", schema_pages.SCHEMAS)
def test_every_key_of_a_schema_is_there(name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    found = rows(schema_pages.configs(), schema["title"])
    assert set(schema["properties"]) <= set(found)
    for key, inner in schema["properties"].items():
        assert found[key][0].startswith("**") == (key in schema["required"])
        if "pattern" in inner:
            assert found[key][3].replace("\\|", "|") == f"`{inner['pattern']}`"


def test_a_key_says_all_that_its_schema_says() -> None:
    found = rows(schema_pages.configs(), "Cluster")
    # Behind a reference, inside a list.
    assert found["nodes[].socket_interface"][3] == "`^[A-Za-z0-9_.@-]{1,15}$`"
    assert found["fabric.rdma_devices"][2:4] == [
        "array of string",
        "1 or more; no entry twice; each: `^[A-Za-z0-9_.-]{1,64}$`",
    ]
    assert found["gpus_per_node"][4] == "`1`"
    assert found["rendezvous.port"][3] == "at least 1; at most 65535"
    assert not found["nodes[].rdma_devices"][0].startswith("**")
    assert "null switches off" in rows(schema_pages.configs(), "Recipe")["env"][1]


def test_catalog_keys_are_those_of_the_catalogs() -> None:
    for title, table in (("Each of `flags`", "flags"), ("Each of `environment`", "environment")):
        known: set[str] = set()
        for path in sorted(RELEASE_FILES.glob("*.json")):
            known |= {key for entry in json.loads(path.read_text(encoding="utf-8"))[table] for key in entry}
        found = rows(schema_pages.configs(), title)
        assert set(found) <= known
        assert all(row[1] for row in found.values())


def test_every_flag_and_variable_of_a_recipe_is_shown(flags: str) -> None:
    used = rows(flags, "Flags of recipes, clusters and rules")
    spellings = {spelling: row for row in used.values() for spelling in re.findall(r"`--([a-z0-9-]+)`", row[0])}
    variables = rows(flags, "Environment variables") | rows(flags, "Variables that do nothing")
    for recipe in recipes():
        for name in recipe.flags:
            assert f"[{recipe.name}]" in spellings[name][4]
        assert set(recipe.env) <= set(variables)
    for name in CLUSTER_FLAGS:
        assert "the cluster file" in spellings[name][4]
    for rule in ALL_RULES:
        for name in rule.options:
            assert f"[{rule.code}](rules.md#{rule.code})" in spellings[name][4]


def test_families_are_whole(flags: str) -> None:
    shown = set(re.findall(r"`--([a-z0-9-]+)`", flags))
    for release in RELEASES:
        wanted = {flag.name for flag in release.flags if flag.name.startswith(("speculative-", "mm-"))}
        assert wanted <= shown


def test_releases_defaults_and_replacements(flags: str) -> None:
    other = rows(flags, "Other flags of speculation and media")
    used = rows(flags, "Flags of recipes, clusters and rules")
    gone = other["--keep-mm-feature-on-device"]
    assert gone[1] == "0.5.11 to 0.5.20"
    assert gone[3] == "0.5.16 to 0.5.20: use `--mm-feature-transport=cuda_ipc`"
    # Declared as 0.8 first and as a fallback later: the same to a user.
    assert used["--swa-full-tokens-ratio"][1:3] == ["all", "`0.8`"]
    # One flag with two spellings is one row, and what replaces a deprecated flag is there.
    assert "`--tensor-parallel-size`" in used["--tp-size"][0]
    assert "--cuda-graph-backend-prefill" in other


def test_variables(flags: str) -> None:
    found = rows(flags, "Environment variables")
    spec = found["SGLANG_ENABLE_SPEC_V2"]
    assert spec[1:4] == ["0.5.11 to 0.5.13.post1", "`true`", "0.5.14 to 0.5.20: removed, SGLang warns"]
    assert found["NCCL_IB_HCA"][1] == "not SGLang's"
    assert not set(found) & set(rows(flags, "Variables that do nothing"))


def test_links_of_the_pages_lead_somewhere(flags: str) -> None:
    codes = {rule.code for rule in ALL_RULES}
    assert set(re.findall(r"rules\.md#([\w-]+)", flags)) <= codes
    assert set(re.findall(r"recipes/([\w.-]+)\.md", flags)) <= set(names_in(RECIPES))


# --- recipes


@pytest.mark.parametrize("name", names_in(RECIPES))
def test_a_recipe_page_holds_its_file_and_every_command(name: str) -> None:
    text = pages.make()[f"{pages.FOLDER}/{name}.md"].text
    checked = on_example(name)
    plan = checked.plan()
    assert (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").rstrip("\n") in text
    tabs = dict(re.findall(r'^=== "([\w-]+)"\n\n((?:    .*\n|\n)+)', text, re.MULTILINE))
    assert list(tabs) == list(TARGETS)
    for target, tab in tabs.items():
        inside = "".join(line.removeprefix("    ") for line in tab.splitlines(keepends=True))
        refused = refusals(target, plan)
        for finding in refused:
            assert finding.message in inside
        for file in () if refused else launch_files(target, plan):
            # Of a script target every rank's, of the others the head's: its README says what to run where.
            if target in SCRIPT_TARGETS or (file.rank == 0 and not file.is_copy):
                assert f"```{file.language}\n{file.text}```\n" in inside, file.name
    assert checked.context is not None
    for proof in proofs(checked.context.recipe):
        assert f"(../rehearsals/{proof}.md)" in text
    for defect in plan.defects:
        assert f"(../patches/{defect}.md)" in text
    assert ("Start ranks 1 to 3 first, then rank 0." if len(plan.ranks) > 1 else "There is one rank.") in text
