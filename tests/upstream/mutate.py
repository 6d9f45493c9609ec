"""Break each patch piece by piece, and see whether a test of its defect notices.

A piece is a run of lines that a patch changes. It is left out, the rest is put on, and the tests of the defect run for
the first release of the patch. Exit code 1: no test failed, or they fail with the whole patch.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from mimo_gb10.text.document import read_document  # noqa: E402
from tests.support.trees import trees_folder  # noqa: E402

PATCHES = ROOT / "patches"
TESTS = {
    "transcription-token-list": "test_transcription.py",
    "transcription-adapter": "test_transcription.py",
    "audio-encoder-flash-attn": "test_audio_encoder.py",
    "video-pin-memory": "test_video.py",
    "video-batch-tensor": "test_video.py",
    "mtp-triton-window": "test_mtp.py",
    "vision-sinks-window": "test_encoders.py",
    "audio-causal-window": "test_encoders.py",
}
HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")
WITHOUT_EFFECT = re.compile(r'\+\s*(?:#.*|"\w+",)?\n')
"""Added lines that no run can show: comments, and names in ``__all__``."""


@dataclass(frozen=True)
class Piece:
    """Lines ``first`` up to ``end`` of a patch file, and where they take effect.

    Attributes:
        first: Index of the first changed line in the patch.
        end: Index after the last one.
        place: The file they change, and its line.
    """

    first: int
    end: int
    place: str


@dataclass(frozen=True)
class Mutant:
    patch: Path
    without: tuple[Piece, ...]

    @property
    def text(self) -> str:
        lines = self.patch.read_text(encoding="utf-8").splitlines(keepends=True)
        return leave_out(lines, {i for piece in self.without for i in range(piece.first, piece.end)})

    @property
    def name(self) -> str:
        return ", ".join(piece.place for piece in self.without) or "nothing"


def pieces_of(lines: list[str]) -> Iterator[list[Piece]]:
    """The pieces of a patch; what shows no effect by itself goes with the piece before it in the same file."""
    file, at, together = "", 0, list[Piece]()
    i = lines.index("---\n") + 1
    while i < len(lines):
        if lines[i].startswith("--- "):
            file = lines[i + 1].removeprefix("+++ b/").strip()
            if together:
                yield together
            together = []
            i += 2
        elif hunk := HUNK.match(lines[i]):
            at = int(hunk[2])
            i += 1
        elif lines[i][0] in "+-":
            first = i
            while i < len(lines) and lines[i][0] in "+-" and not lines[i].startswith("--- "):
                i += 1
            piece = Piece(first, i, f"{file}:{at}")
            at += sum(line[0] == "+" for line in lines[first:i])
            if together and not all(map(WITHOUT_EFFECT.fullmatch, lines[first:i])):
                yield together
                together = []
            together = [*together, piece]
        else:
            at += 1
            i += 1
    yield together


def leave_out(lines: list[str], gone: set[int]) -> str:
    """The patch without these lines: what was added is not, what was removed stays."""
    start = lines.index("---\n") + 1
    files: list[str] = []
    heading, hunks, hunk = "", list[str](), list[str]()

    def end_hunk() -> None:
        body = hunk[1:]
        if any(line[0] in "+-" for line in body):
            known = HUNK.match(hunk[0])
            assert known
            counts = [sum(line[0] in kinds for line in body) for kinds in (" -", " +")]
            hunks.append(f"@@ -{known[1]},{counts[0]} +{known[2]},{counts[1]} @@{known[3]}\n" + "".join(body))
        hunk.clear()

    def end_file() -> None:
        if hunk:
            end_hunk()
        if hunks:
            files.append(heading + "".join(hunks))
        hunks.clear()

    i = start
    while i < len(lines):
        line = lines[i]
        if line.startswith("--- "):
            end_file()
            heading = line + lines[i + 1]
            i += 1
        elif line.startswith("@@ "):
            if hunk:
                end_hunk()
            hunk.append(line)
        elif i not in gone:
            hunk.append(line)
        elif line[0] == "-":
            hunk.append(" " + line[1:])
        i += 1
    end_file()
    return "".join(lines[:start] + files)


def first_release(patch: Path) -> str:
    return patch.stem.removeprefix("sglang-").partition("..")[0]


def run(mutant: Mutant) -> tuple[str, bool]:
    """What the tests of the defect said, and whether that is what they should say."""
    defect, release = mutant.patch.parent.name, first_release(mutant.patch)
    # Beside the trees, since hard links do not reach other file systems.
    with tempfile.TemporaryDirectory(prefix=".mutant-", dir=trees_folder()) as folder:
        patches = Path(folder) / "patches"
        shutil.copytree(PATCHES, patches)
        (patches / defect / mutant.patch.name).write_text(mutant.text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-x", "-p", "no:cacheprovider", "-m", "upstream"]
        command += ["-k", f"{release} and not unpatched", f"tests/upstream/{TESTS[defect]}"]
        env = {**os.environ, "MIMO_GB10_PATCHES": str(patches)}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if "patch does not apply" in done.stdout or done.returncode not in (0, 1):
        return f"cannot be tried\n{done.stdout[-2000:]}{done.stderr[-2000:]}", False
    failed = re.search(r"^(?:FAILED|ERROR) \S*::(\S+)", done.stdout, re.MULTILINE)
    if mutant.without:
        return (f"noticed by {failed[1]}", True) if failed else ("NOT NOTICED", False)
    return (f"FAILS: {failed[1]}", False) if failed else ("passes", True)


def mutants(everything: bool) -> Iterator[Mutant]:
    for entry in read_document(PATCHES / "defects.yaml").value["defects"]:
        patches = sorted((PATCHES / entry["id"]).glob("*.patch"))
        for patch in patches if everything else patches[:1]:
            lines = patch.read_text(encoding="utf-8").splitlines(keepends=True)
            yield Mutant(patch, ())
            for together in pieces_of(lines):
                yield Mutant(patch, tuple(together))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every patch file, not only each defect's oldest")
    parser.add_argument("--defect", choices=TESTS, help="this one only")
    parser.add_argument("--list", action="store_true", help="show the mutated patches, run nothing")
    options = parser.parse_args()
    chosen = [one for one in mutants(options.all) if options.defect in (None, one.patch.parent.name)]
    if options.list:
        for mutant in chosen:
            print(f"=== {mutant.patch.relative_to(PATCHES)} without {mutant.name}\n{mutant.text}")
        return 0
    trees_folder().mkdir(parents=True, exist_ok=True)
    good = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, (said, right) in zip(chosen, pool.map(run, chosen), strict=True):
            print(f"{mutant.patch.relative_to(PATCHES)} without {mutant.name}: {said}", flush=True)
            good &= right
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
