from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mimo_gb10.extract import catalog
from mimo_gb10.extract.catalog import Catalog, build_from
from mimo_gb10.findings import Refused
from tests.extract.snippets import modules

SERVER_ARGS = """
    class ServerArgs:
        @staticmethod
        def add_cli_args(parser):
            parser.add_argument("--zeta", type=str, default='a "quoted", {odd} [value]\\n é')
            parser.add_argument("--alpha", type=int, default=1, choices=[1, 2])
            parser.add_argument("--beta", action="store_true")
"""
ENVIRON = """
    class EnvField:
        def __init__(self, default):
            self.default = default
    class EnvStr(EnvField): pass
    class Envs:
        SGLANG_B = EnvStr("b")
        SGLANG_A = EnvStr(None)
"""
FILES = {"sglang/srt/server_args.py": SERVER_ARGS, "sglang/srt/environ.py": ENVIRON}


def small(**changed: str) -> Catalog:
    files = dict(FILES)
    for name, text in changed.items():
        files[f"sglang/srt/{name}.py"] = text
    return build_from(modules(files), "9.9.9", "sglang-9.9.9.whl", "ab" * 32)


def test_the_text_is_json_with_everything_in_it() -> None:
    data = json.loads(small().as_json_text())
    assert data["release"] == "9.9.9"
    assert data["wheel"] == {"file": "sglang-9.9.9.whl", "sha256": "ab" * 32}
    assert [flag["options"] for flag in data["flags"]] == [["--alpha"], ["--beta"], ["--zeta"]]
    assert data["flags"][2]["default"] == 'a "quoted", {odd} [value]\n é'
    assert [variable["name"] for variable in data["environment"]] == ["SGLANG_A", "SGLANG_B"]
    assert small().findings == ()


def test_every_flag_has_the_same_keys() -> None:
    keys = {tuple(flag) for flag in json.loads(small().as_json_text())["flags"]}
    assert keys == {
        (
            "options", "dest", "action", "type", "nargs", "choices", "const", "default", "required", "deprecated",
            "replaced_by", "source",
        )
    }  # fmt: skip


def test_one_flag_is_one_line_and_its_source_the_next() -> None:
    lines = small().as_json_text().splitlines()
    facts = [index for index, line in enumerate(lines) if line.startswith(('  {"options"', '  {"name"'))]
    assert len(facts) == 5
    for index in facts:
        assert lines[index + 1].startswith('   "source": "')
        assert '"source"' not in lines[index]


def test_an_added_flag_is_an_added_line_and_a_moved_one_is_none() -> None:
    moved = "\n\n" + SERVER_ARGS + '            parser.add_argument("--gamma")\n'
    before, after = (
        [line for line in text.as_json_text().splitlines() if '"source":' not in line]
        for text in (small(), small(server_args=moved))
    )
    assert [line for line in before if line not in after] == []
    assert [line.split(",")[0] for line in after if line not in before] == ['  {"options": ["--gamma"]']


def test_the_text_does_not_depend_on_chance() -> None:
    assert small().as_json_text() == small().as_json_text()
    choices = SERVER_ARGS.replace("[1, 2]", '{"b", "a", "c"}').replace("type=int, default=1", "type=str")
    data = json.loads(small(server_args=choices).as_json_text())
    assert data["flags"][0]["choices"] == ["a", "b", "c"]


def test_what_cannot_be_computed_is_a_finding() -> None:
    found = small(server_args="\n    import torch" + SERVER_ARGS.replace("[1, 2]", "torch.choices()"))
    assert [finding.code for finding in found.findings] == ["flag-unresolved"]
    assert "--alpha" in found.findings[0].message


@pytest.mark.parametrize(
    "changed",
    [{"server_args": "X = 1"}, {"environ": "X = 1"}, {"server_args": "def broken(:"}, {"server_args": ""}],
)
def test_a_wheel_that_is_not_understood_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        small(**changed)
    assert caught.value.findings[0].code == "catalog-unreadable"


def test_the_committed_catalog_gives_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "sglang-9.9.9.json"
    assert catalog.committed_sha256(path) is None
    assert catalog.committed_sha256(None) is None
    path.write_text(replace(small(), sha256="cd" * 32).as_json_text(), encoding="utf-8")
    assert catalog.committed_sha256(path) == "cd" * 32


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json"])
def test_a_damaged_committed_catalog_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sglang-9.9.9.json"
    path.write_text(text)
    with pytest.raises(Refused) as caught:
        catalog.committed_sha256(path)
    assert caught.value.findings[0].code == "catalog-damaged"


@pytest.mark.parametrize("release", ["", "latest", "../0.5.23", "0.5.23 --index-url x", "-r"])
def test_only_a_version_is_asked_for(release: str) -> None:
    with pytest.raises(Refused) as caught:
        catalog.extract_release(release)
    assert caught.value.findings[0].code == "release-name"
