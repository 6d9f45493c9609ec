"""What a reader pastes into a shell: it parses, shellcheck has no warning, and each command exists."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mimo_gb10.docs_check import bash
from mimo_gb10.docs_check.markdown import Page, Text, fences_of
from mimo_gb10.docs_check.own import own_command, wrong_arguments, wrong_target
from mimo_gb10.docs_check.programs import PROGRAMS, WRAPPERS
from mimo_gb10.findings import Finding, Location, error
from mimo_gb10.text.suggest import did_you_mean

LANGUAGES = ("bash", "sh")
"""Both are for the shell that a reader has, which is bash."""

# A page's block is typed, not run as a script: cd that fails is seen. A value may serve the next block. In
# `ping -M do` the word is ping's own.
_LEFT_OUT = "SC1010,SC2034,SC2164"
_GENERATED = " The block is generated: mend what makes it."


class ToolMissing(Exception):
    """A program that the checks need is not installed."""


def tool(name: str) -> str:
    """The path of a program: of this Python's environment first.

    Raises:
        ToolMissing: If it is nowhere.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise ToolMissing(name)
    return found


def check_shell(pages: Sequence[Page]) -> Iterator[Finding]:
    """Findings for the shell blocks of all pages, and for commands in inline code.

    Raises:
        ToolMissing: If there is no shellcheck.
    """
    fences = fences_of(pages, *LANGUAGES)
    yield from _shellcheck(fences)
    written = {match for page in pages for match in _written_files(page)}
    for fence in fences:
        yield from _commands(fence, written)
    for page in pages:
        for span in page.spans:
            if span.text.split(" ")[0] in ("make", "python", "python3", ".venv/bin/python") and " " in span.text:
                yield from _commands(span, written)


def _shellcheck(fences: Sequence[Text]) -> Iterator[Finding]:
    """What shellcheck says of the blocks, each by itself; it also finds what does not parse."""
    # Pages of recipes repeat blocks; the first stands for all.
    by_text = {fence.text: fence for fence in reversed(fences)}
    if not by_text:
        return
    with tempfile.TemporaryDirectory() as folder:
        files = {Path(folder) / f"{number}.sh": text for number, text in enumerate(by_text)}
        for file, text in files.items():
            file.write_text(text + "\n", encoding="utf-8")
        command = [tool("shellcheck"), "--norc", "-s", "bash", "-S", "warning", "-e", _LEFT_OUT, "-f", "json1"]
        done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
        if not done.stdout:
            raise ToolMissing(f"shellcheck (it says: {done.stderr.strip()})")
        for said in json.loads(done.stdout)["comments"]:
            fence = by_text[files[Path(said["file"])]]
            yield _finding(
                fence,
                fence.at(said["line"] - 1, said["column"] - 1),
                "shell",
                f"shellcheck SC{said['code']}: {said['message']}",
                "Mend the block, or write it as text if nobody is to run it.",
            )


def _commands(text: Text, written: set[str]) -> Iterator[Finding]:
    local = bash.functions(text.text)
    for command in bash.commands(text.text):
        place = text.at(command.row, command.column)
        own = own_command(command.words)
        if own is not None:
            yield from _own(text, own, place)
            continue
        # ssh NODE '...': the words in quotes are commands of their own.
        for word in command.words[1:]:
            if " " in word and ("scripts/" in word or "make " in word):
                inner = Text(word, text.file, text.line + command.row, text.column, text.is_generated)
                yield from _commands(inner, written)
        yield from _program(text, command.words, place, local, written)


def _own(text: Text, own: tuple[str, Sequence[str]], place: Location) -> Iterator[Finding]:
    """What is wrong with one of the project's commands; behind ``--`` it may be given another to run."""
    script, arguments = own[0], list(own[1])
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if said := wrong_arguments(script, arguments[:end]):
        remedy = f"See: python {script} --help."
        yield _finding(text, place, "command-arguments", f"{script} does not take this: {said}", remedy)
    inner = own_command(arguments[end:])
    if inner is not None:
        yield from _own(text, inner, place)


def _program(
    text: Text, words: Sequence[str], place: Location, local: set[str], written: set[str]
) -> Iterator[Finding]:
    words = list(words)
    while words and (words[0] in WRAPPERS or "=" in words[0] or words[0].startswith("-") or words[0].isdecimal()):
        words.pop(0)
    if not words or words[0].startswith("$"):
        return
    own = own_command(words)
    if own is not None:
        yield from _own(text, own, place)
        return
    name = words[0].rsplit("/", 1)[-1]
    if words[0] in local or name in PROGRAMS:
        if name == "make" and (said := wrong_target(words[1:])):
            yield _finding(text, place, "make-target", said, "make help lists them.")
        return
    if "/" in words[0] and name in written:
        return
    remedy = did_you_mean(
        name, sorted(PROGRAMS), "If readers have it, add it to scripts/mimo_gb10/docs_check/programs.py."
    )
    yield _finding(text, place, "program-unknown", f"no reader is known to have {words[0]!r}", remedy)


def _written_files(page: Page) -> Iterator[str]:
    """Names of scripts that a launch's target writes; only the pages that name one ask for them."""
    if any(".sh" in fence.text for fence in page.fences):
        yield from target_files()


def target_files() -> set[str]:
    """Names of all files that ``gen_launch.py --out`` writes for the default recipe, by any target."""
    from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, TARGETS
    from mimo_gb10.launch import check
    from mimo_gb10.targets import launch_files

    plan = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).plan()
    return {Path(file.name).name for target in TARGETS for file in launch_files(target, plan)}


def _finding(text: Text, place: Location, code: str, message: str, remedy: str) -> Finding:
    return error(code, message, remedy + (_GENERATED if text.is_generated else ""), place)
