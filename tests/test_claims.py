"""The post, checked: verdicts agree with the catalogs, and a wrong one is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimo_gb10.claims import POST_CHECKED, check_claims, load_claims, passages
from mimo_gb10.findings import Refused
from mimo_gb10.generate.post import make
from mimo_gb10.paths import ROOT
from mimo_gb10.release import known_releases, load_release

TEXT = POST_CHECKED.read_text(encoding="utf-8")


def codes(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "claims.yaml"
    file.write_text(text, encoding="utf-8")
    load_claims.cache_clear()
    try:
        document, claims = load_claims(file)
        return [found.code for found in check_claims(document, claims)]
    finally:
        load_claims.cache_clear()


def test_every_verdict_is_borne_out(tmp_path: Path) -> None:
    assert codes(tmp_path, TEXT) == []


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("until: 0.5.15.post1", "until: 0.5.16", "claim-verdict"),
        ("varlen_func, releases: ..0.5.15.post1", "varlen_func, releases: ..0.5.16", "claim-check"),
        ("value: VisionAttention, releases: 0.5.16..", "value: VisionAttention, releases: 0.5.17..", "claim-check"),
        ("name: VLLM_HOST_IP, releases: none", "name: VLLM_HOST_IP, releases: all", "claim-check"),
        ("name: SGLANG_HOST_IP, releases: all", "name: SGLANG_HOSTIP, releases: all", "claim-check"),
        ("name: SGLANG_ENABLE_SPEC_V2, releases: ..0.5.13.post1", "name: SGLANG_ENABLE_SPEC_V2", "claim-check"),
        ("name: attention-backend, value: triton}", "name: attention-backend, value: tritn}", "claim-check"),
        ("name: mem-fraction-static, value: 0.83", "name: mem-fraction-static, value: much", "claim-check"),
        ("name: trust-remote-code, value: true", "name: trust-remote-code, value: false", "claim-check"),
        ("name: schedule-policy, value: fcfs", "name: schedule-policy, value: lpm", "claim-check"),
        ("name: mimo, value: Qwen3Detector, releases: ..0.5.11", "name: mimo, value: Qwen3Detector", "claim-check"),
        ("name: mimo, value: asked", "name: mimo, value: always", "claim-check"),
        ("pattern: 'set_bridge', releases: none", "pattern: 'set_bridge', releases: all", "claim-check"),
        ("verdict: holds until\n    until: 0.5.11", "verdict: holds until", "claim-verdict"),
    ],
)  # fmt: skip
def test_a_wrong_claim_is_noticed(tmp_path: Path, old: str, new: str, code: str) -> None:
    assert old in TEXT
    assert code in codes(tmp_path, TEXT.replace(old, new, 1))


def test_a_wrong_claim_makes_no_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text(TEXT.replace("name: VLLM_HOST_IP, releases: none", "name: VLLM_HOST_IP"), encoding="utf-8")
    load_claims.cache_clear()
    monkeypatch.setattr("mimo_gb10.generate.post.load_claims", lambda: load_claims(file))
    with pytest.raises(Refused) as caught:
        make()
    assert [found.code for found in caught.value.findings] == ["claim-check"]
    assert caught.value.findings[0].location is not None
    load_claims.cache_clear()


def test_every_flag_and_variable_of_the_post_has_a_row() -> None:
    post = (ROOT / "tests" / "data" / "post-launch.txt").read_text(encoding="utf-8")
    options = {word for word in post.split() if word.startswith("--") and word != "--model-path"}
    variables = {line.partition("=")[0] for line in post.splitlines() if "=" in line and line[0].isupper()}
    _, claims = load_claims()
    words = " ".join([*(claim.statement for claim in claims)])
    missing = [name for name in sorted(options | variables) if name not in words]
    assert missing == []


def test_source_lines_are_noted_in_the_catalogs() -> None:
    _, claims = load_claims()
    wanted = passages(claims)
    noted = (code for version in known_releases() for code in load_release(version).passages)
    everywhere = {code for code in noted if code.startswith("post-")}
    assert everywhere <= set(wanted), "a catalog notes a line that no claim asks for: generate.py releases"
    assert set(wanted) - everywhere == {"post-decord-tensor-1"}, "only what no release holds may be noted nowhere"
