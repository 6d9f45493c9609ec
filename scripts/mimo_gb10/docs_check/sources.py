"""All checks of the Markdown, before a site is built."""

from __future__ import annotations

from pathlib import Path

from mimo_gb10.docs_check.data import check_data
from mimo_gb10.docs_check.launches import check_launches, check_made
from mimo_gb10.docs_check.markdown import read_pages
from mimo_gb10.docs_check.shell import check_shell
from mimo_gb10.findings import Finding
from mimo_gb10.paths import ROOT


def check_sources(root: Path = ROOT) -> list[Finding]:
    """Findings of all pages.

    Raises:
        ToolMissing: If a program that the checks need is not installed.
    """
    pages = read_pages(root)
    found = [finding for page in pages for finding in page.findings]
    return [*found, *check_launches(pages), *check_made(pages), *check_data(pages), *check_shell(pages)]
