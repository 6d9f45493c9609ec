"""The launch of a rehearsal is the plan's, but for what it says that it replaced."""

from __future__ import annotations

import pytest

from mimo_gb10.launch import check
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.rehearsal.adapt import (
    Change,
    Local,
    audio_as_on_gb10,
    encoders_as_on_hopper,
    on_its_nodes,
    on_one_machine,
)
from mimo_gb10.rehearsal.variant import check_variant

HOPPER, GB10 = "9.0", "12.1"


def adapted(
    recipe: str = "gb10x4-post", ranks: int = 2, capability: str = HOPPER, gpus: tuple[str, ...] = ()
) -> tuple[LaunchPlan, LaunchPlan, tuple[Change, ...]]:
    checked = check(recipe, "post-4x-gb10")
    assert checked.context is not None
    plan = checked.plan()
    local = Local(ranks, "/rehearsal/model", 31000, capability, gpus)
    made, changes = on_one_machine(plan, checked.context, local)
    return plan, made, changes


def options(launch: RankLaunch) -> dict[str, str | None]:
    """Flags of an argument list with their values; None for a switch."""
    words = launch.argv[3:]
    found: dict[str, str | None] = {}
    for at, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            following = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("--") else None
            found[name] = value if equals else following
    return found


@pytest.mark.parametrize("recipe", ["gb10x4-post", "gb10x4-omni", "gb10x4-mtp"])
@pytest.mark.parametrize("capability", [HOPPER, GB10])
def test_nothing_else_is_changed(recipe: str, capability: str) -> None:
    plan, made, changes = adapted(recipe, capability=capability)
    named = {change.what for change in changes}
    for before, after in zip(plan.ranks, made.ranks, strict=False):
        old, new = options(before), options(after)
        assert {name for name in old | new if old.get(name, "-") != new.get(name, "-")} <= named
        assert {name for name in {**before.env, **after.env} if before.env.get(name) != after.env.get(name)} <= named
        assert before.argv[:3] == after.argv[:3]
    assert all(change.why.endswith(".") for change in changes)


def test_two_ranks_on_one_machine() -> None:
    _, made, _ = adapted()
    first, second = map(options, made.ranks)
    assert first["--tensor-parallel-size"] == first["--nnodes"] == "2"
    assert first["--dist-init-addr"] == second["--dist-init-addr"] == "127.0.0.1:31500"
    assert (first["--port"], second["--port"]) == ("31000", "31001")
    assert (first["--node-rank"], second["--node-rank"]) == ("0", "1")
    assert first["--model-path"] == "/rehearsal/model" == made.model_path
    assert first["--kv-cache-dtype"] == "fp8_e4m3"
    env = made.ranks[1].env
    assert env["GLOO_SOCKET_IFNAME"] == env["NCCL_SOCKET_IFNAME"] == env["TP_SOCKET_IFNAME"] == "lo"
    assert env["VLLM_HOST_IP"] == "127.0.0.1"
    assert "NCCL_IB_HCA" not in env
    assert env["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_gpus_that_are_named() -> None:
    _, made, _ = adapted(gpus=("5", "GPU-abc"))
    assert [rank.env["CUDA_VISIBLE_DEVICES"] for rank in made.ranks] == ["5", "GPU-abc"]


def test_ranks_that_share_a_gpu_count_as_hosts_of_their_own() -> None:
    _, made, changes = adapted(ranks=4, gpus=("0", "0", "1", "1"))
    assert [rank.env["CUDA_VISIBLE_DEVICES"] for rank in made.ranks] == ["0", "0", "1", "1"]
    assert len({rank.env["NCCL_HOSTID"] for rank in made.ranks}) == 4
    assert any(change.what == "NCCL_HOSTID" for change in changes)
    assert not any("NCCL_HOSTID" in rank.env for rank in adapted(ranks=4, gpus=("0", "1", "2", "3"))[1].ranks)


def test_the_audio_encoder_takes_the_way_of_gb10() -> None:
    mended = ["audio-encoder-flash-attn"]
    _, made, _ = adapted("gb10x4-omni")
    told, changes = audio_as_on_gb10(made, HOPPER, mended)
    assert {rank.env["REHEARSAL_AUDIO_CAPABILITY"] for rank in told.ranks} == {"12.1"}
    assert len(changes) == 1
    assert audio_as_on_gb10(made, GB10, mended)[1] == audio_as_on_gb10(made, HOPPER, [])[1] == ()


def test_encoders_to_compare_with() -> None:
    _, made, _ = adapted("gb10x4-omni")
    told, changes = encoders_as_on_hopper(made)
    assert [options(rank)["--mm-attention-backend"] for rank in told.ranks] == ["fa3", "fa3"]
    assert [(change.before, change.after) for change in changes] == [("triton_attn", "fa3")]


def test_another_gpu_takes_the_way_of_a_gb10() -> None:
    _, hopper, _ = adapted()
    _, gb10, _ = adapted(capability=GB10)
    assert hopper.ranks[0].env["DISABLE_MMA_V3"] == "1"
    assert hopper.ranks[0].env["TORCH_CUDA_ARCH_LIST"] == HOPPER
    assert options(hopper.ranks[0])["--fp8-gemm-backend"] == "triton"
    assert "DISABLE_MMA_V3" not in gb10.ranks[0].env
    assert gb10.ranks[0].env["TORCH_CUDA_ARCH_LIST"] == "12.1a"
    assert "--fp8-gemm-backend" not in options(gb10.ranks[0])


def test_more_ranks_than_the_recipe_has() -> None:
    with pytest.raises(ValueError, match="4 ranks, not 5"):
        adapted(ranks=5)


def test_on_its_nodes_only_the_model_is_another() -> None:
    checked = check("gb10x4-omni", "post-4x-gb10")
    assert checked.context is not None
    plan = checked.plan()
    made, changes = on_its_nodes(plan, checked.context, "/rehearsal/model", GB10)
    assert {change.what for change in changes} == {"--model-path", "--max-total-tokens", "--enable-metrics"}
    assert [rank.env for rank in made.ranks] == [rank.env for rank in plan.ranks]
    assert options(made.ranks[3])["--dist-init-addr"] == "192.168.100.10:29500"


def test_mtp_on() -> None:
    checked = check_variant("gb10x4-post", "post-4x-gb10", mtp=True)
    assert checked.context is not None
    assert not checked.refused
    assert checked.context.recipe.flags["speculative-num-steps"] == 3
    assert checked.context.recipe.flags["enable-multi-layer-eagle"] is True
    assert checked.context.recipe.defects[-1] == "mtp-triton-window"


def test_mtp_off() -> None:
    checked = check_variant("gb10x4-mtp", "post-4x-gb10", mtp=False)
    assert checked.context is not None
    assert not [name for name in checked.context.recipe.flags if "specul" in name or "eagle" in name]


def test_another_release() -> None:
    checked = check_variant("gb10x4-post", "post-4x-gb10", sglang="0.5.17", mtp=True)
    assert checked.context is not None
    assert not checked.refused
    assert checked.context.release.version == "0.5.17"
    # Mended upstream in 0.5.16.
    assert "audio-encoder-flash-attn" not in checked.context.recipe.defects
    assert "mtp-triton-window" in checked.context.recipe.defects


def test_as_it_is() -> None:
    assert check_variant("gb10x4-post", "post-4x-gb10").plan() == check("gb10x4-post", "post-4x-gb10").plan()


def test_a_recipe_that_is_not_there() -> None:
    checked = check_variant("gb10x4-pots", "post-4x-gb10", mtp=True)
    assert checked.refused
    assert checked.findings[0].code == "recipe-unknown"
