"""Greedy answers about pictures, sound and video: finite, repeatable, and the same as in another run.

What an encoder gives is a part of the prompt, so a mask that it drops gives another text. The chat endpoint gives
tokens as texts, not as ids (``ChatCompletionTokenLogprob`` in ``sglang/srt/entrypoints/openai/protocol.py``, 0.5.11 to
0.5.23), so a token is stored as the number that its UTF-8 bytes make.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class _NoLogprobs(Exception):
    """An answer without them, which cannot be compared."""


def checks(
    held: Held | None = None, base: Greedy | None = None, known: frozenset[str] = frozenset()
) -> tuple[Check, ...]:
    """The check.

    Args:
        held: Gets the answers.
        base: Those of another run with the same weights, or None.
        known: Kinds of media that are known to be broken here, and left out.
    """
    held = held or Held()

    def run(session: Session) -> Outcome:
        return _run(session, held, base, known)

    return (Check("greedy-senses", "greedy", "greedy answers about media, again and beside another run", run),)


def _run(session: Session, held: Held, base: Greedy | None, known: frozenset[str]) -> Outcome:
    prompts = [each for each in _prompts() if each[0] not in known]
    if not prompts:
        return skip("no kind of media is answered here")
    try:
        first, again = ([_ask(session, name, content) for _, name, content in prompts] for _ in range(2))
    except _NoLogprobs as problem:
        return warn(str(problem))
    held.senses = Greedy(tuple(first))
    bad = [each.name for each in (*first, *again) if None in each.logprobs]
    numbers: dict[str, float | int | str | None] = {"answers": len(first) + len(again), "bad_answers": len(bad)}
    if bad:
        return fail(f"{bad[0]}: a log probability is no number", numbers=numbers)
    repeated = compare_all(zip(first, again, strict=True))
    beside = Comparison()
    if base is not None:
        pairs = [(other, mine) for mine in first if (other := base.named(mine.name)) is not None]
        beside = compare_all(pairs)
        numbers["answers_compared"] = len(pairs)
        numbers |= {f"other_run_{name}": value for name, value in beside.numbers().items()}
    numbers |= {f"repeated_{name}": value for name, value in repeated.numbers().items()}
    for found, what in ((repeated, "asked again"), (beside, "beside the other run")):
        problems = found.problems(TOLERANCE) if found.sequences else []
        if problems:
            return fail(f"{what}: {problems[0]}", *problems[1:8], numbers=numbers)
    says = f"asked again: {repeated.text()}"
    return ok(f"{says}; beside the other run: {beside.text()}" if beside.sequences else says, numbers=numbers)


def _prompts() -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Kind, name and content of each."""
    for kind, groups in SHOWN.items():
        for names in groups:
            for at, question in enumerate(QUESTIONS):
                parts = [url_part(kind, media.data_uri(name)) for name in names]
                yield kind, f"{' and '.join(names)}, question {at + 1}", [*parts, text_part(question)]


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
