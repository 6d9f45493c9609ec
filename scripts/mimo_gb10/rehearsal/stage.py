"""The server of a rehearsal while it is asked: started, awaited, checked, revived when a check brought it down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mimo_gb10.rehearsal.ranks import Ranks
from mimo_gb10.smoke.check import Check, Session, Status, skip
from mimo_gb10.smoke.client import Client
from mimo_gb10.smoke.runner import Result, run
from mimo_gb10.smoke.waiting import State, look

_PAUSE = 1.0
_SETTLE = 3.0
"""Seconds after a failed check until a dying rank has ended."""

MAX_REVIVALS = 12


@dataclass
class Stage:
    """A server and how often it had to be started.

    Attributes:
        ranks: Its processes.
        client: Its HTTP interface, on rank 0.
        ready_within: Seconds that a start may take.
        tell: Called while it starts, with the seconds that passed and what is seen.
        starts: Seconds of each start that ended in a ready server.
        deaths: By the name of the check that was running: which ranks ended and how, or that the server hung.
        not_ready: Why it is not there; None while it is.
        running: The check that is running.
        answered: What the checks came to for a client, who is not told which rank ended.
    """

    ranks: Ranks
    client: Client
    ready_within: float
    tell: Callable[[float, str], None] = lambda seconds, says: None
    starts: list[float] = field(default_factory=list)
    deaths: list[tuple[str, str]] = field(default_factory=list)
    not_ready: str | None = None
    running: str = ""
    answered: list[Result] = field(default_factory=list)

    def wait(self) -> bool:
        """Wait until the server answers; False if a rank ends or the time is over (`not_ready` says which)."""
        start = time.monotonic()
        while True:
            dead = self.ranks.why_dead()
            passed = time.monotonic() - start
            if dead is not None:
                self.not_ready = f"{dead} after {passed:.0f} s"
                return False
            state: State = look(self.client)
            if state.ready:
                self.starts.append(round(time.monotonic() - start, 1))
                return True
            if passed >= self.ready_within:
                self.not_ready = f"not ready after {passed:.0f} s: {state.says}"
                return False
            self.tell(passed, f"{state.says}; {self.ranks.last_line(0)[-120:]}")
            time.sleep(_PAUSE)

    def revive(self) -> bool:
        """Start the ranks anew: one of them has ended, or nothing answers. False if they do not come up again."""
        self.deaths.append((self.running, self.ranks.why_dead() or "the server hung"))
        if len(self.starts) > MAX_REVIVALS:
            self.not_ready = f"started {len(self.starts)} times; that is enough"
            return False
        self.ranks.restart()
        return self.wait()

    def play(
        self, checks: Sequence[Check], session: Session, started: Callable[[Check], None] = lambda check: None
    ) -> Iterator[Result]:
        """Run checks one by one. One that brings a rank down fails and says so; the ranks are started again."""
        for check in checks:
            if self.not_ready is not None:
                self.answered.append(Result(check, skip(self.not_ready), 0.0))
                yield self.answered[-1]
                continue
            self.running = check.name
            for result in run([check], session, started):
                self.answered.append(result)
                yield self._buried(result)

    def _buried(self, result: Result) -> Result:
        if result.outcome.status is Status.FAIL:
            time.sleep(_SETTLE)
        dead = self.ranks.why_dead()
        if dead is None:
            return result
        outcome = replace(
            result.outcome,
            status=Status.FAIL,
            says=f"{result.outcome.says}; then {dead}",
        )
        self.revive()
        return replace(result, outcome=outcome)
