"""The mutation check itself, and that the tests reach every patch file. Needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.upstream import mutate, test_audio_encoder, test_encoders, test_mtp, test_transcription, test_video

PATCHES = sorted(mutate.PATCHES.glob("*/*.patch"))
MODULES = (test_audio_encoder, test_encoders, test_mtp, test_transcription, test_video)
GROUPS = {module.__name__.rpartition(".")[2] + ".py": module.GROUPS for module in MODULES}
each_patch = pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: f"{patch.parent.name}-{patch.stem}")


@each_patch
def test_the_tests_run_every_patch_file(patch: Path) -> None:
    """Without and with it: each test module does so for the releases that it names."""
    assert mutate.first_release(patch) in GROUPS[mutate.TESTS[patch.parent.name]]


@each_patch
def test_without_nothing_it_is_the_patch(patch: Path) -> None:
    assert mutate.Mutant(patch, ()).text == patch.read_text(encoding="utf-8")


@each_patch
def test_every_changed_line_is_in_one_piece(patch: Path) -> None:
    lines = patch.read_text(encoding="utf-8").splitlines(keepends=True)
    pieces = [piece for together in mutate.pieces_of(lines) for piece in together]
    covered = [i for piece in pieces for i in range(piece.first, piece.end)]
    start = lines.index("---\n") + 1
    changed = [i for i in range(start, len(lines)) if lines[i][0] in "+-" and not lines[i].startswith(("--- ", "+++ "))]
    assert covered == changed
    assert "@@" not in mutate.Mutant(patch, tuple(pieces)).text
