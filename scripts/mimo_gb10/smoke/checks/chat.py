"""Text in, text out: right, whole, counted, and made of numbers."""

from __future__ import annotations

import functools

from mimo_gb10.smoke.chat import ask, ask_stream, numbered_sums, request, usage_problems
from mimo_gb10.smoke.check import Check, Outcome, Session, fail, ok, skip, together, warn
from mimo_gb10.smoke.client import Failure
from mimo_gb10.smoke.expect import judge_reasoning, promise
from mimo_gb10.smoke.judge import bad_logprobs, first_difference, has_word, is_answer

QUESTION, RESULT = "What is 17 * 23? Answer with the number only.", "391"
STORY = "Write four sentences about how a lighthouse keeper spends a winter evening."
LONG_ANSWER = 160
SAME = 12
"""Greedy texts of a trained model that part before this many characters are different answers, not rounding."""

ENOUGH = 1024
"""Room for a short answer after a little thinking, should a server think although it was told not to."""


def exact(session: Session) -> Outcome:
    """One arithmetic question whose answer is one number."""
    answer = ask(session.client, request(session.model, QUESTION, max_tokens=ENOUGH))
    if is_answer(answer.content, RESULT):
        return ok(f"17 * 23 = {RESULT}", answer.evidence())
    if has_word(answer.content, RESULT):
        return warn(f"right, but not the number alone: {answer.content[:60]!r}", answer.evidence())
    remedy = "A server that is up and computes wrongly: look at the quantization, the kernels and the weights first."
    return fail(f"17 * 23 is {RESULT}; it said {answer.content[:60]!r}", answer.evidence(), help=remedy)


def shape(session: Session) -> Outcome:
    """A whole answer with a stop reason, and counts that add up."""
    body = request(session.model, QUESTION, max_tokens=24)
    answer = ask(session.client, body)
    problems = usage_problems(answer, 24)
    if answer.finish not in ("stop", "length"):
        problems.append(f"finish_reason is {answer.finish!r}")
    if not answer.everything and answer.finish == "length":
        problems.append("24 tokens, and no text of them")
    if problems:
        return fail("; ".join(problems), answer.evidence())
    return ok(f"{answer.prompt_tokens} + {answer.completion_tokens} tokens, {answer.finish}", answer.evidence())


def counts(session: Session) -> Outcome:
    """The number of tokens that was asked for, to the token."""
    wanted = 13
    body = request(session.model, STORY, max_tokens=wanted, ignore_eos=True)
    answer = ask(session.client, body)
    if answer.completion_tokens != wanted or answer.finish != "length":
        says = f"{answer.completion_tokens} tokens and {answer.finish!r}; asked for {wanted} and 'length'"
        return fail(says, answer.evidence())
    return ok(f"{wanted} tokens asked for and counted", answer.evidence())


def stream(session: Session) -> Outcome:
    """The same greedy request streamed and not: the same text, the same counts, in more than one piece."""
    body = request(session.model, STORY, max_tokens=LONG_ANSWER)
    whole, streamed = ask(session.client, body), ask_stream(session.client, body)
    evidence = (f"whole: {whole.evidence()}", f"streamed: {streamed.evidence()}")
    if not streamed.everything or streamed.finish not in ("stop", "length"):
        return fail(f"no text, or no end: finish_reason {streamed.finish!r}", *evidence)
    problems = usage_problems(streamed, LONG_ANSWER)
    if problems:
        return fail(f"streamed: {'; '.join(problems)}", *evidence)
    if whole.prompt_tokens != streamed.prompt_tokens:
        says = f"{whole.prompt_tokens} prompt tokens, {streamed.prompt_tokens} when streamed"
        return fail(says, *evidence)
    if streamed.pieces < 2 and (streamed.completion_tokens or 0) > 16:
        remedy = "Something between server and client buffers (a proxy?), or the server holds the text back."
        return fail(f"{streamed.completion_tokens} tokens came in one piece", *evidence, help=remedy)
    parts = ((whole.reasoning, streamed.reasoning), (whole.content, streamed.content))
    at = [first_difference(one, other) for one, other in parts]
    where = next((position for position in at if position is not None), None)
    if where is None:
        return ok(f"the same text in {streamed.pieces} pieces", *evidence, numbers={"pieces": streamed.pieces})
    if (where < SAME and session.trained) or bool(whole.reasoning) != bool(streamed.reasoning):
        return fail("streamed, it is another text from the beginning on", *evidence)
    return warn(f"the texts part after {where} characters: greedy decoding is not stable here", *evidence)


def logprobs(session: Session) -> Outcome:
    """The same prompt four times, the prefix cached after the first: every log probability is a number.

    NaN in a first token's logits after a cached prefix was seen with MTP; the answers were 200 all the same.
    """
    body = request(session.model, f"{session.salt} {STORY}", max_tokens=24, logprobs=True)
    total = bad = 0
    lines = []
    for attempt in range(1, 5):
        try:
            answer = ask(session.client, body)
        except Failure as problem:
            if gives_no_logprobs(problem):
                return skip(f"{session.speculative} gives no log probabilities here")
            raise
        wrong = bad_logprobs(answer.logprobs)
        total += len(answer.logprobs)
        bad += wrong
        lines.append(f"{attempt}: {len(answer.logprobs)} values, {wrong} bad; {answer.evidence()}")
        if not answer.logprobs:
            return fail("logprobs were asked for and none came", *lines)
    if bad:
        remedy = "Not a number in the logits: the answers are noise, whatever they look like. With MTP, try without."
        says = f"{bad} of {total} log probabilities are not finite numbers up to 0"
        return fail(says, *lines, help=remedy, numbers={"bad": bad, "total": total})
    return ok(f"{total} log probabilities, all finite", *lines, numbers={"bad": 0, "total": total})


def gives_no_logprobs(problem: Failure) -> bool:
    """Whether the speculative algorithm is why, as for DFLASH in 0.5.11 (``sglang/srt/managers/scheduler.py:306``)."""
    return problem.kind == "status" and any("does not support return_logprob" in line for line in problem.evidence)


def stable(session: Session) -> Outcome:
    """The same greedy request twice alone and once among others."""
    body = request(session.model, f"{session.salt} {STORY}", max_tokens=LONG_ANSWER)
    first, second = ask(session.client, body), ask(session.client, body)
    others = [request(session.model, question, max_tokens=48) for question, _ in numbered_sums(session.streams - 1)]
    crowd = together([functools.partial(ask, session.client, each) for each in (body, *others)])
    among = crowd[0]
    if isinstance(among, Failure):
        raise among
    evidence = tuple(
        f"{name}: {answer.evidence()}" for name, answer in (("first", first), ("second", second), ("among", among))
    )
    alone, busy = (first_difference(first.everything, other.everything) for other in (second, among))
    if alone is None and busy is None:
        return ok(f"three times the same text, once among {len(others)} others", *evidence)
    if session.trained and min(at for at in (alone, busy) if at is not None) < SAME:
        return fail("the same greedy request gives another text from the beginning on", *evidence)
    parts = []
    if alone is not None:
        parts.append(f"twice the same request: the texts part after {alone} characters")
    if busy is not None:
        parts.append(f"among {len(others)} others: after {busy}")
    remedy = "Kernels round differently in another batch: common, and a reason not to compare texts word for word."
    return warn("; ".join(parts), *evidence, help=remedy)


# --- reasoning

RIDDLE = (
    "A crate holds 6 boxes, a box holds 7 cups, and 5 cups are broken. How many cups are whole? "
    "End with one line that holds the number only."
)
WHOLE = "37"


def _reasoning(session: Session, thinking: bool | None) -> Outcome:
    parser = session.reasoning_parser
    promised = promise(session.release, parser, thinking)
    room = 4096 if session.trained else 24
    answer = ask(session.client, request(session.model, RIDDLE, max_tokens=room, thinking=thinking))
    wanted = WHOLE if session.trained else None
    return judge_reasoning(answer, thinking, promised, parser=parser, expected_text=wanted)


def reasoning_on(session: Session) -> Outcome:
    """``enable_thinking: true``."""
    return _reasoning(session, True)


def reasoning_off(session: Session) -> Outcome:
    """``enable_thinking: false``."""
    return _reasoning(session, False)


def reasoning_absent(session: Session) -> Outcome:
    """A client that says nothing about thinking, as most do."""
    return _reasoning(session, None)


def reasoning_stream(session: Session) -> Outcome:
    """Reasoning parted from the content while it streams, no mark cut in two."""
    parser = session.reasoning_parser
    if parser is None:
        return skip("the server runs without a reasoning parser")
    promised = promise(session.release, parser, True)
    room = 4096 if session.trained else 24
    answer = ask_stream(session.client, request(session.model, RIDDLE, max_tokens=room, thinking=True))
    wanted = WHOLE if session.trained else None
    return judge_reasoning(answer, True, promised, parser=parser, expected_text=wanted)


CHECKS = (
    Check("chat-exact", "chat", "an arithmetic answer, exact", exact, trained=True),
    Check("chat-shape", "chat", "a whole answer, counts that add up", shape),
    Check("chat-count", "chat", "as many tokens as asked for", counts),
    Check("chat-stream", "chat", "streamed equal to not streamed", stream),
    Check("chat-logprobs", "chat", "every log probability is a number, with a cached prefix too", logprobs),
    Check("chat-stable", "chat", "a greedy text is the same again, and among others", stable),
    Check("reasoning-on", "reasoning", "enable_thinking true", reasoning_on),
    Check("reasoning-off", "reasoning", "enable_thinking false", reasoning_off),
    Check("reasoning-absent", "reasoning", "nothing said about thinking", reasoning_absent),
    Check("reasoning-stream", "reasoning", "enable_thinking true, streamed", reasoning_stream),
)
