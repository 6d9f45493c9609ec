"""Fuzz the command reader with atheris: python tests/fuzz_command_reader.py -max_total_time=600

atheris is no dependency of the project: pip install atheris.
Any exception, a finding outside the text, or more than ten seconds for one input is a bug.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

with atheris.instrument_imports(include=["mimo_gb10.command"]):
    from mimo_gb10.command.checks import check_launch
    from mimo_gb10.command.reader import Lines, find_launches
    from mimo_gb10.release import known_releases, load_release

RELEASES = [load_release(known_releases()[0]), load_release(known_releases()[-1])]


def one_input(data: bytes) -> None:
    """Read one text under two releases."""
    text = data.decode("utf-8", errors="replace")
    lines = Lines(text, "fuzz")
    counts = [len(line) for line in text.split("\n")]
    for launch in find_launches(text):
        for release in RELEASES:
            for finding in check_launch(launch, release, None, lines).findings:
                place = finding.location
                if place is None or place.line is None or place.file != "fuzz":
                    continue
                assert 1 <= place.line <= len(counts), place
                assert place.column is None or 1 <= place.column <= counts[place.line - 1] + 1, place


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
