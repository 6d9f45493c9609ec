"""Minutes of mixed requests, many at once: does anything die, answer wrongly, or grow?

The times that are seen here are those of a tiny model with random weights on whatever machine it is, and say nothing
about speed: only the longest wait is told, because a server that stalls for a minute trips watchdogs.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mimo_gb10.rehearsal.checks.compare import Continuation, compare
from mimo_gb10.rehearsal.checks.generate import generate, refuses_logprobs
from mimo_gb10.rehearsal.checks.greedy import name_of, prompt
from mimo_gb10.rehearsal.checks.requests import KINDS as KINDS
from mimo_gb10.rehearsal.checks.requests import Request, make
from mimo_gb10.smoke.check import Check, Outcome, Session, fail, ok, warn
from mimo_gb10.smoke.client import Client, Failure, shorten

SECONDS = 300.0
AT_ONCE = 24
WARM = 60.0
"""Seconds after which memory has to be level: by then each kind of request has come many times."""

GROWTH = 256.0
"""MiB that a rank's memory may grow by after that. Our estimate: above what an allocator keeps for a new mix of lengths
(some tens of MiB with the tiny model), below what a leak of 100 kB a request makes of some thousand requests."""

_PLAIN = 129


def checks(
    *,
    alive: Callable[[], str | None],
    memory: Callable[[], Mapping[str, float]],
    seconds: float = SECONDS,
    at_once: int = AT_ONCE,
    known: frozenset[str] = frozenset(),
    seed: int = 0,
    warm: float = WARM,
    growth: float = GROWTH,
) -> tuple[Check, ...]:
    """The stress check.

    Args:
        alive: None while all ranks live, else why not.
        memory: MiB by name, for example one name a rank and kind of memory.
        seconds: How long.
        at_once: How many workers; each asks again as soon as it was answered.
        known: Kinds (see `requests.KINDS`) that are known to be broken here, and left out.
        seed: Of the mix.
        warm: Seconds after which memory has to be level.
        growth: By how many MiB each may still grow.

    Raises:
        ValueError: If a known kind is none.
    """
    unknown = known - KINDS.keys()
    if unknown:
        raise ValueError(f"no kind of request is called {sorted(unknown)[0]!r}: {', '.join(KINDS)}")
    load = Load(alive, memory, seconds, at_once, known, seed, warm, growth)
    return (Check("stress", "stress", f"{seconds:g} s of mixed requests, {at_once} at once", load.run),)


@dataclass
class Tally:
    """What has been seen, by kind.

    Attributes:
        statuses: How many requests of a kind ended how: an HTTP status, or the kind of a `Failure`.
        errors: The first messages by kind.
        bad: Answers with log probabilities that are no numbers.
        longest: The longest wait of a kind in seconds.
    """

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: dict[str, list[str]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, status: str, seconds: float, error: str = "", bad: int = 0) -> None:
        """One request more."""
        with self.lock:
            self.statuses[kind, status] += 1
            self.longest[kind] = max(seconds, self.longest.get(kind, 0.0))
            if error:
                self.errors.setdefault(kind, []).append(error)
            if bad:
                self.bad.append(f"{kind}: {bad} log probabilities are no numbers")

    def total(self) -> int:
        """How many requests."""
        return sum(self.statuses.values())

    def of(self, *, probes: bool, good: bool) -> int:
        """How many health probes, or other requests, ended well or not."""
        return sum(
            count
            for (kind, status), count in self.statuses.items()
            if KINDS[kind].probe == probes and (status in ("200", "aborted")) == good
        )


@dataclass(frozen=True)
class Load:
    """The stress check with all that it needs."""

    alive: Callable[[], str | None]
    memory: Callable[[], Mapping[str, float]]
    seconds: float
    at_once: int
    known: frozenset[str]
    seed: int
    warm: float
    growth: float

    def run(self, session: Session) -> Outcome:
        """Load the server, and see what is left of it."""
        before = self._plain(session.client)
        samples: list[tuple[float, Mapping[str, float]]] = [(0.0, dict(self.memory()))]
        tally, stop = Tally(), threading.Event()
        kinds = [kind for kind in KINDS if kind not in self.known]
        workers = [
            threading.Thread(target=self._work, args=(session, tally, stop, which, kinds), daemon=True)
            for which in range(self.at_once)
        ]
        start = time.monotonic()
        for worker in workers:
            worker.start()
        dead = self._watch(start, stop, samples)
        stop.set()
        hung = _join(workers, 5.0 if dead else session.client.timeout + 5.0)
        dead = dead or self.alive()
        samples.append((time.monotonic() - start, dict(self.memory())))
        after = [] if dead else self._afterwards(session.client, before)
        return self._judge(tally, samples, dead, hung, after)

    def _plain(self, client: Client) -> Continuation:
        """A greedy text of a prompt longer than a window."""
        ids = prompt(_PLAIN)
        try:
            answer = generate(client, ids, 16)
        except Failure as problem:
            if not refuses_logprobs(problem):
                raise
            answer = generate(client, ids, 16, logprobs=False)
        return Continuation.of(name_of(_PLAIN), ids, answer)

    def _watch(
        self, start: float, stop: threading.Event, samples: list[tuple[float, Mapping[str, float]]]
    ) -> str | None:
        """Wait until the time is over, looking whether the ranks live; why they do not, if so."""
        step = min(1.0, self.seconds / 20)
        sampled = 0.0
        while (passed := time.monotonic() - start) < self.seconds:
            dead = self.alive()
            if dead:
                return dead
            if passed - sampled >= min(5.0, self.warm / 4, self.seconds / 10):
                sampled = passed
                samples.append((passed, dict(self.memory())))
            stop.wait(step)
        return None

    def _work(self, session: Session, tally: Tally, stop: threading.Event, which: int, kinds: Sequence[str]) -> None:
        chooser = random.Random(f"{self.seed}-{which}")
        weights = [KINDS[kind].weight for kind in kinds]
        number = 0
        while not stop.is_set():
            # Each kind once at first, shared out among the workers: a rare one must not come for the first time late.
            turn = which + number * self.at_once
            kind = kinds[turn] if turn < len(kinds) else chooser.choices(kinds, weights)[0]
            number += 1
            asked = Request(kind, chooser, session.model, f"{self.seed}-{which}-{number}")
            begin = time.monotonic()
            try:
                status, error, bad = make(session.client, asked)
            except Failure as problem:
                status, error, bad = problem.kind, shorten("; ".join((problem.says, *problem.evidence)), 200), 0
            except Exception as problem:  # A thread would print it and end.
                status, error, bad = "shape", f"{type(problem).__name__}: {problem}", 0
            tally.add(kind, status, time.monotonic() - begin, error, bad)
            if error:
                # A server that refuses at once is not to be hammered.
                stop.wait(0.2)

    def _afterwards(self, client: Client, before: Continuation) -> list[str]:
        """What is wrong with the server now that it is left alone."""
        found = []
        try:
            found += compare(before, self._plain(client)).problems()
        except Failure as problem:
            found.append(f"a plain request is not answered: {problem.says}")
        try:
            status = client.get("/health").status
            if status != 200:
                found.append(f"/health answers {status}")
        except Failure as problem:
            found.append(f"/health: {problem.says}")
        return found

    def _judge(
        self,
        tally: Tally,
        samples: Sequence[tuple[float, Mapping[str, float]]],
        dead: str | None,
        hung: int,
        after: Sequence[str],
    ) -> Outcome:
        grown, memory = level(samples, self.warm, self.growth)
        failed, refused = _sorted_errors(tally)
        lost = tally.of(probes=True, good=False)
        numbers: dict[str, float | int | str | None] = {
            "seconds": round(samples[-1][0], 1),
            "requests": tally.total(),
            "at_once": self.at_once,
            "left_out": ", ".join(sorted(self.known)) or None,
            "health_probes_failed": lost,
            "answers_with_bad_logprobs": len(tally.bad),
            "longest_wait_seconds": round(max(tally.longest.values(), default=0.0), 1),
            **{f"{kind}_{status}": count for (kind, status), count in sorted(tally.statuses.items())},
            **memory,
        }
        lines = [f"{kind}: {error}" for kind, errors in sorted(tally.errors.items()) for error in errors[:5]]
        problems = [
            *([f"died after {samples[-1][0]:.0f} s and {tally.total()} requests: {dead}"] if dead else []),
            *([f"NaN: {tally.bad[0]} ({len(tally.bad)} answers)"] if tally.bad else []),
            *failed,
            *([f"{hung} requests never ended"] if hung else []),
            *(f"afterwards: {problem}" for problem in after),
            *(() if dead else grown),
        ]
        if problems:
            return fail(problems[0], *problems[1:], *lines, numbers=numbers)
        says = (
            f"{tally.total()} requests in {samples[-1][0]:.0f} s, {self.at_once} at once; all ranks live, memory level"
        )
        if refused:
            return warn(f"{says}; {refused[0]}", *refused[1:], *lines, numbers=numbers)
        if lost:
            return warn(f"{says}; {lost} health probes failed meanwhile", *lines, numbers=numbers)
        return ok(says, numbers=numbers)


def _sorted_errors(tally: Tally) -> tuple[list[str], list[str]]:
    """What ended in a server's error or in none at all, and what was refused (4xx), a line for each kind and status."""
    failed: list[str] = []
    refused: list[str] = []
    for (kind, status), count in sorted(tally.statuses.items()):
        if status in ("200", "aborted") or KINDS[kind].probe:
            continue
        message = tally.errors.get(kind, ["no message"])[0]
        line = f"{count} requests of kind {kind} ended in {status}: {message}"
        (refused if status.startswith("4") else failed).append(line)
    return failed, refused


def level(
    samples: Sequence[tuple[float, Mapping[str, float]]], warm: float, growth: float
) -> tuple[list[str], dict[str, float | int | str | None]]:
    """Whether memory stays level once a server is warm.

    Args:
        samples: Seconds since the start, and MiB by name.
        warm: From when on it should be.
        growth: By how many MiB it may still grow.

    Returns:
        What grew, a line each, and the figures.
    """
    # A run shorter than the warm-up is judged from its middle on.
    begin = min(warm, samples[-1][0] / 2)
    warmed = next((sample for at, sample in samples if at >= begin), samples[-1][1])
    grown: list[str] = []
    numbers: dict[str, float | int | str | None] = {}
    for name, end in samples[-1][1].items():
        at_start, at_warm = samples[0][1].get(name), warmed.get(name)
        key = name.replace(" ", "_")
        numbers |= {
            f"{key}_start_mib": None if at_start is None else round(at_start, 1),
            f"{key}_warm_mib": None if at_warm is None else round(at_warm, 1),
            f"{key}_end_mib": round(end, 1),
            f"{key}_peak_mib": round(max(sample[name] for _, sample in samples if name in sample), 1),
        }
        if at_warm is not None and end - at_warm > growth:
            grown.append(f"{name} grew by {end - at_warm:.0f} MiB after {begin:.0f} s ({growth:g} are allowed)")
    return grown, numbers


def _join(workers: Sequence[threading.Thread], seconds: float) -> int:
    """Wait for the workers together for so long; how many are still at it."""
    until = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
    return sum(worker.is_alive() for worker in workers)
