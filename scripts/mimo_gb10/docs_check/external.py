"""``docs/external-links.yaml``: every address outside the site that a page links to, and when it was last good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mimo_gb10.findings import Finding, Location, Refused, error
from mimo_gb10.paths import DOCS
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import Document, read_document

EXTERNAL_LINKS = DOCS / "external-links.yaml"


def read_links(path: Path = EXTERNAL_LINKS, name: str = "docs/external-links.yaml") -> Document:
    """The list of links.

    Raises:
        Refused: With a finding for each mistake in the file.
    """
    document = read_document(path, name)
    if found := check_schema(document, "external-links"):
        raise Refused(found)
    return document


def check_links(listed: Document, used: Mapping[str, str]) -> Iterator[Finding]:
    """Findings where the list and the site differ.

    Args:
        listed: The list.
        used: Each address on the site, with the page that links to it.
    """
    urls = [entry["url"] for entry in listed.value["links"]]
    for number, url in enumerate(urls):
        place = listed.location(("links", number, "url"))
        if url in urls[:number]:
            yield error("link-repeated", f"{url} is listed twice", "Keep the later date.", place)
        elif number and url < urls[number - 1]:
            yield error("link-order", f"{url} stands behind {urls[number - 1]}", "Sort the list by address.", place)
        if url not in used:
            yield error("link-unused", f"no page links to {url}", "Remove the entry.", place)
    for url, page in sorted(used.items()):
        if url not in urls:
            remedy = f"Look at the page, then list it in {listed.file} with the day and how you saw it."
            yield error("link-unlisted", f"{url} is not in {listed.file}", remedy, Location(page))
