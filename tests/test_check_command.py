"""The command checker: a corpus of launches as people write them, hostile text, and the command itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_gb10.command.arguments import read_arguments
from mimo_gb10.command.checks import check_launch, check_line_ends
from mimo_gb10.command.reader import Lines, find_launches
from mimo_gb10.command.to_recipe import amounts_to
from mimo_gb10.config_text import cluster_text, recipe_text
from mimo_gb10.findings import Finding, Severity, worst_first
from mimo_gb10.launch import check
from mimo_gb10.model import Model, load_model
from mimo_gb10.paths import MODELS, RECIPES, ROOT
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.text.document import read_document
from tests.support.argparse_of import parser_of
from tests.support.run import run_command

CASES = ROOT / "tests" / "cases" / "commands"
TABLE: dict[str, dict[str, Any]] = yaml.safe_load((CASES / "expected.yaml").read_text(encoding="utf-8"))
POST = ROOT / "tests" / "data" / "post-launch.txt"


def text_of(name: str) -> str:
    return (CASES / name).read_bytes().decode()


def model_of(name: str) -> Model | None:
    model = TABLE[name].get("model")
    return load_model(MODELS / f"{model}.yaml") if model else None


def findings_of(name: str) -> list[Finding]:
    text = text_of(name)
    lines = Lines(text, name)
    found = list(check_line_ends(text, lines))
    for launch in find_launches(text):
        found += check_launch(launch, load_release(TABLE[name]["release"]), model_of(name), lines).findings
    return [finding for finding in worst_first(found) if finding.severity >= Severity.WARNING]


def test_the_corpus_is_whole() -> None:
    assert sorted(TABLE) == sorted(path.name for path in CASES.iterdir() if path.name != "expected.yaml")
    assert len(TABLE) > 50
    assert sum(not entry["findings"] for entry in TABLE.values()) > 20, "as many commands are right as wrong"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_each_command_gets_exactly_its_findings(name: str) -> None:
    assert len(find_launches(text_of(name))) == TABLE[name]["launches"]
    found = findings_of(name)
    assert [
        {
            "at": f"{finding.location.line}:{finding.location.column}" if finding.location else None,
            "severity": finding.severity.label,
            "code": finding.code,
            "text": finding.message,
        }
        for finding in found
    ] == TABLE[name]["findings"]
    assert all(finding.help for finding in found)


@pytest.mark.parametrize(
    "name",
    ["qwen3-single.sh", "deepseek-two-nodes.md", "v25-card-histogram.sh", "crlf.sh", "mimo-tp8.sh", "api-key.sh"],
)
def test_through_the_command(name: str) -> None:
    entry = TABLE[name]
    model = ["--model", entry["model"]] if entry.get("model") else []
    done = run_command("check_command.py", str(CASES / name), "--release", entry["release"], *model)
    errors = [row for row in entry["findings"] if row["severity"] == "error"]
    assert done.returncode == (1 if errors else 0)
    for row in entry["findings"]:
        assert f"{CASES / name}:{row['at']}: {row['severity']}[{row['code']}]: {row['text']}" in done.stderr
    assert done.stdout.count(f"SGLang {entry['release']}: ") == entry["launches"]
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_release_comes_from_the_image_or_is_the_newest() -> None:
    assert "SGLang 0.5.17: " in run_command("check_command.py", str(CASES / "gpt-oss-docker.sh")).stdout
    newest = known_releases()[-1]
    assert f"SGLang {newest}: " in run_command("check_command.py", str(CASES / "qwen3-single.sh")).stdout


def test_json_and_standard_input() -> None:
    text = text_of("v25-card-histogram.sh")
    command = [sys.executable, str(ROOT / "scripts" / "check_command.py"), "--json"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (verdict,) = json.loads(done.stdout)
    assert (verdict["file"], verdict["line"], verdict["release"]) == ("<stdin>", 1, known_releases()[-1])
    assert {"flag-unknown", "flag-deprecated"} <= {found["code"] for found in verdict["findings"]}


def test_all_releases_is_a_table_of_verdicts() -> None:
    done = run_command("check_command.py", str(CASES / "v25-card-histogram.sh"), "--all-releases")
    rows = dict(re.findall(r"(?m)^  (\S+)\s+(ok|warning|error)\b", done.stdout))
    assert list(rows) == known_releases()
    assert rows["0.5.19"] == "warning"
    assert rows["0.5.20"] == "error"
    clean = run_command("check_command.py", str(CASES / "qwen3-single.sh"), "--all-releases")
    assert set(re.findall(r"(?m)^  \S+\s+(\w+)", clean.stdout)) == {"ok"}


# --- as a recipe


def values(release: str, arguments: list[str]) -> dict[str, Any]:
    return vars(parser_of(load_release(release)).parse_args(arguments))


@pytest.mark.parametrize(
    "name",
    ["llama-continued.sh", "deepseek-two-nodes.md", "several-ranks.sh", "numbers.sh", "json-value.sh",
     "equals-values.sh", "mimo-mtp-triton.sh", "mimo-tp2-now.sh", "gpt-oss-docker.sh", "abbreviated.sh"],
)  # fmt: skip
def test_a_command_becomes_a_recipe_with_the_same_values(name: str, tmp_path: Path) -> None:
    release = load_release(TABLE[name]["release"])
    text = text_of(name)
    launches = find_launches(text)
    lines = Lines(text, name)
    read = [read_arguments(launch.arguments, release, lines.location) for launch in launches]
    amounts = amounts_to(launches, [one.given for one in read], release, "mimo-v2.5", lines.location)
    recipe, cluster = tmp_path / "from-command.yaml", tmp_path / "from-command-cluster.yaml"
    recipe.write_text(recipe_text(amounts.recipe, amounts.notes), encoding="utf-8")
    cluster.write_text(cluster_text(amounts.cluster, amounts.notes), encoding="utf-8")
    checked = check(str(recipe), str(cluster))
    assert checked.context is not None, checked.findings
    from mimo_gb10.plan import make_plan

    plan = make_plan(checked.context)
    for rank, launch in enumerate(launches):
        posted = values(release.version, [word.text for word in launch.arguments])
        made = values(release.version, list(plan.ranks[rank].argv[3:]))
        # The cluster file asks for an absolute path, and says what the command leaves to the default.
        for free in ("model_path", "host", "port", "nnodes", "node_rank", "dist_init_addr"):
            if free not in posted or free == "model_path":
                made.pop(free, None)
                posted.pop(free, None)
        assert made == posted


@pytest.mark.parametrize("source", [POST, ROOT.parent / "shared" / "origin-post.md"], ids=["launch", "whole post"])
def test_the_posts_own_text_gives_its_recipe_back(source: Path) -> None:
    if not source.is_file():
        pytest.skip("the post's own text does not lie beside this checkout")
    text = source.read_text(encoding="utf-8")
    lines = Lines(text, "post")
    launches = find_launches(text)
    release = load_release("0.5.11")
    read = [read_arguments(launch.arguments, release, lines.location) for launch in launches]
    amounts = amounts_to(launches, [one.given for one in read], release, "mimo-v2.5", lines.location)
    wanted = read_document(RECIPES / "gb10x4-post.yaml").value
    assert amounts.recipe.flags == wanted["flags"]
    assert amounts.recipe.env == wanted["env"]
    assert amounts.recipe.nodes == wanted["nodes"]
    assert "the nodes' addresses" in amounts.holes


def test_as_recipe_writes_two_files_and_overwrites_none(tmp_path: Path) -> None:
    arguments = [str(POST), "--release", "0.5.11", "--as-recipe", str(tmp_path)]
    done = run_command("check_command.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from-command-cluster.yaml", "from-command.yaml"]
    assert "left open by the command" in done.stdout
    again = run_command("check_command.py", *arguments)
    assert (again.returncode, "error[file-exists]" in again.stderr) == (1, True)


# --- hostile input


def test_nothing_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    script = tmp_path / "launch.sh"
    script.write_text(
        f"export A=$(touch {trap})\n"
        f"python3 -m sglang.launch_server --model-path `touch {trap}` --tp-size $(touch {trap})\n"
    )
    run_command("check_command.py", str(script), "--all-releases", cwd=tmp_path)
    run_command("check_command.py", str(script), "--as-recipe", str(tmp_path / "out"), cwd=tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "launch-missing"),
        (b"echo hello\n", "launch-missing"),
        (b"You can run sglang serve as you like, it is fine.\n", "launch-missing"),
        (b"# python3 -m sglang.launch_server --model-path /m\n", "launch-missing"),
        (bytes(range(256)) * 10, "launch-missing"),
        (b"x" * (17 * 1024 * 1024), "file-too-large"),
    ],
    ids=["empty", "no launch", "prose", "comment", "binary", "too large"],
)
def test_input_without_a_launch(content: bytes, code: str, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(content)
    done = run_command("check_command.py", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error[{code}]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["/nope/launch.sh"], "file-unreadable"),
        ([str(CASES)], "file-unreadable"),
        ([str(POST), "--release", "0.5.1"], "release-unknown"),
        ([str(POST), "--model", "mimo"], "model-unknown"),
    ],
)
def test_mistakes_are_findings(arguments: list[str], code: str) -> None:
    done = run_command("check_command.py", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error[{code}]" in done.stderr


pieces = st.sampled_from(
    ["python3 -m sglang.launch_server ", "sglang serve ", "docker run img ", "bash -c '", "export ", "A=b ",
     "--tp-size ", "4 ", "--tp", "=", "\\\n", "\\ \n", "\n", "'", '"', "$(", ")", "`", "```\n", "# ", "<x>", "${Y}",
     "{z}", "&&", ";", "|", "\r\n", "\u201c", "\u2014", "\u00a0", "--json-model-override-args ", "{}", "\x00", "-1 "]
)  # fmt: skip
RELEASES = [load_release("0.5.11"), load_release("0.5.23")]


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces | st.text(max_size=6), max_size=30).map("".join))
def test_any_text_is_read_and_every_finding_lies_in_it(text: str) -> None:
    lines = Lines(text, "text")
    lengths = [len(line) for line in text.split("\n")]
    for launch in find_launches(text):
        for release in RELEASES:
            for finding in check_launch(launch, release, None, lines).findings:
                place = finding.location
                assert place is not None
                assert place.line is not None
                assert 1 <= place.line <= len(lengths)
                assert place.column is None or 1 <= place.column <= lengths[place.line - 1] + 1


MEGABYTE = 1_000_000
HOSTILE = [
    "$(", "\\", "`", "${", "<a", "{{", "\u201c", "'", '"', "a ", "-", "\u2014", " ", "```\n", "a=1\n", "x \\\n", "#\n",
    "sglang serve ", "sglang serve 'a\n", "bash -c 'sglang serve ", "python3 -m sglang.launch_server --tp 4 \\\n",
    "python3 -m sglang.launch_server --nope\n", "--a\n", "\\ \n", "\r\n",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
def test_a_megabyte_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    text = "python3 -m sglang.launch_server --model-path " + piece * (MEGABYTE // len(piece))
    find_launches(text)
    # A second here; quadratic time would be hours.
    assert time.process_time() - start < 20
