from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from mimo_gb10.rehearsal.checks import greedy
from mimo_gb10.rehearsal.checks.compare import (
    PATIENCE,
    Continuation,
    Tolerance,
    beside,
    compare,
    compare_all,
    follow,
    too_far,
)
from mimo_gb10.rehearsal.checks.generate import flush, generate, input_logprobs, number
from mimo_gb10.rehearsal.checks.greedy import Greedy, Held, Settings, prompt
from mimo_gb10.smoke.check import Outcome, Session, Status
from mimo_gb10.smoke.client import Client, Failure, parse_url
from mimo_gb10.smoke.runner import run
from tests.rehearsal.stand_in import WINDOW, StandIn, exact, row, serve

FEW = Settings(lengths=(1, 5, WINDOW, WINDOW + 1, 60), count=8, repeated=(1, 60), times=4, others=4)


def client_of(server: StandIn, timeout: float = 5.0) -> Client:
    return Client(parse_url(server.url), None, timeout)


def outcomes(
    server: StandIn,
    held: Held | None = None,
    reference: greedy.Reference | None = None,
    base: Greedy | None = None,
    settings: Settings = FEW,
) -> dict[str, Outcome]:
    checks = greedy.checks(held, reference=reference, base=base, settings=settings)
    session = Session(client_of(server), trained=False)
    return {result.check.name: result.outcome for result in run(checks, session)}


def right(asked: Sequence[int], tokens: Sequence[int]) -> list[tuple[float, ...]]:
    """A reference that is."""
    return exact([*asked, *tokens])


def failed(found: dict[str, Outcome]) -> set[str]:
    return {name.removeprefix("greedy-") for name, outcome in found.items() if outcome.status is Status.FAIL}


# --- the checks


def test_nothing_is_wrong_with_a_server_that_is_right() -> None:
    held = Held()
    with serve() as server:
        first = outcomes(server, held)
        assert held.greedy is not None
        found = outcomes(server, reference=right, base=held.greedy)
    assert {outcome.status for outcome in found.values()} == {Status.OK}, found
    assert [name for name, outcome in first.items() if outcome.status is Status.SKIP] == [
        "greedy-reference", "greedy-equals-base",
    ]  # fmt: skip
    repeat = found["greedy-repeat"].numbers
    assert (repeat["sequences"], repeat["equal_to_the_end"], repeat["equal_to_the_second"]) == (8, 8, 6)
    assert repeat["tokens_compared"] == 64
    assert found["greedy-cached"].numbers["answers_from_the_cache"] == 9  # One token has no prefix to cache.
    assert found["greedy-reference"].numbers["tokens_agreed"] == 40
    assert held.bad == 0
    assert held.values > 1000


def test_the_continuations_are_greedy_and_taken_with_an_empty_cache() -> None:
    held = Held()
    with serve() as server:
        outcomes(server, held)
        asked = [body for kind, body in server.seen if kind == "generate"]
        assert server.seen[0][0] == "flush"
    assert held.greedy is not None
    assert all(body["sampling_params"]["ignore_eos"] for body in asked)
    assert len(held.greedy.continuations) == len(FEW.lengths)
    for each in held.greedy.continuations:
        rows = exact([*each.prompt, *each.tokens])[-9:-1]
        assert each.tokens == tuple(row_.index(max(row_)) for row_ in rows)


def test_rounding_is_excused_and_told() -> None:
    with serve("rounding") as server:
        found = outcomes(
            server, settings=Settings(lengths=tuple(range(1, 60, 6)), count=16, repeated=(1, 9, 33), others=4)
        )
    assert not failed(found), found
    ties = sum(int(outcome.numbers["near_ties"] or 0) for outcome in found.values() if "near_ties" in outcome.numbers)
    assert ties > 0
    cached = found["greedy-cached"]
    assert 0 < float(cached.numbers["largest_excused_gap_nats"] or 0) < 2.0
    assert any("near tie" in line for line in cached.evidence)


@pytest.mark.parametrize(
    ("fault", "finds"),
    [
        ("nan", {"finite", "repeat", "cached", "among-others"}),
        ("nan-cached", {"repeat", "cached", "among-others"}),
        ("nan-input", {"decode-equals-prefill"}),
        ("least", {"finite", "repeat", "cached", "among-others"}),
        ("missing", {"finite", "repeat", "cached", "among-others"}),
        ("zeros", {"finite"}),
        ("unstable", {"repeat", "cached", "among-others", "decode-equals-prefill"}),
        ("mask", {"repeat", "cached", "among-others"}),
        ("cached", {"cached"}),
        ("prefill", {"decode-equals-prefill"}),
        ("not-greedy", {"finite", "repeat", "cached", "among-others"}),
        ("short-input", {"decode-equals-prefill"}),
    ],
)  # fmt: skip
def test_each_fault_is_found(fault: str, finds: set[str]) -> None:
    with serve(fault) as server:
        found = outcomes(server)
    assert finds <= failed(found), {name: outcome.says for name, outcome in found.items()}
    if fault in ("nan-input", "cached", "prefill", "short-input"):
        assert failed(found) == finds
    if fault.startswith("nan"):
        assert all("NaN" in found[f"greedy-{name}"].says for name in finds)


def test_neighbours_that_change_an_answer_are_found() -> None:
    with serve("among", "slow") as server:
        found = outcomes(server)
    assert failed(found) == {"among-others"}


def test_a_parting_names_prompt_place_tokens_and_probabilities() -> None:
    with serve("mask") as server:
        found = outcomes(server)["greedy-repeat"]
    assert found.says.startswith("4 times each: prompt of 1, token 5: ")
    assert "in the base that one is less likely by" in found.says


def test_a_server_without_logprobs_is_compared_by_tokens_alone() -> None:
    held = Held()
    with serve("dflash") as server:
        found = outcomes(server, held)
        assert found["greedy-finite"].status is Status.WARN
        assert found["greedy-repeat"].status is Status.OK
        assert found["greedy-decode-equals-prefill"].status is Status.SKIP
    with serve("dflash", "mask") as server:
        assert "repeat" in failed(outcomes(server))


def test_a_server_that_caches_nothing_is_told() -> None:
    with serve() as server:
        server.prompts = _Nothing()
        found = outcomes(server)
    assert found["greedy-cached"].status is Status.WARN
    assert "switched off" in found["greedy-cached"].says


class _Nothing(set[tuple[int, ...]]):
    def add(self, element: tuple[int, ...]) -> None:
        """Remember nothing."""


def test_too_few_tokens_are_a_failure() -> None:
    with serve("short") as server:
        found = outcomes(server)
    assert found["greedy-finite"].says == "prompt of 1: 7 tokens came where 8 were asked for"
    assert found["greedy-repeat"].says == "there are no continuations to compare with: see greedy-finite"


def test_a_reference_that_disagrees_is_told() -> None:
    def blind(asked: Sequence[int], tokens: Sequence[int]) -> list[tuple[float, ...]]:
        ids = [*asked, *tokens]
        return [row(tuple(ids[max(0, at - 1) : at + 1])) for at in range(len(ids))]

    with serve() as server:
        found = outcomes(server, reference=blind)["greedy-reference"]
        short = outcomes(server, reference=lambda *ids: right(*ids)[-5:])["greedy-reference"]
        tail = outcomes(server, reference=lambda *ids: right(*ids)[-9:])["greedy-reference"]
    assert found.status is Status.FAIL
    assert "the reference" in found.says
    assert int(found.numbers["tokens_wrong"] or 0) > 20
    assert short.status is Status.FAIL
    assert tail.status is Status.OK


def test_another_run_is_followed() -> None:
    held = Held()
    with serve() as server:
        outcomes(server, held)
        assert held.greedy is not None
        stored = json.loads(json.dumps(held.greedy.as_dict()))
        same = outcomes(server, base=Greedy.from_dict(stored))["greedy-equals-base"]
        first = stored["continuations"][1]
        tokens, rows = first["tokens"].split(), first["likeliest"].split("; ")
        tokens[2] = str((int(tokens[2]) + 1) % 256)
        rows[2] = f"{tokens[2]}:-0.1 {int(tokens[2]) + 1}:-4"
        first |= {"tokens": " ".join(tokens), "likeliest": "; ".join(rows)}
        other = outcomes(server, base=Greedy.from_dict(stored))["greedy-equals-base"]
        none = outcomes(server, base=Greedy(()))["greedy-equals-base"]
    assert same.status is Status.OK
    assert other.status is Status.FAIL
    assert "prompt of 5, token 2" in other.says
    assert none.status is Status.SKIP


# --- the parts


def test_prompts_are_fixed_and_unlike_each_other() -> None:
    assert prompt(50) == prompt(50)
    assert prompt(50) != prompt(50, seed=1)
    assert prompt(50) != prompt(127)[:50]
    assert len(prompt(2000)) == 2000
    assert set(prompt(2000)) <= set(range(*greedy.IDS))
    assert {1, 127, 128, 129} <= set(greedy.LENGTHS)
    assert set(greedy.REPEATED) <= set(greedy.LENGTHS)


def test_a_stored_run_comes_back() -> None:
    tops = (((5, -0.5), (6, -1.0), (7, -9.0)), ((8, -0.1), (9, -8.0), (3, -8.5)))
    one = Continuation("a", (1, 2), (5, 8), (-0.5, None), tops)
    stored = Greedy((one,)).as_dict()
    again = Greedy.from_dict(json.loads(json.dumps(stored)))
    assert again.continuations[0].tokens == one.tokens
    assert again.continuations[0].logprobs == one.logprobs
    # What no rounding could bring to the front is left out.
    assert again.continuations[0].tops == (tops[0][:2], tops[1][:2])


@pytest.mark.parametrize(
    "data", [{}, {"continuations": {}}, {"continuations": [1]}, {"continuations": [{"name": "x"}]}]
)
def test_what_is_no_stored_run_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no stored"):
        Greedy.from_dict(data)


def _continuation(*tokens: int, second: float = -3.0, logprobs: tuple[float | None, ...] | None = None) -> Continuation:
    values = logprobs if logprobs is not None else (-0.5,) * len(tokens)
    tops = tuple(((token, -0.5), (token + 100, second), (token + 200, -6.0)) for token in tokens)
    return Continuation("p", (1,), tokens, values, tops)


def test_a_first_difference_is_excused_by_the_gap_of_that_very_token() -> None:
    near, far = _continuation(1, 2, 3, second=-0.7), _continuation(1, 2, 3, second=-2.7)
    tie = compare(near, _continuation(1, 102, 9))
    assert (tie.equal, len(tie.ties), len(tie.partings), tie.tokens) == (0, 1, 0, 2)
    assert tie.ties[0].gap == pytest.approx(0.2)
    assert tie.numbers()["largest_excused_gap_nats"] == pytest.approx(0.2)
    assert len(compare(far, _continuation(1, 102, 9)).partings) == 1
    # That *a* token was near is no excuse for another one.
    third = compare(near, _continuation(1, 202, 9)).partings[0]
    assert third.gap == pytest.approx(5.5)
    unknown = compare(near, _continuation(1, 77, 9)).partings[0]
    assert "more than 5.500 nats" in unknown.text()


def test_a_token_outside_the_likeliest_is_never_excused() -> None:
    flat = Continuation("p", (1,), (5,), (-3.0,), (((5, -3.0), (6, -3.1)),))
    assert compare(flat, Continuation("p", (1,), (7,), (-3.0,), (((7, -3.0),),))).partings


def test_a_difference_without_probabilities_is_not_excused() -> None:
    bare = Continuation("p", (1,), (1, 2), ())
    found = compare(bare, Continuation("p", (1,), (1, 3), ()))
    assert len(found.partings) == 1
    assert "an unknown gap" in found.partings[0].text()


def test_a_shorter_answer_is_a_parting() -> None:
    found = compare(_continuation(1, 2, 3), _continuation(1, 2))
    assert found.partings[0].other is None
    assert found.tokens == 2


def test_differences_end_where_the_texts_part() -> None:
    base = _continuation(1, 2, 3, logprobs=(-0.5, -0.5, -0.5))
    other = _continuation(1, 2, 103, logprobs=(-0.6, -0.5, -9.0))
    found = compare(base, other)
    assert [round(value, 3) for value, _ in found.differences] == [0.1, 0.0]
    assert compare_all([(base, base), (base, other)]).sequences == 2


def test_a_continuation_is_followed_past_its_near_ties() -> None:
    base = _continuation(1, 2, 3, 4, 5, second=-0.7)
    asked = []

    def ask(ids: Sequence[int], count: int) -> Continuation:
        asked.append(tuple(ids))
        start = len(ids) - 1
        # Another token at once, and the base's from there on.
        tokens = (base.tokens[start] + 100, 9, 9, 9)[:count] if start in (0, 1, 4) else base.tokens[start:]
        return Continuation("p", tuple(ids), tokens, (-0.5,) * count)

    found = follow(base, ask)
    # The third answer is the base's to the end, its last token too.
    assert asked == [(1,), (1, 1), (1, 1, 2)]
    assert (found.sequences, found.equal, len(found.ties), found.tokens) == (1, 0, 2, 5)
    assert [where for _, where in found.differences] == ["p, token 2", "p, token 3", "p, token 4"]


def test_one_that_goes_astray_is_not_followed_for_ever() -> None:
    base = _continuation(*range(1, 33))
    found = follow(base, lambda ids, count: Continuation("p", tuple(ids), (77,) * count, (-0.5,) * count))
    assert len(found.partings) == PATIENCE
    assert [parting.position for parting in found.partings] == [0, 1, 2, 3]
    whole = follow(base, lambda ids, count: Continuation("p", tuple(ids), base.tokens[-count:], (-0.5,) * count))
    assert (whole.equal, whole.tokens) == (1, 32)


def test_many_that_are_far_off_are_a_problem_where_none_is_very_far() -> None:
    near = [(0.1, "x")] * 90
    assert not too_far([*near, *[(1.0, "y")] * 3], Tolerance())
    assert "one in twenty of 98" in too_far([*near, *[(1.0, "y")] * 8], Tolerance())[0]
    # Of a few the largest is no share.
    assert not too_far([(0.1, "x"), (1.0, "y")], Tolerance(typical=2))


def test_equal_texts_with_other_probabilities_are_a_problem() -> None:
    base = _continuation(1, 2, 3)
    drift = _continuation(1, 2, 3, logprobs=(-0.8, -0.8, -0.8))
    jump = _continuation(1, 2, 3, logprobs=(-0.5, -0.5, -3.5))
    assert "half of 3 " in compare(base, drift).problems()[0]
    assert compare(base, jump).problems() == ["p, token 2: its log probability differs by 3.000 nats, 2.5 are rounding"]
    assert not compare(base, base).problems()
    assert not too_far([], Tolerance())


def test_a_reference_is_read_from_its_end() -> None:
    base = Continuation("p", (1, 2), (0, 1), (-0.1, -0.2))
    rows = [[-9.0, -9.0], [-0.1, -2.0], [-0.3, -0.2], [-5.0, -5.0]]
    found = beside(base, rows)
    assert (found.agreed, found.ties, found.wrong) == (2, 0, ())
    assert beside(base, [[0.0, 0.0], [-0.4, -0.1], [-0.3, -0.2], [0.0, 0.0]]).ties == 1
    assert (
        "the server took 0 (-0.100), the reference 1" in beside(base, [[-4.0, -0.1], [-3.0, -0.2], [0.0, 0.0]]).wrong[0]
    )


@pytest.mark.parametrize("value", [None, "NaN", float("nan"), float("-inf"), float("inf"), -3.4e38, 0.5, True, [1]])
def test_what_is_no_log_probability(value: object) -> None:
    assert number(value) is None


def test_rounding_above_zero_is_one() -> None:
    assert number(1e-7) is not None
    assert number(-12) == -12.0


def test_flush_asks_to_wait_and_says_when_it_is_refused() -> None:
    with serve() as server:
        flush(client_of(server), timeout=2)
        assert server.seen == [("flush", {})]
        server.die()
        with pytest.raises(Failure):
            flush(client_of(server), timeout=1)


def test_input_logprobs_begin_where_they_should() -> None:
    with serve() as server:
        ids = prompt(20)
        assert input_logprobs(client_of(server), ids, 1) == pytest.approx(
            [exact(ids)[at - 1][ids[at]] for at in range(1, 20)]
        )
        assert len(input_logprobs(client_of(server), ids, 19)) == 1
        answer = generate(client_of(server), ids, 3)
        assert answer.logprobs[0] == pytest.approx(max(exact(ids)[-1]))
