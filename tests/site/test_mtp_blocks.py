"""Parts of the page about MTP: each follows from the recipe, the catalogs and the receipts."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from mimo_gb10.evidence import rehearsals
from mimo_gb10.findings import Refused
from mimo_gb10.generate.blocks import mtp
from mimo_gb10.paths import DOCS
from mimo_gb10.release import known_releases, load_release

NEWEST = known_releases()[-1]


def added(diff: str) -> str:
    """The text that a diff adds."""
    return "\n".join(line[1:] for line in diff.split("\n") if line.startswith("+") and not line.startswith("+++"))


def fences(text: str) -> list[str]:
    """The fenced shell blocks of a text."""
    return re.findall(r"```bash\n(.*?)\n```", text, re.DOTALL)


def test_the_block_is_the_recipes() -> None:
    flags = mtp.mtp_flags()
    assert flags["speculative-num-draft-tokens"] == flags["speculative-num-steps"] + 1
    assert flags["enable-multi-layer-eagle"] is True
    lines = mtp.BLOCKS["mtp-flags"]().splitlines()[1:-1]
    assert [line.rstrip(" \\").split()[0] for line in lines] == [f"--{name}" for name in flags]
    why = mtp.BLOCKS["mtp-why"]()
    assert all(f"`{name}`" in why for name in flags)


def test_the_variable_is_read_then_warned_about_then_forgotten() -> None:
    states = [mtp.variable_state(load_release(one)) for one in ("0.5.13.post1", "0.5.14", "0.5.20", "0.5.21")]
    assert "read" in states[0]
    assert "True" in states[0]
    assert states[1] == states[2] == "a warning that it is gone"
    assert "ignored" in states[3]


def test_the_table_says_where_mtp_dies_and_where_forms_are_kept() -> None:
    rows = [line for line in mtp.BLOCKS["mtp-releases"]().splitlines() if line.startswith("| 0.")]
    assert [row.split("|")[1].strip() for row in rows] == ["0.5.11 to 0.5.15.post1", "0.5.16 to 0.5.22", "0.5.23"]
    assert ["dies at graph capture" in row for row in rows] == [True, True, False]
    assert ["ignored" in row for row in rows] == [True, False, False]
    assert all("mtp-triton-window.md" in row for row in rows[:2])


def test_every_receipt_with_mtp_has_a_row() -> None:
    named = [set(re.findall(r"\[([^]]+)\]\(rehearsals/", mtp.BLOCKS[f"mtp-{one}"]())) for one in ("receipts", "hunts")]
    assert not named[0] & named[1]
    assert named[0] | named[1] == {name for name, receipt in rehearsals().items() if receipt["variant"]["mtp"]}


def test_the_search_says_what_each_run_changed_and_how_it_ended() -> None:
    """Only the type of the KV cache keeps the server alive."""
    rows = [line.split(" | ") for line in mtp.BLOCKS["mtp-hunts"]().splitlines() if "rehearsals/" in line]
    lived = {changed: ended.rstrip(" |") for _, changed, _, ended in rows}
    assert {changed for changed, ended in lived.items() if ended == "lived"} == {"`kv-cache-dtype=auto`"}
    assert "illegal-access" in lived["`disable-radix-cache=true`"]
    assert "bad-probabilities" in lived["nothing"]
    assert any("rogrammatic dependent launch" in changed for changed in lived)
    assert len(lived) == len(rows) == 6


def test_a_death_is_told_with_what_went_on() -> None:
    (row,) = (
        line for line in mtp.BLOCKS["mtp-receipts"]().splitlines() if line.startswith("| [0.5.11-mtp-unpatched-eager]")
    )
    assert "died during `audio`" in row


@pytest.fixture
def receipt() -> dict[str, Any]:
    """A receipt with MTP that came up."""
    found = copy.deepcopy(dict(rehearsals()["0.5.11-mtp-unpatched-eager"]))
    assert found["starts"]
    # As it is where the time was over before the load and before the comparison.
    found["checks"] = [one for one in found["checks"] if one["area"] not in ("stress", "greedy")]
    return found


def test_what_was_not_run_shrinks_with_the_receipts(receipt: dict[str, Any]) -> None:
    before = mtp.not_yet([receipt])
    assert any("load" in text for text in before)
    assert any("patch" in text for text in before)
    receipt["sglang"] |= {"mended": [mtp.DEFECT], "present": []}
    receipt["checks"] += [
        {"name": "stress", "area": "stress", "status": "ok", "says": "", "numbers": {}},
        {"name": "greedy-equals-base", "area": "greedy", "status": "skip", "says": "", "numbers": {}},
    ]
    after = mtp.not_yet([receipt])
    assert len(after) < len(before)
    assert not any("the patch and CUDA" in text or receipt["sglang"]["version"] in text for text in after)
    # A check that was skipped shows nothing.
    assert any("Greedy" in text for text in after)


def test_the_cards_diff_holds_two_launches_that_their_releases_take() -> None:
    launches = fences(added(mtp.card_diff()))
    assert len(launches) == 2
    for launch in launches:
        assert not [one for one in mtp.verdict(launch, NEWEST) if one.severity.label == "error"]
    assert "Audio" in added(mtp.card_diff())
    # Neither launch has what the card is to drop.
    assert not any("qwen3" in launch or "collect-tokens" in launch for launch in launches)


@pytest.mark.parametrize(
    ("flag", "wrong"),
    [
        ("--speculative-num-steps 3", "--speculative-num-step-s 3"),
        ("--speculative-num-draft-tokens 4", "--speculative-num-draft-tokens 5"),
        ("--dp-size 2", "--dp-size 1"),
        ("--reasoning-parser mimo", "--reasoning-parser mimi"),
    ],
)
def test_a_wrong_flag_in_the_proposal_is_refused(flag: str, wrong: str) -> None:
    text = mtp.hopper_launch()
    assert mtp.checked(text, [NEWEST]) == text
    with pytest.raises(Refused):
        mtp.checked(text.replace(flag, wrong), [NEWEST])


def test_a_text_without_a_launch_is_refused() -> None:
    with pytest.raises(Refused):
        mtp.verdict("echo nothing", NEWEST)


def test_upstream_pages_are_judged_by_the_catalogs() -> None:
    rows = {
        row.split("](")[0].removeprefix("| ["): row for row in mtp.BLOCKS["mtp-pages"]().splitlines() if "](" in row
    }
    assert len(rows) == len(mtp.PAGES)
    card = rows["Card of MiMo-V2.5"]
    assert "missing: `speculative-algorithm`" in card
    assert "`--collect-tokens-histogram` ends the start from 0.5.20" in card
    assert "read by no release from 0.5.14" in rows["Card of MiMo-V2.5-Pro"]
    assert "`--enable-mtp` is known to no release" in rows["README of MiMo-V2-Flash on GitHub"]


def test_the_page_uses_every_block() -> None:
    page = (DOCS / "mtp.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- generated: ([a-z0-9-]+) -->", page)) == set(mtp.BLOCKS)
