"""The page made of the symptoms, and the data for a page that reads a log."""

from __future__ import annotations

import json
import re

from mimo_gb10.defects import load_defects
from mimo_gb10.diagnose import expression
from mimo_gb10.diagnose.page import _code, browser_data, expression_data, markdown, unknown_markdown
from mimo_gb10.diagnose.symptoms import load_symptoms
from mimo_gb10.diagnose.values import values_of
from mimo_gb10.generate import troubleshooting

KNOWN = load_symptoms()


def test_every_symptom_has_its_section_and_links_lead_to_one() -> None:
    text = markdown(KNOWN, values_of("gb10x4-omni", "example-4x-gb10"))
    for name, symptom in KNOWN.symptoms.items():
        assert f"## {symptom.title} {{ #{name} }}\n" in text
    for link in {part.partition(")")[0] for part in text.split("](#")[1:]}:
        assert link in KNOWN.symptoms
    assert text.count("```sh") == sum(bool(step.run) for one in KNOWN.symptoms.values() for step in one.fix)


def test_a_section() -> None:
    text = markdown(KNOWN, {})
    start = text.index("## MTP with the triton backend dies")
    section = text[start : text.index("\n## ", start)]
    assert "In the log of 0.5.11 to 0.5.22, on any rank:\n" in section
    assert (
        "* `Capture draft extend\\b`, then `triton\\.compiler\\.errors\\.CompilationError`, then `AttributeError"
        in section
    )
    assert "    python scripts/apply_patches.py mtp-triton-window\n" in section
    assert "Leads to: [A scheduler process ended with an exception](#scheduler-exception)" in section
    assert "<https://github.com/sgl-project/sglang/issues/24481> (reported)" in section


def test_code_with_backticks() -> None:
    assert _code("a `b` ``c``") == "``` a `b` ``c`` ```"
    assert _code("plain") == "`plain`"


def test_what_to_collect() -> None:
    text = unknown_markdown(KNOWN, values_of("gb10x4-omni", "example-4x-gb10"))
    assert "    docker logs gb10x4-omni-rank0 > rank0.log 2>&1\n" in text


def test_the_data_is_json_and_says_what_the_file_says() -> None:
    data = json.loads(json.dumps(browser_data(KNOWN)))
    assert [one["id"] for one in data["symptoms"]] == list(KNOWN.symptoms)
    for one in data["symptoms"]:
        assert expression.parse(one["match"]) == KNOWN.symptoms[one["id"]].match
    assert expression_data(expression.parse({"last": "watchdog"})) == {"last": ["watchdog"]}


def test_defects_that_leave_no_line_are_on_the_troubleshooting_page() -> None:
    (text,) = (output.text for output in troubleshooting.make().values())
    section = text.partition("### Answers are worse than they should be")[2].partition("\n## ")[0]
    silent = {name for name, defect in load_defects().items() if not defect.log}
    assert silent == set(re.findall(r"\.\./patches/([a-z-]+)\.md", section))
    assert "vision-sinks-window" in silent
