"""Checks of the built site, offline: its links and anchors, its external links, and what its pages weigh."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

from mimo_gb10.docs_check.external import check_links, read_links
from mimo_gb10.docs_check.markdown import READ
from mimo_gb10.docs_check.shell import ToolMissing, tool
from mimo_gb10.findings import Finding, Location, error
from mimo_gb10.paths import ROOT

PAGE_LIMIT = 300_000
"""Bytes: of a page's HTML, and of the page with its own style sheets and scripts as they travel, compressed."""

_CANONICAL = re.compile(r'<link\s+rel="?canonical"?\s+href="?([^">\s]+)')


@dataclass(frozen=True, slots=True)
class Weight:
    """What one page weighs.

    Attributes:
        page: Its path in the site.
        html: Bytes of its HTML.
        travels: Bytes of its HTML, style sheets and scripts, each compressed.
    """

    page: str
    html: int
    travels: int


@dataclass(frozen=True, slots=True)
class Links:
    """What lychee says of the site.

    Attributes:
        broken: Page, line, column, address and reason of each link that leads nowhere.
        external: Each address of another host, with the first page that links to it.
    """

    broken: list[tuple[str, int, int, str, str]]
    external: dict[str, str]


def check_site(site: Path) -> list[Finding]:
    """Findings of a site that ``mkdocs build`` made.

    Raises:
        Refused: If the list of external links cannot be used.
        ToolMissing: If there is no lychee.
    """
    links = read_site_links(site, [ROOT / name for name in READ])
    found = [
        error("link-broken", f"{url} leads nowhere: {reason}", "Mend the link or its target.", Location(page, *place))
        for page, *place, url, reason in links.broken
    ]
    return [*found, *check_links(read_links(), links.external), *check_weights(site)]


def read_site_links(site: Path, beside: Sequence[Path] = ()) -> Links:
    """Follow every link of the site.

    Args:
        site: What mkdocs built.
        beside: Further files to read, for example the README.

    Raises:
        ToolMissing: If there is no lychee.
    """
    lychee = tool("lychee")
    pages = sorted(site.rglob("*.html"))
    with tempfile.TemporaryDirectory() as folder:
        # Where the site has a path on its host, its absolute links have it too.
        home = _home(site)
        base = Path(folder, "host")
        root = Path(base, urlsplit(home).path.strip("/"))
        root.parent.mkdir(parents=True, exist_ok=True)
        root.symlink_to(site.resolve())
        command = [lychee, "--offline", "--include-fragments", "--index-files", "index.html", "--root-dir", str(base)]
        if home:
            command += ["--remap", f"^{re.escape(home)} file://{root}/"]
        command += ["--no-progress", "--format", "json", "--files-from", "-"]
        given = "\n".join([*(str(root / page.relative_to(site)) for page in pages), *map(str, beside)])
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        try:
            said = json.loads(done.stdout)
        except ValueError:
            raise ToolMissing(f"lychee (it says: {done.stderr.strip()})") from None
        return _read(said, str(root))


def _read(said: Mapping[str, Mapping[str, Sequence[Mapping[str, object]]]], root: str) -> Links:
    def shown(page: str) -> str:
        return page.removeprefix(f"{root}/").removeprefix(f"{ROOT}/")

    broken: list[tuple[str, int, int, str, str]] = []
    for page, entries in sorted(said["error_map"].items()):
        for entry in entries:
            span, status = entry.get("span"), entry["status"]
            assert isinstance(status, dict)
            line, column = (span["line"], span["column"]) if isinstance(span, dict) else (1, 1)
            url = str(entry["url"]).replace(f"file://{root}", "")
            broken.append((shown(page), line, column, url, status["text"]))
    external: dict[str, str] = {}
    for page, entries in sorted(said["excluded_map"].items()):
        for entry in entries:
            url = urldefrag(str(entry["url"])).url
            if urlsplit(url).scheme in ("http", "https"):
                external.setdefault(url, shown(page))
    return Links(sorted(broken), external)


def _home(site: Path) -> str:
    """The address that the site is built for; nothing if it has none."""
    match = _CANONICAL.search((site / "index.html").read_text(encoding="utf-8"))
    return match[1] if match else ""


def weights(site: Path) -> list[Weight]:
    """Every page's weight, the heaviest first."""
    compressed: dict[Path, int] = {}
    found = []
    for file in site.rglob("*.html"):
        assets = _Assets(file, site)
        data = file.read_bytes()
        assets.feed(data.decode("utf-8"))
        for asset in assets.files - compressed.keys():
            compressed[asset] = len(gzip.compress(asset.read_bytes(), mtime=0))
        travels = len(gzip.compress(data, mtime=0)) + sum(compressed[asset] for asset in assets.files)
        found.append(Weight(str(file.relative_to(site)), len(data), travels))
    return sorted(found, key=lambda weight: (-weight.html, weight.page))


class _Assets(HTMLParser):
    """The style sheets and scripts of the site that a page loads at once."""

    def __init__(self, page: Path, site: Path) -> None:
        super().__init__()
        self.files: set[Path] = set()
        self._page = page
        self._site = site

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        link = given.get("src") if tag == "script" else given.get("href") if tag == "link" else None
        if not link or (tag == "link" and given.get("rel") != "stylesheet"):
            return
        path = urlsplit(link).path
        if path.startswith("/"):
            # 404.html cannot know how deep it stands.
            return
        file = (self._page.parent / path).resolve()
        if file.is_file():
            self.files.add(file)


def check_weights(site: Path) -> Iterator[Finding]:
    """Findings for the pages that are heavier than the limit."""
    for weight in weights(site):
        size = max(weight.html, weight.travels)
        if size > PAGE_LIMIT:
            how = "of HTML" if weight.html >= weight.travels else "with its style sheets and scripts, compressed"
            message = f"the page has {size / 1000:.0f} kB {how}, more than {PAGE_LIMIT // 1000}"
            yield error("page-heavy", message, "Divide it, or link to a file.", Location(weight.page))
