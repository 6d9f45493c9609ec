"""The built site: links, what is listed of other hosts, weight, time, and the two builders that may follow this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mimo_gb10.docs_check.external import check_links, read_links
from mimo_gb10.docs_check.site import PAGE_LIMIT, check_site, check_weights, read_site_links
from mimo_gb10.paths import ROOT
from mimo_gb10.text.document import parse_document
from tests.support.run import run_command

SECONDS = 15
"""What a build may take on two cores."""

PAGE = '<html><head><link rel="canonical" href="https://host.example/at/"></head><body id="top">{}</body></html>'


def small_site(folder: Path, **pages: str) -> Path:
    for name, body in {"index": "", **pages}.items():
        file = folder / f"{name.replace('__', '/')}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(PAGE.format(body), encoding="utf-8")
    return folder


def build(root: Path, site: Path, module: str = "mkdocs") -> subprocess.CompletedProcess[str]:
    # Material's note on its own maintenance is no warning about this site.
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", module, "build", "--strict"]
    command += [] if module == "zensical" else ["--site-dir", str(site)]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=180, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a build reads, with pages that may be changed."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    for name in ("configs", "patches", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


# --- the checks find what they are for


def test_broken_links_are_found(tmp_path: Path) -> None:
    body = (
        '<a href="deep/">x</a> <a href="deep/#top">x</a> <a href="/at/deep/">x</a> <a href="deep/#no">x</a> '
        '<a href="no/">x</a> <a href="https://host.example/at/deep/">x</a> <a href="https://host.example/at/no/">x</a> '
        '<img src="no.png" alt=""> <a href="https://other.example/a#b">x</a> <code>https://code.example/</code>'
    )
    site = small_site(tmp_path, page=body, deep__index="")
    links = read_site_links(site)
    assert {(page, url.rstrip("/")) for page, _, _, url, _ in links.broken} == {
        ("page.html", "/deep#no"),
        ("page.html", "/no"),
        ("page.html", "/no.png"),
    }
    assert links.external == {"https://other.example/a": "page.html"}


def test_the_list_of_external_links() -> None:
    entry = '{{url: "https://{}.example/", seen: "2026-11-23", how: read}}'
    text = "links:\n" + "".join(f"  - {entry.format(name)}\n" for name in "bacc")
    found = check_links(parse_document(text.encode(), "l.yaml"), {f"https://{name}.example/": "p" for name in "abd"})
    assert sorted((finding.code, str(finding.location)) for finding in found) == [
        ("link-order", "l.yaml:3:11"),
        ("link-repeated", "l.yaml:5:11"),
        ("link-unlisted", "p"),
        ("link-unused", "l.yaml:4:11"),
        ("link-unused", "l.yaml:5:11"),
    ]
    assert read_links().value["links"]


def test_heavy_pages_are_found(tmp_path: Path) -> None:
    noise = "".join(f"{hash((i, 'x')):x}" for i in range(40_000))
    (tmp_path / "big.js").write_text(noise, encoding="utf-8")
    site = small_site(tmp_path, large="x" * (PAGE_LIMIT + 1), loads='<script src="big.js"></script>', light="x")
    heavy = {str(finding.location): finding.message for finding in check_weights(site)}
    assert set(heavy) == {"large.html", "loads.html"}
    assert "of HTML" in heavy["large.html"]
    assert "compressed" in heavy["loads.html"]


def test_the_command_wants_a_site(tmp_path: Path) -> None:
    done = run_command("check_docs.py", "--site", str(tmp_path))
    assert done.returncode == 2
    assert "no site is built" in done.stderr


# --- the project's site


@pytest.mark.site
@pytest.mark.xdist_group("docs")
def test_links_and_weights(built: Path) -> None:
    assert [f"{finding.location}: {finding.message}" for finding in check_site(built)] == []


@pytest.mark.site
@pytest.mark.xdist_group("docs")
def test_it_builds_in_time(checkout: Path, record_property: pytest.RecordProperty) -> None:  # type: ignore[name-defined]
    begun = time.perf_counter()
    done = build(checkout, checkout / "site")
    took = time.perf_counter() - begun
    assert done.returncode == 0, done.stderr
    record_property("build_seconds", round(took, 1))
    # Tests beside this one share the processors.
    assert took < 4 * SECONDS


@pytest.mark.site
@pytest.mark.xdist_group("docs")
def test_a_page_outside_the_navigation_fails_the_build(checkout: Path) -> None:
    (checkout / "docs" / "orphan.md").write_text("# Orphan\n", encoding="utf-8")
    done = build(checkout, checkout / "site")
    assert done.returncode != 0
    assert "orphan.md" in done.stderr


@pytest.mark.site
@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize("link", ["no-such-page.md", "index.md#no-such-anchor", "/absolute/"])
def test_a_broken_link_fails_the_build(checkout: Path, link: str) -> None:
    page = checkout / "docs" / "index.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n[x]({link})\n", encoding="utf-8")
    done = build(checkout, checkout / "site")
    assert done.returncode != 0
    assert link in done.stderr


def names(site: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(site)) for path in site.rglob(pattern) if path.is_file()}


@pytest.mark.site
@pytest.mark.xdist_group("docs")
def test_properdocs_builds_the_same(checkout: Path, built: Path) -> None:
    pytest.importorskip("properdocs")
    done = build(checkout, checkout / "site", "properdocs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert names(checkout / "site", "*") == names(built, "*")


@pytest.mark.site
@pytest.mark.xdist_group("docs")
def test_zensical_builds_every_page(checkout: Path, built: Path) -> None:
    """It runs no hooks: what they add is missing, and nothing else (CONTRIBUTING lists it)."""
    pytest.importorskip("zensical")
    done = build(checkout, checkout / "site", "zensical")
    assert done.returncode == 0, done.stdout + done.stderr
    assert names(checkout / "site", "*.html") == names(built, "*.html")
    broken = {url for _, _, _, url, _ in read_site_links(checkout / "site").broken}
    added_by_hooks = {path for path in broken if path.endswith((".patch", ".json", ".yaml", ".md", ".txt"))}
    assert broken == added_by_hooks
