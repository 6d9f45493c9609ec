"""Long prompts, many requests at once, speculation, and how fast it is."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mimo_gb10.smoke.chat import ChatAnswer, ask, ask_stream, numbered_sums, request, usage_problems
from mimo_gb10.smoke.check import Check, Numbers, Outcome, Session, fail, ok, skip, together, warn
from mimo_gb10.smoke.checks.chat import SAME, gives_no_logprobs
from mimo_gb10.smoke.client import Client, Failure
from mimo_gb10.smoke.judge import bad_logprobs, degenerate, first_difference, has_word, is_answer, percentile

ROOM = 1024
USUAL_CHUNK = 8192
"""Used where the server does not say its chunked-prefill-size; the recipes' value."""

LINE = "Shelf {number} of hall {salt} holds grey boxes with old maps, a lamp, two keys and a note about the weather.\n"
CODE = "4719"


def _long_prompt(salt: str, lines: int) -> str:
    body = [LINE.format(number=number, salt=salt) for number in range(lines)]
    body.insert(2, f"The code of the vault in hall {salt} is {CODE}.\n")
    return "".join(body) + "\nWhat is the code of the vault? Answer with the number only."


def long_prompt(session: Session) -> Outcome:
    """A prompt longer than one prefill chunk, with the answer near its beginning."""
    size = session.argument("chunked_prefill_size")
    chunk = size if isinstance(size, int) and size > 0 else USUAL_CHUNK
    boundary = f"{chunk} tokens (chunked prefill is off)" if size == -1 else f"a chunk of {chunk}"
    short = ask(session.client, request(session.model, _long_prompt(session.salt, 40), max_tokens=1))
    per_line = (short.prompt_tokens or 0) / 41
    if per_line <= 0:
        return fail("the answer has no count of prompt tokens", short.evidence())
    wanted = chunk + max(chunk // 4, 256)
    room = session.context_length
    if room is not None and wanted + ROOM > room:
        return skip(f"a prompt of {wanted} tokens does not fit a context of {room}")
    prompt = _long_prompt(session.salt, int(wanted / per_line) + 1)
    answer = ask(session.client, request(session.model, prompt, max_tokens=ROOM if session.trained else 8))
    count = answer.prompt_tokens or 0
    numbers = {"prompt_tokens": count, "chunk": chunk, "seconds": answer.seconds}
    if count <= chunk:
        return fail(f"the prompt has {count} tokens by the server's count, {chunk} should be passed", answer.evidence())
    if not session.trained:
        return ok(f"{count} prompt tokens across {boundary}", answer.evidence(), numbers=numbers)
    if has_word(answer.content, CODE):
        return ok(f"found the code in {count} tokens, across {boundary}", answer.evidence(), numbers=numbers)
    return fail(f"did not find the code in {count} tokens (chunk {chunk})", answer.evidence(), numbers=numbers)


def concurrency(session: Session) -> Outcome:
    """Different sums at once: each gets its own answer."""
    sums = numbered_sums(session.streams)
    room = ROOM if session.trained else 16
    bodies = [request(session.model, question, max_tokens=room) for question, _ in sums]
    start = time.monotonic()
    answers = together([functools.partial(ask, session.client, body) for body in bodies])
    seconds = time.monotonic() - start
    lost = [answer for answer in answers if isinstance(answer, Failure)]
    if lost:
        lines = [f"{problem.says}; {'; '.join(problem.evidence)}" for problem in lost[:4]]
        return fail(f"{len(lost)} of {len(sums)} requests got no answer: {lost[0].says}", *lines)
    got = [answer for answer in answers if isinstance(answer, ChatAnswer)]
    if not session.trained:
        problems = [problem for answer in got for problem in usage_problems(answer, room)]
        if problems:
            return fail(f"counts: {problems[0]}", *problems)
        return ok(f"{len(sums)} at once, all answered, in {seconds:.1f} s")
    pairs = list(zip(sums, got, strict=True))
    wrong = [(question, answer) for (question, result), answer in pairs if not is_answer(answer.content, result)]
    crossed = [
        question for question, answer in wrong
        if any(is_answer(answer.content, result) for other, result in sums if other != question)
    ]  # fmt: skip
    lines = [f"{question} {answer.evidence()}" for question, answer in wrong[:4]]
    if crossed:
        return fail(f"{len(crossed)} of {len(sums)} requests got the answer of another", *lines)
    if wrong:
        return fail(f"{len(wrong)} of {len(sums)} sums are wrong", *lines)
    return ok(f"{len(sums)} sums at once, all right, in {seconds:.1f} s")


# --- speculation

PASSAGE = (
    "The harbour town had one long street, and in the evening everyone who had nothing better to do walked along it. "
    "The old teacher came first, with her dog, and"
)
WORTH = 1.05
"""An accept length below this is no more than one token a step."""


def _generate(client: Client, tokens: int, *, logprobs: bool = False) -> Mapping[str, Any]:
    """SGLang's own endpoint: its ``meta_info`` has what the chat answer leaves out."""
    sampling = {"temperature": 0, "max_new_tokens": tokens}
    body = {"text": PASSAGE, "sampling_params": sampling}
    answer = client.post("/generate", body | ({"return_logprob": True} if logprobs else {})).expect()
    data = answer.json()
    if not isinstance(data, dict) or not isinstance(data.get("meta_info"), dict) or "text" not in data:
        raise Failure("shape", "/generate gave no text with meta_info", answer.excerpt())
    return data


def accept_length(session: Session) -> Outcome:
    """Tokens a step on natural text, for this request and since the start."""
    if session.speculative is None:
        return skip("the server runs without speculation")
    data = _generate(session.client, 192)
    own = data["meta_info"].get("spec_accept_length")
    states = session.fresh_info().get("internal_states")
    state = states[0] if isinstance(states, list) and states and isinstance(states[0], dict) else {}
    average = state.get("avg_spec_accept_length")
    lines = (f"this request: {own}", f"since the start: {average}", f"text: {str(data['text'])[:160]!r}")
    value = own if isinstance(own, int | float) else average
    if not isinstance(value, int | float) or isinstance(value, bool):
        return fail(f"{session.speculative} runs, and no accept length is shown", *lines)
    numbers = {"accept_length": round(float(value), 3)}
    draft = session.argument("speculative_num_draft_tokens")
    if isinstance(draft, int) and value > draft + 1e-6:
        return fail(f"accept length {value:.2f} is more than the {draft} drafted tokens", *lines, numbers=numbers)
    if value > WORTH:
        return ok(f"accept length {value:.2f} ({session.speculative})", *lines, numbers=numbers)
    says = f"accept length {value:.2f}: speculation gains nothing ({session.speculative})"
    if not session.trained:
        return ok(f"accept length {value:.2f}; with random weights about 1 is right", *lines, numbers=numbers)
    return fail(says, *lines, help="Is it this model's own draft? See the MTP part of the recipe.", numbers=numbers)


def text_quality(session: Session) -> Outcome:
    """A longer natural text: no repetition, no noise, and numbers behind it."""
    try:
        data = _generate(session.client, 320, logprobs=True)
    except Failure as problem:
        if not gives_no_logprobs(problem):
            raise
        data = _generate(session.client, 320)
    text = str(data["text"])
    values = data["meta_info"].get("output_token_logprobs")
    entries = values if isinstance(values, list) else []
    bad = bad_logprobs([entry[0] if isinstance(entry, list) and entry else None for entry in entries])
    if bad:
        return fail(f"{bad} of {len(entries)} log probabilities are no numbers", text[:300])
    ids = [entry[1] for entry in entries if isinstance(entry, list) and len(entry) > 1]
    zeros = ids.count(0)
    if len(ids) > 20 and zeros > len(ids) / 4:
        return fail(f"{zeros} of {len(ids)} tokens are token 0, which NaN gives", text[:300])
    count = len(text.split())
    if count < 40:
        return warn(f"only {count} words came: too short to judge", text)
    why = degenerate(text)
    if why:
        return warn(f"the text looks degenerate: {why}", text[:600], help="With speculation, compare without it.")
    return ok(f"{count} words, no repetition", text[:300])


def reference(session: Session) -> Outcome:
    """The same greedy text from a second server, for example one without speculation."""
    if session.reference is None:
        return skip("no --reference-url to compare with")
    mine, other = (_generate(client, 192) for client in (session.client, session.reference))
    texts = [str(data["text"]) for data in (mine, other)]
    lines = (f"this server: {texts[0][:200]!r}", f"reference: {texts[1][:200]!r}")
    at = first_difference(*texts)
    if at is None:
        return ok("the same greedy text as the reference", *lines)
    if at < SAME and session.trained:
        return fail("another text than the reference from the beginning on", *lines)
    remedy = "Rounding differs with the batch shape, so a late parting is common; an early one is worth a closer look."
    says = f"parts from the reference after {at} of {len(texts[1])} characters"
    return warn(says, *lines, help=remedy, numbers={"characters_alike": at})


# --- rates

TOKENS = 128


def _rate_body(session: Session, name: str) -> dict[str, Any]:
    # What is unlike comes first: no prefix is shared with another request or an earlier run.
    text = f"Note {session.salt}-{name}. Write a long and quiet story about a harbour town in winter."
    return request(session.model, text, max_tokens=TOKENS, ignore_eos=True)


def _rates(session: Session, streams: int) -> Outcome:
    def jobs(name: str) -> list[functools.partial[ChatAnswer]]:
        bodies = [_rate_body(session, f"{name}-{streams}-{number}") for number in range(streams)]
        return [functools.partial(ask_stream, session.client, body) for body in bodies]

    # Kernels that are built at the first use of a batch size are not what is measured.
    together(jobs("warm"))
    start = time.monotonic()
    answers = together(jobs("rate"))
    wall = time.monotonic() - start
    for answer in answers:
        if isinstance(answer, Failure):
            raise answer
    got = [answer for answer in answers if isinstance(answer, ChatAnswer)]
    return judge_rates(got, wall, regime(session, got))


def judge_rates(answers: Sequence[ChatAnswer], wall: float, regime_text: str) -> Outcome:
    """Time to the first token and tokens a second of streamed answers that ran together for `wall` seconds.

    The rate of a stream counts from its first piece, which is taken for one token; with speculation it holds a few.
    """
    short = [answer for answer in answers if answer.completion_tokens != TOKENS]
    if short:
        says = f"{short[0].completion_tokens} tokens came, {TOKENS} were asked for: nothing to compare"
        return fail(says, short[0].evidence())
    firsts = [answer.first for answer in answers if answer.first is not None]
    if len(firsts) != len(answers):
        return fail("an answer brought no text to time", answers[0].evidence())
    per_stream = [
        (TOKENS - 1) / (answer.last - answer.first)
        for answer in answers
        if answer.first is not None and answer.last is not None and answer.last > answer.first
    ]
    if len(per_stream) != len(answers):
        return warn("all text came at once: the rate of the stream cannot be told", answers[0].evidence())
    total = TOKENS * len(answers) / wall
    ttft = percentile(firsts, 0.5)
    own = percentile(per_stream, 0.5)
    numbers: Numbers = {
        "streams": len(answers),
        "ttft_ms_median": round(ttft * 1000, 1),
        "ttft_ms_worst": round(max(firsts) * 1000, 1),
        "tokens_per_s_per_stream": round(own, 2),
        "tokens_per_s_total": round(total, 2),
        "regime": regime_text,
    }
    says = f"first token {ttft * 1000:.0f} ms, {own:.1f} tokens/s a stream"
    if len(answers) > 1:
        says += f", {total:.1f} together"
    return ok(f"{says} ({len(answers)} stream{'s' if len(answers) > 1 else ''})", regime_text, numbers=numbers)


def regime(session: Session, answers: Sequence[ChatAnswer]) -> str:
    """Under which conditions a rate was taken; without it the number says nothing."""
    prompt = sorted({answer.prompt_tokens or 0 for answer in answers})
    speculative = session.speculative
    return ", ".join(
        [
            f"{len(answers)} at once",
            f"prompt {prompt[0]}{f' to {prompt[-1]}' if len(prompt) > 1 else ''} tokens, not cached",
            f"{TOKENS} tokens out, greedy, end of text ignored",
            f"speculation {speculative}" if speculative else "no speculation",
            f"SGLang {session.version or 'unknown'}",
            "after a warm-up, timed at this client over HTTP",
        ]
    )


def rate_one(session: Session) -> Outcome:
    """One stream alone."""
    return _rates(session, 1)


def rate_many(session: Session) -> Outcome:
    """Many streams at once."""
    if session.streams < 2:
        return skip("--streams is 1")
    return _rates(session, session.streams)


CHECKS = (
    Check("long-prompt", "load", "a prompt across the chunked-prefill boundary", long_prompt),
    Check("concurrency", "load", "many at once, each its own answer", concurrency),
    Check("accept-length", "speculation", "tokens a step on natural text", accept_length),
    Check("text-quality", "speculation", "a longer text does not degenerate", text_quality, trained=True),
    Check("reference", "speculation", "the greedy text of a second server", reference),
    Check("rate-one", "rates", "first token and tokens/s, one stream", rate_one),
    Check("rate-many", "rates", "the same with many streams", rate_many),
)
