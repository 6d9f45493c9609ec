"""No SGLang launch is written by hand: one truth, and nothing on the site that no check has seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mimo_gb10.command.reader import Lines, find_launches
from mimo_gb10.docs_check.markdown import Page
from mimo_gb10.findings import Finding, Location, error

_LAUNCH = re.compile(r"\blaunch_server\b|\bsglang[ \t]+serve\b")
_REMEDY = (
    "Write a block in scripts/mimo_gb10/generate/blocks/ that renders a plan, and put "
    "'<!-- generated: NAME -->' and '<!-- /generated -->' here."
)


def check_launches(pages: Sequence[Page]) -> Iterator[Finding]:
    """A finding for each launch that stands in a page by hand, fenced or not."""
    for page in pages:
        for fence in page.fences:
            if fence.is_generated:
                continue
            # One finding a block: the launches of all ranks have one remedy.
            for row, line in enumerate(fence.text.split("\n")):
                if match := _LAUNCH.search(line):
                    yield _by_hand(fence.at(row, match.start()))
                    break
        text = "\n".join(page.prose)
        for launch in find_launches(text) if _LAUNCH.search(text) else ():
            yield _by_hand(Lines(text, page.file).location(launch.start))


def check_made(pages: Sequence[Page]) -> Iterator[Finding]:
    """A finding for each page that says it is generated and stands where no generator writes."""
    from mimo_gb10.generate import makers

    folders = [f"{folder}/" for folder, _ in makers().values()]
    for page in pages:
        if page.is_generated and not page.file.startswith(tuple(folders)):
            yield error(
                "page-not-made",
                "the page says that it is made by make generate, and nothing makes it",
                "Remove the comment, or write its maker in scripts/mimo_gb10/generate/.",
                Location(page.file),
            )


def _by_hand(place: Location) -> Finding:
    return error("launch-by-hand", "an SGLang launch is written by hand", _REMEDY, place)
