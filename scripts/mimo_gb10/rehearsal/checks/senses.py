"""Greedy answers about pictures, sound and video: finite, repeatable, and the same as in another run.

What an encoder gives is a part of the prompt, so a mask that it drops gives another text. The chat endpoint gives
tokens as texts, not as ids (``ChatCompletionTokenLogprob`` in ``sglang/srt/entrypoints/openai/protocol.py``, 0.5.11 to
0.5.23), so a token is stored as the number that its UTF-8 bytes make.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from mimo_gb10.rehearsal.checks.compare import TOLERANCE, Comparison, Continuation, compare_all
from mimo_gb10.rehearsal.checks.generate import Top, number
from mimo_gb10.rehearsal.checks.greedy import Greedy, Held
from mimo_gb10.smoke import media
from mimo_gb10.smoke.chat import CHAT, request, text_part, url_part
from mimo_gb10.smoke.check import Check, Outcome, Session, fail, ok, skip, warn

COUNT = 16
"""Tokens of each answer."""

TOP = 16
"""How many of the likeliest tokens are asked for at each position."""

FIRST = 0.2
"""Median distance in nats of the likeliest first tokens from which an encoder has given something else.

At the first token nothing has parted yet, so this sees what the tolerance for whole answers takes for rounding. Seen
with SGLang 0.5.17 on two H100, among six servers (docs/evidence/rehearsals):

=======  ==============  ============================
kind     the same masks  with masks and without them
=======  ==============  ============================
image    0.02 to 0.12    0.38 to 0.44
audio    0.00 to 0.15    1.13 to 1.39
video    0.02 to 0.11    0.11 to 0.25
=======  ==============  ============================

The clip is so small that its windows leave out little: a mask that is missing there may pass.
"""

QUESTIONS = (
    "What is it?",
    "Name every colour in it.",
    "What comes first, and what comes last?",
    "Is there anything in it that is round, loud or fast?",
)
SHOWN = {
    "image": ((media.SHAPES,), (media.CROSS,), (media.SHAPES, media.CROSS)),
    "audio": ((media.WAV,),),
    "video": ((media.CLIP,),),
}
"""By kind, what each question is asked about."""

ASKED = {
    f"{' and '.join(names)}, question {at + 1}": (kind, names, question)
    for kind, groups in SHOWN.items()
    for names in groups
    for at, question in enumerate(QUESTIONS)
}
"""Kind, media and question of each answer, by the name under which it is stored."""


class _NoLogprobs(Exception):
    """An answer without them, which cannot be compared."""


def checks(
    held: Held | None = None,
    base: Greedy | None = None,
    known: frozenset[str] = frozenset(),
    unlike: frozenset[str] = frozenset(),
) -> tuple[Check, ...]:
    """The check.

    Args:
        held: Gets the answers.
        base: Those of another run with the same weights, or None.
        known: Kinds of media that are known to be broken here, and left out.
        unlike: Kinds whose encoder attends otherwise than the base's: how much that changes is told, and is no fault.
    """
    held = held or Held()

    def run(session: Session) -> Outcome:
        return _run(session, held, base, known, unlike)

    return (Check("greedy-senses", "greedy", "greedy answers about media, again and beside another run", run),)


def _run(session: Session, held: Held, base: Greedy | None, known: frozenset[str], unlike: frozenset[str]) -> Outcome:
    prompts = {
        name: [*(url_part(kind, media.data_uri(one)) for one in names), text_part(question)]
        for name, (kind, names, question) in ASKED.items()
        if kind not in known
    }
    if not prompts:
        return skip("no kind of media is answered here")
    try:
        first, again = ([_ask(session, name, content) for name, content in prompts.items()] for _ in range(2))
    except _NoLogprobs as problem:
        return warn(str(problem))
    held.senses = Greedy(tuple(first))
    bad = [each.name for each in (*first, *again) if None in each.logprobs]
    numbers: dict[str, float | int | str | None] = {"answers": len(first) + len(again), "bad_answers": len(bad)}
    if bad:
        return fail(f"{bad[0]}: a log probability is no number", numbers=numbers)
    repeated = compare_all(zip(first, again, strict=True))
    beside = otherwise = Comparison()
    apart: dict[str, float | None] = {}
    if base is not None:
        pairs = _pairs(base, held.senses)
        beside = compare_all((theirs, mine) for kind, theirs, mine in pairs if kind not in unlike)
        otherwise = compare_all((theirs, mine) for kind, theirs, mine in pairs if kind in unlike)
        apart = first_apart(base, held.senses)
        numbers["answers_compared"] = len(pairs)
        numbers |= {f"first_token_{kind}_median_nats": value for kind, value in apart.items()}
        numbers |= {f"other_run_{name}": value for name, value in beside.numbers().items()}
        if otherwise.sequences:
            numbers |= {f"other_encoder_{name}": value for name, value in otherwise.numbers().items()}
    numbers |= {f"repeated_{name}": value for name, value in repeated.numbers().items()}
    for found, what in ((repeated, "asked again"), (beside, "beside the other run")):
        problems = found.problems(TOLERANCE) if found.sequences else []
        if problems:
            return fail(f"{what}: {problems[0]}", *problems[1:8], numbers=numbers)
    far = [
        f"{kind}: the likeliest first tokens are {value:.2f} nats apart in the median, {FIRST} at most is rounding"
        for kind, value in apart.items()
        if kind not in unlike and value and value > FIRST
    ]
    if far:
        return fail(f"beside the other run: {far[0]}", *far[1:], numbers=numbers)
    says = [f"asked again: {repeated.text()}"]
    if beside.sequences:
        says.append(f"beside the other run: {beside.text()}")
    if otherwise.sequences:
        kinds = " and ".join(sorted(unlike - known))
        says.append(f"beside the other run's encoder, which attends otherwise ({kinds}): {otherwise.text()}")
    return ok("; ".join(says), numbers=numbers)


def first_apart(one: Greedy, other: Greedy) -> dict[str, float | None]:
    """How far apart the likeliest first tokens of two runs' answers are.

    Returns:
        By kind of media the median difference in nats, over the tokens that both answers name; None if there are none.
    """
    found: dict[str, list[float]] = {}
    for kind, mine, theirs in _pairs(one, other):
        tops = [dict(each.tops[0]) if each.tops else {} for each in (mine, theirs)]
        found.setdefault(kind, []).extend(abs(tops[0][token] - tops[1][token]) for token in tops[0].keys() & tops[1])
    return {kind: round(statistics.median(values), 5) if values else None for kind, values in found.items()}


def _pairs(one: Greedy, other: Greedy) -> list[tuple[str, Continuation, Continuation]]:
    """The answers that both runs have, with their kind."""
    return [
        (ASKED[theirs.name][0], mine, theirs)
        for theirs in other.continuations
        if (mine := one.named(theirs.name)) is not None
    ]


def _ask(session: Session, name: str, content: Sequence[dict[str, Any]]) -> Continuation:
    body = request(
        session.model, list(content), max_tokens=COUNT, logprobs=True, top_logprobs=TOP, ignore_eos=True
    )  # fmt: skip
    answer = session.client.post(CHAT, body).expect()
    try:
        entries = answer.json()["choices"][0]["logprobs"]["content"]
        tokens = tuple(_id(entry["token"]) for entry in entries)
        values = tuple(number(entry["logprob"]) for entry in entries)
        tops = tuple(_top(entry["top_logprobs"]) for entry in entries)
    except (LookupError, TypeError, AttributeError) as problem:
        raise _NoLogprobs(f"{name}: the answer has no log probabilities ({problem!r})") from None
    return Continuation(name, (), tokens, values, tops)


def _id(text: str) -> int:
    return int.from_bytes(text.encode(), "big")


def _top(entries: Sequence[Any]) -> Top:
    pairs = ((_id(entry["token"]), number(entry["logprob"])) for entry in entries)
    return tuple(sorted(((token, value) for token, value in pairs if value is not None), key=lambda pair: -pair[1]))
