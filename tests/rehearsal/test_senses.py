"""Greedy answers about media: what the check finds, on a stand-in whose answers depend on what it is shown."""

from __future__ import annotations

import pytest

from mimo_gb10.rehearsal.checks import senses
from mimo_gb10.rehearsal.checks.greedy import Greedy, Held
from mimo_gb10.smoke.check import Outcome, Session, Status
from mimo_gb10.smoke.client import Client, parse_url
from mimo_gb10.smoke.runner import run
from tests.rehearsal.stand_in import serve


def ask(*faults: str, base: Greedy | None = None, known: frozenset[str] = frozenset()) -> tuple[Outcome, Greedy | None]:
    held = Held()
    with serve(*faults) as server:
        session = Session(Client(parse_url(server.url), None, 5.0), trained=False)
        (result,) = run(senses.checks(held, base, known), session)
    return result.outcome, held.senses


@pytest.fixture(scope="module")
def base() -> Greedy:
    outcome, found = ask()
    assert outcome.status is Status.OK, outcome
    assert found is not None
    return found


def test_a_server_that_is_right(base: Greedy) -> None:
    outcome, _ = ask(base=base)
    assert outcome.status is Status.OK, outcome
    assert outcome.numbers["answers_compared"] == len(base.continuations) == 20
    assert outcome.numbers["other_run_tokens_compared"] == 20 * senses.COUNT
    assert "20 of 20 equal to the end" in outcome.says


def test_every_medium_and_question_makes_another_text(base: Greedy) -> None:
    assert len({each.tokens for each in base.continuations}) == len(base.continuations)
    assert len({each.name for each in base.continuations}) == len(base.continuations)


def test_rounding_is_excused(base: Greedy) -> None:
    outcome, _ = ask("rounding", base=base)
    assert outcome.status is Status.OK, outcome


def test_encoders_that_give_something_else_are_found(base: Greedy) -> None:
    outcome, _ = ask("masks", base=base)
    assert outcome.status is Status.FAIL
    assert outcome.says.startswith("beside the other run: ")


@pytest.mark.parametrize(("fault", "says"), [("unstable", "asked again: "), ("nan", "is no number")])
def test_faults(fault: str, says: str) -> None:
    outcome, _ = ask(fault)
    assert outcome.status is Status.FAIL
    assert says in outcome.says


def test_a_server_without_log_probabilities_is_a_warning() -> None:
    outcome, found = ask("no-logprobs")
    assert outcome.status is Status.WARN
    assert found is None


def test_what_is_broken_anyway_is_not_asked(base: Greedy) -> None:
    outcome, found = ask(base=base, known=frozenset({"audio", "video"}))
    assert outcome.status is Status.OK
    assert found is not None
    assert {each.name.partition(".")[2][:3] for each in found.continuations} == {"png"}
    outcome, _ = ask(known=frozenset(senses.SHOWN))
    assert outcome.status is Status.SKIP


def test_a_stored_run_comes_back(base: Greedy) -> None:
    again = Greedy.from_dict(base.as_dict())
    assert [each.tokens for each in again.continuations] == [each.tokens for each in base.continuations]
    with pytest.raises(ValueError, match="no stored"):
        Greedy.from_dict({"continuations": [{}]})
