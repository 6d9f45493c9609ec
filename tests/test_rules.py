"""Each rule stays silent where it should: beside its range, and where its condition is met."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.defects import PatchFile, load_defects, load_verdicts
from mimo_gb10.launch import check
from mimo_gb10.release import known_releases, load_release, releases_reading
from mimo_gb10.rules import ALL_RULES, mends
from mimo_gb10.rules.memory import kv_bytes_per_token
from mimo_gb10.rules.mends import DefectsKnown

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
    allowed = {"open-without-key", "nccl-deadlock", "torchcodec-aarch64", "defect-absent", "defect-unlisted"}
    assert codes(context(release)) <= allowed
    unlisted = [found.message for found in DefectsKnown().check(context(release)) if found.code == "defect-unlisted"]
    # The recipe is for 0.5.11, which has not got this one.
    assert all(message.partition("does not list: ")[2] == "audio-causal-window" for message in unlisted)


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
        ("torchcodec-aarch64", context("0.5.21"), context("0.5.22")),
        ("torchcodec-aarch64", context("0.5.21"), context("0.5.21", "language-model-only=true")),
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


def listing(release: str, defects: tuple[str, ...], *overrides: str) -> Context:
    setup = context(release, *overrides)
    return Context(replace(setup.recipe, defects=defects), setup.cluster, setup.model, setup.release)


ALL = tuple(name for name in load_defects() if name != "mtp-triton-window")
# 0.5.16 builds the audio encoder otherwise: one defect goes, another comes.
OLDER = tuple(name for name in ALL if name != "audio-causal-window")
NEWER = tuple(name for name in ALL if name != "audio-encoder-flash-attn")


@pytest.mark.parametrize(
    ("setup", "wanted"),
    [
        (listing("0.5.15.post1", OLDER), set()),
        (listing("0.5.16", NEWER), set()),
        (listing("0.5.16", ALL), {"defect-absent"}),
        (listing("0.5.16", OLDER), {"defect-absent", "defect-unlisted"}),
        (listing("0.5.15.post1", NEWER), {"defect-absent", "defect-unlisted"}),
        (listing("0.5.23", ()), {"defect-unlisted"}),
        (listing("0.5.23", (*NEWER, "mtp-triton-window")), {"defect-absent"}),
        (listing("0.5.23", (*NEWER, "nope")), {"defect-unknown"}),
    ],
    ids=lambda value: "" if isinstance(value, Context) else " ".join(sorted(value)),
)
def test_a_recipe_lists_what_its_release_has(setup: Context, wanted: set[str]) -> None:
    assert {found.code for found in DefectsKnown().check(setup)} == wanted


@pytest.mark.parametrize(
    ("setup", "bites"),
    [
        (listing("0.5.22", NEWER), False),
        (listing("0.5.22", NEWER, *MTP), True),
        (listing("0.5.22", NEWER, *MTP, "attention-backend=fa3"), False),
        (
            listing("0.5.22", NEWER, *MTP, "attention-backend=fa3", "speculative-draft-attention-backend=triton"),
            True,
        ),
    ],
)
def test_the_mtp_defect_bites_only_mtp_on_triton(setup: Context, bites: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mtp-triton-window"
    patch = PatchFile("x.patch", "0.5.22", "0.5.22", ("0.5.22",), ())
    verdicts = {**load_verdicts(), name: replace(load_verdicts()[name], patches=(patch,))}
    monkeypatch.setattr(mends, "load_verdicts", lambda: verdicts)
    assert {found.code for found in DefectsKnown().check(setup)} == ({"defect-unlisted"} if bites else set())
    without = replace(load_verdicts()[name], patches=())
    monkeypatch.setattr(mends, "load_verdicts", lambda: {**load_verdicts(), name: without})
    assert not list(DefectsKnown().check(setup)), "a patch that is not there cannot be asked for"
    listed = Context(replace(setup.recipe, defects=(*NEWER, name)), setup.cluster, setup.model, setup.release)
    assert {found.code for found in DefectsKnown().check(listed)} == {"defect-unmended"}


def test_a_command_lists_no_defects() -> None:
    setup = listing("0.5.23", ())
    document = replace(setup.recipe.document, value={"flags": {}, "env": {}})
    asked = Context(replace(setup.recipe, document=document), setup.cluster, setup.model, setup.release)
    assert not list(DefectsKnown().check(asked))


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
