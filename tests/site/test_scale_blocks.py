"""The page on more nodes: what it says of each split is what the commands say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.generate.blocks import memory, scale
from mimo_gb10.launch import check
from mimo_gb10.paths import DOCS, ROOT
from mimo_gb10.plan import COMMAND
from mimo_gb10.release import known_releases
from tests.support.run import run_command

PAGE = (DOCS / "scale.md").read_text(encoding="utf-8")
OLD, NEW = known_releases()[0], known_releases()[-1]


def rows(block: str) -> list[list[str]]:
    lines = [line for line in scale.BLOCKS[block]().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("name", scale.SPLITS)
@pytest.mark.parametrize("release", [OLD, NEW])
def test_the_command_says_what_the_page_says(tmp_path: Path, name: str, release: str) -> None:
    nodes, before, now = scale.SPLITS[name]
    split = before if release == OLD else now
    file = tmp_path / "launch.sh"
    file.write_text(
        f"{' '.join(COMMAND)} --model-path /m --trust-remote-code --nnodes {nodes} --node-rank 0 --dist-init-addr "
        f"10.0.0.1:29500 {split} --mm-attention-backend triton_attn --swa-full-tokens-ratio 0.3\n",
        encoding="utf-8",
    )
    done = run_command("check_command.py", str(file), "--release", release, "--model", "mimo-v2.5", "--json")
    said = [
        (found["severity"], found["code"])
        for launch in json.loads(done.stdout)
        for found in launch["findings"]
        if found["severity"] == "error" or found["code"] == "audio-dp-attention"
    ]
    cell = next(row for row in rows("scale-splits") if row[0] == name)[3 if release == OLD else 4]
    assert re.findall(r"(error|warning) \[`([a-z-]+)`\]", cell) == said
    assert (cell == "no error") == (said == [])


def test_attention_takes_four_ranks_and_never_more() -> None:
    for release in known_releases():
        sizes = scale.attention_sizes(release)
        assert max(sizes) == 4
    assert scale.attention_sizes("0.5.16") == (4,)
    assert scale.attention_sizes("0.5.17") == (1, 2, 4)
    assert "Attention stays at four ranks" in PAGE


def test_capacity_is_the_recipes_times_the_groups() -> None:
    context = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).context
    assert context is not None
    one, two, many = rows("scale-capacity")
    assert [row[:3] for row in (one, two, many)] == [["4", "1", "24"], ["8", "2", "48"], ["64", "16", "384"]]
    made = memory.report()
    low = min(made.tight.pools.full, made.roomy.pools.full)
    assert f"{low / 1e6:.1f} to" in one[3]


def test_the_page_holds_what_the_router_command_prints() -> None:
    done = run_command("gen_router.py", *scale.GROUPS)
    assert f"```bash\n{done.stdout}```\n" in PAGE


def test_the_numbers_in_the_words_are_the_routers_own() -> None:
    router = scale.routed().router
    assert router is not None
    flags = router.flags
    seconds = int(flags["health-check-interval-secs"]) * int(flags["health-failure-threshold"])
    assert f"until two health checks have failed, about {seconds} seconds" in PAGE
    assert flags["health-failure-threshold"] == 2
    assert f"until that has {flags['balance-abs-threshold']} requests more than the other" in PAGE


def test_the_page_and_the_tests_of_the_router_speak_of_the_same() -> None:
    """Each row of what was seen has a test that sees it, by a word of its name."""
    seen = (ROOT / "tests" / "router" / "test_router_runs.py").read_text(encoding="utf-8")
    table = PAGE.partition("| What happens |")[2].partition("\n\n")[0].splitlines()[2:]
    tests = re.findall(r"def test_(\w+)", seen)
    words = ("beginning", "dead_group", "ends_a_group", "stream", "mistakes", "taken_back", "without_a_group", "late")
    assert len(table) == len(words)
    assert all(any(word in test for test in tests) for word in words)


def test_the_groups_launches_are_checked(tmp_path: Path) -> None:
    commands = re.findall(
        r"^\.venv/bin/python scripts/(gen_launch\.py) (.*)$", scale.BLOCKS["scale-launch"](), re.MULTILINE
    )
    assert len(commands) == 2
    for number, (script, arguments) in enumerate(commands):
        words = arguments.split()
        words[words.index("--out") + 1] = str(tmp_path / str(number))
        done = run_command(script, *words)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / str(number) / "README.md").is_file()
