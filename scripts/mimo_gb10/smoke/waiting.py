"""Waiting for a server that loads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mimo_gb10.smoke.client import Client, Failure


@dataclass(frozen=True)
class State:
    """What a server was seen to do.

    Attributes:
        ready: Whether it can be tested.
        answers: Whether it speaks HTTP at all.
        hopeless: Whether waiting cannot help, as for a name that is unknown.
        says: In words.
    """

    ready: bool
    answers: bool
    hopeless: bool
    says: str


def look(client: Client, timeout: float = 10.0) -> State:
    """What the server does now, seen from outside.

    SGLang opens its port only when the weights are loaded on every rank, answers ``/health`` with 503 while it warms
    up, and with 200 from then on (0.5.11 and 0.5.23: ``entrypoints/http_server.py``, read, not run).
    """
    try:
        status = client.get("/health", timeout=timeout).status
    except Failure as problem:
        if problem.kind == "refused":
            says = f"{problem.says}; SGLang opens its port when all ranks have loaded the weights"
            return State(ready=False, answers=False, hopeless=False, says=says)
        answers = problem.kind in ("timeout", "cut")
        hopeless = problem.kind in ("unresolved", "tls", "not-http")
        return State(ready=False, answers=answers, hopeless=hopeless, says=problem.says)
    if status == 503:
        return State(ready=False, answers=True, hopeless=False, says="it listens, and is not ready yet (/health 503)")
    if status >= 500:
        says = f"something listens, and /health is {status}: a proxy without a server?"
        return State(ready=False, answers=True, hopeless=False, says=says)
    return State(ready=True, answers=True, hopeless=False, says=f"it answers (/health {status})")


def wait(
    client: Client,
    seconds: float,
    tell: Callable[[float, State], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> State:
    """Look again and again until the server is ready, waiting is hopeless, or the time is over.

    Args:
        client: The server.
        seconds: How long; 0 looks once.
        tell: Called after each look, with the seconds that have passed.
        clock: Gives the time.
        sleep: Waits.

    Returns:
        The last state.
    """
    start = clock()
    while True:
        state = look(client)
        passed = clock() - start
        tell(passed, state)
        if state.ready or state.hopeless or passed >= seconds:
            return state
        sleep(min(2.0, max(0.1, seconds - passed)))
