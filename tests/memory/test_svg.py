"""The drawing: well-formed, readable without colour or fonts from elsewhere, and true to the plan."""

from __future__ import annotations

import itertools
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from mimo_gb10.memory.basis import gibibytes
from mimo_gb10.memory.plan import make_plan
from mimo_gb10.memory.svg import SEGMENTS, drawing
from tests.memory.conftest import SettingOf

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def drawn(facts: dict[str, Any], setting: SettingOf) -> ElementTree.Element:
    return ElementTree.fromstring(drawing(make_plan(facts, setting("gb10x4-mtp")), [0.67, 0.78, 0.92]))


def test_it_has_text_alternatives(drawn: ElementTree.Element) -> None:
    assert drawn.get("role") == "img"
    title, description = drawn.find(f"{SVG}title"), drawn.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert drawn.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "Memory of one node: gb10x4-mtp, SGLang 0.5.17"
    assert (description.text or "").count("mem-fraction-static") == 6
    for group in drawn.iter(f"{SVG}g"):
        assert group[0].tag == f"{SVG}title"
        assert "GiB" in (group[0].text or "")


def test_nothing_comes_from_elsewhere(facts: dict[str, Any], setting: SettingOf) -> None:
    text = drawing(make_plan(facts, setting()), [0.8])
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"@font-face|@import|url\(|<image|<script|href", text)


def test_light_and_dark(drawn: ElementTree.Element) -> None:
    (style,) = (element.text or "" for element in drawn.iter(f"{SVG}style"))
    assert "prefers-color-scheme:dark" in style
    assert "currentColor" in style
    assert "[data-md-color-scheme=slate]" in style
    # Every rule is for the drawing alone: it may stand inside a page.
    for selector in re.findall(r"([^{}]+)\{[^{}]*\}", style.replace("@media (prefers-color-scheme:dark){", "")):
        assert ".mimo-memory" in selector


def test_colours_of_segments_carry_dark_text(drawn: ElementTree.Element) -> None:
    (style,) = (element.text or "" for element in drawn.iter(f"{SVG}style"))
    colours = dict(re.findall(r"\.mimo-memory \.(\w+)\{fill:(#\w{6})", style))
    assert set(colours) == {"system", "weights", "kv", "after", "short"}
    for colour in colours.values():
        assert contrast(colour, "#111111") > 7
    assert contrast("#1b1f24", "#ffffff") > 7
    assert contrast("#e6e8eb", "#202124") > 7


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def bars(drawn: ElementTree.Element) -> list[list[tuple[str, float, float]]]:
    rows: dict[str, list[tuple[str, float, float]]] = {}
    for group in drawn.iter(f"{SVG}g"):
        (rect,) = group.iter(f"{SVG}rect")
        row = rows.setdefault(rect.attrib["y"], [])
        row.append((rect.attrib["class"], float(rect.attrib["x"]), float(rect.attrib["width"])))
    return list(rows.values())


def test_segments_follow_one_another_and_end_at_the_node(drawn: ElementTree.Element) -> None:
    (axis,) = (element for element in drawn.iter(f"{SVG}line"))
    end = float(axis.attrib["x1"])
    order = [name for name, _ in SEGMENTS]
    found = bars(drawn)
    assert len(found) == 6
    for row in found:
        stacked = [segment for segment in row if segment[0] != "short"]
        assert [name for name, _, _ in stacked] == [name for name in order if name in {part for part, _, _ in stacked}]
        for (_, x, width), (_, following, _) in itertools.pairwise(stacked):
            assert following == pytest.approx(x + width, abs=0.2)
        _, x, width = stacked[-1]
        short = [segment for segment in row if segment[0] == "short"]
        assert x + width == pytest.approx(end + (short[0][2] if short else 0), abs=0.6)


def test_what_does_not_boot_is_said_in_words(drawn: ElementTree.Element) -> None:
    texts = [element.text for element in drawn.iter(f"{SVG}text")]
    assert texts.count("no KV pool") == 1
    assert texts.count("boots") == 3
    assert any(text and text.startswith("short by ") for text in texts)


def test_names_differ_between_drawings(facts: dict[str, Any], setting: SettingOf) -> None:
    ids = [
        set(re.findall(r'id="([^"]+)"', drawing(make_plan(facts, setting(recipe), gibibytes(110)), [0.8])))
        for recipe in ("gb10x4-omni", "gb10x4-mtp")
    ]
    assert not ids[0] & ids[1]
