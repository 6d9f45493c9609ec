"""The one YAML reading."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mimo_gb10.findings import Refused
from mimo_gb10.text.document import Document, parse_document, parse_scalar


def read(text: str) -> Document:
    return parse_document(text.encode(), "a.yaml")


def refusal(text: str | bytes) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        parse_document(text if isinstance(text, bytes) else text.encode(), "a.yaml")
    finding = caught.value.findings[0]
    return finding.code, str(finding.location)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("+3", 3), ("0", 0), ("0x1F", 31), ("1.5", 1.5), ("1.5e+3", 1500.0), ("-0.5", -0.5),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("text", "text"), ("2026-11-23", "2026-11-23"), ("fp8_e4m3", "fp8_e4m3"), ("192.168.100.10", "192.168.100.10"),
        ("12.1a", "12.1a"), ("roceP2p1s0f0", "roceP2p1s0f0"), ("1.2.3", "1.2.3"), ("expandable_segments:True",) * 2,
    ],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    assert parse_scalar(text) == value
    assert type(parse_scalar(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    ["n", "Y", "no", "Yes", "on", "OFF", "0755", "-012", "1e3", "1.5e3", "1_000", "12:30", "1:30.5", "0b101", "0o17",
     ".inf", "-.INF", ".nan", "1" * 5000, "1.0e+999", "="],
)  # fmt: skip
def test_scalars_that_readers_disagree_about_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_scalar(text)


def test_a_json_file_has_json_numbers() -> None:
    assert parse_document(b'{"a": 2e-05, "b": 1E3}', "x.json").value == {"a": 2e-05, "b": 1000.0}
    for text in (b"a: 1e3", b"a: 1e999", b"a: 0755"):
        with pytest.raises(Refused):
            parse_document(text, "x.yaml" if text == b"a: 1e3" else "x.json")


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=8))
def test_what_is_accepted_means_the_same_to_a_yaml_1_1_reader(text: str) -> None:
    """PyYAML's own reading agrees with every plain scalar that passes, dates aside."""
    try:
        ours = parse_scalar(text)
        theirs = yaml.safe_load(f"- {text}")
    except (ValueError, yaml.YAMLError):
        return
    if not isinstance(theirs, list) or len(theirs) != 1 or isinstance(theirs[0], list | dict):
        return
    plain = [event for event in yaml.parse(f"- {text}") if isinstance(event, yaml.ScalarEvent)]
    if len(plain) != 1 or plain[0].value != text or not plain[0].implicit[0]:
        return
    if hasattr(theirs[0], "isoformat"):
        assert ours == text
    else:
        assert ours == theirs[0]
        assert type(ours) is type(theirs[0])


def test_positions() -> None:
    document = read("a: 1\nb:\n  c: [x, {d: z}]\n")
    assert str(document.location(("a",))) == "a.yaml:1:4"
    assert str(document.location(("a",), key=True)) == "a.yaml:1:1"
    assert str(document.location(("b", "c", 1, "d"))) == "a.yaml:3:14"
    assert str(document.location(("b", "c", 1, "d"), key=True)) == "a.yaml:3:11"
    assert str(document.location(("b", "absent"))) == "a.yaml:3:3"
    assert str(document.location(("absent",))) == "a.yaml:1:1"


def test_override() -> None:
    document = read("a: {b: 1}\nc: [1, 2]\n")
    changed = document.with_override(("a", "b"), 5, "--set a.b=5").with_override(("c", 1), 7, "--set c.1=7")
    assert changed.value == {"a": {"b": 5}, "c": [1, 7]}
    assert document.value == {"a": {"b": 1}, "c": [1, 2]}
    assert str(changed.location(("a", "b"))) == "--set a.b=5"
    with pytest.raises(KeyError):
        document.with_override(("c", 2), 0, "")
    with pytest.raises(KeyError):
        document.with_override(("a", "b", "c"), 0, "")


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("", "file-empty", "a.yaml"),
        ("# only a comment\n", "file-empty", "a.yaml"),
        ("- a\n", "yaml-top", "a.yaml:1:1"),
        ("word", "yaml-top", "a.yaml:1:1"),
        ("a: 1\na: 2\n", "yaml-duplicate-key", "a.yaml:2:1"),
        ("a:\n\tb: 1\n", "yaml-tab", "a.yaml:2:1"),
        ("a: [1\n", "yaml-syntax", "a.yaml:1:4"),
        ("a: !!python/object:os.system x\n", "yaml-tag", "a.yaml:1:4"),
        ("a: 1\n---\nb: 2\n", "yaml-documents", "a.yaml:2:1"),
        ("a: *x\n", "yaml-alias", "a.yaml:1:4"),
        ("a: &x [*x]\n", "yaml-alias", "a.yaml:1:8"),
        ("? [a]\n: 1\n", "yaml-key", "a.yaml:1:3"),
        ("1: a\n", "yaml-key", "a.yaml:1:1"),
        ("a: " + "[" * 100 + "]" * 100, "yaml-too-deep", "a.yaml:1:27"),
        ("a: b\x07\n", "control-character", "a.yaml:1:5"),
    ],
)
def test_refusals(text: str, code: str, place: str) -> None:
    assert refusal(text) == (code, place)


def test_bytes_that_are_no_text() -> None:
    assert refusal(b"a: 1\nb: \xff\n") == ("file-not-text", "a.yaml:2")


def test_byte_order_mark_and_crlf() -> None:
    assert parse_document(b"\xef\xbb\xbfa: 1\r\nb: x\r\n", "a.yaml").value == {"a": 1, "b": "x"}


def test_alias_shares_and_bomb_is_refused() -> None:
    assert read("a: &x {b: 1}\nc: *x\n").value == {"a": {"b": 1}, "c": {"b": 1}}
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert refusal("\n".join(levels))[0] == "yaml-too-many-values"


def test_quoted_scalars_are_text() -> None:
    assert read("a: 'no'\nb: \"0755\"\nc: '1e3'\n").value == {"a": "no", "b": "0755", "c": "1e3"}
