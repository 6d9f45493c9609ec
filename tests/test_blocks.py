"""Generated parts of hand-written pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimo_gb10.findings import Refused
from mimo_gb10.generate import blocks, stale, write
from mimo_gb10.generate.blocks import fill

KNOWN = {"a-one": lambda: "| made |\n", "a-two": lambda: "x\n\ny"}

PAGE = """# Page

<!-- generated: a-one -->
<!-- /generated -->

-   item

    <!-- generated: a-two -->
    old

    <!-- /generated -->
end
"""

FILLED = """# Page

<!-- generated: a-one -->

| made |

<!-- /generated -->

-   item

    <!-- generated: a-two -->

    x

    y

    <!-- /generated -->
end
"""


def test_parts_are_filled_with_their_indent_and_the_rest_stays() -> None:
    assert fill(PAGE, "page.md", KNOWN) == FILLED
    assert fill(FILLED, "page.md", KNOWN) == FILLED


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("x\n<!-- generated: a-won -->\n<!-- /generated -->\n", "block-unknown", "page.md:2:1"),
        ("<!-- generated: a-one -->\ntext\n", "block-unclosed", "page.md:1:1"),
        (
            "<!-- generated: a-one -->\n<!-- generated: a-two -->\n<!-- /generated -->\n",
            "block-unclosed",
            "page.md:1:1",
        ),
    ],
)
def test_a_wrong_marker_is_refused_with_its_place(text: str, code: str, place: str) -> None:
    with pytest.raises(Refused) as refused:
        fill(text, "page.md", KNOWN)
    (finding,) = refused.value.findings
    assert (finding.code, str(finding.location)) == (code, place)
    assert finding.help


def test_every_module_names_its_own_blocks() -> None:
    known = blocks.blocks()
    assert {name.partition("-")[0] for name in known} >= {"home"}


def test_a_part_that_is_edited_by_hand_is_stale(tmp_path: Path) -> None:
    write(tmp_path)
    page = tmp_path / "docs" / "page.md"
    page.write_text("# Page\n\n<!-- generated: home-releases -->\n<!-- /generated -->\n")
    (finding,) = stale(tmp_path)
    assert str(finding.location) == "docs/page.md"
    assert write(tmp_path) == ["docs/page.md"]
    assert stale(tmp_path) == []
    page.write_text(page.read_text().replace("0.5.23", "0.5.99"))
    assert [str(one.location) for one in stale(tmp_path)] == ["docs/page.md"]
