"""The plan as a whole: SGLang's rule, its ranges, and what holds for every setting."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimo_gb10.findings import Location, Refused, Severity
from mimo_gb10.launch import check
from mimo_gb10.memory.basis import GIB, Amount, gibibytes, total
from mimo_gb10.memory.plan import Plan, down, make_plan, requests_that_fit, up
from mimo_gb10.memory.report import findings, make_report
from mimo_gb10.memory.setting import Draft, Setting, setting_of
from mimo_gb10.release import known_releases, load_release
from tests.memory.conftest import SettingOf

HERE = Location("recipe.yaml", 1, 1)


def test_the_rule(facts: dict[str, Any], setting: SettingOf) -> None:
    """KV gets fraction x available less what was loaded: the rest of the rule is arithmetic."""
    plan = make_plan(facts, setting(), gibibytes(110))
    case = plan.case(0.8, tight=True)
    assert case.budget == pytest.approx(0.8 * 110 * GIB - total(plan.loaded).high)
    assert case.pools.full == int(case.budget // 10368)
    assert case.pools.window == int(case.pools.full * 0.3)


def test_nothing_gets_lost(facts: dict[str, Any], setting: SettingOf) -> None:
    for recipe in ("gb10x4-omni", "gb10x4-mtp", "gb10x4-post"):
        plan = make_plan(facts, setting(recipe))
        for tight in (True, False):
            case = plan.case(0.8, tight=tight)
            held = 100 * 2**20 if plan.setting.is_from("0.5.18") else 0
            assert case.loaded + case.kv + case.after + held + case.margin == pytest.approx(case.available)


def test_mtp_weights_come_late_up_to_0_5_13(facts: dict[str, Any], setting: SettingOf) -> None:
    mtp = setting("gb10x4-mtp")
    for release in known_releases():
        plan = make_plan(facts, dataclasses.replace(mtp, release=load_release(release)))
        early = "weights-mtp" in {item.key for item in plan.loaded}
        late = "weights-mtp" in {item.key for item in plan.after}
        assert early is mtp_is_early(release)
        assert late is not early


def mtp_is_early(release: str) -> bool:
    return not release.startswith(("0.5.11", "0.5.12", "0.5.13"))


def test_embeddings_are_reserved_from_0_5_18(facts: dict[str, Any], setting: SettingOf) -> None:
    old = make_plan(facts, dataclasses.replace(setting(), release=load_release("0.5.17")), gibibytes(110))
    new = make_plan(facts, dataclasses.replace(setting(), release=load_release("0.5.18")), gibibytes(110))
    assert old.case(0.8, tight=True).budget - new.case(0.8, tight=True).budget == pytest.approx(100 * 2**20)
    assert "mm-cache" in {item.key for item in old.after}
    assert "mm-cache" not in {item.key for item in new.after}


def test_a_measured_node_narrows_the_range(facts: dict[str, Any], setting: SettingOf) -> None:
    wide, narrow = make_plan(facts, setting()), make_plan(facts, setting(), gibibytes(112))
    assert wide.recommended is None
    assert narrow.recommended == (0.77, 0.85)
    assert narrow.case(0.77, tight=True).boots
    assert requests_that_fit(narrow, narrow.case(0.77, tight=True)) == 1
    assert requests_that_fit(narrow, narrow.case(0.76, tight=True)) == 0
    assert narrow.case(0.85, tight=True).margin > 2 * GIB
    assert narrow.case(0.87, tight=True).margin < 2 * GIB


def test_the_ends_of_the_range_are_ends(facts: dict[str, Any], setting: SettingOf) -> None:
    for recipe in ("gb10x4-omni", "gb10x4-mtp"):
        plan = make_plan(facts, setting(recipe))
        for tight, found in ((True, plan.tight), (False, plan.roomy)):
            assert plan.case(found.low + 1e-6, tight=tight).pools.full > 0
            assert plan.case(found.low - 1e-6, tight=tight).pools.full == 0
            assert plan.case(found.high - 1e-6, tight=tight).margin >= 0
            assert plan.case(found.high + 1e-6, tight=tight).margin < 0
            assert plan.case(found.context + 1e-6, tight=tight).pools.full >= plan.setting.context
            assert found.low < found.context
            assert found.safe < found.high


def test_rounding_goes_inwards() -> None:
    assert (up(0.7501), up(0.75), down(0.7599), down(0.76)) == (0.76, 0.75, 0.75, 0.76)


def test_a_limit_on_tokens_holds(facts: dict[str, Any], setting: SettingOf) -> None:
    plan = make_plan(facts, setting("gb10x4-omni", "max-total-tokens=100000"))
    assert plan.case(0.8, tight=False).pools.full == 100_000
    assert plan.roomy.context > 1
    assert plan.recommended is None


def test_fewer_requests_than_would_fit(facts: dict[str, Any], setting: SettingOf) -> None:
    short = setting("gb10x4-omni", "context-length=8192")
    plan = make_plan(facts, short)
    assert plan.case(0.8, tight=False).pools.full // 8192 > 24
    assert requests_that_fit(plan, plan.case(0.8, tight=False)) == 24


def report_findings(plan: Plan, facts: dict[str, Any]) -> list[tuple[str, Severity]]:
    report = make_report(plan, facts, "", measured=False, accept_length=None)
    return [(found.code, found.severity) for found in findings(report, HERE)]


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.5, [("memory-boot", Severity.ERROR)]),
        (0.99, [("memory-boot", Severity.ERROR)]),
        (0.7, [("memory-tight", Severity.WARNING), ("memory-context", Severity.WARNING)]),
        (0.8, [("memory-context", Severity.WARNING)]),
        (0.85, [("memory-margin", Severity.WARNING)]),
        (0.9, [("memory-tight", Severity.WARNING)]),
    ],
)
def test_what_is_said_about_a_fraction(
    facts: dict[str, Any], setting: SettingOf, fraction: float, expected: list[tuple[str, Severity]]
) -> None:
    plan = make_plan(facts, setting("gb10x4-omni", f"mem-fraction-static={fraction}"))
    assert report_findings(plan, facts) == expected


def test_a_node_that_is_full_while_loading(facts: dict[str, Any], setting: SettingOf) -> None:
    plan = make_plan(facts, setting("gb10x4-omni", "mem-fraction-static=0.87"), gibibytes(87, 113))
    assert ("memory-loading", Severity.WARNING) in report_findings(plan, facts)


def test_copies_of_the_head_while_early_releases_load_mtp(facts: dict[str, Any], setting: SettingOf) -> None:
    mtp = setting("gb10x4-mtp")
    for release in known_releases():
        plan = make_plan(facts, dataclasses.replace(mtp, release=load_release(release)))
        copies = [item.amount.high for item in plan.after if item.key == "draft-copies"]
        assert copies == ([] if mtp_is_early(release) else [3 * 2 * 152576 * 4096 * 2 / 4])


def test_without_a_fraction_the_plan_shows_a_middle(facts: dict[str, Any], setting: SettingOf) -> None:
    plan = make_plan(facts, dataclasses.replace(setting(), fraction=None), gibibytes(112))
    assert plan.shown == pytest.approx(0.81)
    assert report_findings(plan, facts) == [("memory-fraction", Severity.WARNING)]


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("pp-size=2", "plan-unmodelled"),
        ("kv-cache-dtype=fp4_e2m1", "plan-unmodelled"),
        ("speculative-algorithm=NGRAM", "plan-unmodelled"),
        ("speculative-draft-model-path=/models/draft", "plan-unmodelled"),
        ("cpu-offload-gb=8", "plan-unmodelled"),
    ],
)
def test_what_is_not_modelled_is_refused(override: str, code: str) -> None:
    context = check("gb10x4-omni", "example-4x-gb10", [f"flags.{override}"]).context
    assert context is not None
    with pytest.raises(Refused) as refused:
        setting_of(context)
    assert [found.code for found in refused.value.findings] == [code]


def test_the_hierarchical_cache_resets_the_ratio() -> None:
    context = check("gb10x4-omni", "example-4x-gb10", ["flags.enable-hierarchical-cache=true"]).context
    assert context is not None
    found, notes = setting_of(context)
    assert found.ratio == 1.0
    assert [note.code for note in notes] == ["plan-changed"]


def test_speculation_without_a_number_of_requests_takes_48(setting: SettingOf) -> None:
    context = check("gb10x4-mtp", "example-4x-gb10").context
    assert context is not None
    flags = {name: value for name, value in context.recipe.flags.items() if name != "max-running-requests"}
    changed = dataclasses.replace(context, recipe=dataclasses.replace(context.recipe, flags=flags))
    found, _ = setting_of(changed)
    assert found.requests == 48
    assert found.graph_requests == (48, 48)


SETTINGS = st.builds(
    Setting,
    name=st.just("any"),
    release=st.sampled_from(known_releases()).map(load_release),
    tensor_parallel=st.sampled_from([1, 2, 4]),
    kv_bytes=st.sampled_from([1.0, 2.0]),
    ratio=st.floats(0.01, 1.0),
    page=st.sampled_from([1, 16, 64, 128]),
    fraction=st.none(),
    requests=st.one_of(st.none(), st.integers(1, 256)),
    chunk=st.integers(1024, 32768),
    context=st.integers(1024, 1 << 20),
    token_limit=st.one_of(st.none(), st.integers(1000, 10_000_000)),
    graph_requests=st.sampled_from([(0, 0), (24, 24), (160, 512)]),
    draft=st.one_of(st.none(), st.builds(Draft, st.integers(1, 3), st.integers(2, 4))),
    radix=st.booleans(),
    overlap=st.booleans(),
    whole_encoders=st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=SETTINGS, fraction=st.floats(0.05, 0.99), gib=st.floats(20, 128))
def test_for_every_setting(facts: dict[str, Any], found: Setting, fraction: float, gib: float) -> None:
    plan = make_plan(facts, found, Amount(gib * GIB, gib * GIB))
    tight, roomy = plan.case(fraction, tight=True), plan.case(fraction, tight=False)
    assert tight.pools.full <= roomy.pools.full
    more = plan.case(min(fraction + 0.02, 1.0), tight=True)
    assert more.pools.full >= tight.pools.full
    assert more.margin <= tight.margin + 1
    for case in (tight, roomy):
        # Beyond its budget SGLang allocates a page of padding for each layer, and draft pools that it does not count.
        padding = plan.cell.full * 9 * found.page + plan.cell.window * 39 * found.page
        drafts = plan.cell.window * plan.cell.draft_real * (case.pools.window + found.page)
        if case.pools.full:
            assert case.kv <= case.budget + padding + drafts
        assert case.pools.full % found.page == 0
        assert case.boots is (case.pools.full > 0 and case.margin >= 0)
    if plan.recommended:
        low, high = plan.recommended
        for value in (low, high):
            assert plan.case(value, tight=True).boots
            assert plan.case(value, tight=False).boots
        assert plan.case(low, tight=True).pools.full >= found.context
