"""Every page in a real browser: quiet, self-contained, readable by everybody, on a phone and in the dark."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from mimo_gb10.paths import DOCS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

pytestmark = [pytest.mark.site, pytest.mark.xdist_group("pages")]

PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1440, "height": 900}


def _address(page: Path) -> str:
    name = str(page.relative_to(DOCS).with_suffix(""))
    return "/" + ("" if name == "index" else f"{name.removesuffix('/index')}/")


PAGES = [*sorted(_address(page) for page in DOCS.rglob("*.md") if "overrides" not in page.parts), "/404.html"]


def axe_source() -> str:
    """The script of axe-core, as the package that carries it has it."""
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@dataclass
class Opened:
    """A page, what it said on its console, and what it asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)


@pytest.fixture(params=["light", "dark"])
def opened(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Opened]:
    """A window of a phone's size."""
    # What is read is what stands there in the end, so nothing moves meanwhile.
    context = browser.new_context(viewport=PHONE, color_scheme=request.param, reduced_motion="reduce")
    found = Opened(context.new_page())
    found.page.on("console", found.heard)
    found.page.on("pageerror", lambda problem: found.said.append(str(problem)))
    found.page.on("request", lambda asked: found.asked.append(asked.url))
    yield found
    context.close()


@pytest.mark.parametrize("address", PAGES)
def test_a_page(address: str, opened: Opened, served: str) -> None:
    page = opened.page
    answer = page.goto(served + address, wait_until="networkidle")
    assert answer is not None
    assert answer.status == 200
    assert not opened.said
    elsewhere = {url for url in opened.asked if urlsplit(url).netloc != urlsplit(served).netloc}
    assert not {url for url in elsewhere if not url.startswith(("data:", "blob:"))}

    # The page itself never scrolls sideways on a phone: what is wide scrolls within itself.
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    page.evaluate(axe_source())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    bad = [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]
    assert not bad, "\n".join(bad)


def test_search_finds_a_symptom_and_the_palette_switches(browser: Browser, served: str) -> None:
    page = browser.new_page(viewport=DESK)
    page.goto(served)
    page.keyboard.press("/")
    page.get_by_role("textbox", name="Search").fill("mtp-triton-window")
    page.locator(".md-search-result__link").first.wait_for()
    assert "mtp-triton-window" in page.locator(".md-search-result__list").inner_text()
    page.keyboard.press("Escape")

    scheme = page.locator("body").get_attribute("data-md-color-scheme")
    page.locator("[data-md-component=palette] label:not([hidden])").click()
    assert page.locator("body").get_attribute("data-md-color-scheme") != scheme
    page.close()


def test_a_code_block_is_copied_whole(browser: Browser, served: str) -> None:
    context = browser.new_context(viewport=DESK, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{served}/recipes/gb10x4-omni/")
    block = page.locator("div.highlight", has_text="--node-rank").first
    block.scroll_into_view_if_needed()
    block.hover()
    block.get_by_role("button", name="Copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("code").inner_text().strip()
    assert "--node-rank" in copied
    context.close()
