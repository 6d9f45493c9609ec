"""Greedy answers about media: what the check finds, on a stand-in whose answers depend on what it is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mimo_gb10.evidence import rehearsals
from mimo_gb10.rehearsal.checks import senses
from mimo_gb10.rehearsal.checks.generate import Top
from mimo_gb10.rehearsal.checks.greedy import Greedy, Held
from mimo_gb10.rehearsal.programme import attention_of
from mimo_gb10.smoke.check import Outcome, Session, Status
from mimo_gb10.smoke.client import Client, parse_url
from mimo_gb10.smoke.runner import run
from tests.rehearsal.stand_in import serve


def ask(
    *faults: str,
    base: Greedy | None = None,
    known: frozenset[str] = frozenset(),
    unlike: frozenset[str] = frozenset(),
) -> tuple[Outcome, Greedy | None]:
    held = Held()
    with serve(*faults) as server:
        session = Session(Client(parse_url(server.url), None, 5.0), trained=False)
        (result,) = run(senses.checks(held, base, known, unlike), session)
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


def test_what_another_encoder_changes_is_told_and_no_fault(base: Greedy) -> None:
    outcome, _ = ask("masks", base=base, unlike=frozenset(senses.SHOWN))
    assert outcome.status is Status.OK, outcome
    assert "beside the other run's encoder, which attends otherwise (audio and image and video): " in outcome.says
    assert outcome.numbers["other_encoder_partings"] != 0
    assert outcome.numbers["other_run_tokens_compared"] == 0


def test_only_the_kinds_with_another_encoder_are_excused(base: Greedy) -> None:
    outcome, _ = ask("masks", base=base, unlike=frozenset({"audio"}))
    assert outcome.status is Status.FAIL
    assert outcome.says.startswith("beside the other run: ")


def shifted(top: Top, nats: float) -> Top:
    """The likeliest tokens of a position, all but the first less likely."""
    return (*top[:1], *((token, value - nats) for token, value in top[1:]))


def test_what_whole_answers_do_not_show_the_first_token_does(base: Greedy) -> None:
    other = tuple(replace(one, tops=(shifted(one.tops[0], 0.3), *one.tops[1:])) for one in base.continuations)
    outcome, _ = ask(base=Greedy(other))
    assert outcome.status is Status.FAIL
    assert "image: the likeliest first tokens are 0.30 nats apart in the median" in outcome.says
    less = tuple(replace(one, tops=(shifted(one.tops[0], 0.1), *one.tops[1:])) for one in base.continuations)
    assert ask(base=Greedy(less))[0].status is Status.OK


@pytest.mark.parametrize(
    ("present", "has_fa3", "image", "audio"),
    [
        ((), False, "masks", "masks"),
        (("vision-sinks-window",), False, "no masks", "masks"),
        (("vision-sinks-window",), True, "masks", "masks, FlashAttention 3"),
        (("audio-causal-window", "mtp-triton-window"), False, "masks", "no masks"),
        (("audio-causal-window",), True, "masks", "no masks, FlashAttention 3"),
    ],
)
def test_how_an_encoder_attends(present: tuple[str, ...], has_fa3: bool, image: str, audio: str) -> None:
    assert attention_of(present, has_fa3) == {"image": image, "video": image, "audio": audio}


def stored(name: str) -> Greedy:
    """A receipt's answers about media."""
    return Greedy.from_dict(rehearsals()[name]["senses"])


@pytest.mark.parametrize(
    ("other", "kind", "is_the_same"),
    [
        ("0.5.17-senses-fa3", "image", True),
        ("0.5.17-senses-fa3", "video", True),
        ("0.5.17-senses-without-masks", "image", False),
        ("0.5.17-senses-without-masks", "audio", True),
        ("0.5.17-mtp-patched", "image", True),
        ("0.5.17-mtp-patched", "audio", False),
    ],
)
def test_real_answers_tell_whether_the_masks_are_the_same(other: str, kind: str, is_the_same: bool) -> None:
    """Of real servers: with the patch as with FlashAttention 3, and not as without the masks."""
    mine, others = stored("0.5.17-omni-patched"), stored(other)
    assert [one.name for one in mine.continuations] == [one.name for one in others.continuations]
    apart = senses.first_apart(mine, others)[kind]
    assert apart is not None
    assert (apart <= senses.FIRST) == is_the_same


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
