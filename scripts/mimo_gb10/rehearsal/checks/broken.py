"""Broken uploads, one check each: is it refused, an error, or the end of the server?

An exception in a multimodal forward pass ends every rank. So each upload is followed by a look at the ranks, and where
they died they are started again before the next. What is found is about SGLang, and belongs into the receipt.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mimo_gb10.rehearsal.checks.damage import FAULTS, WHOLE, Damaged
from mimo_gb10.smoke.chat import CHAT, ask, request, text_part, url_part
from mimo_gb10.smoke.check import Check, Outcome, Session, fail, ok, skip, warn
from mimo_gb10.smoke.client import Failure, form, shorten
from mimo_gb10.smoke.expect import known_defect

TIMEOUT = 60.0
"""Seconds that one of these requests may take. Half an hour of sound is the most that any of them holds."""

SETTLE = 3.0
"""Seconds after which a rank that fell over has ended, and the others with it."""

PATH = "/v1/audio/transcriptions"

# No data address in a form; a clip of hours, or of absurd size, cannot be made without an encoder.
_WITHOUT = {
    "image": {},
    "audio": {"large": ""},
    "video": {"large": "", "huge": "no huge clip is made here: that takes an encoder"},
    "transcription": {"not-base64": "", "unreachable": "", "large": ""},
}

_TOLERABLE = frozenset({"truncated", "large", "huge"})
"""What a server may well accept: there is something in it."""


def checks(
    alive: Callable[[], str | None],
    revive: Callable[[], bool],
    *,
    known: frozenset[str] = frozenset(),
    settle: float = SETTLE,
    timeout: float = TIMEOUT,
) -> tuple[Check, ...]:
    """The checks ``broken-<modality>-<fault>``.

    Args:
        alive: None while all ranks live, else why not.
        revive: Starts the server again at the same address and waits until it is ready; False if it does not come up.
        known: What fails here even with a good file: a broken one would show nothing. Other names than those of
            modalities are passed over, so that `stress.checks` can be given the same.
        settle: Seconds to wait before looking at the ranks after anything but a clean answer.
        timeout: Seconds for one request.
    """
    server = _Server(alive, revive, settle, timeout)
    return tuple(_each(server, known))


def _each(server: _Server, known: frozenset[str]) -> Iterator[Check]:
    for modality in WHOLE:
        for fault in FAULTS:
            why = _WITHOUT[modality].get(fault)
            if why == "":
                continue
            if modality in known:
                why = f"{modality} fails here with a good file too"
            run = functools.partial(_run, server, modality, fault) if why is None else functools.partial(_skip, why)
            yield Check(f"broken-{modality}-{fault}", "broken", f"{modality}: {fault.replace('-', ' ')}", run)


def _skip(why: str, _: Session) -> Outcome:
    return skip(why)


@dataclass
class _Server:
    """The server and how to bring it back.

    Attributes:
        gone: Whether it could not be brought back.
    """

    alive: Callable[[], str | None]
    revive: Callable[[], bool]
    settle: float
    timeout: float
    gone: bool = False

    def back(self) -> bool:
        """Bring it back; whether that worked."""
        self.gone = not self.revive()
        return not self.gone


def _run(server: _Server, modality: str, fault: str, session: Session) -> Outcome:
    if server.gone:
        return skip("the server died of an earlier upload and could not be started again")
    before = server.alive()
    # Where it fell after the last look, or before the first, that is not this upload's doing.
    if before is not None and not server.back():
        return skip(f"{before}, and the server could not be started again")
    upload = FAULTS[fault](modality)
    status, seen = _send(server, session, modality, upload)
    clean = status is not None and status < 500
    if not clean:
        time.sleep(server.settle)
    silent = _text(server, session)
    dead = server.alive()
    if dead is None and silent is not None and clean:
        # Ranks that fall take some time; only then is it clear whether they fell or hang.
        time.sleep(server.settle)
        dead = server.alive()
    size = f"{len(upload.content)} bytes as {upload.media_type}" if upload.content else f"as {upload.media_type}"
    if dead is None and silent is None:
        return _judge(fault, status, seen, size)
    what = f"the ranks died: {dead}" if dead else f"the server hangs: {silent}"
    again = "it was started again" if server.back() else "it could not be started again"
    return fail(what, f"answer: {seen}", size, again, help=known_defect((what, seen)),
                numbers={"http_status": status, "ranks": "died" if dead else "hung"})  # fmt: skip


def _judge(fault: str, status: int | None, seen: str, size: str) -> Outcome:
    """What an answer means of a server that lives."""
    numbers: dict[str, float | int | str | None] = {"http_status": status, "ranks": "alive"}
    if status is None:
        return warn(f"no answer, and the server lives: {seen}", size, numbers=numbers)
    if status >= 500:
        return warn(f"HTTP {status} for what the client did wrong: {seen}", size, help=known_defect((seen,)),
                    numbers=numbers)  # fmt: skip
    if status >= 400:
        return ok(f"refused: {seen}", size, numbers=numbers)
    if fault in _TOLERABLE:
        return ok(f"accepted: {seen}", size, numbers=numbers)
    return warn(f"accepted as if nothing were wrong: {seen}", size, numbers=numbers)


def _send(server: _Server, session: Session, modality: str, upload: Damaged) -> tuple[int | None, str]:
    """The status and the first words of the answer; None and why there is none."""
    try:
        if modality == "transcription":
            fields = {"model": session.model, "language": "en"}
            body, content_type = form(fields, upload.name, upload.content, upload.media_type)
            answer = session.client.request("POST", PATH, body, content_type, server.timeout)
        else:
            parts = [url_part(modality, upload.uri), text_part("What is it?")]
            answer = session.client.post(CHAT, request(session.model, parts, max_tokens=8), server.timeout)
    except Failure as problem:
        return None, problem.says
    # A message may repeat the address that it complains about, megabytes of it.
    return answer.status, shorten(f"HTTP {answer.status}: {answer.text[:2000]}", 220)


def _text(server: _Server, session: Session) -> str | None:
    """None if a small text is still answered, else why not."""
    try:
        ask(session.client, request(session.model, "Is anybody there?", max_tokens=4), server.timeout)
    except Failure as problem:
        return "; ".join((problem.says, *problem.evidence))
    return None
