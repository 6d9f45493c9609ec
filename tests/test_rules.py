"""Each rule stays silent where it should: beside its range, and where its condition is met."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.launch import check
from mimo_gb10.release import known_releases, load_release, releases_reading
from mimo_gb10.rules import ALL_RULES
from mimo_gb10.rules.memory import kv_bytes_per_token

MTP = (
    "speculative-algorithm=EAGLE",
    "speculative-num-steps=3",
    "speculative-eagle-topk=1",
    "speculative-num-draft-tokens=4",
)


def context(release: str, *overrides: str, env: str = "", cluster: str = DEFAULT_CLUSTER) -> Context:
    flags = [f"flags.{override}" for override in overrides]
    found = check("gb10x4-omni", cluster, [*flags, *([f"env.{env}"] if env else [])]).context
    assert found is not None
    return Context(replace(found.recipe, sglang=release), found.cluster, found.model, load_release(release))


def codes(setup: Context) -> set[str]:
    return {
        finding.code for rule in ALL_RULES if rule.applies_to(setup.release.version) for finding in rule.check(setup)
    }


@pytest.mark.parametrize("release", known_releases())
def test_the_default_recipe_breaks_no_rule_in_any_release(release: str) -> None:
    allowed = {"open-without-key", "nccl-deadlock", "defect-unmended", "defect-absent"}
    assert codes(context(release)) <= allowed


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.code)
def test_rules_are_ready_to_be_shown(rule: object) -> None:
    found = next(other for other in ALL_RULES if other is rule)
    assert found.title.endswith(".")
    assert len((type(found).__doc__ or "").strip().splitlines()) > 2
    for release in known_releases():
        wanted = any(
            found.applies_to(release) and (not passage.first or load_release(release).is_from(passage.first))
            for passage in found.passages
            if not passage.last or load_release(passage.last).is_from(release)
        )
        assert (found.code in load_release(release).passages) == wanted, (found.code, release)


@pytest.mark.parametrize(
    ("code", "with_it", "without_it"),
    [
        ("fused-qkv-attention-tp", context("0.5.16", "tp-size=2"), context("0.5.17", "tp-size=2")),
        ("tensor-parallel-gpus", context("0.5.23", "tp-size=8"), context("0.5.23", "tp-size=2", "pp-size=2")),
        (
            "multi-node-data-parallel",
            context("0.5.22", "dp-size=2"),
            context("0.5.21", "dp-size=2", "enable-dp-attention=true"),
        ),
        (
            "speculative-draft-tokens",
            context("0.5.23", *MTP[:3], "speculative-num-draft-tokens=3"),
            context("0.5.23", *MTP),
        ),
        (
            "nextn-multi-layer",
            context("0.5.23", *MTP[1:], "speculative-algorithm=NEXTN"),
            context("0.5.23", *MTP[1:], "speculative-algorithm=NEXTN", "enable-multi-layer-eagle=true"),
        ),
        ("mtp-triton", context("0.5.22", *MTP), context("0.5.22", *MTP, "attention-backend=fa3")),
        (
            "spec-variable-alone",
            context("0.5.11", env="SGLANG_ENABLE_SPEC_V2=True"),
            context("0.5.11", *MTP, env="SGLANG_ENABLE_SPEC_V2=True"),
        ),
        ("swa-ratio", context("0.5.23", "swa-full-tokens-ratio=1.01"), context("0.5.23", "swa-full-tokens-ratio=1.0")),
        (
            "hierarchical-cache-swa",
            context("0.5.13.post1", "enable-hierarchical-cache=true"),
            context("0.5.14", "enable-hierarchical-cache=true"),
        ),
        (
            "hierarchical-cache-tree",
            context("0.5.18", "enable-hierarchical-cache=true"),
            context("0.5.19", "enable-hierarchical-cache=true"),
        ),
        ("nccl-deadlock", context("0.5.17"), context("0.5.18")),
        (
            "vision-backend",
            context("0.5.23", "mm-attention-backend=fa3"),
            context("0.5.23", "mm-attention-backend=sdpa"),
        ),
        ("key-on-command-line", context("0.5.23", "api-key=x"), context("0.5.23", "config=/etc/key.yaml")),
        ("open-without-key", context("0.5.23"), context("0.5.23", "config=/etc/key.yaml")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_has_two_sides(code: str, with_it: Context, without_it: Context) -> None:
    assert code in codes(with_it)
    assert code not in codes(without_it)


def test_grpc_port_ends_with_its_range() -> None:
    found = check("gb10x4-omni", DEFAULT_CLUSTER, ["cluster.serve.port=60000"]).context
    assert found is not None
    assert "grpc-port" in codes(found)
    newer = Context(replace(found.recipe, sglang="0.5.16"), found.cluster, found.model, load_release("0.5.16"))
    assert "grpc-port" not in codes(newer)


@pytest.mark.parametrize(("ratio", "wanted"), [(0.1, 5376), (0.3, 10368), (0.8, 22848), (1.0, 27840)])
def test_kv_bytes_per_token(ratio: float, wanted: int) -> None:
    """SGLang's formula for this model in fp8 on one of four ranks, worked out by hand."""
    assert kv_bytes_per_token(context("0.5.11"), ratio) == wanted
    assert kv_bytes_per_token(context("0.5.11", "kv-cache-dtype=bf16"), ratio) == 2 * wanted


def test_the_quick_look_at_a_variable_agrees_with_the_catalogs() -> None:
    releases = [load_release(version) for version in known_releases()]
    every = sorted({name for release in releases for name in release.environment})
    names = [*every[::40], "SGLANG_ENABLE_SPEC_V2", "NOPE"]
    for name in names:
        slow = [
            release.version
            for release in releases
            if (entry := release.environment.get(name)) and entry.reads and not entry.removed
        ]
        assert releases_reading(name) == slow
