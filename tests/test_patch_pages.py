"""The pages of the defects: the matrix is what the wheels say, the text is the configs' text, the patches are whole."""

from __future__ import annotations

import functools
import html
import re
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import markdown  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mkdocs.config import load_config
from mkdocs.structure.files import Files

from mimo_gb10.defects import FIXED, PRESENT, load_defects, load_verdicts
from mimo_gb10.generate import patches
from mimo_gb10.generate.markdown import table
from mimo_gb10.generate.prose import as_code, block, plain, prose
from mimo_gb10.generate.site_hooks import on_files
from mimo_gb10.paths import PATCHES, ROOT
from mimo_gb10.receipt import load_receipt
from mimo_gb10.release import known_releases
from mimo_gb10.text.document import read_document

DEFECTS = list(load_defects())


@functools.cache
def pages() -> dict[str, str]:
    return {path: output.text for path, output in patches.make().items()}


def page(name: str) -> str:
    return pages()[f"{patches.FOLDER}/{name}.md"]


def rendered(text: str) -> str:
    config = read_document(ROOT / "mkdocs.yml").value["markdown_extensions"]
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in config]
    made: str = markdown.markdown(text, extensions=names)
    return made


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def shown(text: str) -> str:
    reader = _Text()
    reader.feed(rendered(text))
    reader.close()
    return "".join(reader.parts)


def test_there_is_a_page_for_each_defect_and_no_other() -> None:
    assert set(pages()) == {f"{patches.FOLDER}/{name}.md" for name in ["index", *DEFECTS]}


def test_the_matrix_is_what_the_wheels_say() -> None:
    lines = [line for line in page("index").splitlines() if line.startswith("| ")]
    header = next(line for line in lines if "0.5.11" in line)
    releases = [part.strip() for part in header.strip("|").split("|")][1:]
    assert releases == known_releases()
    seen = {}
    for line in lines[lines.index(header) + 2 :]:
        first, *cells = (part.strip() for part in line.strip("|").split("|"))
        seen[re.sub(r"\[(.*)\]\(.*", r"\1", first)] = dict(zip(releases, cells, strict=True))
    assert list(seen) == DEFECTS
    words = {PRESENT: "patch", FIXED: "fixed"}
    for name, verdict in load_verdicts().items():
        assert seen[name] == {release: words[verdict.in_release(release)] for release in releases}, name
        for release in releases:
            assert (verdict.patch_for(release) is not None) == (seen[name][release] == "patch")


def test_a_defect_without_a_patch_says_so() -> None:
    verdict = load_verdicts()["mtp-triton-window"]
    bare = type(verdict)(verdict.id, verdict.status, verdict.places, ())
    assert patches.cell(bare, "0.5.17") == "**none**"
    assert patches.cell(bare, "0.5.23") == "fixed"
    assert patches.cell(bare, "9.9") == "?"


@pytest.mark.parametrize("name", DEFECTS)
def test_a_page_says_everything_in_order(name: str) -> None:
    text = page(name)
    sections = re.findall(r"(?m)^## (.*)$", re.sub(r"(?ms)^( *)```.*?^\1```$", "", text))
    wanted = ["Symptom", "Releases", "Cause", "Upstream", "Patch", "Check by hand", "When to drop it", "Notes"]
    assert [section for section in sections if section != "Evidence"] == wanted
    defect, verdict = load_defects()[name], load_verdicts()[name]
    for line in defect.log:
        assert f"\n{line}\n" in text
    for thread in defect.threads:
        assert f"<{thread.url}>" in text
    for release, places in verdict.places.items():
        for at, _ in places:
            file, _, number = at.rpartition(":")
            assert re.search(rf"(?m)^- `{re.escape(file)}`, .*\b{number}\b", text), (release, at)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_page_shows_every_patch_whole(name: str) -> None:
    made = rendered(page(name))
    blocks = [html.unescape(re.sub(r"<[^>]+>", "", found)) for found in re.findall(r"(?s)<pre>.*?</pre>", made)]
    for patch in load_verdicts()[name].patches:
        whole = (PATCHES / patch.file).read_text(encoding="utf-8")
        # Markdown takes the blank from an empty line of context; the download is the file itself.
        same = re.sub(r"(?m)^ $", "", whole).strip("\n")
        assert any(text.strip("\n") == same for text in blocks), patch.file
        assert f"[Download]({patch.file})" in page(name)
        assert f"patches/{patch.file}" in page(name)
    assert made.count('<details class="example">') == len(load_verdicts()[name].patches)


def test_the_site_has_the_patch_files_themselves(tmp_path: Path) -> None:
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    with mock.patch.object(config.plugins, "_current_plugin", "hook", create=True):  # mkdocs sets it while a hook runs
        files = on_files(Files([]), config)
    paths = {file.src_uri: file.abs_src_path for file in files}
    for verdict in load_verdicts().values():
        for patch in verdict.patches:
            assert paths.pop(f"patches/{patch.file}") == str(PATCHES / patch.file)
    # The rest: what else is published under its own path, and no further patch.
    assert "patches/index.json" in paths
    assert {path.partition("/")[0] for path in paths} == {"patches", "configs"}
    assert not [path for path in paths if path.endswith(".patch")]
    assert paths["configs/schema/cluster.schema.json"] == str(ROOT / "configs/schema/cluster.schema.json")


def test_prose_of_the_defects_is_shown_as_it_is_written() -> None:
    for defect in load_defects().values():
        for text in (
            defect.title, defect.symptom, defect.cause, defect.mend, defect.check, defect.drop_when, defect.notes,
            *(thread.state for thread in defect.threads), *(place.says for place in defect.places),
        ):  # fmt: skip
            assert shown(prose(text)) == plain(text)
    receipt = load_receipt("mtp-triton-window")
    assert receipt is not None
    for text in [receipt["backend"]["what"], receipt["kernel"]["what"], receipt["server"]["what"]]:
        assert shown(prose(text)) == plain(text)


hostile = st.text(st.sampled_from("ab _*`<>&[](){}#|~\\-+.1!:=/\"'"), min_size=1, max_size=30)


@settings(max_examples=300, deadline=None)
@given(hostile)
@example("<think>...</think>")
@example("a_b *c* [d](e) `f`")
@example("    a")
@example("--")
@example("&lt;")
@example("/v1/x.py:3|")
def test_any_prose_is_shown_as_it_is_written(text: str) -> None:
    line = " ".join(text.split())
    if line:
        assert " ".join(shown(prose(line)).split()) == " ".join(plain(line).split())


@settings(max_examples=100, deadline=None)
@given(hostile)
@example("a | b")
@example("`x|y`")
def test_a_cell_is_one_cell(text: str) -> None:
    line = " ".join(text.split())
    made = rendered(table(["A", "B"], [[prose(line), "end"]]))
    assert made.count("<td>") == 2
    assert "<td>end</td>" in made


def test_code_and_blocks_hold_what_they_are_given() -> None:
    assert shown(as_code("a ``b` <c>")).strip() == "a ``b` <c>"
    assert shown(block("```\nx\n", "diff")).strip("\n") == "```\nx"


def test_a_command_to_check_by_hand_has_a_block_of_its_own() -> None:
    assert "```bash\ncurl -s -w '\\n%{http_code}\\n' http" in page("transcription-token-list")
    assert "\nRun it where torchcodec is not installed." in page("video-batch-tensor")
    assert '```bash\npython -c "from decord' in page("video-batch-tensor")


def test_where_the_matrix_needs_a_word_the_lines_are_named() -> None:
    text = page("index")
    places = load_verdicts()["video-pin-memory"].places["0.5.23"]
    assert any(f"`{at}` still pins" in text for at, says in places if says == "decord frames")
