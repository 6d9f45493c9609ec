"""Did you mean: the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MAX_LENGTH = 80


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name nearest to `name`, or None when nothing is near."""
    candidates = list(known)
    if len(name) > _MAX_LENGTH:
        return None
    folded = {candidate.lower(): candidate for candidate in candidates}
    if name.lower() in folded:
        return folded[name.lower()]
    matcher = difflib.SequenceMatcher(b=name.lower(), autojunk=False)
    best, best_ratio = None, 0.6
    for candidate in folded:
        # Two texts share at most the letters of the shorter: most candidates are ruled out by length alone.
        shared = 2 * min(len(candidate), len(name)) / (len(candidate) + len(name))
        if shared < best_ratio:
            continue
        matcher.set_seq1(candidate)
        if matcher.quick_ratio() >= best_ratio and (ratio := matcher.ratio()) >= best_ratio:
            best, best_ratio = candidate, ratio
    return folded[best] if best else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A help sentence that names the nearest known name, or `otherwise`."""
    near = nearest(name, known)
    return f"Did you mean {near!r}?" if near else otherwise
