"""All checks in the order in which they run, and which of them a user means."""

from __future__ import annotations

from collections.abc import Sequence

from mimo_gb10.smoke.check import Check
from mimo_gb10.smoke.checks import chat, load, refusals, senses, server, tools
from mimo_gb10.text.suggest import did_you_mean

# What can bring a server down comes last.
ALL_CHECKS: tuple[Check, ...] = (
    *server.CHECKS,
    *chat.CHECKS,
    *tools.CHECKS,
    *senses.CHECKS,
    *load.CHECKS,
    *refusals.CHECKS,
)

AREAS = tuple(dict.fromkeys(check.area for check in ALL_CHECKS))


def select(only: Sequence[str], without: Sequence[str], profile: str) -> list[Check]:
    """The checks that are meant.

    Args:
        only: Names of checks or areas; empty means all.
        without: Names to leave out.
        profile: ``full``, or ``structural`` for a model that is not trained.

    Raises:
        ValueError: If a name is none; the text says which, and what was probably meant.
    """
    known = [*AREAS, *(check.name for check in ALL_CHECKS)]
    for name in (*only, *without):
        if name not in known:
            remedy = did_you_mean(name, known, "--list shows all checks and areas.")
            raise ValueError(f"there is no check or area {name!r}. {remedy}")
    return [
        check
        for check in ALL_CHECKS
        if (not only or check.name in only or check.area in only)
        and check.name not in without
        and check.area not in without
        and not (check.trained and profile == "structural")
    ]
