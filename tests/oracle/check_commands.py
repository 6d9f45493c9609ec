"""Ask SGLang's real parsers about the commands in tests/cases/commands.

The checker must find an error about parsing exactly where the real parser refuses. Commands with open parts
(`$VAR`, `<placeholder>`, `--config FILE`) are left out: nobody knows what stands there. So are those that start no
language model server. Exit codes as in `compare.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from mimo_gb10.command.arguments import read_arguments  # noqa: E402
from mimo_gb10.command.reader import Launch, Lines, find_launches  # noqa: E402
from mimo_gb10.extract.wheel import fetch  # noqa: E402
from mimo_gb10.findings import Severity  # noqa: E402
from mimo_gb10.release import Release, known_releases, load_release  # noqa: E402
from tests.oracle.compare import run_parser  # noqa: E402

CASES = HERE.parent / "cases" / "commands"


def words_for_the_parser(launch: Launch, release: Release) -> list[str]:
    """The argument list as the entry point hands it to the parser."""
    words = [word.text for word in launch.arguments]
    if launch.is_serve:
        for kind in ("auto", "llm"):
            if f"--model-type={kind}" in words:
                words.remove(f"--model-type={kind}")
            if "--model-type" in words and words[words.index("--model-type") + 1 :][:1] == [kind]:
                at = words.index("--model-type")
                del words[at : at + 2]
        if words and not words[0].startswith("-") and release.is_from("0.5.16"):
            words.insert(0, "--model-path")
    return words


def refuses(launch: Launch, release: Release, lines: Lines) -> bool:
    """Whether the checker says that the parser refuses."""
    found = read_arguments(launch.arguments, release, lines.location, is_serve=launch.is_serve).findings
    return any(finding.severity is Severity.ERROR for finding in found)


def main() -> int:
    """Compare every closed command under every release."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("releases", nargs="*", default=known_releases())
    options = parser.parse_args()
    newest = load_release(known_releases()[-1])
    launches: dict[str, list[tuple[Launch, Lines]]] = defaultdict(list)
    for path in sorted(CASES.iterdir()):
        if path.suffix in (".sh", ".md", ".txt"):
            text = path.read_bytes().decode()
            for launch in find_launches(text):
                lines = Lines(text, path.name)
                read = read_arguments(launch.arguments, newest, lines.location, is_serve=launch.is_serve)
                if not (read.has_open_options or any(word.is_open for word in launch.arguments)):
                    launches[path.name].append((launch, lines))
    compared = different = 0
    for version in options.releases:
        release = load_release(version)
        rows = [(name, launch, lines) for name, found in launches.items() for launch, lines in found]
        lists = [words_for_the_parser(launch, release) for _, launch, _ in rows]
        output = run_parser(options.env.absolute(), fetch(version, options.cache).path, json.dumps(lists))
        verdicts = json.loads(output[output.index("[") :])
        for (name, launch, lines), verdict in zip(rows, verdicts, strict=True):
            compared += 1
            if refuses(launch, release, lines) != (verdict != "accepts"):
                different += 1
                print(f"{version}: {name}: the real parser: {verdict}")
    print(f"{compared} verdicts compared, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
