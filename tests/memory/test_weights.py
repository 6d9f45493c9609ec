"""The checkpoint by its shapes: it must come to the size that was published, and split as SGLang's code splits it."""

from __future__ import annotations

from typing import Any

import pytest

from mimo_gb10.memory.basis import GIB, total
from mimo_gb10.memory.weights import (
    NVFP4_MXFP8,
    audio_tokenizer,
    checkpoint_storage,
    mtp_items,
    mtp_parts,
    parts,
    rope_bytes,
    weight_items,
)
from tests.memory.conftest import SettingOf


def test_shapes_come_to_the_published_size(facts: dict[str, Any]) -> None:
    storage = checkpoint_storage(facts)
    mtp = facts["mtp"]["layers"] * sum(part.size for part in mtp_parts(facts, storage))
    whole = sum(part.size for part in parts(facts, storage)) + mtp
    assert whole == pytest.approx(facts["weights"]["bytes"], rel=1e-4)
    assert mtp == pytest.approx(facts["mtp"]["bytes"], rel=2e-3)


def test_the_nvfp4_checkpoint_is_bounded_from_below(facts: dict[str, Any]) -> None:
    whole = sum(part.size for part in parts(facts, NVFP4_MXFP8))
    whole += facts["mtp"]["layers"] * sum(part.size for part in mtp_parts(facts, NVFP4_MXFP8))
    # Published: about 184 GB (llmrequirements.com). The bound leaves out what the format keeps wider than it must.
    assert 0.95 * 184e9 < whole < 184e9


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_split_parts_share_and_whole_parts_repeat(facts: dict[str, Any], setting: SettingOf, ranks: int) -> None:
    storage = checkpoint_storage(facts)
    split = {part.key for part in parts(facts, storage) if part.split}
    assert split == {"experts", "qkv", "output", "dense", "embedding", "head", "vision"}
    for part in parts(facts, storage):
        assert part.on_rank(ranks) * (ranks if part.split else 1) == pytest.approx(part.size)


def test_a_rank_of_four_holds_a_quarter_and_the_whole_rest(facts: dict[str, Any], setting: SettingOf) -> None:
    items = {item.key: item for item in weight_items(facts, setting(), checkpoint_storage(facts))}
    assert items["weights-experts"].amount.low / GIB == pytest.approx(70.517, abs=1e-3)
    assert items["weights-router"].split == items["weights-audio"].split == 1
    assert 74.5 < total(items.values()).low / GIB < total(items.values()).high / GIB < 76


def test_dp_encoder_keeps_the_whole_vision_encoder(facts: dict[str, Any], setting: SettingOf) -> None:
    storage = checkpoint_storage(facts)
    whole = setting("gb10x4-omni", "mm-enable-dp-encoder=true")
    vision = {item.key: item for item in weight_items(facts, whole, storage)}["weights-vision"]
    assert vision.split == 1
    assert vision.amount.low == 2 * facts["vision"]["parameters"]


def test_mtp_layers_follow_the_steps(facts: dict[str, Any], setting: SettingOf) -> None:
    storage = checkpoint_storage(facts)
    assert list(mtp_items(facts, setting(), storage)) == []
    three = total(mtp_items(facts, setting("gb10x4-mtp"), storage)).low
    one = total(
        mtp_items(
            facts,
            setting("gb10x4-mtp", "speculative-num-steps=1", "speculative-num-draft-tokens=2"),
            storage,
        )
    ).low
    assert three == pytest.approx(3 * one)
    # The projections are not split: 2 x 4096 x 4096 in bfloat16 for each layer.
    projection = 2 * 4096 * 4096 * 2
    assert one == pytest.approx((facts["mtp"]["bytes"] / 3 - projection) / 4 + projection, rel=5e-3)


def test_rotary_tables_of_a_million_positions(facts: dict[str, Any]) -> None:
    assert rope_bytes(facts, 65536) == 2 * 1048576 * 64 * 4


def test_the_audio_tokenizer_is_an_estimate(facts: dict[str, Any]) -> None:
    found = audio_tokenizer(facts)
    assert found.low == 24 * (4 * 1024**2 + 2 * 1024 * 4096) * 2
    assert found.high > found.low
