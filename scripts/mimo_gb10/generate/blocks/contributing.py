"""The site's page on contributing is CONTRIBUTING.md, whose links start at the repository's root."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mimo_gb10.paths import ROOT


def _whole() -> str:
    """All of it below its title."""
    title, _, text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n")
    assert title == "# Contributing", title
    return text.replace("](docs/", "](")


BLOCKS: Mapping[str, Callable[[], str]] = {"contributing-whole": _whole}
