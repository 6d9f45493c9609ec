from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mimo_gb10.rehearsal.checks import stress
from mimo_gb10.rehearsal.checks.requests import KINDS, Request, leave, make
from mimo_gb10.smoke.check import Outcome, Session, Status
from mimo_gb10.smoke.client import Client, Failure, parse_url
from mimo_gb10.smoke.runner import run
from tests.rehearsal.stand_in import StandIn, serve


def client_of(server: StandIn, timeout: float = 5.0) -> Client:
    return Client(parse_url(server.url), None, timeout)


def steady() -> Mapping[str, float]:
    return {"rank0 gpu": 1000.0, "rank0 ram": 500.0}


def outcome(
    server: StandIn,
    *,
    memory: Callable[[], Mapping[str, float]] = steady,
    seconds: float = 0.4,
    timeout: float = 5.0,
    at_once: int = 6,
    **more: Any,
) -> Outcome:
    checks = stress.checks(alive=server.alive, memory=memory, seconds=seconds, at_once=at_once, **more)
    (result,) = run(checks, Session(client_of(server, timeout), trained=False))
    return result.outcome


def test_a_server_that_stands_it() -> None:
    with serve() as server:
        found = outcome(server)
        asked = [body for kind, body in server.seen if kind == "generate"]
    assert found.status is Status.OK, found
    assert "all ranks live, memory level" in found.says
    numbers = found.numbers
    # Every kind came, and ended as it should.
    assert {f"{kind}_{'aborted' if kind == 'aborted' else '200'}" for kind in KINDS} <= numbers.keys()
    assert not [name for name in numbers if name.endswith(("_cut", "_shape", "_500"))]
    assert numbers["rank0_gpu_start_mib"] == numbers["rank0_gpu_end_mib"] == 1000.0
    # No speed is told.
    assert not [name for name in numbers if "per_s" in name or "latency" in name]
    share = sum(bool(body.get("return_logprob")) for body in asked) / len(asked)
    assert 0.1 < share < 0.7
    assert any(body["sampling_params"]["temperature"] > 0 for body in asked)
    assert any(len(body["input_ids"]) == 1 for body in asked)
    assert any(len(body["input_ids"]) > 2000 for body in asked)


def test_the_mix_is_the_same_for_the_same_seed() -> None:
    def drawn(seed: int) -> list[str]:
        asked = Request("short", random.Random(f"{seed}-0"), "m", "s")
        return [asked.text(5) for _ in range(3)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_rank_that_dies_ends_it_early() -> None:
    with serve() as server:
        server.cut_after = 30
        start = time.monotonic()
        found = outcome(server, seconds=30.0, timeout=1.0)
        assert time.monotonic() - start < 10
    assert found.status is Status.FAIL
    assert "rank 1 was ended by SIGABRT" in found.says
    assert found.says.startswith("died after ")


def test_answers_with_errors_are_told_by_kind_with_their_first_messages() -> None:
    with serve("chat-500") as server:
        found = outcome(server)
    assert found.status is Status.FAIL
    assert "requests of kind aborted ended in 500: HTTP 500" in found.says
    assert any("requests of kind chat ended in 500: HTTP 500" in line for line in found.evidence)
    assert sum(line.startswith("chat: HTTP 500") for line in found.evidence) <= 5
    assert int(found.numbers["chat_500"] or 0) > 0
    assert int(found.numbers["stream_500"] or 0) > 0
    assert int(found.numbers["aborted_500"] or 0) > 0


def test_refused_requests_are_a_warning() -> None:
    with serve("image-400") as server:
        found = outcome(server)
    assert found.status is Status.WARN
    assert "ended in 400" in found.says


def test_known_kinds_are_left_out() -> None:
    with serve("image-400") as server:
        found = outcome(server, known=frozenset({"image", "audio", "video", "transcription"}))
        assert not [kind for kind, _ in server.seen if kind == "upload"]
    assert found.status is Status.OK
    assert found.numbers["left_out"] == "audio, image, transcription, video"
    assert not [name for name in found.numbers if name.startswith("image_")]


def test_an_unknown_kind_is_refused() -> None:
    with serve() as server, pytest.raises(ValueError, match="no kind of request is called 'sound'"):
        outcome(server, known=frozenset({"sound"}))


@pytest.mark.parametrize("fault", ["nan", "least"])
def test_nan_under_load_is_found(fault: str) -> None:
    with serve() as server:
        threading.Timer(0.1, lambda: setattr(server, "faults", frozenset({fault}))).start()
        found = outcome(server)
    assert found.status is Status.FAIL
    assert found.says.startswith("NaN: ")


def test_another_text_after_the_load_is_found() -> None:
    with serve("mask") as server:
        found = outcome(server)
    assert found.status is Status.FAIL
    assert found.says.startswith("afterwards: prompt of 129, token ")


def test_each_kind_comes_at_once() -> None:
    with serve() as server:
        found = outcome(server, seconds=0.05, at_once=len(KINDS))
    assert {name.rpartition("_")[0] for name in found.numbers if name.endswith(("_200", "_aborted"))} == set(KINDS)


def test_failed_probes_are_a_warning_and_a_sick_server_afterwards_a_failure() -> None:
    with serve() as server:
        server.sick = 1
        found = outcome(server, at_once=len(KINDS))
    assert found.status is Status.WARN
    assert "1 health probes failed meanwhile" in found.says
    with serve() as server:
        server.sick = 1000
        found = outcome(server, seconds=0.2, timeout=1.0)
    assert found.status is Status.FAIL
    assert "/health answers 503" in found.says


def test_memory_that_grows_is_found() -> None:
    start = time.monotonic()

    def growing() -> Mapping[str, float]:
        return {"rank0 gpu": 1000.0 + 4000 * (time.monotonic() - start), "rank1 gpu": 7.0}

    with serve() as server:
        found = outcome(server, memory=growing)
    assert found.status is Status.FAIL
    assert found.says.startswith("rank0 gpu grew by ")


def test_memory_may_grow_until_it_is_warm() -> None:
    samples = [(0.0, {"a": 100.0}), (50.0, {"a": 900.0}), (65.0, {"a": 1000.0}), (300.0, {"a": 1100.0})]
    grown, numbers = stress.level(samples, 60.0, 256.0)
    assert not grown
    assert [numbers[f"a_{when}_mib"] for when in ("start", "warm", "end", "peak")] == [100.0, 1000.0, 1100.0, 1100.0]
    assert stress.level(samples, 60.0, 99.0)[0] == ["a grew by 100 MiB after 60 s (99 are allowed)"]
    # A run that is shorter than the warm-up is judged from its middle on.
    assert stress.level(samples[:3], 300.0, 50.0)[0] == ["a grew by 100 MiB after 32 s (50 are allowed)"]
    # What appears later, as a rank started anew, has no beginning.
    assert stress.level([(0.0, {}), (9.0, {"b": 5.0})], 1.0, 1.0) == (
        [], {"b_start_mib": None, "b_warm_mib": 5.0, "b_end_mib": 5.0, "b_peak_mib": 5.0},
    )  # fmt: skip


def test_a_request_that_never_ends_is_told() -> None:
    with serve() as server:
        server.stuck = True
        session = Session(Client(parse_url(server.url), None, 0.5), trained=False)
        check = stress.checks(alive=server.alive, memory=steady, seconds=0.3, at_once=4)[0]
        found = check.run(session)
    assert found.status is Status.FAIL
    assert "ended in timeout" in found.says


@pytest.mark.parametrize("reset", [True, False])
def test_a_stream_is_left_in_the_middle(reset: bool) -> None:
    with serve() as server:
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 100_000, "stream": True}
        assert leave(client_of(server), "/v1/chat/completions", body, 3, reset=reset) is None
        # The server notices: it does not go on to the end.
        until = time.monotonic() + 5
        while server.running and time.monotonic() < until:
            time.sleep(0.01)
        assert server.running == 0
        assert 0 < server.streamed < 90_000


def test_a_stream_that_ends_first_or_never_begins() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "stream": True}
    with serve() as server:
        with pytest.raises(Failure, match="ended before"):
            leave(client_of(server), "/v1/chat/completions", body, 500, reset=False)
        assert leave(client_of(server), "/nothing", body, 1, reset=False) == (
            "404", 'HTTP 404: {"object": "error", "message": "Not Found", "code": 404}', 0,
        )  # fmt: skip
        server.die()
        with pytest.raises(Failure, match="broke before"):
            leave(client_of(server), "/v1/chat/completions", body, 1, reset=False)


def test_a_server_without_logprobs_is_still_loaded() -> None:
    with serve("dflash") as server:
        asked = Request("one-token", random.Random(1), "m", "s")
        assert {make(client_of(server), asked)[0] for _ in range(8)} == {"200"}
        assert outcome(server).status is Status.OK
