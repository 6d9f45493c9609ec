"""What the symptom file says of SGLang, held against SGLang's own sources."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from pathlib import Path

import pytest

from mimo_gb10.diagnose.pattern import fixed_texts
from mimo_gb10.diagnose.symptoms import LogLine, load_symptoms
from mimo_gb10.release import in_range, known_releases
from tests.support.trees import pristine

SHORTEST = 8
"""Characters of a pattern's fixed text that must be found; shorter ones stand everywhere."""


@pytest.mark.parametrize("release", known_releases())
def test_sglang_writes_these_lines(release: str) -> None:
    """The fixed text of every pattern for a line of SGLang stands in the file that the line names, in every release."""
    tree = pristine(release)
    missing = []
    for line in load_symptoms().lines.values():
        if not line.origin[0].startswith("sglang/") or not in_range(release, line.first, line.last):
            continue
        files = sorted({file for glob in line.origin for file in tree.glob(glob)})
        missing += [
            f"{line.name}: {text!r} in {' or '.join(line.origin)}"
            for text in wanted(line)
            if not in_files(line, text, files)
        ]
    assert not missing


@pytest.mark.parametrize("name", ["spec-v2-removed", "nan-in-logits"])
def test_a_line_is_written_in_no_other_release(name: str) -> None:
    """Where a line names its releases, the others do not write it."""
    line = load_symptoms().lines[name]
    for release in known_releases():
        if not in_range(release, line.first, line.last):
            files = [file for glob in line.origin for file in pristine(release).glob(glob)]
            assert not any(in_files(line, text, files) for text in wanted(line)), release


def test_the_files_that_symptoms_cite_exist() -> None:
    """A source inside SGLang's wheel is a file of some release of the symptom."""
    for symptom in load_symptoms().symptoms.values():
        for source in symptom.sources:
            if source.at.startswith("sglang/"):
                releases = [one for one in known_releases() if symptom.is_known_in(one)]
                assert any((pristine(one) / source.at).is_file() for one in releases), f"{symptom.id}: {source.at}"


def test_torchcodec_is_imported_without_a_guard_where_the_symptom_says_so() -> None:
    symptom = load_symptoms().symptoms["torchcodec-missing"]
    unguarded = re.compile(r"^from torchcodec\.decoders import AudioDecoder$", re.MULTILINE)
    file = "sglang/srt/multimodal/processors/mimo_v2.py"
    found = [
        release
        for release in known_releases()
        if unguarded.search((pristine(release) / file).read_text(encoding="utf-8"))
    ]
    assert found == [release for release in known_releases() if symptom.is_known_in(release)]


def wanted(line: LogLine) -> list[str]:
    """The texts that the source must hold for a line."""
    if line.text:
        return [line.text]
    texts = fixed_texts(line.pattern, SHORTEST if line.kind == "message" else 5)
    assert texts, line.name
    return texts


def in_files(line: LogLine, text: str, files: list[Path]) -> bool:
    if line.kind == "message":
        return any(text in message for file in files for message in messages(file))
    name = re.sub(r"\W", " ", text).split()[-1]
    pattern = rf"^\s*def {name}\(" if line.kind == "function" else rf"\b{name}\b"
    return any(re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE) for file in files)


def messages(file: Path) -> tuple[str, ...]:
    data = file.read_bytes()
    return _messages(hashlib.sha256(data).hexdigest(), data.decode())


@functools.cache
def _messages(_digest: str, source: str) -> tuple[str, ...]:
    """Every text of a Python file as it is at run time: neighbours joined, what an f-string puts in left out."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            found += [str(part.value) for part in node.values if isinstance(part, ast.Constant)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return tuple(found)
