"""Parts of the page about parsers: each follows from the catalogs and the receipts."""

from __future__ import annotations

import re

import pytest

from mimo_gb10.evidence import rehearsals
from mimo_gb10.generate.blocks import parsers
from mimo_gb10.paths import DOCS
from mimo_gb10.release import known_releases, load_release


def rows(block: str) -> list[list[str]]:
    """The cells of a block's table, the header left out."""
    lines = [line for line in parsers.BLOCKS[block]().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_names_are_one_class_in_the_first_release_only() -> None:
    found = rows("parsers-names")
    assert [row[0] for row in found] == ["0.5.11", "0.5.12 to 0.5.23"]
    assert ["Qwen3Detector" in row[1] for row in found] == [True, False]
    assert all("only when" in row[1] and "unless" in row[2] for row in found)


def test_the_names_differ_only_where_a_request_says_nothing() -> None:
    assert parsers.agreeing() == ["enable_thinking=true", "enable_thinking=false"]
    for version in known_releases():
        release = load_release(version)
        assert not parsers.expects(release, "mimo", "absent")
        assert parsers.expects(release, "qwen3", "absent")


@pytest.mark.parametrize(
    ("text", "inside", "wanted"),
    [
        ("<think>R</think>A", True, ("R", "A")),
        ("<think>R</think>A", False, ("R", "A")),
        ("R</think>A", True, ("R", "A")),
        ("R</think>A", False, ("", "R</think>A")),
        ("A", True, ("A", "")),
        ("A", False, ("", "A")),
        ("<think>R", False, ("R", "")),
    ],
)
def test_text_is_split_as_the_detector_does(text: str, inside: bool, wanted: tuple[str, str]) -> None:
    assert parsers.split(text, inside=inside) == wanted


def test_each_name_fails_in_its_own_way() -> None:
    by_text = {row[1]: row[2:] for row in rows("parsers-shapes")}
    assert "`content` is empty" in by_text["`A`"][0]
    assert by_text["`A`"][1] == "right, no reasoning"
    assert by_text["`R</think>A`"][0] == "right"
    assert "stand in `content`" in by_text["`R</think>A`"][1]


def test_the_cookbooks_key_changes_nothing() -> None:
    assert [row[1] for row in rows("parsers-key")] == ["nothing, in any release"] * len(parsers.NAMES)


def test_what_was_seen_is_what_the_catalogs_promise() -> None:
    found = rows("parsers-seen")
    asked = [name for name, one in rehearsals().items() if any(check["area"] == "reasoning" for check in one["checks"])]
    assert len(found) == len(asked)
    for row in found:
        release, parser = load_release(row[1]), row[2].strip("`")
        for cell, case in zip(row[3:], parsers.CASES, strict=True):
            place = "reasoning_content" if parsers.expects(release, parser, case) else "content"
            # The tiny model's template has thinking on where nothing is said, and a release may ask the template first.
            is_asked = case == "absent" and release.facts["reasoning_rule"]["template_first"]
            by_template = f"`reasoning_content`, {parsers.TEMPLATE}"
            assert cell in (f"`{place}`", "not asked") or (is_asked and cell == by_template)


def test_the_diffs_name_the_parser_and_the_key_that_work() -> None:
    card = parsers.BLOCKS["parsers-card"]()
    assert "-    --reasoning-parser qwen3" in card
    assert f"+    --reasoning-parser {parsers.RECOMMENDED}" in card
    assert (
        '+    extra_body={"chat_template_kwargs": {"enable_thinking": False}}' in parsers.BLOCKS["parsers-cookbook"]()
    )
    # Every line of a diff is a change or a mark.
    for block in ("parsers-card", "parsers-cookbook"):
        assert all(re.match(r"[-+@]", line) for line in parsers.BLOCKS[block]().splitlines()[1:-1])


def test_only_one_tool_parser_constrains_a_call() -> None:
    found = rows("parsers-tools")
    assert all("no grammar" in row[1] for row in found)
    assert ["can constrain" in row[2] for row in found] == [False, True]


def test_the_page_uses_every_block() -> None:
    page = (DOCS / "parsers.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- generated: ([a-z0-9-]+) -->", page)) == set(parsers.BLOCKS)
