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


@pytest.mark.parametrize("name", ["spec-v2-removed", "nan-in-logits", "ffprobe-missing"])
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


def test_the_worker_of_mtp_verifies_without_a_mask_where_the_symptom_says_so() -> None:
    """Neither it nor what its verify() calls makes a mask from the grammar."""
    symptom = load_symptoms().symptoms["mtp-structured-output"]
    folder = "sglang/srt/speculative"
    without: list[str] = []
    twin_without: list[str] = []
    for release in known_releases():
        tree = pristine(release) / folder
        for worker, found in (("multi_layer_eagle_worker_v2", without), ("eagle_worker_v2", twin_without)):
            called = function(tree / f"{worker}.py", "verify")
            if "run_eagle_verify(" in called:
                called = function(tree / "eagle_worker_common.py", "run_eagle_verify")
            assert "sample(" in called, f"{release}: {worker}"
            if "vocab_mask" not in called and "grammar_mask" not in called:
                found.append(release)
    assert without == [release for release in known_releases() if symptom.is_known_in(release)]
    assert not twin_without


def test_the_older_worker_of_mtp_has_a_mask_where_it_is() -> None:
    """What the symptom says of ``--disable-overlap-schedule``."""
    file = "sglang/srt/speculative/multi_layer_eagle_worker.py"
    held = [release for release in known_releases() if (pristine(release) / file).is_file()]
    assert (held[0], held[-1], len(held)) == ("0.5.11", "0.5.12.post1", 3)
    assert all("vocab_mask" in function(pristine(release) / file, "verify") for release in held)
    says = [source.says for source in load_symptoms().symptoms["mtp-structured-output"].sources if source.at == file]
    assert f"{held[0]} to {held[-1]}" in says[0]


def test_ffprobe_is_run_where_the_symptom_says_so() -> None:
    """Every release but the first three runs it for addresses only, and those of 0.5.18 and later for nothing."""
    symptom = load_symptoms().symptoms["ffprobe-missing"]
    file = "sglang/srt/multimodal/processors/mimo_v2.py"
    for_all, for_addresses = [], []
    for release in known_releases():
        body = function(pristine(release) / file, "has_audio_track")
        if "'ffprobe'" in body:
            for_all.append(release)
        elif "_ffprobe_has_audio(" in body:
            assert re.search(r"startswith\(\('http://', 'https://'\)\):\n\s+return _ffprobe_has_audio\(", body), release
            for_addresses.append(release)
        else:
            assert "AudioDecoder(" in body, release
    assert [*for_all, *for_addresses] == [one for one in known_releases() if symptom.is_known_in(one)]
    cause = " ".join(symptom.cause.split())
    assert f"{for_all[0]} to {for_all[-1]} run the program ffprobe" in cause
    assert f"{for_addresses[0]} to {for_addresses[-1]} only for one with an http or https address" in cause


def function(file: Path, name: str) -> str:
    """The source of the one function of that name in a file, without comments."""
    nodes = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert len(nodes) == 1, f"{file}: {len(nodes)} times {name}"
    return ast.unparse(nodes[0])


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
