"""The small YAML reader takes nothing that the project's own reader refuses, and reads what it takes alike."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mimo_gb10.cluster import Cluster, load_cluster
from mimo_gb10.findings import Refused
from mimo_gb10.launch import on_example
from mimo_gb10.names import is_host
from mimo_gb10.paths import CLUSTERS, MODELS, RECIPES, ROOT, SCHEMAS
from mimo_gb10.preflight import load, plain_schema
from mimo_gb10.preflight.plain_yaml import parse_plain, plain_scalar
from mimo_gb10.preflight.wanted import Wanted
from mimo_gb10.text.document import parse_document, parse_scalar, read_document
from tests.preflight.support import RECIPE

CASES = ROOT / "tests" / "cases"
CLUSTER_FILES = sorted(
    [*CLUSTERS.glob("*.yaml"), *CASES.glob("valid/cluster-*.yaml"), *CASES.glob("invalid/cluster-*.yaml")]
)
ALL_FILES = sorted(
    path for path in [*CLUSTER_FILES, *RECIPES.glob("*.yaml"), *MODELS.glob("*.yaml"), *CASES.glob("*/*.yaml")]
)

# Written in YAML that the small reader does not know; it says so and how to write it.
BEYOND = {"cluster-aliases.yaml"}


def by_project(path: Path) -> Cluster | None:
    try:
        return load_cluster(read_document(path))
    except Refused:
        return None


def by_small_reader(path: Path) -> Wanted | None:
    try:
        return load.plain_wanted(str(path), None)
    except Refused as refused:
        findings = refused.findings
    assert findings
    assert all(found.location and found.help for found in findings)
    return None


@pytest.mark.parametrize("path", CLUSTER_FILES, ids=lambda path: path.name)
def test_every_cluster_file_is_read_alike(path: Path) -> None:
    project, small = by_project(path), by_small_reader(path)
    if path.name in BEYOND:
        assert project is not None
        assert small is None
    elif project is None or not all(is_host(node.address) for node in project.nodes):
        assert small is None
    else:
        assert small == load._cluster_part(project)


@pytest.mark.parametrize("path", ALL_FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_config_is_read_alike_or_refused(path: Path) -> None:
    data = path.read_bytes()
    try:
        small = parse_plain(data, "x.yaml")
    except Refused:
        return  # what a refusal says is tested below
    project = parse_document(data, "x.yaml")
    assert small.value == project.value
    assert repr(small.value) == repr(project.value)
    for where in places(project.value):
        assert small.location(where) == project.location(where) or small.location(where).line is not None


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in places(item, (*path, key)))]


@pytest.mark.parametrize("name", ["example-4x-gb10.yaml", "post-4x-gb10.yaml"])
def test_places_are_the_same(name: str) -> None:
    data = (CLUSTERS / name).read_bytes()
    small, project = parse_plain(data, name), parse_document(data, name)
    for where in places(project.value):
        if where:
            assert small.location(where) == project.location(where)


@pytest.mark.parametrize("recipe", [path.stem for path in sorted(RECIPES.glob("*.yaml"))])
def test_recipes_and_models_of_the_project_are_read_alike(recipe: str) -> None:
    cluster = on_example(recipe).plan().cluster
    full, _ = load._with_libraries(cluster, recipe)
    assert load.plain_wanted(cluster, recipe) == full


def test_most_valid_cases_are_within_the_subset() -> None:
    valid = [path for path in CLUSTER_FILES if by_project(path) is not None and path.parent.name != "invalid"]
    assert {path.name for path in valid if by_small_reader(path) is None} == BEYOND


# --- one of everything that is refused

REFUSED = {
    "anchor": ("a: &x 1\n", 1, 4),
    "alias": ("a: 1\nb: *x\n", 2, 4),
    "tag": ("a: !!str 1\n", 1, 4),
    "merge": ("<<: {a: 1}\n", 1, 1),
    "two documents": ("a: 1\n---\nb: 1\n", 2, 1),
    "directive": ("%YAML 1.2\n---\na: 1\n", 1, 1),
    "open bracket": ("a: [1,\n  2]\n", 1, 4),
    "open brace": ("a: {b: 1,\n  c: 2}\n", 1, 4),
    "open quote": ('a: "b\n  c"\n', 1, 4),
    "two lines": ("a: b\n  c\n", 2, 3),
    "below": ("a:\n  b\n", 2, 3),
    "tab": ("a:\n\tb: 1\n", 2, 1),
    "tab inside": ("a: b\tc\n", 1, 5),
    "explicit key": ("? a\n: b\n", 1, 1),
    "number key": ("1: a\n", 1, 1),
    "switch key": ("on: a\n", 1, 1),
    "null key": ("null: a\n", 1, 1),
    "twice": ("a: 1\na: 2\n", 2, 1),
    "twice in braces": ("a: {b: 1, b: 2}\n", 1, 11),
    "second colon": ("a: b: c\n", 1, 5),
    "behind a quote": ('a: "b" c\n', 1, 8),
    "behind a bracket": ("a: [b] c\n", 1, 8),
    "octal": ("a: 0755\n", 1, 4),
    "sexagesimal": ("a: 12:30\n", 1, 4),
    "exponent": ("a: 1e3\n", 1, 4),
    "underscore": ("a: 1_000\n", 1, 4),
    "switch": ("a: yes\n", 1, 4),
    "not finite": ("a: .inf\n", 1, 4),
    "uneven": ("a:\n    b: 1\n  c: 1\n", 3, 3),
    "escape": ('a: "\\q"\n', 1, 5),
    "surrogate": ('a: "\\ud800"\n', 1, 5),
    "list top": ("- a\n", 1, 1),
    "list in list": ("a:\n- - b\n", 2, 3),
    "uneven text": ("a: >-\n  b\n    c\n", 3, 1),
    "kept text": ("a: |+\n  b\n\n", 1, 1),
    "indented text": ("a: |2\n   b\n", 1, 4),
    "missing item": ("a: [b, , c]\n", 1, 8),
    "trailing comma": ("a: [b, ]\n", 1, 8),
    "no value": ("a: {b}\n", 1, 5),
    "control": ("a: b\x07\n", 1, 5),
    "line separator": ("a: b\u2028c\n", 1, 5),
    "carriage return": ("a: b\rc: d\n", 1, 5),
    "backquote": ("a: `b`\n", 1, 4),
    "deep": ("a: " + "[" * 30 + "]" * 30 + "\n", 1, 27),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_has_its_place_and_a_remedy(name: str) -> None:
    text, line, column = REFUSED[name]
    with pytest.raises(Refused) as caught:
        parse_plain(text.encode(), "c.yaml")
    found = caught.value.findings[0]
    assert found.location is not None
    assert (found.location.line, found.location.column) == (line, column)
    assert found.help


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"\xff\xfea\x00", b"a: " + b"x" * 5_000_000])
def test_what_is_no_config_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        parse_plain(data, "c.yaml")


TAKEN = [
    "a: 1\r\nb: [x, 'it''s', \"q\\n\\u00e9\"]\r\n",
    "\ufeffa: b # comment\n",
    "a: b#c\nc: 'd' # e\n",
    "a:\n- b\n- c: 1\n  d: {e: [], f: {}}\n-\n  g: 1\nh:\n",
    'a: {"b c": 1, d: fe80::1%eth0}\n"e f": ~\n',
    "a: >-\n  one\n  two\n\n  three\nb: |\n  x\n    y\n\nc: >\n  z\n",
    "a: -1\nb: +2\nc: 0.5\nd: -0\ne: 10.0.0.1\nf: 2026-11-24\ng: -x\nh: a-b\n",
    "a: https://example.org/x#y\nb: {c: https://example.org/}\n",
]


@pytest.mark.parametrize("text", TAKEN)
def test_what_is_taken_is_read_alike(text: str) -> None:
    assert parse_plain(text.encode(), "c.yaml").value == parse_document(text.encode(), "c.yaml").value


@given(st.text(alphabet="aefnoxyYNEIT0123456789.+-_:=~<>,# ", min_size=1, max_size=12))
@example("0o17")
@example("1:30")
@example("+.5")
@example("1_0.5")
@example("=")
@example("<<")
@example("0b1")
@example("-.inf")
@example("01.5")
@example("1.e5")
def test_scalars_are_read_alike_or_refused(text: str) -> None:
    try:
        small = plain_scalar(text)
    except ValueError:
        return
    project = parse_scalar(text)
    assert small == project
    assert type(small) is type(project)


PIECES = st.sampled_from(
    [
        *("a", "b", "name", "1", "1.5", "true", "yes", "~", "''", '""', "'x y'", '"\\n"', "x y", "10.0.0.1", "fe80::1"),
        *("- ", "-", ": ", ":", ":\n", ", ", ",", "[", "]", "{", "}", "#", " # c", ">-\n", "|\n", "&a ", "*a", "!t "),
        *(
            "\n",
            "\n",
            "\n  ",
            "\n    ",
            "\n- ",
            "\n  - ",
            " ",
            "  ",
            "?",
            "%",
            "---\n",
            "'",
            '"',
            "\t",
            "<<: ",
            "=",
            "\r\n",
        ),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
@example("a:\n- b\nc: 1\n")
@example("a: [b:c]\n")
@example("a: {b: c:d}\n")
@example("a: 'x'\n  \n")
@example("- a: 1\n")
def test_any_text_is_read_alike_or_refused(text: str) -> None:
    try:
        small = parse_plain(text.encode(), "c.yaml").value
    except Refused:
        return
    assert repr(small) == repr(parse_document(text.encode(), "c.yaml").value)


# --- schema and addresses


def test_the_schemas_use_no_keyword_that_is_unknown() -> None:
    for name in ("cluster", "recipe"):
        plain_schema.check_plain(parse_plain(b"a: 1\n", "c.yaml"), load._schema(name))
        assert (SCHEMAS / f"{name}.schema.json").is_file()


@pytest.mark.parametrize("path", CLUSTER_FILES, ids=lambda path: path.name)
def test_schema_findings_are_those_of_the_project(path: Path) -> None:
    from mimo_gb10.schema import check_schema

    try:
        small = parse_plain(path.read_bytes(), "c.yaml")
    except Refused:
        return
    project = check_schema(parse_document(path.read_bytes(), "c.yaml"), "cluster")
    found = plain_schema.check_plain(small, load._schema("cluster"))
    assert {(item.code, str(item.location)) for item in found} == {(item.code, str(item.location)) for item in project}


@given(st.ip_addresses(), st.sampled_from(["", "%enP2p1s0f0np0", "%2"]))
def test_every_ip_address_is_a_host(address: IPv4Address | IPv6Address, zone: str) -> None:
    assert is_host(f"{address}{zone}")


@pytest.mark.parametrize("name", ["spark-1", "spark-1.lan", "spark.lan.", "a" * 63, "1.2.3.x"])
def test_a_host_name_is_a_host(name: str) -> None:
    assert is_host(name)


@pytest.mark.parametrize(
    "text",
    ["", "-oProxyCommand=x", "a" * 64, "1.2.3", "300.1.1.1", "a_b", "a/b", "a b", "a..b", "a-", "1.2.3.4%", "[::1]"],
)
def test_anything_else_is_no_host(text: str) -> None:
    assert not is_host(text)


def test_no_address_can_be_an_option_of_ssh() -> None:
    assert not is_host("-oProxyCommand=reboot")


# --- without the libraries


def test_a_config_is_read_where_no_library_is(tmp_path: Path) -> None:
    """The whole command in a Python that finds nothing but itself and the checkout."""
    node = ROOT / "tests" / "preflight" / "nodes" / "healthy.json"
    script = ROOT / "scripts" / "preflight.py"
    arguments = ["--replay", str(node), "--recipe", RECIPE, "--json"]
    done = subprocess.run(
        [sys.executable, "-S", str(script), *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    with_libraries = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == with_libraries.returncode == 0, done.stderr
    assert "PyYAML and jsonschema are not installed" in done.stderr

    def untimed(text: str) -> str:
        return "\n".join(line for line in text.splitlines() if '"seconds"' not in line)

    assert untimed(done.stdout) == untimed(with_libraries.stdout)


def test_a_wrong_file_is_refused_alike_without_libraries(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "preflight.py"
    for case in ("cluster-unknown-keys.yaml", "cluster-addresses.yaml", "cluster-tab.yaml"):
        path = CASES / "invalid" / case
        done = subprocess.run(
            [sys.executable, "-S", str(script), str(path)], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 1
        assert "error[" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
