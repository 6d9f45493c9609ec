"""Greedy continuations: finite, repeatable, independent of cache and neighbours, and right.

Random weights make this sharp. No habit of language hides a fault: each token depends on all that is attended to, so a
wrong mask, a stale window buffer or a lost cache line gives another text.
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.rehearsal.checks.compare import (
    TOLERANCE,
    Beside,
    Comparison,
    Continuation,
    Tolerance,
    beside,
    compare,
    compare_all,
    follow,
    spread,
    too_far,
)
from mimo_gb10.rehearsal.checks.generate import Generated, flush, generate, input_logprobs, refuses_logprobs
from mimo_gb10.smoke.check import Check, Outcome, Session, Status, fail, ok, skip, together, warn
from mimo_gb10.smoke.client import Client, Failure

AREA = "greedy"
COUNT = 32
"""Tokens of each continuation."""

WINDOW = 128
"""The sliding window of MiMo-V2.5 and of the tiny model, in tokens: prompts lie on both sides of its edge, where the
code takes another way. That the edge itself is one off would be less than rounding (see `Tolerance`)."""

LENGTHS = (1, 2, 17, 50, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 300, 700, 1100, 2000)
"""Prompt lengths in tokens: one, less than a window, at its edge, several windows, a long prefill."""

IDS = (32, 240)
"""The first id that prompts use and the first that they do not: single bytes in any byte-level vocabulary, so that no
token of a picture, a sound or the chat template comes in."""

REPEATED = (1, WINDOW, 700)
TIMES = 20
OTHERS = 16
"""Requests that run beside the compared ones, as many as the issue asks for at the least."""

_LONGER = 40
"""Tokens that are put behind a cached prompt."""

Reference = Callable[[Sequence[int], Sequence[int]], Sequence[Sequence[float]]]
"""Takes a prompt and the tokens generated from it, and gives rows of log probabilities over the vocabulary. The last
row is for what comes after the last token, the one before it for the last token, and so on; rows for tokens of the
prompt may come first."""


def prompt(length: int, seed: int = 0) -> tuple[int, ...]:
    """A fixed prompt of so many token ids."""
    chooser = random.Random(f"{seed}-{length}")
    return tuple(chooser.randrange(*IDS) for _ in range(length))


def name_of(length: int) -> str:
    """What a prompt is called."""
    return f"prompt of {length}"


@dataclass(frozen=True)
class Greedy:
    """The continuations of one run, to be stored in its receipt and compared with another run's.

    Attributes:
        continuations: One a prompt.
    """

    continuations: tuple[Continuation, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"continuations": [each.as_dict() for each in self.continuations]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Greedy:
        """The reverse of `as_dict`.

        Raises:
            ValueError: If it is none.
        """
        entries = data.get("continuations")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("no stored greedy run: no list of continuations")
        return cls(tuple(Continuation.from_dict(entry) for entry in entries))

    def named(self, name: str) -> Continuation | None:
        """The continuation of one prompt, or None."""
        return next((each for each in self.continuations if each.name == name), None)


@dataclass
class Held:
    """What the checks of one run leave behind.

    Attributes:
        greedy: The continuations, each taken alone and with an empty cache; None before the first check, or if it
            failed to get them.
        senses: The answers about media, see `checks.senses`; None where they were not asked for.
        answers: How many answers were looked at for numbers.
        values: How many log probabilities.
        bad: How many of these are no numbers.
        silent: Whether the server gives no log probabilities.
    """

    greedy: Greedy | None = None
    senses: Greedy | None = None
    answers: int = 0
    values: int = 0
    bad: int = 0
    silent: bool = False


@dataclass(frozen=True)
class Settings:
    """How much is asked for; tests ask for little.

    Attributes:
        lengths: Of the prompts, in tokens.
        count: Tokens of each continuation.
        repeated: Lengths of the prompts that are repeated.
        times: How often.
        others: How many requests run beside.
        tolerance: What is rounding between two runs of one server.
        reference: What is rounding against a reference that computes in another precision.
    """

    lengths: tuple[int, ...] = LENGTHS
    count: int = COUNT
    repeated: tuple[int, ...] = REPEATED
    times: int = TIMES
    others: int = OTHERS
    tolerance: Tolerance = TOLERANCE
    reference: Tolerance = TOLERANCE


def checks(
    held: Held | None = None,
    *,
    reference: Reference | None = None,
    base: Greedy | None = None,
    settings: Settings | None = None,
) -> tuple[Check, ...]:
    """The greedy checks, in the order in which they must run: the first gets what the others compare with.

    Args:
        held: Filled while they run.
        reference: Computes the same model in another way.
        base: The continuations of another run with the same weights.
        settings: How much to ask for.
    """
    work = _Work(held or Held(), reference, base, settings or Settings())
    return (
        Check("greedy-finite", AREA, "every log probability is a number", work.finite),
        Check("greedy-repeat", AREA, "the same request again and again, alone", work.repeat),
        Check("greedy-cached", AREA, "the same with a cached prefix", work.cached),
        Check("greedy-among-others", AREA, "the same while others run", work.among_others),
        Check("greedy-decode-equals-prefill", AREA, "the prefill gives each decoded token its logprob", work.prefill),
        Check("greedy-reference", AREA, "the same from a reference", work.equals_reference),
        Check("greedy-equals-base", AREA, "the same as in another run", work.equals_base),
    )


class _Work:
    """The checks of one run."""

    def __init__(self, held: Held, reference: Reference | None, base: Greedy | None, settings: Settings) -> None:
        self.held = held
        self.reference = reference
        self.base = base
        self.settings = settings
        self._lock = threading.Lock()
        self._wrong: list[str] = []
        self._hits = 0
        self._bad_before = 0

    # --- asking

    def _ask(
        self, client: Client, name: str, ids: Sequence[int], count: int | None = None, temperature: float = 0.0
    ) -> Continuation:
        """A continuation; its log probabilities are looked at and counted."""
        count = count or self.settings.count
        asks = not self.held.silent
        try:
            answer = generate(client, ids, count, logprobs=asks, temperature=temperature)
        except Failure as problem:
            if not asks or not refuses_logprobs(problem):
                raise Failure(problem.kind, f"{name}: {problem.says}", *problem.evidence) from None
            self.held.silent = True
            answer = generate(client, ids, count, logprobs=False, temperature=temperature)
        self._look(name, answer, greedy=temperature == 0)
        return Continuation.of(name, ids, answer)

    def _follow(self, client: Client, base: Continuation) -> Comparison:
        """The server beside a continuation, to its end."""
        return follow(base, functools.partial(self._ask, client, base.name), self.settings.tolerance)

    def _look(self, name: str, answer: Generated, *, greedy: bool) -> None:
        """Count an answer, and note what is wrong with it by itself."""
        unlikely = answer.unlikely() if greedy else []
        with self._lock:
            self._hits += bool(answer.cached)
            self.held.values += len(answer.logprobs) + sum(len(top) for top in answer.tops)
            self._note(name, answer.bad, answer.missing())
            if unlikely:
                self._wrong.append(f"{name}: token {unlikely[0]} is not the likeliest by its own log probabilities")

    def _note(self, name: str, bad: int, places: Sequence[int]) -> None:
        self.held.answers += 1
        if bad:
            self.held.bad += bad
            where = f" (tokens {', '.join(map(str, places[:8]))})" if places else ""
            self._wrong.append(f"{name}: {bad} log probabilities are NaN, infinite or missing{where}")

    def _prompts(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(name_of(length), prompt(length)) for length in self.settings.lengths]

    def _greedy(self) -> Greedy:
        """The continuations of this run.

        Raises:
            Failure: If the first check did not get them.
        """
        if self.held.greedy is None:
            raise Failure("shape", "there are no continuations to compare with: see greedy-finite")
        return self.held.greedy

    # --- judging

    def _start(self) -> None:
        self._bad_before = self.held.bad
        self._wrong.clear()
        self._hits = 0

    def _bad(self) -> int:
        """How many log probabilities were no numbers since the check began."""
        return self.held.bad - self._bad_before

    def _judge(self, found: Comparison, what: str, **more: float | int | None) -> Outcome:
        numbers = {**found.numbers(), **more, "bad_logprobs": self._bad()}
        problems = found.problems(self.settings.tolerance)
        if self._wrong:
            return fail(self._wrong[0], *self._wrong[1:6], *problems[:6], numbers=numbers)
        if problems:
            return fail(f"{what}: {problems[0]}", *problems[1:8], numbers=numbers)
        if not found.sequences:
            return skip(f"{what}: nothing to compare")
        ties = [f"near tie: {parting.text()}" for parting in found.ties[:3]]
        return ok(f"{what}: {found.text()}", *ties, numbers=numbers)

    # --- the checks

    def finite(self, session: Session) -> Outcome:
        """Each prompt alone with an empty cache: what the other checks compare with."""
        self._start()
        flush(session.client)
        taken = tuple(self._ask(session.client, name, ids) for name, ids in self._prompts())
        self.held.greedy = Greedy(taken)
        numbers = {
            "answers": len(taken),
            "tokens": sum(len(each.tokens) for each in taken),
            "bad_logprobs": self._bad(),
            "distinct_tokens": len({token for each in taken for token in each.tokens}),
            "near_ties_in_reach": sum(
                gap is not None and gap < self.settings.tolerance.tie for each in taken for gap in each.gaps()
            ),
        }
        if self.held.silent:
            says = "this server gives no log probabilities: NaN cannot be seen, near ties cannot be told"
            return warn(says, numbers=numbers)
        without = [each.name for each in taken if not each.logprobs]
        if without:
            return fail(
                f"no log probabilities came for {without[0]}", f"none for {', '.join(without)}", numbers=numbers
            )
        if self._wrong:
            return fail(self._wrong[0], *self._wrong[1:8], numbers=numbers)
        tokens = [token for each in taken for token in each.tokens]
        zeros = tokens.count(0)
        if zeros > max(3, len(tokens) // 10):
            return fail(f"{zeros} of {len(tokens)} tokens are token 0, which argmax gives for NaN", numbers=numbers)
        return ok(f"{self.held.values} log probabilities of {len(taken)} answers are numbers", numbers=numbers)

    def repeat(self, session: Session) -> Outcome:
        """The same request many times, alone: the first with an empty cache, the others find it there."""
        self._start()
        run = self._greedy()
        flush(session.client)
        found, alike = Comparison(), 0
        for length in self.settings.repeated:
            base = run.named(name_of(length))
            if base is None:
                continue
            answers = [self._ask(session.client, base.name, base.prompt) for _ in range(self.settings.times)]
            found += compare_all(((base, answer) for answer in answers), self.settings.tolerance)
            # Against each other as well: base against each would let two camps of near ties pass for one.
            alike += sum(answer.tokens == answers[1].tokens for answer in answers[1:]) if len(answers) > 1 else 0
        return self._judge(found, f"{self.settings.times} times each", equal_to_the_second=alike)

    def cached(self, session: Session) -> Outcome:
        """A prompt whose prefix is in the cache, and a longer one that begins with it."""
        self._start()
        run, client = self._greedy(), session.client
        flush(client)
        longer = []
        for base in run.continuations:
            ids = (*base.prompt, *prompt(_LONGER, seed=len(base.prompt)))
            longer.append(self._ask(client, f"{base.name} and {_LONGER} more", ids))
        flush(client)
        found = Comparison()
        self._hits = 0
        for base, more in zip(run.continuations, longer, strict=True):
            found += compare(base, self._ask(client, base.name, base.prompt), self.settings.tolerance)
            found += self._follow(client, base) + self._follow(client, more)
        outcome = self._judge(found, "with a cached prefix", answers_from_the_cache=self._hits)
        if self._hits or outcome.status is not Status.OK:
            return outcome
        says = "no answer says that it took anything from the cache: is it switched off?"
        return warn(says, outcome.says, *outcome.evidence, numbers=outcome.numbers)

    def among_others(self, session: Session) -> Outcome:
        """The same while others run, first with an empty cache, then with what the first left there."""
        self._start()
        run = self._greedy()
        flush(session.client)
        others = _Others(functools.partial(self._ask, session.client), self.settings.others)
        found = Comparison()
        with others:
            for _ in range(2):
                jobs = [functools.partial(self._follow, session.client, base) for base in run.continuations]
                # Four at a time: the batch changes its size under way.
                for at in range(0, len(jobs), 4):
                    for step in together(jobs[at : at + 4]):
                        if isinstance(step, Failure):
                            raise step
                        found += step
        outcome = self._judge(found, f"among {self.settings.others} others", others_answered=others.answered)
        if others.failures and outcome.status is Status.OK:
            return fail(f"{len(others.failures)} of the others failed: {others.failures[0]}", *outcome.evidence,
                        numbers=outcome.numbers)  # fmt: skip
        return outcome

    def prefill(self, session: Session) -> Outcome:
        """Prompt and continuation as one prompt: each token gets the log probability that decoding gave it."""
        self._start()
        run = self._greedy()
        if self.held.silent:
            return skip("this server gives no log probabilities")
        flush(session.client)
        differences: list[tuple[float, str]] = []
        first: list[float] = []
        for base in run.continuations:
            values = input_logprobs(session.client, (*base.prompt, *base.tokens), len(base.prompt))
            self.held.values += len(values)
            bad = [at for at, value in enumerate(values) if value is None]
            self._note(f"{base.name}, as input", len(bad), bad)
            found = list(_differences(base, values))
            differences += found
            first += [value for value, _ in found[:1]]
        numbers = {**spread([value for value, _ in differences]), "bad_logprobs": self._bad()}
        numbers["first_token_difference_max_nats"] = round(max(first), 5) if first else None
        problems = too_far(differences, self.settings.tolerance)
        worst = [f"{where}: {value:.3f} nats apart" for value, where in sorted(differences, reverse=True)[:5]]
        if self._wrong:
            return fail(self._wrong[0], *self._wrong[1:6], *worst, numbers=numbers)
        if problems:
            return fail(f"decode and prefill disagree: {problems[0]}", *problems[1:], *worst, numbers=numbers)
        if not differences:
            return skip("there are no log probabilities to compare with: see greedy-finite")
        says = f"{len(differences)} decoded tokens, log probabilities at most {max(differences)[0]:.3f} nats apart"
        return ok(says, *worst[:1], numbers=numbers)

    def equals_reference(self, session: Session) -> Outcome:
        """The reference follows the server's tokens and says at each what it would have taken."""
        self._start()
        if self.reference is None:
            return skip("no reference to compare with")
        found = Beside()
        for base in self._greedy().continuations:
            rows = self.reference(base.prompt, base.tokens)
            if len(rows) <= len(base.tokens):
                return fail(f"the reference gave {len(rows)} rows, more than {len(base.tokens)} are due")
            found += beside(base, rows, self.settings.reference)
        problems = found.problems(self.settings.reference)
        if problems:
            says = f"{len(found.wrong)} of {found.tokens} tokens are not the reference's: " if found.wrong else ""
            return fail(f"{says}{problems[0]}", *problems[:8], numbers=found.numbers())
        says = f"{found.agreed} tokens are the reference's, {found.ties} at a near tie"
        return ok(says, numbers=found.numbers())

    def equals_base(self, session: Session) -> Outcome:
        """Another run's continuations, for example of one without speculation, followed here."""
        self._start()
        if self.base is None:
            return skip("no other run to compare with")
        flush(session.client)
        found = sum((self._follow(session.client, base) for base in self.base.continuations), Comparison())
        return self._judge(found, "beside the other run")


def _differences(base: Continuation, values: Sequence[float | None]) -> Iterator[tuple[float, str]]:
    for at, (decoded, given) in enumerate(zip(base.logprobs, values, strict=False)):
        if decoded is not None and given is not None:
            yield abs(decoded - given), f"{base.name}, token {at}: {decoded:.3f} decoded, {given:.3f} as input"


class _Others:
    """Requests without end, of many lengths, half of them sampled, as long as the block lasts."""

    def __init__(self, ask: Callable[..., Continuation], count: int) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._ask = ask
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(at,), daemon=True) for at in range(count)]

    def _work(self, which: int) -> None:
        chooser = random.Random(f"others-{which}")
        while not self._stop.is_set():
            length = chooser.choice((1, 20, 100, 129, 400, 900))
            ids = prompt(length, seed=chooser.randrange(1, 1 << 30))
            try:
                self._ask(f"another, {length} tokens", ids, temperature=chooser.choice((0.0, 0.8)))
            except Failure as problem:
                self.failures.append(problem.says)
                # A server that refuses at once is not to be hammered.
                self._stop.wait(0.2)
            else:
                with self._lock:
                    self.answered += 1

    def __enter__(self) -> _Others:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
