"""Each check finds what it is for, and nothing where nothing is wrong."""

from __future__ import annotations

import pytest

from mimo_gb10.smoke.catalog import ALL_CHECKS
from mimo_gb10.smoke.check import Session, Status
from mimo_gb10.smoke.checks.senses import moves_right
from tests.smoke.server import serve
from tests.smoke.support import client_of, outcomes, recipe

MTP = {"speculative_algorithm": "EAGLE", "speculative_num_draft_tokens": 4}

# (fault of the stand-in, check, how it must end, words of what it must say)
FOUND = [
    ("sick", "health", "fail", "503"),
    ("worker", "models", "fail", "404"),
    ("no-model", "models", "fail", "empty"),
    ("wrong-type", "models", "fail", "text/html"),
    ("other-model", "model", "fail", "Qwen3ForCausalLM"),
    ("no-audio", "model", "fail", "no audio understanding"),
    ("no-info", "release", "fail", "404"),
    ("wrong-sum", "chat-exact", "fail", "388"),
    ("chatty", "chat-exact", "warn", "not the number alone"),
    ("wrong-total", "chat-shape", "fail", "is not"),
    ("no-usage", "chat-shape", "fail", "no usage"),
    ("wrong-object", "chat-shape", "fail", "object is 'text'"),
    ("no-prompt-count", "chat-shape", "fail", "0 prompt"),
    ("miscount", "chat-count", "fail", "14 tokens"),
    ("stream-differs", "chat-stream", "fail", "another text"),
    ("stream-loses", "chat-stream", "warn", "part after"),
    ("stream-prompt", "chat-stream", "fail", "prompt tokens"),
    ("one-piece", "chat-stream", "fail", "one piece"),
    ("no-done", "chat-stream", "fail", "without [DONE]"),
    ("truncated-stream", "chat-stream", "fail", "without [DONE]"),
    ("reset-mid-stream", "chat-stream", "fail", "connection broke"),
    ("error-in-stream", "chat-stream", "fail", "inside the stream"),
    ("no-stream-usage", "chat-stream", "fail", "no usage"),
    ("many-ids", "chat-stream", "fail", "ids"),
    ("wrong-type", "chat-stream", "fail", "text/html"),
    ("nan", "chat-logprobs", "fail", "3 of 96"),
    ("no-logprobs", "chat-logprobs", "fail", "none came"),
    ("unstable", "chat-stable", "warn", "part after"),
    ("random", "chat-stable", "fail", "from the beginning"),
    ("never-think", "reasoning-on", "fail", "no reasoning came"),
    ("mark-inside", "reasoning-on", "fail", "inside reasoning_content"),
    ("swallow+never-think", "reasoning-on", "fail", "counts as reasoning"),
    ("always-think", "reasoning-off", "fail", "switched off"),
    ("mark-inside", "reasoning-stream", "fail", "inside reasoning_content"),
    ("bad-arguments", "tool-call", "fail", "not JSON"),
    ("tool-finish", "tool-call", "fail", "finish_reason"),
    ("call-twice", "tool-call", "fail", "in the content as well"),
    ("no-tool-parser", "tool-call", "fail", "0 calls"),
    ("lose-arguments", "tool-stream", "fail", "not JSON"),
    ("unescape-twice", "tool-escaping", "fail", "instead of"),
    ("number-as-text", "tool-escaping", "fail", "instead of"),
    ("unescape-twice", "tool-escaping-stream", "fail", "instead of"),
    ("one-call", "tool-parallel", "fail", "1 calls instead of 2"),
    ("same-id", "tool-parallel", "fail", "ids"),
    ("ignore-tool", "tool-round-trip", "fail", "does not stand"),
    ("not-required", "tool-required", "fail", "no call"),
    ("other-switch", "tool-required", "warn", "off"),
    ("form-aborted", "tool-required", "fail", "no call"),
    ("no-json", "json-schema", "fail", "not JSON"),
    ("form-aborted", "json-schema", "fail", "not JSON"),
    ("bad-form", "json-schema", "fail", "not of the form"),
    ("blind", "image", "fail", "neither"),
    ("colour-blind", "image", "fail", "digit only"),
    ("drop-image_url", "image", "fail", "did not reach"),
    ("order", "images", "warn", "order"),
    ("drop-image_url", "images", "fail", "did not reach"),
    ("deaf", "audio", "fail", "word error rate"),
    ("hard-of-hearing", "audio", "warn", "word error rate 30%"),
    ("drop-audio_url", "audio", "fail", "did not reach"),
    ("deaf", "audio-inline", "fail", "word error rate"),
    ("blind", "video", "fail", "no red square"),
    ("blind-motion", "video", "warn", "direction"),
    ("drop-video_url", "video", "fail", "did not reach"),
    ("token-list", "transcribe-json", "fail", "HTTP 500"),
    ("adapter", "transcribe-language", "fail", "HTTP 500"),
    ("mute", "transcribe-json", "fail", "empty"),
    ("wrong-seconds", "transcribe-json", "fail", "usage"),
    ("deaf", "transcribe-language", "fail", "word error rate"),
    ("text-type", "transcribe-text", "fail", "text/plain"),
    ("wrong-duration", "transcribe-verbose", "fail", "duration is 12.0"),
    ("deaf", "transcribe-stream", "fail", "word error rate"),
    ("truncated-stream", "transcribe-stream", "fail", "without [DONE]"),
    ("forget-long", "long-prompt", "fail", "did not find"),
    ("wrong-sum", "concurrency", "fail", "8 of 8 sums"),
    ("crossed", "concurrency", "fail", "7 of 8 requests got the answer of another"),
    ("short-count", "long-prompt", "fail", "1024 should be passed"),
    ("no-gain", "accept-length", "fail", "gains nothing"),
    ("too-good", "accept-length", "fail", "more than the 4"),
    ("no-accept", "accept-length", "fail", "no accept length"),
    ("repeat", "text-quality", "warn", "repetitions"),
    ("terse", "text-quality", "warn", "too short"),
    ("nan", "text-quality", "fail", "no numbers"),
    ("zeros", "text-quality", "fail", "token 0"),
    ("miscount", "rate-one", "fail", "129 tokens"),
    ("refuse-500", "bad-json", "fail", "HTTP 500"),
    ("never-refuse", "bad-role", "fail", "should be refused"),
    ("die-of-it", "bad-image", "fail", "/health is 503"),
    ("any-path", "bad-path", "fail", "should be refused"),
]


@pytest.mark.parametrize(("faults", "check", "status", "words"), FOUND, ids=[f"{item[1]}-{item[0]}" for item in FOUND])
def test_a_fault_is_found(faults: str, check: str, status: str, words: str) -> None:
    with serve(*faults.split("+"), **MTP) as server:
        found = outcomes(server, check, recipe=recipe(), timeout=1.0)[check]
    assert (found.status, words in found.says) == (status, True), found


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    with serve("rates", **MTP) as server:
        found = outcomes(server)
    bad = {name: outcome for name, outcome in found.items() if outcome.status is not Status.OK}
    assert list(bad) == ["flags", "reference"], bad
    assert {outcome.status for outcome in bad.values()} == {Status.SKIP}
    assert set(found) == {check.name for check in ALL_CHECKS}


def test_random_weights_pass_the_structural_profile() -> None:
    with serve("rates", **MTP) as server:
        server.untrained = True
        found = outcomes(server, trained=False)
    bad = {name: outcome for name, outcome in found.items() if outcome.status not in (Status.OK, Status.SKIP)}
    assert not bad
    assert "chat-exact" not in found
    assert "reasoning_content, as parser mimo promises" in found["reasoning-on"].says


def test_random_weights_do_not_pass_the_full_profile() -> None:
    with serve() as server:
        server.untrained = True
        found = outcomes(server)
    trained = [check.name for check in ALL_CHECKS if check.trained and check.area != "speculation"]
    assert {found[name].status for name in trained} == {Status.FAIL}


@pytest.mark.parametrize("fault", ["nan", "miscount", "drop-image_url", "refuse-500", "swallow+x", "token-list"])
def test_random_weights_hide_no_fault(fault: str) -> None:
    with serve(*fault.split("+")) as server:
        server.untrained = True
        found = outcomes(server, "chat", "media", "transcription", "refusals", trained=False)
    wrong = [name for name, outcome in found.items() if outcome.status is Status.FAIL]
    assert bool(wrong) is (fault != "swallow+x")


def test_a_check_of_each_name_can_fail() -> None:
    named = {check for _, check, status, _ in FOUND if status == "fail"}
    # The other refusals are rows of the same table; these have tests of their own.
    elsewhere = {"flags", "reference", "rate-many", "reasoning-absent"}
    refusals = {check.name for check in ALL_CHECKS if check.area == "refusals"}
    assert {check.name for check in ALL_CHECKS} - named - elsewhere <= refusals


@pytest.mark.parametrize("fault", ["refuse-500", "never-refuse"])
def test_every_wrong_request_is_judged(fault: str) -> None:
    with serve(fault) as server:
        found = outcomes(server, "refusals")
    # Those that the stand-in answers without looking for a mistake.
    fixed = {"bad-format", "bad-path", "bad-model"}
    assert {name for name, outcome in found.items() if outcome.status is Status.OK} == fixed


def test_the_wrong_requests_are_wrong_in_one_way_each() -> None:
    with serve() as server:
        outcomes(server, "refusals")
    bodies = [(path, body) for method, path, body in server.seen if method == "POST"]
    assert len(set(bodies)) == len(bodies) == len([c for c in ALL_CHECKS if c.area == "refusals"]) - 2


@pytest.mark.parametrize(("release", "status"), [("0.5.11", "warn"), ("0.5.12.post1", "warn"), ("0.5.13", "fail")])
def test_old_releases_answer_broken_media_with_500(release: str, status: str) -> None:
    with serve("refuse-500", version=release) as server:
        found = outcomes(server, "bad-image", "bad-role")
    assert (found["bad-image"].status, found["bad-role"].status) == (status, Status.FAIL)


def test_too_long_needs_the_context_length() -> None:
    with serve("no-context") as server:
        assert outcomes(server, "bad-too-long")["bad-too-long"].status is Status.SKIP


# --- answers in a given form


@pytest.mark.parametrize(
    ("version", "mtp", "known"),
    [
        ("0.5.11", True, True),
        ("0.5.15.post1", True, True),
        ("0.5.16", True, False),
        ("0.5.11", False, False),
        ("0.5.11+local", True, True),
    ],
)
@pytest.mark.parametrize("trained", [True, False])
def test_an_aborted_form_is_told_from_a_wrong_one(version: str, mtp: bool, known: bool, trained: bool) -> None:
    """The releases are those of the symptom; a version that is not in the catalogs may have it too."""
    with serve("form-aborted", version=version, **(MTP if mtp else {})) as server:
        server.untrained = not trained
        found = outcomes(server, "tool-required", "json-schema", trained=trained)
    assert {outcome.status for outcome in found.values()} == {Status.FAIL}
    for outcome in found.values():
        assert "abort" in outcome.evidence[0]
        assert ("#mtp-structured-output" in outcome.help) == known
        assert ("diagnose.py" in outcome.help) != known


def test_a_form_that_was_not_aborted_gets_no_such_help() -> None:
    with serve("not-required", "no-json", version="0.5.11", **MTP) as server:
        found = outcomes(server, "tool-required", "json-schema")
    assert {(outcome.status, outcome.help) for outcome in found.values()} == {(Status.FAIL, "")}


# --- reasoning


def test_a_model_that_thinks_by_itself_needs_a_parser_that_expects_it() -> None:
    with serve(reasoning_parser="mimo") as server:
        server.thinks_by_default = True
        found = outcomes(server, "reasoning-absent", "reasoning-on", "reasoning-off")
    assert found["reasoning-absent"].status is Status.FAIL
    assert "</think> stands in the content" in found["reasoning-absent"].says
    assert "let clients send" in found["reasoning-absent"].help
    assert found["reasoning-on"].status is found["reasoning-off"].status is Status.OK
    with serve(reasoning_parser="qwen3") as server:
        server.thinks_by_default = True
        assert outcomes(server, "reasoning")["reasoning-absent"].status is Status.OK


def test_a_parser_that_expects_reasoning_swallows_the_answer_of_a_model_that_does_not_think() -> None:
    with serve("swallow", reasoning_parser="qwen3") as server:
        found = outcomes(server, "reasoning-absent")["reasoning-absent"]
    assert found.status is Status.FAIL
    assert "it all counts as reasoning" in found.says


def test_without_a_parser_thinking_lands_in_the_content() -> None:
    with serve(reasoning_parser=None) as server:
        found = outcomes(server, "reasoning")
    assert found["reasoning-on"].status is Status.FAIL
    assert "--reasoning-parser" in found["reasoning-on"].help
    assert found["reasoning-stream"].status is Status.SKIP


def test_untrained_text_in_the_wrong_place() -> None:
    with serve(reasoning_parser="qwen3", version="0.5.11") as server:
        server.untrained = True
        right = outcomes(server, "reasoning", trained=False)
        # The server says one parser and behaves like none.
        server.untrained, server.info["reasoning_parser"] = False, "qwen3"
        wrong = outcomes(server, "reasoning-absent", trained=False)
    assert {outcome.status for outcome in right.values()} == {Status.OK}
    assert wrong["reasoning-absent"].status is Status.WARN
    assert "qwen3 promises reasoning_content" in wrong["reasoning-absent"].says


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("red, right", True),
        ("Red, from left to right.", True),
        ("It moves to the right", True),
        ("red, left", False),
        ("red, from right to left", False),
        ("bright red", False),
        ("", False),
    ],
)
def test_directions(text: str, right: bool) -> None:
    assert moves_right(text) is right


# --- facts of the server


def test_flags_are_compared() -> None:
    with serve(chunked_prefill_size=4096, kv_cache_dtype="fp8_e4m3") as server:
        found = outcomes(server, "flags", recipe=recipe())["flags"]
    assert found.status is Status.FAIL
    assert "chunked-prefill-size: recipe 8192, server 4096" in found.evidence
    with serve(chunked_prefill_size=8192) as server:
        assert outcomes(server, "flags", recipe=recipe())["flags"].status is Status.FAIL  # no speculation runs
    with serve(chunked_prefill_size=8192, speculative_algorithm="EAGLE") as server:
        assert outcomes(server, "flags", recipe=recipe())["flags"].status is Status.OK


def test_a_server_that_shows_nothing_is_not_called_the_recipe() -> None:
    with serve() as server:
        server.info = {"version": "0.5.23"}
        assert outcomes(server, "flags", recipe=recipe())["flags"].status is Status.WARN


def test_another_release_is_not_the_recipe() -> None:
    with serve(version="0.5.22") as server:
        found = outcomes(server, "release", recipe=recipe())["release"]
        assert (found.status, "0.5.22 runs" in found.says) == (Status.FAIL, True)
    with serve(version="0.0.0.dev1+g7d99af439") as server:
        assert outcomes(server, "release")["release"].status is Status.WARN


def test_input_audio_is_asked_of_releases_that_know_it() -> None:
    with serve(version="0.5.18") as server:
        assert outcomes(server, "audio-inline")["audio-inline"].status is Status.SKIP


# --- speculation


def test_a_reference_server_is_compared_with() -> None:
    with serve("late-parting") as server, serve() as plain, serve("other-text") as other:
        late = outcomes(server, "reference", reference=client_of(plain))["reference"]
        same = outcomes(plain, "reference", reference=client_of(plain))["reference"]
        none = outcomes(plain, "reference", reference=client_of(other))["reference"]
    assert (late.status, same.status, none.status) == (Status.WARN, Status.OK, Status.FAIL)


def test_accept_length_is_about_speculation() -> None:
    with serve() as server:
        assert outcomes(server, "accept-length")["accept-length"].status is Status.SKIP
    with serve("no-gain", **MTP) as server:
        server.untrained = True
        assert outcomes(server, "accept-length", trained=False)["accept-length"].status is Status.OK


def test_an_algorithm_without_log_probabilities() -> None:
    with serve("dflash", speculative_algorithm="DFLASH") as server:
        found = outcomes(server, "chat-logprobs", "text-quality")
    assert (found["chat-logprobs"].status, found["text-quality"].status) == (Status.SKIP, Status.OK)


# --- rates


def test_rates_say_under_which_regime() -> None:
    with serve("rates", **MTP) as server:
        found = outcomes(server, "rates", streams=3)
    one, many = found["rate-one"].numbers, found["rate-many"].numbers
    assert (one["streams"], many["streams"]) == (1, 3)
    assert "3 at once" in str(many["regime"])
    assert "128 tokens out" in str(many["regime"])
    assert "speculation EAGLE" in str(many["regime"])
    # The stand-in waits 2 ms between two tokens.
    assert 100 < float(str(one["tokens_per_s_per_stream"])) < 500
    assert float(str(many["tokens_per_s_total"])) > float(str(one["tokens_per_s_total"]))
    with serve() as server:
        assert outcomes(server, "rate-many", streams=1)["rate-many"].status is Status.SKIP


def test_no_two_rate_requests_share_a_prefix() -> None:
    with serve("rates") as server:
        outcomes(server, "rates", streams=3)
    prompts = [body for _, path, body in server.seen if path == "/v1/chat/completions"]
    # One stream and three, each warmed up.
    assert len(set(prompts)) == len(prompts) == 8


# --- the server goes away


@pytest.mark.parametrize("fault", ["all-500", "hang", "drip", "wrong-type", "short", "huge"])
def test_no_fault_of_the_connection_passes(fault: str) -> None:
    with serve(fault) as server:
        found = outcomes(server, "chat-exact", "chat-stream", "image", timeout=0.3)
    assert {outcome.status for outcome in found.values()} <= {Status.FAIL, Status.SKIP}
    assert found["chat-exact"].status is Status.FAIL


def test_a_check_does_not_wait_for_a_server_that_is_gone() -> None:
    with serve("die-of-it") as server:
        found = outcomes(server, "bad-role", "bad-part", "bad-path", timeout=0.5)
    assert found["bad-role"].status is Status.FAIL
    assert any("does not recover" in line for line in found["bad-role"].evidence)
    assert {found["bad-part"].status, found["bad-path"].status} == {Status.SKIP}


def test_a_stalled_server_that_comes_back_is_tested_on() -> None:
    with serve("wrong-sum") as server:
        server.health = [503]
        found = outcomes(server, "chat-exact", "chat-shape")
    assert found["chat-exact"].status is Status.FAIL
    assert found["chat-shape"].status is Status.OK


def test_facts_are_asked_for_once() -> None:
    with serve("no-info") as server:
        session = Session(client_of(server))
        for _ in range(3):
            assert session.version is None
            assert session.reasoning_parser is None
    assert [path for _, path, _ in server.seen].count("/server_info") == 1
