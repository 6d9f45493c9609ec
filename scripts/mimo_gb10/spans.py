"""Consecutive releases that are alike, put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

Thing = TypeVar("Thing")


def runs(pairs: Iterable[tuple[Thing, str]]) -> list[tuple[Thing, list[str]]]:
    """Consecutive releases that have the same thing.

    Args:
        pairs: The thing and the release that has it, oldest release first.
    """
    found: list[tuple[Thing, list[str]]] = []
    for thing, release in pairs:
        if found and found[-1][0] == thing:
            found[-1][1].append(release)
        else:
            found.append((thing, [release]))
    return found


def span(releases: Sequence[str]) -> str:
    """A range of releases, from the first of them to the last."""
    return releases[0] if releases[0] == releases[-1] else f"{releases[0]} to {releases[-1]}"
