"""The page that compares releases says what ``compare_releases.py`` says: every recipe, every pair, byte for byte."""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from mimo_gb10.commands import compare_releases
from mimo_gb10.compare import Change
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.generate import site_data
from mimo_gb10.launch import example_cluster, on_example, recipes
from mimo_gb10.paths import DOCS, ROOT
from mimo_gb10.recipe import Recipe
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.report import Paint
from mimo_gb10.rules import ALL_RULES
from tests.site.support import serve_tool, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.site, pytest.mark.xdist_group("tools")]

VERSIONS = known_releases()
PAIRS = list(combinations(VERSIONS, 2))
RECIPES = ["", *(recipe.name for recipe in recipes())]
ALL = """
async (recipe) => {
  const js = await import("/assets/tools/compare.js");
  const data = await (await fetch("/assets/data/compare.json")).json();
  return data.versions.flatMap((old, index) => data.versions.slice(index + 1).map(
    (now) => [old, now, js.asJson(data, recipe, old, now), js.asText(data, recipe, old, now)]));
}
"""
STATE = """
async (query) => {
  const js = await import("/assets/tools/compare.js");
  return js.stateOf(await (await fetch("/assets/data/compare.json")).json(), query);
}
"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Any]:
    with serving(DOCS) as address:
        context = browser.new_context(base_url=address, permissions=["clipboard-read", "clipboard-write"])
        opened = context.new_page()
        opened.set_default_timeout(20_000)
        serve_tool(opened, "compare")
        opened.goto("/tools/compare/")
        yield opened
        context.close()


def printed(recipe: str, old: str, new: str, *, as_json: bool) -> str:
    """What the command prints; as text with lines as long as they are, where it would fold them."""
    cluster = on_example(recipe or DEFAULT_RECIPE).plan().cluster
    options = argparse.Namespace(
        recipe=recipe or None, old=old, new=new, cluster=cluster, write=None, json=True, no_color=True
    )
    out = io.StringIO()
    assert compare_releases.compare_releases(options, out) == 0
    if as_json:
        return out.getvalue()
    said = json.loads(out.getvalue())
    changes = [Change(**change) for change in said["changes"]]
    text = io.StringIO()
    compare_releases._print(changes, load_release(old), load_release(new), 10**6, Paint(False), text)
    if said["recipe"]:
        text.write(f"\nThe recipe for {new}\n\n{said['recipe']}")
    return text.getvalue()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_pair_reads_as_the_command_prints_it(page: Any, recipe: str) -> None:
    answers = page.evaluate(ALL, recipe)
    assert [(old, new) for old, new, _, _ in answers] == PAIRS
    for old, new, data, text in answers:
        assert data == printed(recipe, old, new, as_json=True), (old, new)
        assert text == printed(recipe, old, new, as_json=False), (old, new)


def test_the_data_stays_small() -> None:
    for path, output in site_data.make().items():
        assert len(output.text.encode()) < 300_000, path


def test_links_lead_to_pages_and_headings() -> None:
    data = site_data.compare_data()
    pages = {data["strings"][row[-1]] for row in data["changes"]} - {""}
    assert len(pages) > 10
    for link in pages:
        path, _, anchor = link.partition("#")
        text = (DOCS / f"{path.rstrip('/')}.md").read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^a-z0-9]+", "-", line.lstrip("# ").lower()) for line in text.splitlines() if line.startswith("#")
        }
        assert not anchor or anchor in headings, link


def test_a_rule_and_a_defect_have_their_pages() -> None:
    assert site_data.page_about(Change("defect-new", "mtp-triton-window", "", "")) == "patches/mtp-triton-window/"
    code = ALL_RULES[0].code
    assert site_data.page_about(Change("finding-new", code, "", "")) == f"reference/rules/#{code}"
    assert site_data.page_about(Change("finding-new", "no-such-rule", "", "")) == ""


def test_what_the_page_cannot_show_as_the_command_does_is_refused() -> None:
    for text in ("a\x1b[31m", "x" * 1000):
        with pytest.raises(ValueError, match="otherwise on a terminal"):
            site_data._require_plain(Change("pin", "torch", text, "b"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (DEFAULT_RECIPE, None, VERSIONS[-1])),
        ("?recipe=", ("", VERSIONS[0], VERSIONS[-1])),
        ("?recipe=nobody&from=1&to=2", ("", VERSIONS[0], VERSIONS[-1])),
        (f"?recipe=&from={VERSIONS[9]}&to={VERSIONS[3]}", ("", VERSIONS[3], VERSIONS[9])),
        (f"?recipe=&from={VERSIONS[-1]}", ("", VERSIONS[0], VERSIONS[-1])),
        (f"?recipe=&from={VERSIONS[4]}&to={VERSIONS[4]}", ("", VERSIONS[4], VERSIONS[-1])),
        ("?recipe=gb10x4-mtp", ("gb10x4-mtp", None, VERSIONS[-1])),
    ],
)
def test_any_address_is_a_comparison(page: Any, query: str, expected: tuple[str, str | None, str]) -> None:
    own = {recipe.name: recipe.sglang for recipe in recipes()}
    recipe, old, new = expected
    state = page.evaluate(STATE, query)
    assert state == {"recipe": recipe, "from": old or own[recipe], "to": new}


# --- the page


def open_at(page: Any, query: str) -> Any:
    page.goto(f"/tools/compare/{query}")
    page.locator("#compare-from").wait_for()
    return page.locator("#compare-tool")


def test_the_address_opens_a_comparison_and_keeps_what_is_picked(page: Any) -> None:
    tool = open_at(page, "?recipe=gb10x4-omni&from=0.5.11&to=0.5.16")
    assert "SGLang 0.5.11 to 0.5.16" in tool.get_by_role("status").inner_text()
    assert tool.get_by_label("For").input_value() == "gb10x4-omni"
    link = tool.get_by_role("link", name="audio-encoder-flash-attn").first
    assert link.evaluate("link => link.href").endswith("/patches/audio-encoder-flash-attn/")
    tool.get_by_label("To", exact=True).select_option("0.5.23")
    assert page.url.endswith("?recipe=gb10x4-omni&from=0.5.11&to=0.5.23")
    assert "nvidia-nccl-cu13" in tool.locator("table").inner_text()
    tool.get_by_label("For").select_option("")
    assert page.url.endswith("?recipe=&from=0.5.11&to=0.5.23")
    assert tool.get_by_text("The recipe as it should read").count() == 0
    page.reload()
    page.locator("#compare-from").wait_for()
    assert tool.get_by_label("From").input_value() == "0.5.11"


def test_a_later_from_moves_to_and_earlier_ones_cannot_be_picked(page: Any) -> None:
    tool = open_at(page, "?recipe=&from=0.5.11&to=0.5.14")
    tool.get_by_label("From").select_option("0.5.14")
    assert tool.get_by_label("To", exact=True).input_value() == VERSIONS[-1]
    disabled = tool.locator("#compare-to option:disabled").all_inner_texts()
    assert disabled == VERSIONS[1 : VERSIONS.index("0.5.14") + 1]


def test_every_change_stands_on_the_page(page: Any) -> None:
    tool = open_at(page, "?recipe=gb10x4-mtp&from=0.5.11&to=0.5.23")
    said = json.loads(printed("gb10x4-mtp", "0.5.11", "0.5.23", as_json=True))
    assert f"{len(said['changes'])} changes" in tool.get_by_role("status").inner_text()
    shown = tool.inner_text()
    for change in said["changes"]:
        for part in ("name", "before", "after", "do", "source"):
            assert change[part] in shown, change
    assert len(tool.locator(".tool-changes > li, tbody tr").all()) == len(said["changes"])


def test_the_recipe_and_the_text_are_copied(page: Any) -> None:
    tool = open_at(page, "?recipe=gb10x4-omni&from=0.5.11&to=0.5.23")
    tool.get_by_text("The recipe as it should read").click()
    said = json.loads(printed("gb10x4-omni", "0.5.11", "0.5.23", as_json=True))["recipe"]
    assert tool.locator("pre code").evaluate("element => element.textContent") == said
    tool.get_by_role("button", name="Copy", exact=True).click()
    tool.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == said
    with page.expect_download() as download:
        tool.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "gb10x4-omni.yaml"
    assert download.value.path().read_text(encoding="utf-8") == said
    tool.get_by_role("button", name="Copy all as text").click()
    tool.get_by_role("button", name="Copied").nth(0).wait_for()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('SGLang 0.5.11 to')")


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.name)
def test_the_command_names_the_recipes_cluster(page: Any, recipe: Recipe) -> None:
    tool = open_at(page, f"?recipe={recipe.name}&from={recipe.sglang}&to={VERSIONS[-1]}")
    cluster = example_cluster(recipe)
    shown = tool.get_by_text("The same from a checkout").inner_text()
    assert shown.endswith(f" --cluster {cluster}") == (cluster != DEFAULT_CLUSTER)


def test_no_difference_is_said(page: Any) -> None:
    tool = open_at(page, "?recipe=&from=0.5.12&to=0.5.12.post1")
    assert "nothing changes" in tool.get_by_role("status").inner_text()


def test_without_javascript_the_page_says_what_to_run() -> None:
    text = (DOCS / "tools/compare.md").read_text(encoding="utf-8")
    assert "needs JavaScript" in text
    assert "(../reference/releases.md)" in text
    [line] = [line for line in text.splitlines() if line.startswith("python scripts/compare_releases.py")]
    words = shlex.split(line)
    assert (ROOT / words[1]).is_file()
    recipe, option, version = words[2:]
    assert (recipe in RECIPES, option, version in VERSIONS) == (True, "--to", True)
