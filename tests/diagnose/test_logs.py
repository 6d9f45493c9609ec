"""Every symptom on logs that show it and on logs that nearly do; a healthy log shows nothing."""

from __future__ import annotations

import pytest

from mimo_gb10.diagnose.symptoms import load_symptoms
from mimo_gb10.text.document import read_document
from tests.diagnose.cases import EXPECTED, Case, all_cases, diagnose, ids

CASES = all_cases()
FAMILIES = ("0.5.11", "0.5.14", "0.5.18", "0.5.20", "0.5.23")
"""One release of each way in which SGLang writes its start."""


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_log_shows_what_is_expected(case: Case) -> None:
    expected = read_document(EXPECTED).value
    assert ids(diagnose(*(file.read_bytes() for file in case.files))) == expected[case.name]


def test_expected_names_every_log_and_no_other() -> None:
    assert sorted(read_document(EXPECTED).value) == sorted(case.name for case in CASES)


@pytest.mark.parametrize("symptom", load_symptoms().symptoms)
def test_every_symptom_has_a_log_that_shows_it_and_a_near_miss(symptom: str) -> None:
    expected = read_document(EXPECTED).value
    shows = {case.matches for case in CASES if case.symptom == symptom}
    assert shows == {True, False}
    for case in CASES:
        if case.symptom == symptom:
            assert (symptom in expected[case.name]) == case.matches, case.name


def test_a_healthy_start_shows_nothing() -> None:
    expected = read_document(EXPECTED).value
    healthy = [case for case in CASES if case.symptom == "healthy"]
    assert {family for family in FAMILIES if any(family in case.name for case in healthy)} == set(FAMILIES)
    for case in healthy:
        assert expected[case.name] == []
        # All ranks at once too: what differs between healthy ranks is no symptom.
        assert all(b"fired up and ready to roll" in case.files[0].read_bytes() for _ in case.files)


def test_a_near_miss_is_near() -> None:
    """A near miss shares words with a line that shows the symptom: it was not made from thin air."""
    for case in CASES:
        if case.symptom != "healthy" and not case.matches:
            shown = [one for one in CASES if one.symptom == case.symptom and one.matches]
            mine = set(b" ".join(file.read_bytes() for file in case.files).split())
            theirs = set(b" ".join(file.read_bytes() for one in shown for file in one.files).split())
            assert len(mine & theirs) >= 3, case.name
