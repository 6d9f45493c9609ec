"""Find SGLang launches in a script, a page or a pasted text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mimo_gb10.command.shell_words import SMART_QUOTES, Command, Oddity, Word, read_command
from mimo_gb10.findings import Location

MAX_CHARACTERS = 4 * 1024 * 1024

_LAUNCH = re.compile(r"sglang\.launch_server|\bsglang[ \t]+serve\b|launch_server\.py")
_FENCE = re.compile(r"(?m)^[ \t>]{0,20}(?P<marks>`{3,}|~{3,})[^`\n]*$")
# Lines worth reading as shell: an assignment, a launch, or the start of a command over several lines,
# which a backslash joins or the quotes of bash -c '...' hold together.
_CANDIDATE = re.compile(
    r"(?m)^(?P<prompt>[ \t]*(?:[$%>][ \t]+)?)"
    r"(?:(?P<assignment>(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*=)"
    r"|(?=[^\n]*(?:sglang\.launch_server|\bsglang[ \t]+serve\b|launch_server\.py))"
    r"|(?=[^\n#]*\\[ \t\r]*$)"
    r"|(?=[^\n]*[ \t]-[a-z]{0,4}c[ \t]+['\"]))"
)
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?\Z")
_CONTAINER = re.compile(r"(?:.*/)?(?:docker|podman|nerdctl)\Z")
_SHELL = re.compile(r"(?:.*/)?(?:ba|z|da)?sh\Z")
_IMAGE = re.compile(r"(?<![\w/.-])(?:[a-z0-9.-]+/)?(?:lmsysorg|sglang|lmsys)/?sglang:[A-Za-z0-9_][\w.-]*")
_QUOTES = frozenset("'\"") | SMART_QUOTES.keys()


@dataclass(frozen=True, slots=True)
class Assignment:
    """One environment variable that is in force for a launch.

    Attributes:
        name: Its name.
        value: Its value, as far as the text tells.
        start: Offset of the name.
        is_open: Whether the value has a part that only the reader or the shell can fill.
    """

    name: str
    value: str
    start: int
    is_open: bool


@dataclass(slots=True)
class Launch:
    """One launch of SGLang's server.

    Attributes:
        start: Offset of the command.
        arguments: The words behind the entry point.
        env: Variables in force, by name; the last assignment counts.
        image: The container image, if the command or the page names one.
        is_serve: Whether it is ``sglang serve``, not ``python -m sglang.launch_server``.
        oddities: What bash would take otherwise than meant.
    """

    start: int
    arguments: list[Word]
    env: dict[str, Assignment]
    image: str | None
    is_serve: bool
    oddities: list[Oddity] = field(default_factory=list)


class Lines:
    """Offsets to lines and columns, both counted from 1."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def location(self, offset: int) -> Location:
        """The place of an offset."""
        line = bisect_right(self._starts, offset)
        return Location(self.file, line, offset - self._starts[line - 1] + 1)


def find_launches(text: str) -> list[Launch]:
    """Every launch in the text, in order. Fenced blocks of a Markdown page are read each by itself."""
    image = _IMAGE.search(text)
    shared: dict[str, Assignment] = {}
    launches: list[Launch] = []
    for start, stop in _blocks(text):
        # A block of exports belongs to the launches that follow it; what a block with a launch sets is its own.
        env = dict(shared) if _LAUNCH.search(text, start, stop) else shared
        found = list(_read_block(text, start, stop, env))
        if not found:
            shared = env
        launches += found
    for launch in launches:
        if launch.image is None and image is not None:
            launch.image = image.group()
    return launches


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """The fenced blocks of a page and the text between them; the whole text when no fence holds a launch."""
    blocks: list[tuple[int, int]] = []
    fenced: list[tuple[int, int]] = []
    at, opened = 0, ""
    for match in _FENCE.finditer(text):
        marks = match["marks"]
        if not opened:
            blocks.append((at, match.start()))
            opened, at = marks, match.end()
        elif marks[0] == opened[0] and len(marks) >= len(opened) and match.group().strip(" \t>") == marks:
            blocks.append((at, match.start()))
            fenced.append((at, match.start()))
            opened, at = "", match.end()
    blocks.append((at, len(text)))
    if any(_LAUNCH.search(text, start, stop) for start, stop in fenced):
        yield from blocks
    else:
        yield 0, len(text)


def _read_block(text: str, start: int, stop: int, env: dict[str, Assignment]) -> Iterator[Launch]:
    at = start
    while at < stop:
        match = _CANDIDATE.search(text, at, stop)
        if match is None:
            return
        line_end = text.find("\n", match.start(), stop)
        line_end = stop if line_end < 0 else line_end
        if text.startswith("#", match.end("prompt")):
            at = line_end  # a comment, or a heading
            continue
        command = read_command(text, match.end("prompt"), stop)
        launch = _launch(text, command, env)
        if launch is None and not match["assignment"]:
            # Prose before the command can open a quote; then the command itself is where to start.
            inside = _LAUNCH.search(text, match.start(), line_end)
            if inside is not None:
                start_at = _program_start(text, inside.start(), match.start())
                command = read_command(text, start_at, _end_of_code_span(text, start_at, match.start(), stop))
                launch = _launch(text, command, env)
        if launch is not None:
            if not _is_prose(launch):
                yield launch
            at = max(command.end, match.end("prompt") + 1)
        else:
            _collect_assignments(command, env)
            multi_line = text.startswith("\\", max(line_end - 1, match.start())) or match["assignment"]
            at = max(min(command.end, stop) if multi_line else line_end, match.end("prompt"), at + 1)
        if command.separator not in ("\n", "") and at < stop:
            at = yield from _read_rest_of_line(text, at, stop, env)


def _read_rest_of_line(text: str, at: int, stop: int, env: dict[str, Assignment]) -> Generator[Launch, None, int]:
    """Commands behind a separator (`&&`, `;`, `|`) on one line; returns where the line ends."""
    separator = ""
    while at < stop and separator != "\n":
        command = read_command(text, at, stop)
        launch = _launch(text, command, env)
        if launch is not None:
            yield launch
        else:
            _collect_assignments(command, env)
        separator = command.separator
        at = max(command.end, at + 1)
        if not separator:
            break
    return at


def _is_prose(launch: Launch) -> bool:
    """Whether the words are a sentence that names the command: several, and no option among them."""
    return len(launch.arguments) != 1 and not any(
        word.text.startswith("-") or word.is_open for word in launch.arguments
    )


def _end_of_code_span(text: str, at: int, line_start: int, stop: int) -> int:
    """Where a span of inline code that is open at `at` ends; `stop` when none is."""
    if text.count("`", line_start, at) % 2 == 0:
        return stop
    end = text.find("`", at, stop)
    return stop if end < 0 else end


def _program_start(text: str, at: int, earliest: int) -> int:
    """Offset of the program word in front of ``-m sglang.launch_server``, if it stands there."""
    before = text[max(earliest, at - 200) : at]
    match = re.search(r"(?:[\w./-]*python[\w.]*(?:[ \t]+-\S+)*[ \t]+)\Z", before)
    return at - len(match.group()) if match else at


def _launch(text: str, command: Command, env: dict[str, Assignment]) -> Launch | None:
    words = command.words
    found = _entry(words)
    if found is None:
        return _nested(text, command, env)
    program, first_argument, is_serve = found
    own = dict(env)
    _collect_assignments(Command(words[:program], command.end, ""), own)
    return Launch(
        start=words[program].start,
        arguments=list(words[first_argument:]),
        env=own,
        image=_image(words[:program]),
        is_serve=is_serve,
        oddities=command.oddities,
    )


def _entry(words: Sequence[Word]) -> tuple[int, int, bool] | None:
    """(program, first argument, is ``sglang serve``) of the launch in a command, or None."""
    for index, word in enumerate(words):
        if word.text == "sglang.launch_server" and index and words[index - 1].text == "-m":
            program = index - 1
            while program and words[program - 1].text.startswith("-"):
                program -= 1
            if program and _PYTHON.match(words[program - 1].text):
                program -= 1
            return program, index + 1, False
        if word.text.endswith("launch_server.py") and index and _PYTHON.match(words[index - 1].text):
            return index - 1, index + 1, False
        if word.text == "serve" and index and words[index - 1].text.rsplit("/", 1)[-1] == "sglang":
            return index - 1, index + 1, True
        if word.text == "sglang.launch_server" and index == 0:
            return 0, 1, False
    return None


def _nested(text: str, command: Command, env: dict[str, Assignment]) -> Launch | None:
    """The launch inside ``bash -c "..."``, ``ssh host "..."`` and the like."""
    is_closed = not any(oddity.kind == "quote-open" for oddity in command.oddities)
    for index, word in enumerate(command.words):
        if not (word.is_quoted and index and _LAUNCH.search(word.text)):
            continue
        # Without a shell, only a word that is quoted from its first letter on: prose has apostrophes.
        if not _is_shell_text(command.words[:index]) and not (is_closed and text[word.start] in _QUOTES):
            continue
        outer = dict(env)
        _collect_assignments(Command(command.words[:index], command.end, ""), outer)
        own = dict(outer)
        at = 0
        while at < len(word.text):
            inner = read_command(word.text, at)
            launch = _launch(word.text, inner, own)
            if launch is not None:
                launch.image = launch.image or _image(command.words[:index])
                _move(launch, text, word, outer)
                launch.oddities = [*command.oddities, *launch.oddities]
                return launch
            _collect_assignments(inner, own)
            at = max(inner.end, at + 1)
    return None


def _is_shell_text(before: Sequence[Word]) -> bool:
    """Whether the word behind these is what a shell is to run: ``bash -c``, ``sh -lc``."""
    last = before[-1].text
    return last.startswith("-") and last.endswith("c") and any(_SHELL.match(word.text) for word in before)


def _move(launch: Launch, text: str, word: Word, outer: dict[str, Assignment]) -> None:
    """Give a nested launch offsets of the whole text: exact where the quoted text holds no escapes."""
    exact = text.startswith(word.text, word.start + 1)

    def offset(inner: int) -> int:
        return word.start + 1 + inner if exact else word.start

    launch.start = offset(launch.start)
    launch.arguments = [replace(argument, start=offset(argument.start)) for argument in launch.arguments]
    launch.oddities = [Oddity(oddity.kind, offset(oddity.offset)) for oddity in launch.oddities]
    launch.env = {
        name: assigned if assigned is outer.get(name) else replace(assigned, start=offset(assigned.start))
        for name, assigned in launch.env.items()
    }


def _collect_assignments(command: Command, env: dict[str, Assignment]) -> None:
    """Assignments in front of a program, behind ``export`` or ``env``, or given to a container with ``-e``."""
    words = command.words
    in_front = True
    for index, word in enumerate(words):
        previous = words[index - 1].text if index else ""
        text, start = word.text, word.start
        if previous in ("-e", "--env"):
            pass
        elif text.startswith("--env=") and "=" in text[6:]:
            text, start = text[6:], start + 6
        elif text.startswith("-e") and _ASSIGNMENT.match(text, 2):
            text, start = text[2:], start + 2
        elif not in_front:
            continue
        match = _ASSIGNMENT.match(text)
        if match:
            env[match[1]] = Assignment(match[1], text[match.end() :], start, word.is_open)
        elif text not in ("export", "env", "sudo", "exec", "nohup", "-E", "-x", "declare", "set"):
            in_front = False


def _image(before: Sequence[Word]) -> str | None:
    """The image of ``docker run ... image command``: the last bare word in front of the command."""
    if not any(_CONTAINER.match(word.text) for word in before):
        return None
    for word in reversed(before):
        name = word.text
        if not name.startswith("-") and "=" not in name and not _SHELL.match(name) and not _PYTHON.match(name):
            return None if word.is_open or name in ("run", "exec", "docker") else name
    return None
