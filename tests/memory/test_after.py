"""What comes after the pools."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mimo_gb10.memory.after import (
    after_items,
    draft_graph_bytes,
    moe_buffers,
    request_table,
    tables_per_token,
    target_graph_bytes,
)
from mimo_gb10.memory.basis import Basis
from mimo_gb10.release import load_release
from tests.memory.conftest import SettingOf

CONTEXT = 1 << 20


def test_index_buffers_of_the_graphs_grow_with_requests_tokens_and_context(setting: SettingOf) -> None:
    # 24 requests, one token each, 8 bytes of index and 1 of mask for each position.
    assert target_graph_bytes(setting()).low == 24 * CONTEXT * 9
    short = setting("gb10x4-omni", "context-length=131072")
    assert target_graph_bytes(short).low == 24 * 131072 * 9


def test_masks_are_for_verification_only_from_0_5_17(setting: SettingOf) -> None:
    plain = setting()
    newer = dataclasses.replace(plain, release=load_release("0.5.17"))
    assert target_graph_bytes(newer).low == 24 * CONTEXT * 8
    mtp = setting("gb10x4-mtp")
    assert target_graph_bytes(mtp).low == 24 * 4 * CONTEXT * 9
    assert draft_graph_bytes(mtp).low == 3 * 24 * 4 * CONTEXT * 8


def test_later_steps_look_at_one_token_more_up_to_0_5_14(setting: SettingOf) -> None:
    mtp = setting("gb10x4-mtp")
    old = dataclasses.replace(mtp, release=load_release("0.5.14"))
    assert draft_graph_bytes(old).low == 24 * (4 + 5 + 6) * CONTEXT * 9
    between = dataclasses.replace(mtp, release=load_release("0.5.16"))
    assert draft_graph_bytes(between).low == 3 * 24 * 4 * CONTEXT * 9


def test_without_graphs_there_are_no_buffers(facts: dict[str, Any], setting: SettingOf) -> None:
    keys = {item.key for item in after_items(facts, setting("gb10x4-omni", "disable-cuda-graph=true"))}
    assert not {"graph-indices", "graphs"} & keys
    assert {"graph-indices", "graphs"} <= {item.key for item in after_items(facts, setting())}


def test_without_a_number_of_requests_it_is_a_range(setting: SettingOf) -> None:
    free = dataclasses.replace(setting(), requests=None, graph_requests=(160, 512))
    found = target_graph_bytes(free)
    assert (found.low, found.high) == (160 * CONTEXT * 9, 512 * CONTEXT * 9)
    assert request_table(free).low == 2049 * (CONTEXT + 4) * 4
    assert request_table(setting()).low == request_table(setting()).high == 25 * (CONTEXT + 4) * 4


def test_buffers_of_a_chunk(facts: dict[str, Any], setting: SettingOf) -> None:
    # 8192 tokens, 8 experts each: gate and up (2 x 512), their product (512), the output (4096), 2 bytes each.
    assert moe_buffers(facts, setting()) == 8192 * 8 * (1024 + 512 + 4096) * 2
    assert moe_buffers(facts, setting("gb10x4-omni", "chunked-prefill-size=4096")) == pytest.approx(
        moe_buffers(facts, setting()) / 2
    )


def test_allocator_tables(setting: SettingOf) -> None:
    assert tables_per_token(setting()) == pytest.approx(8 * 2.3)


def test_every_line_says_how_sure_it_is_and_why(facts: dict[str, Any], setting: SettingOf) -> None:
    for recipe in ("gb10x4-omni", "gb10x4-mtp"):
        for item in after_items(facts, setting(recipe)):
            assert item.source
            assert item.basis in (Basis.FORMULA, Basis.ESTIMATE)
            if item.basis is Basis.FORMULA:
                assert item.source.startswith("sglang/srt/")
                # A number by formula may still be a range where the recipe leaves its input open.
                assert item.amount.low == item.amount.high
