"""Every file under tests/cases/ gets exactly the findings that its table says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mimo_gb10 import rules
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.findings import Finding, Refused, Severity
from mimo_gb10.launch import Checked, check
from mimo_gb10.schema import load_schema
from mimo_gb10.text.document import read_document

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "scripts" / "mimo_gb10"
CASES = Path(__file__).parent / "cases"
VALID = CASES / "valid"
INVALID = CASES / "invalid"

# What only other commands use: wheels, sources and command lines are no configs. What a target refuses depends on the
# target, which no config names: tests/targets. A router stands before several clusters: tests/router.
OTHER_PARTS = (
    "claims.py", "evidence.py", "receipt.py", "command", "diagnose", "docs_check", "extract", "generate", "memory",
    "preflight", "rehearsal", "router.py", "smoke", "targets",
)  # fmt: skip


@dataclass(frozen=True)
class Expected:
    at: str | None
    code: str
    text: str
    severity: Severity


def load_table(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return table


INVALID_TABLE = load_table(INVALID / "expected.yaml")
VALID_TABLE = load_table(VALID / "expected.yaml")
COMMAND_TABLE = load_table(CASES / "commands.yaml")


def case_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.yaml") if path.name != "expected.yaml")


def partner_of(entry: Any) -> str | None:
    return entry.get("with") if isinstance(entry, dict) else None


def expectations(entry: Any) -> list[Expected]:
    rows = entry["findings"] if isinstance(entry, dict) else entry
    return [
        Expected(row["at"], row["code"], row["text"], Severity[row.get("severity", "error").upper()]) for row in rows
    ]


def check_case(path: Path, partner: str | None) -> Checked:
    other = str(VALID / partner) if partner else None
    if path.name.startswith("recipe-"):
        return check(str(path), other or DEFAULT_CLUSTER)
    return check(other or DEFAULT_RECIPE, str(path))


def own(findings: Sequence[Finding], path: Path, expected: Sequence[Expected]) -> list[Finding]:
    """All errors, and the file's own warnings where the case is about one."""
    about_warnings = any(row.severity is Severity.WARNING for row in expected)
    return [
        found
        for found in findings
        if found.severity is Severity.ERROR
        or (about_warnings and found.severity is Severity.WARNING and is_in(found, path))
    ]


def is_in(found: Finding, path: Path) -> bool:
    return found.location is not None and found.location.file == str(path)


def position(found: Finding) -> str | None:
    place = found.location
    if place is None or place.line is None:
        return None
    return f"{place.line}" if place.column is None else f"{place.line}:{place.column}"


@pytest.mark.parametrize("name", case_names(INVALID))
def test_an_invalid_file_gets_exactly_its_findings(name: str) -> None:
    path = INVALID / name
    expected = expectations(INVALID_TABLE[name])
    checked = check_case(path, partner_of(INVALID_TABLE[name]))
    found = own(checked.findings, path, expected)
    assert [(position(item), item.code, item.severity) for item in found] == [
        (row.at, row.code, row.severity) for row in expected
    ]
    for item, row in zip(found, expected, strict=True):
        assert row.text in f"{item.message}\n{item.help}"
        assert is_in(item, path)
        assert item.message.isprintable()


@pytest.mark.parametrize("name", case_names(INVALID))
def test_a_file_with_an_error_makes_no_plan(name: str) -> None:
    expected = expectations(INVALID_TABLE[name])
    checked = check_case(INVALID / name, partner_of(INVALID_TABLE[name]))
    assert checked.refused == any(row.severity is Severity.ERROR for row in expected)
    if checked.refused:
        with pytest.raises(Refused):
            checked.plan()


@pytest.mark.parametrize("name", case_names(VALID))
def test_a_valid_file_becomes_the_expected_command(name: str) -> None:
    entry: Mapping[str, Any] = VALID_TABLE[name]
    checked = check_case(VALID / name, entry.get("with"))
    assert [found for found in checked.findings if found.severity is Severity.ERROR] == []
    launch = checked.plan().ranks[entry.get("rank", 0)]
    wanted = entry.get("argv", [])
    assert any(list(launch.argv[start : start + len(wanted)]) == wanted for start in range(len(launch.argv)))
    for variable, value in entry.get("env", {}).items():
        assert launch.env.get(variable) == value


@pytest.mark.parametrize("name", case_names(VALID))
def test_a_valid_file_names_a_schema_that_is_there(name: str) -> None:
    kind = name.partition("-")[0]
    text = (VALID / name).read_text(encoding="utf-8-sig")
    match = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert match is not None
    assert (VALID / match[1]).resolve() == ROOT / "configs" / "schema" / f"{kind}.schema.json"


def test_tables_and_files_agree() -> None:
    assert sorted(INVALID_TABLE) == case_names(INVALID)
    assert sorted(VALID_TABLE) == case_names(VALID)


def test_case_files_are_small() -> None:
    assert [path.name for path in INVALID.iterdir() if path.suffix == ".yaml" and path.stat().st_size > 20_000] == [
        "expected.yaml"
    ]


# One of each kind of refusal, from the reader of bytes to the last rule.
THROUGH_THE_COMMAND = (
    "cluster-addresses.yaml",
    "cluster-alias-bomb.yaml",
    "cluster-empty.yaml",
    "cluster-port-negative.yaml",
    "cluster-unknown-keys.yaml",
    "recipe-attention-tp-dp.yaml",
    "recipe-cluster-flags.yaml",
    "recipe-duplicate-many.yaml",
    "recipe-latin-1.yaml",
    "recipe-not-finite.yaml",
    "recipe-tab.yaml",
    "recipe-wrong-types.yaml",
)


@pytest.mark.parametrize("name", THROUGH_THE_COMMAND)
def test_the_command_shows_the_same(name: str) -> None:
    path = INVALID / name
    where = [str(path)] if name.startswith("recipe-") else ["--cluster", str(path)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "gen_launch.py"), *where], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    heads = [line for line in done.stderr.splitlines() if ": error[" in line]
    expected = expectations(INVALID_TABLE[name])
    assert [line.partition("]")[0] for line in heads] == [
        f"{path}{':' if row.at else ''}{row.at or ''}: error[{row.code}" for row in expected
    ]


# --- what the cases cover

# The first is for a keyword that no schema uses yet; the second needs hundreds of mistakes (see test_bad_input.py). The
# others are about this repository's own files, which are as they should be (see test_patch_index.py, test_rules.py).
NOT_IN_A_TABLE = {"value-invalid", "too-many", "patch-index", "defect-unmended"}


def library_files() -> list[Path]:
    skipped = [LIBRARY / name for name in OTHER_PARTS]
    skipped += [path for path in (LIBRARY / "commands").glob("*.py") if path.name != "gen_launch.py"]
    return [
        path for path in sorted(LIBRARY.rglob("*.py")) if not any(path.is_relative_to(folder) for folder in skipped)
    ]


def emitted_codes(path: Path) -> Iterator[str]:
    """The first argument of every call of error() and warning(), as a regular expression."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from codes_in(tree, None)


def codes_in(node: ast.AST, own_code: str | None) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        own_code = class_code(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("error", "warning"):
        yield from code_of(node.args[0], own_code)
    for child in ast.iter_child_nodes(node):
        yield from codes_in(child, own_code)


def class_code(node: ast.ClassDef) -> str | None:
    for line in node.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and line.targets[0].id == "code":
            return str(ast.literal_eval(line.value))
    return None


def code_of(argument: ast.expr, own_code: str | None) -> Iterator[str]:
    shown = ast.unparse(argument)
    if isinstance(argument, ast.Constant):
        yield re.escape(str(argument.value))
    elif isinstance(argument, ast.JoinedStr):
        parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z]+" for part in argument.values]
        yield "".join(parts)
    elif shown == "self.code":
        assert own_code is not None
        yield re.escape(own_code)
    else:
        # A finding passed on under its own code, or a helper's parameter, whose callers name the code.
        assert shown in ("found.code", "code"), f"a code that this test cannot follow: {shown}"


def helper_codes(path: Path) -> Iterator[str]:
    """Codes that the YAML reader's helpers take as their second argument."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("self._stop", "self._report"):
            yield re.escape(str(ast.literal_eval(node.args[1])))


def covered_codes() -> set[str]:
    in_files = {row.code for entry in INVALID_TABLE.values() for row in expectations(entry)}
    return in_files | {code for entry in COMMAND_TABLE.values() for code in entry.get("codes", [])}


def test_every_code_has_a_case() -> None:
    patterns = {code for path in library_files() for code in emitted_codes(path)}
    patterns |= set(helper_codes(LIBRARY / "text" / "document.py"))
    assert len(patterns) > 50
    covered = covered_codes() | NOT_IN_A_TABLE
    assert [pattern for pattern in sorted(patterns) if not any(re.fullmatch(pattern, code) for code in covered)] == []


def test_no_case_names_a_code_that_is_not_there() -> None:
    patterns = {code for path in library_files() for code in emitted_codes(path)}
    patterns |= set(helper_codes(LIBRARY / "text" / "document.py"))
    assert [code for code in sorted(covered_codes()) if not any(re.fullmatch(each, code) for each in patterns)] == []


@pytest.mark.parametrize("rule", rules.ALL_RULES, ids=lambda rule: type(rule).__name__)
def test_every_rule_has_a_case(rule: rules.Rule) -> None:
    source = (LIBRARY / f"{type(rule).__module__.removeprefix('mimo_gb10.').replace('.', '/')}.py").read_text("utf-8")
    body = next(
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and node.name == type(rule).__name__
    )
    codes = set(codes_in(body, None))
    assert codes
    assert codes <= {re.escape(code) for code in covered_codes() | NOT_IN_A_TABLE}


def constraints(schema: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every keyword that can refuse a value, as if each reference were written out."""
    refusing = ("type", "pattern", "minimum", "maximum", "minItems", "minLength", "uniqueItems")
    for keyword, value in schema.items():
        here = (*path, keyword)
        if keyword in refusing or (keyword == "additionalProperties" and value is False):
            yield here
        elif keyword == "required":
            yield from ((*here, key) for key in value)
        elif keyword == "properties":
            for name, inner in value.items():
                yield from constraints(referred(inner), (*here, name))
        elif keyword in ("items", "additionalProperties", "propertyNames"):
            yield from constraints(value, here)


def referred(schema: Any) -> Any:
    if "$ref" not in schema:
        return schema
    return load_schema("cluster")["$defs"][schema["$ref"].removeprefix("#/$defs/")]


def broken_constraints(name: str) -> Iterator[tuple[str | int, ...]]:
    kind = name.partition("-")[0]
    try:
        document = read_document(INVALID / name)
    except Refused:
        return
    schema = load_schema(kind)
    for problem in jsonschema.Draft202012Validator(schema).iter_errors(document.value):
        path = tuple(step for step in problem.absolute_schema_path if step != "$ref")
        if problem.validator == "required":
            yield from ((*path, key) for key in problem.validator_value if key not in problem.instance)
        else:
            yield path


@pytest.mark.parametrize("kind", ["recipe", "cluster"])
def test_every_keyword_of_the_schema_has_a_case(kind: str) -> None:
    # YAML itself refuses a top that is no mapping, and a key that is no text.
    elsewhere = {("type",), ("properties", "flags", "propertyNames", "type")}
    elsewhere |= {("properties", "env", "propertyNames", "type")}
    broken = {path for name in INVALID_TABLE if name.startswith(kind) for path in broken_constraints(name)}
    assert sorted(set(constraints(load_schema(kind))) - broken - elsewhere, key=str) == []
