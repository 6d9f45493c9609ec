"""Upstream passages that a claim rests on, found by what they say instead of by a line number that goes stale."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """One line of a wheel, found by what it says.

    `scripts/generate.py releases` looks the passage up in each release and notes its line in the
    catalog, so that a citation never goes stale.

    Attributes:
        files: Paths inside the wheel, tried in order: releases move code.
        needle: A regular expression for one line.
        after: A regular expression for a line above it, usually the function that holds it; None for anywhere.
        first: First release that must hold it, or None.
        last: Last release that must hold it, or None.
        optional: Whether a release may lack it: its absence is then the answer, not a mistake.
    """

    files: tuple[str, ...]
    needle: str
    after: str | None = None
    first: str | None = None
    last: str | None = None
    optional: bool = False
