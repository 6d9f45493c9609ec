"""Upstream passages: the line that each one has in a release."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from mimo_gb10.findings import Finding, error
from mimo_gb10.passage import Passage
from mimo_gb10.release import in_range

Read = Callable[[str], str | None]
"""The text of a file of the wheel by its path, or None if the wheel does not hold it."""


def locate(read: Read, release: str, passages: Mapping[str, Sequence[Passage]]) -> tuple[dict[str, str], list[Finding]]:
    """Look passages up in one release.

    Args:
        read: Reads a file of the wheel.
        release: The release.
        passages: By the code of the rule that rests on them; of those meant for the release the first found is cited.

    Returns:
        ``file:line`` by code, and a finding for each passage that a release should hold and does not.
    """
    found: dict[str, str] = {}
    problems = []
    for code, candidates in sorted(passages.items()):
        meant = [passage for passage in candidates if in_range(release, passage.first, passage.last)]
        places = [place for passage in meant if (place := _place(read, passage))]
        if places:
            found[code] = places[0]
        elif meant and not all(passage.optional for passage in meant):
            problems.append(
                error(
                    "passage-missing",
                    f"sglang {release} no longer holds the passage of the rule '{code}'",
                    "Read what the release does there, and correct the rule's passage or its range.",
                )
            )
    return found, problems


def _place(read: Read, passage: Passage) -> str | None:
    needle, after = re.compile(passage.needle), re.compile(passage.after or "")
    for path in passage.files:
        below = passage.after is None
        for number, line in enumerate((read(path) or "").splitlines(), 1):
            if below and needle.search(line):
                return f"{path}:{number}"
            below = below or after.search(line) is not None
    return None
