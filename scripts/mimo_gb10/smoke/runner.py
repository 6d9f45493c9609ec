"""Running checks one after another: each alone, each timed, and none waits for a server that is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mimo_gb10.smoke.check import Check, Outcome, Session, Status, fail, skip
from mimo_gb10.smoke.client import Failure, shorten
from mimo_gb10.smoke.expect import known_defect


@dataclass(frozen=True)
class Result:
    """What became of one check.

    Attributes:
        check: Which.
        outcome: What it found.
        seconds: How long it took.
    """

    check: Check
    outcome: Outcome
    seconds: float


def run(
    checks: Sequence[Check], session: Session, started: Callable[[Check], None] = lambda check: None
) -> Iterator[Result]:
    """Run checks; each result is yielded as it is there.

    A check that fails is followed by a look at ``/health``: if nothing good comes from there for as long as one request
    may take, the checks that are left are skipped, and the one that failed says so.

    Args:
        checks: In order.
        session: The server.
        started: Called before each.
    """
    gone: str | None = None
    for check in checks:
        if gone is not None:
            yield Result(check, skip(gone), 0.0)
            continue
        started(check)
        start = time.monotonic()
        outcome = _run(check, session)
        if outcome.status is Status.FAIL:
            gone = _silence(session)
            if gone is not None:
                outcome = replace(outcome, evidence=(*outcome.evidence, f"afterwards: {gone}"))
        yield Result(check, _redacted(outcome, session), time.monotonic() - start)


def _run(check: Check, session: Session) -> Outcome:
    try:
        return check.run(session)
    except Failure as problem:
        return fail(problem.says, *problem.evidence, help=known_defect((problem.says, *problem.evidence)))
    except Exception as problem:
        # The answers of a broken server are not to break the report about it.
        return fail(f"the answer could not be read: {type(problem).__name__}: {shorten(str(problem))}")


def _silence(session: Session) -> str | None:
    """Why nothing more is to be expected of the server; None if it lives, or comes back in time."""
    until = time.monotonic() + session.client.timeout
    while True:
        left = until - time.monotonic()
        try:
            status = session.client.get("/health", timeout=max(1.0, min(left, 30.0))).status
            if status < 500:
                return None
            seen = f"/health answers {status}"
        except Failure as problem:
            seen = problem.says
            if problem.kind in ("refused", "unresolved"):
                return f"the server is gone: {seen}"
        if left <= 1:
            return f"the server does not recover: {seen}"
        time.sleep(min(1.0, left))


def _redacted(outcome: Outcome, session: Session) -> Outcome:
    clean = session.client.redacted
    return replace(
        outcome,
        says=clean(outcome.says),
        evidence=tuple(clean(line) for line in outcome.evidence if line),
        help=clean(outcome.help),
    )
