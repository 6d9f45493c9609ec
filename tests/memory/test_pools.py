"""The KV pools: known figures, and SGLang's own classes beside ours."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from mimo_gb10.memory.pools import RECEIPT, Pools, cell_of, draft_bytes, heads_on_rank, pool_bytes, pools_of
from mimo_gb10.paths import RELEASES, ROOT
from mimo_gb10.release import known_releases, load_release
from tests.memory.conftest import SettingOf
from tests.memory.make_receipt import made
from tests.memory.upstream_pools import sizes
from tests.support.trees import pristine

ROWS = {row["release"]: row for row in json.loads((ROOT / RECEIPT).read_text(encoding="utf-8"))["releases"]}


@pytest.mark.parametrize(("ratio", "expected"), [(0.1, 5376), (0.3, 10368), (0.8, 22848), (1.0, 27840)])
def test_bytes_of_a_token_at_tp_4_in_fp8(
    facts: dict[str, Any], setting: SettingOf, ratio: float, expected: int
) -> None:
    assert cell_of(facts, setting()).counted(ratio) == pytest.approx(expected)
    bf16 = cell_of(facts, setting("gb10x4-omni", "kv-cache-dtype=auto"))
    assert bf16.counted(ratio) == pytest.approx(2 * expected)


def test_mtp_layers_are_counted_from_0_5_20(facts: dict[str, Any], setting: SettingOf) -> None:
    mtp = setting("gb10x4-mtp")
    new = dataclasses.replace(mtp, release=load_release("0.5.20"))
    assert cell_of(facts, new).draft_counted == cell_of(facts, new).draft_real == 3
    assert cell_of(facts, new, counted=False).draft_counted == 0
    for release in known_releases():
        one = dataclasses.replace(mtp, release=load_release(release))
        assert cell_of(facts, one).draft_counted == (3 if release >= "0.5.20" else 0)
        assert cell_of(facts, one).draft_real == 3


def test_more_ranks_than_heads_repeat_them() -> None:
    assert [heads_on_rank(4, ranks) for ranks in (1, 2, 4, 8)] == [4, 2, 1, 1]


def test_pools_as_they_are_allocated(facts: dict[str, Any], setting: SettingOf) -> None:
    cell = cell_of(facts, setting("gb10x4-mtp"))
    pools = Pools(1000, 300)
    # One page more than the tokens, in each pool.
    assert pool_bytes(pools, cell, 1) == 320 * 9 * 1001 + 640 * 39 * 301
    assert draft_bytes(pools, cell, 1) == 640 * 3 * 301
    assert pool_bytes(Pools(0, 0), cell, 1) == draft_bytes(Pools(0, 0), cell, 1) == 0


def test_the_floor_of_the_window_pool(facts: dict[str, Any], setting: SettingOf) -> None:
    """From 0.5.16 a sliding-window pool that cannot hold one request is an error; before, the server hangs."""
    old, new = setting(), setting("gb10x4-mtp")
    assert pools_of(3_000_000, cell_of(facts, old), old, 128).full > 0
    assert pools_of(3_000_000, cell_of(facts, new), new, 128) == Pools(0, 0)


def test_the_receipt_covers_every_release_and_nothing_differs() -> None:
    assert list(ROWS) == known_releases()
    for release, row in ROWS.items():
        catalog = json.loads((RELEASES / f"sglang-{release}.json").read_text(encoding="utf-8"))
        assert row["wheel_sha256"] == catalog["wheel"]["sha256"]
        assert row["compared"] > 30_000
        assert row["unlike"] == []


@pytest.mark.parametrize("release", ["0.5.11", "0.5.14", "0.5.16", "0.5.19", "0.5.20", "0.5.23"])
def test_the_receipt_is_what_a_run_gives(release: str) -> None:
    """One release for each way of sizing; all of them: python tests/memory/make_receipt.py --check."""
    assert made([release])["releases"] == [ROWS[release]]


def test_upstream_really_runs(facts: dict[str, Any], setting: SettingOf) -> None:
    """The comparison would be empty if SGLang's side gave nothing, or the same for everything."""
    one = setting()
    tree = pristine(one.release.version)
    small, large = sizes(tree, facts, one, 0, [2_000_000_000, 20_000_000_000])
    assert small == (192_901, 57_870)
    assert large[0] > 9 * small[0]
    half = dataclasses.replace(one, ratio=0.15)
    assert sizes(tree, facts, half, 0, [2_000_000_000])[0][0] > small[0]
