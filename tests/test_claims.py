"""The post, checked: verdicts agree with the catalogs, and a wrong one is noticed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.claims import POST_CHECKED, Claim, check_claims, check_sources, load_claims, passages, verdict_of
from mimo_gb10.findings import Refused
from mimo_gb10.generate.post import make
from mimo_gb10.paths import ROOT
from mimo_gb10.release import known_releases, load_release

TEXT = POST_CHECKED.read_text(encoding="utf-8")


# A line for each pattern that is more than an escaped line.
EXAMPLES = {
    r"if not input_text and self\.mm_processor and (obj\.)?contains_mm_input": (
        "if not input_text and self.mm_processor and contains_mm_input"
    ),
    r"return (torch\.from_numpy\(arr\)\.pin_memory\(\)|output if _is_cpu_engine\(\) else output\.pin_memory\(\))": (
        "return torch.from_numpy(arr).pin_memory()"
    ),
}


def _line(pattern: str) -> str:
    line = EXAMPLES.get(pattern, pattern.replace("\\", ""))
    assert re.search(pattern, line), "give an example of this pattern"
    return line


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
        ("until: 0.5.15.post1", "until: 0.5.14", "claim-verdict"),
        ("until: 0.5.15.post1", "until: 0.5.99", "claim-verdict"),
        ("name: VLLM_HOST_IP, releases: none", "name: VLLM_HOST_IP, releases: all", "claim-check"),
        ("verdict: does not hold\n    says: No release reads it, and", "verdict: holds\n    says: No", "claim-verdict"),
        ("holds\n    says: Every release accepts both", "not reproduced\n    says: Both", "claim-verdict"),
        ("holds\n    says: Two classes", "holds until\n    until: 0.5.20\n    says: Two", "claim-verdict"),
        ("proves: true, name: use-ray", "name: use-ray", "claim-verdict"),
        ("value: 0.4.4, releases: 0.5.14..", "value: 0.4.4, releases: 0.5.13..", "claim-check"),
        ("releases: 0.5.14..0.5.20}", "releases: 0.5.14..0.5.21}", "claim-check"),
        ("name: tp, value: tp-size", "name: t, value: tp-size", "claim-check"),
        ("NCCL_IB_DISABLE, releases: none", "NCCL_IB_DISABLE, releases: 0.5.20..", "claim-check"),
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
    assert [found.code for found in caught.value.findings] == ["claim-check", "claim-verdict"]
    assert caught.value.findings[0].location is not None
    load_claims.cache_clear()


def test_every_check_can_fail() -> None:
    document, claims = load_claims()
    newest = known_releases()[-1]
    for claim in claims:
        for number, check in enumerate(claim.checks):
            without = check.releases ^ {newest}
            wrong = "none" if not without else f"..{known_releases()[-2]}" if newest in check.releases else "all"
            facts = {**check.facts, "releases": wrong}
            checks = (*claim.checks[:number], replace(check, facts=facts), *claim.checks[number + 1 :])
            assert "claim-check" in {found.code for found in check_claims(document, pad(claims, claim, checks=checks))}


def test_every_computed_verdict_can_fail() -> None:
    document, claims = load_claims()
    for claim in claims:
        if claim.computed and claim.verdict != "partly":
            other = "holds" if claim.verdict == "does not hold" else "does not hold"
            changed = pad(claims, claim, verdict=other, until=None)
            assert [found.code for found in check_claims(document, changed)] == ["claim-verdict"], claim.id


def pad(claims: tuple[Claim, ...], changed: Claim, **changes: Any) -> list[Claim]:
    """One changed statement at its own place; statements without checks stand for the others, which saves time."""
    idle = replace(changed, verdict="partly", until=None, sure="reported", checks=())
    return [replace(claim, **changes) if claim is changed else idle for claim in claims]


@pytest.mark.parametrize(
    "check",
    [
        "{kind: reads}",
        "{kind: accepts, name: tp-size}",
        "{kind: source, file: a.py}",
        "{kind: fact, name: nextn, value: 1}",
    ],
)
def test_a_check_that_lacks_something_is_a_finding(tmp_path: Path, check: str) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text(TEXT.replace("{kind: reads, name: MKL_NUM_THREADS, releases: none}", check), encoding="utf-8")
    load_claims.cache_clear()
    with pytest.raises(Refused):
        load_claims(file)
    load_claims.cache_clear()


@pytest.mark.parametrize(
    ("versions", "verdict"),
    [
        (known_releases(), "holds"),
        ([], "does not hold"),
        (known_releases()[:1], f"holds until {known_releases()[0]}"),
        (known_releases()[:-1], f"holds until {known_releases()[-2]}"),
        (known_releases()[1:], "partly"),
    ],
)
def test_verdict_of(versions: list[str], verdict: str) -> None:
    assert verdict_of(set(versions)) == verdict


class TestSources:
    """The source lines, looked up in files that hold exactly what the statements expect."""

    def wheels(self, without: str = "") -> dict[str, dict[str, str]]:
        made: dict[str, dict[str, str]] = {version: {} for version in known_releases()}
        for claim in load_claims()[1]:
            for check in claim.checks:
                if check.kind == "source" and check.code != without:
                    path, line = check.facts["file"], _line(check.facts["pattern"])
                    for version in check.releases:
                        made[version][path] = made[version].get(path, "") + line + "\n"
        return made

    def found(self, wheels: dict[str, dict[str, str]]) -> list[str]:
        document, claims = load_claims()
        readers = {version: files.get for version, files in wheels.items()}
        return [found.message for found in check_sources(document, claims, readers)]

    def test_all_are_there(self) -> None:
        assert self.found(self.wheels()) == []

    def test_a_line_that_is_gone(self) -> None:
        (message,) = self.found(self.wheels(without="post-asnumpy-code-1"))
        assert "asnumpy-code" in message

    def test_a_line_that_should_not_be_there(self) -> None:
        wheels = self.wheels()
        wheels[known_releases()[-1]]["sglang/srt/utils/video_decoder.py"] += "bridge.set_bridge('torch')\n"
        (message,) = self.found(wheels)
        assert "decord-tensor" in message
        assert known_releases()[-1] in message

    def test_some_releases_only(self) -> None:
        wheels = self.wheels()
        assert self.found({known_releases()[0]: wheels[known_releases()[0]]}) == []


def test_every_flag_and_variable_of_the_post_has_a_row() -> None:
    post = (ROOT / "tests" / "data" / "post-launch.txt").read_text(encoding="utf-8")
    options = {word for word in post.split() if word.startswith("--")}
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
    nowhere = {
        check.code for claim in claims for check in claim.checks if check.kind == "source" and not check.releases
    }
    assert set(wanted) - everywhere == nowhere, "only what no release holds may be noted nowhere"
