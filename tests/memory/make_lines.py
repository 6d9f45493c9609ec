#!/usr/bin/env python3
"""Look the upstream lines of the memory plan up in every release; ``--check`` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from mimo_gb10.extract.passages import locate  # noqa: E402
from mimo_gb10.files import Output, write_files  # noqa: E402
from mimo_gb10.findings import Finding  # noqa: E402
from mimo_gb10.memory.citations import LINES, PASSAGES  # noqa: E402
from mimo_gb10.release import known_releases  # noqa: E402
from tests.support.trees import pristine  # noqa: E402


def made() -> tuple[str, list[Finding]]:
    """The file's text, and a finding for each passage that a release should hold and does not."""
    lines: dict[str, dict[str, str]] = {}
    problems: list[Finding] = []
    for release in known_releases():
        tree = pristine(release)

        def read(path: str, tree: Path = tree) -> str | None:
            file = tree / path
            return file.read_text(encoding="utf-8") if file.is_file() else None

        lines[release], missing = locate(read, release, PASSAGES)
        problems += missing
    return json.dumps(lines, indent=1) + "\n", problems


def main() -> int:
    """Write or compare the file; returns the exit code."""
    text, problems = made()
    for problem in problems:
        sys.stderr.write(f"error[{problem.code}]: {problem.message}\n")
    if problems:
        return 1
    if "--check" in sys.argv:
        return int(not LINES.is_file() or LINES.read_text(encoding="utf-8") != text)
    write_files(LINES.parent, {LINES.name: Output(text)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
