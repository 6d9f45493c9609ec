"""The subset of regular expressions, and the texts by which lines are found."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimo_gb10.diagnose.pattern import FLAGS, compiled, fixed_texts, literals, problems
from mimo_gb10.diagnose.symptoms import load_symptoms
from tests.diagnose.cases import read

PATTERNS = {name: line.pattern for name, line in load_symptoms().lines.items()}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("plain text", ("plain text",)),
        (r"a long text \d+ and more", ("a long text ",)),
        (r"exit code: -9\. ", ("exit code: -9. ",)),
        ("one text|another text", ("one text", "another text")),
        ("longer text(?:a|b)?x", ("longer text",)),
        ("colou?red lines", ("red lines",)),
        ("goood+ lines", (" lines",)),
        ("lines of goood+", ("lines of goood",)),
        ("some{2,3} lines", (" lines",)),
        ("lines of some{0,3}", ("lines of som",)),
        (r"text in \[brackets\] here", ("text in [brackets] here",)),
        ("[a-z]+ needed text", (" needed text",)),
        ("text[|)]and more", ("and more",)),
        ("(?:left|right) of it|the other (one)", (" of it", "the other ")),
        (r"device 101376 of the text", ("device 101376 of the text",)),
        (r"abcdefg\d1234567890", ("abcdefg",)),
    ],
)  # fmt: skip
def test_literals(pattern: str, expected: tuple[str, ...]) -> None:
    assert literals(pattern) == expected
    assert not problems(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?i)case of text",
        "(?<=x)behind the text",
        "(?<!x)behind the text",
        "(?P<name>named text)",
        "(?<name>named text)",
        "(?>atomic text)",
        "(?#comment)some text",
        "possessive++ text",
        "possessive*+ text",
        "possessive?+ text",
        "text{,3} of it",
        r"\Atext at the start",
        r"text at the end\Z",
        r"space\stext",
        r"text \1 again",
        r"text \u0041 again",
        "^at the start",
        "at the end$",
        "Umlaut äöü text",
        r"escaped \' quote",
        r"escaped \- dash",
        r".*greedy.*text.*again",
        "abcd",
        "1234567890123",
        r"text \d+|abc",
        "text[a[b]c]",
        "(unclosed text",
        "[unclosed text",
    ],
)  # fmt: skip
def test_what_is_refused(pattern: str) -> None:
    assert problems(pattern)


def test_dollar_and_caret_may_be_escaped() -> None:
    assert not problems(r"costs \$5 and \^caret")
    assert not problems(r"not in here: [^ ]{1,80} text")


@pytest.mark.parametrize("name", PATTERNS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_matches_is_found(name: str, data: st.DataObject) -> None:
    """Texts made from the pattern itself are found through the literals: nothing is lost before the expression."""
    line = data.draw(
        st.from_regex(re.compile(PATTERNS[name], FLAGS)).filter(lambda text: not set(text) & set("\n\r\x1b"))
    )
    assert any(literal in line for literal in literals(PATTERNS[name]))
    [log] = read({"0": [f"a line before\nfront {line} behind\n".encode()]})
    # What stands around it can break a word boundary or a look-ahead; then the expression itself does not match.
    if compiled(PATTERNS[name]).search(f"front {line} behind"):
        assert log.seen[name].first.line == 2


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_matches_an_empty_line_or_a_hostile_one_slowly(name: str) -> None:
    import time

    pattern = compiled(PATTERNS[name])
    assert not pattern.search("")
    [*texts] = fixed_texts(PATTERNS[name], 1)
    hostile = "".join(texts)[:-1] * 400 + " ".join(texts) * 50
    start = time.perf_counter()
    pattern.search(hostile[:16_384])
    assert time.perf_counter() - start < 0.5
