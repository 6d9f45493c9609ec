"""The options of a launch, read as argparse reads them, with a finding where it would refuse them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.argument_types import convert
from mimo_gb10.command.shell_words import Word
from mimo_gb10.findings import Finding, Location, error, note, warning
from mimo_gb10.release import Flag, Release, known_releases, load_release
from mimo_gb10.text.suggest import nearest

Locate = Callable[[int], Location]

_NEGATIVE_NUMBER = re.compile(r"-\d+\Z|-\d*\.\d+\Z")
_MODEL_TYPES = ("auto", "llm", "diffusion")
_MOST_SUGGESTIONS = 20
_ELLIPSIS = ("...", "\u2026", "[...]")


@dataclass(frozen=True, slots=True)
class Given:
    """One option of a launch.

    Attributes:
        flag: What it is in the release.
        option: The long spelling without dashes, as a recipe writes it.
        values: Its values as the parser converts them; None for a value with an open part.
        words: The words they came from.
        start: Offset of the option.
    """

    flag: Flag
    option: str
    values: tuple[Any, ...]
    words: tuple[Word, ...]
    start: int

    @property
    def is_open(self) -> bool:
        """Whether a value has a part that only the reader or the shell can fill."""
        return any(word.is_open for word in self.words)

    @property
    def value(self) -> Any:
        """What a recipe would write: true for a switch or a bare option, one value, or a list."""
        if self.flag.is_switch:
            return True
        if self.flag.nargs == "?" and not self.values:
            return True
        if self.flag.nargs in (None, "?"):
            return self.values[0] if self.values else None
        return list(self.values)


@dataclass(frozen=True, slots=True)
class Read:
    """The options of one launch.

    Attributes:
        given: In the order of the command.
        findings: Where the parser would refuse, and what it warns of.
        has_open_options: Whether there may be options that are not seen: a whole word such as ``$EXTRA_ARGS`` can
            stand for some, a file given with ``--config`` holds some.
    """

    given: tuple[Given, ...]
    findings: tuple[Finding, ...]
    has_open_options: bool


def read_arguments(
    words: Sequence[Word], release: Release, locate: Locate, *, is_serve: bool = False, start: int = 0
) -> Read:
    """Read the arguments of a launch under a release.

    Args:
        words: The words behind the entry point.
        release: The catalog.
        locate: Gives the place of an offset.
        start: Offset of the command itself, for what is missing in it.
        is_serve: Whether a first bare word is the model, as ``sglang serve MODEL`` allows from 0.5.16.
    """
    return _Parser(words, release, locate, start).read(is_serve)


class _Parser:
    def __init__(self, words: Sequence[Word], release: Release, locate: Locate, start: int) -> None:
        self.words = words
        self.start = start
        self.release = release
        self.locate = locate
        self.at = 0
        self.given: list[Given] = []
        self.last: dict[str, Given] = {}  # by the attribute that it fills
        self.unknown = 0
        self.findings: list[Finding] = []
        self.has_open_options = False
        self.is_for_another_parser = False

    def read(self, is_serve: bool) -> Read:
        if is_serve:
            self._take_model_type()
            if self.is_for_another_parser:
                return Read((), tuple(self.findings), has_open_options=True)
            if self.words and self.release.is_from("0.5.16") and not self.words[0].text.startswith("-"):
                self._positional_model()
        while self.at < len(self.words):
            word = self.words[self.at]
            if word.text in ("-h", "--help"):
                # The parser stops here: this prints, and starts no server.
                return Read(tuple(self.given), tuple(self.findings), has_open_options=True)
            if self._is_option(word):
                self._option(word)
            elif word.is_open or word.text in _ELLIPSIS or word.text == "\\":
                self.has_open_options = True
                self.at += 1
            else:
                self._unexpected(word)
        self._check_required()
        return Read(tuple(self.given), tuple(self.findings), self.has_open_options)

    def _take_model_type(self) -> None:
        """Take out ``--model-type``, which the entry point reads before anything else."""
        kept: list[Word] = []
        at = 0
        while at < len(self.words):
            word = self.words[at]
            name, joined, value = word.text.partition("=")
            if name != "--model-type":
                kept.append(word)
                at += 1
                continue
            place = self.locate(word.start)
            is_open = word.is_open
            if not joined:
                at += 1
                value = self.words[at].text if at < len(self.words) else ""
                is_open = at < len(self.words) and self.words[at].is_open
            at += 1
            if value == "diffusion":
                message = "a diffusion server has options of its own, which are not checked here"
                self.findings.append(note("not-checked", message, "Read sglang serve --help.", place))
                self.is_for_another_parser = True
            elif value not in _MODEL_TYPES and not is_open:
                message = f"--model-type cannot be {value!r}" if value else "--model-type needs a value"
                self.findings.append(error("flag-choice", message, f"One of: {', '.join(_MODEL_TYPES)}.", place))
        self.words = kept

    def _is_option(self, word: Word) -> bool:
        text = word.text
        if not text.startswith("-") or text in ("-", "--") or _NEGATIVE_NUMBER.match(text):
            return False
        # argparse takes a word with a blank for a value, unless it is an option, short or whole, with its value joined.
        name = text.partition("=")[0]
        return " " not in text or any(option.startswith(name) for option in self.release.by_option)

    def _positional_model(self) -> None:
        word = self.words[0]
        self.given.append(
            Given(self.release.by_option["--model-path"], "model-path", (word.text,), (word,), word.start)
        )
        self.at = 1

    def _option(self, word: Word) -> None:
        self.at += 1
        spelling, joined, rest = word.text.partition("=")
        place = self.locate(word.start)
        option = self._resolve(spelling, word, place)
        if option is None:
            # Its values would only be reported again as leftovers.
            while not joined and self.at < len(self.words) and not self._is_option(self.words[self.at]):
                self.at += 1
            return
        flag = self.release.by_option[option]
        if flag.is_switch:
            if joined:
                self._error("flag-value", f"{option} is a switch and takes no value", f"Write {option}.", place, flag)
            values: list[Word] = []
        elif joined:
            start = word.start + len(spelling) + 1
            values = [Word(rest, start, word.is_open, word.is_quoted)]
        else:
            values = self._values(flag)
        if flag.deprecated:
            remedy = f"Use {flag.replaced_by} instead." if flag.replaced_by else "Remove it."
            message = f"{option} is deprecated in SGLang {self.release.version}"
            self.findings.append(warning("flag-deprecated", message, remedy, place, flag.source))
        converted = self._check_values(flag, option, values, place)
        if spelling == "--config":
            self._check_config(joined, place, flag)
        name = option.lstrip("-")
        self._check_repeated(flag, option, converted, place)
        given = Given(flag, name, converted, tuple(values), word.start)
        self.given.append(given)
        self.last[flag.dest] = given

    def _resolve(self, spelling: str, word: Word, place: Location) -> str | None:
        known = self.release.by_option
        if spelling in known:
            return spelling
        candidates = [option for option in known if option.startswith(spelling)] if spelling.startswith("--") else []
        if len(candidates) == 1:
            self.findings.append(
                note(
                    "flag-abbreviated",
                    f"{spelling} is an abbreviation of {candidates[0]}",
                    f"Write {candidates[0]}: an abbreviation breaks when another flag begins like it.",
                    place,
                    known[candidates[0]].source,
                )
            )
            return candidates[0]
        if candidates:
            message = f"{spelling} could be {' or '.join(sorted(candidates)[:4])}"
            self.findings.append(error("flag-ambiguous", message, "Write the option in full.", place))
            return None
        if word.is_open:
            self.has_open_options = True
            return None
        self.findings.append(self._unknown(spelling, place))
        return None

    def _unknown(self, spelling: str, place: Location) -> Finding:
        version = self.release.version
        self.unknown += 1
        if self.unknown > _MOST_SUGGESTIONS:
            # Text with so many is no launch, and looking names up elsewhere costs time.
            return error("flag-unknown", f"SGLang {version} has no option {spelling}", "Remove it.", place)
        others = [other for other in known_releases() if spelling in load_release(other).by_option]
        if others:
            newest = others[-1] if others[-1] != version else others[0]
            replaced = load_release(newest).by_option[spelling].replaced_by
            where = others[0] if len(others) == 1 else f"{others[0]} to {others[-1]}"
            remedy = f"Known in {where}." + (f" Its successor is {replaced}." if replaced else "")
        else:
            near = nearest(spelling, self.release.by_option)
            remedy = f"Did you mean {near}?" if near else "No release from 0.5.11 on has it: remove it."
        return error("flag-unknown", f"SGLang {version} has no option {spelling}", remedy, place)

    def _values(self, flag: Flag) -> list[Word]:
        limit: float = (
            {None: 1, "?": 1}.get(flag.nargs, float("inf")) if not isinstance(flag.nargs, int) else flag.nargs
        )
        values: list[Word] = []
        while self.at < len(self.words) and len(values) < limit and not self._is_option(self.words[self.at]):
            values.append(self.words[self.at])
            self.at += 1
        return values

    def _check_values(self, flag: Flag, option: str, values: Sequence[Word], place: Location) -> tuple[Any, ...]:
        wanted = {None: 1, "+": 1}.get(flag.nargs, 0) if not isinstance(flag.nargs, int) else flag.nargs
        if len(values) < wanted:
            what = "a value" if wanted == 1 else f"{wanted} values"
            self._error("flag-value", f"{option} needs {what}", f"Give {what}.", place, flag)
        converted = []
        for word in values:
            here = self.locate(word.start)
            value: Any = None
            if not word.is_open:
                try:
                    value = convert(flag.type, word.text)
                    if flag.action == "LoRAPathAction":
                        _check_adapter(word.text.strip())
                except ValueError as problem:
                    self._error("flag-type", f"{option} is {word.text!r}, not {problem}", "Correct it.", here, flag)
                else:
                    if flag.choices is not None and value not in flag.choices:
                        choices = [str(choice) for choice in flag.choices]
                        near = nearest(word.text, choices)
                        remedy = (f"Did you mean {near}? " if near else "") + f"One of: {', '.join(choices)}."
                        self._error("flag-choice", f"{option} cannot be {word.text!r}", remedy, here, flag)
            converted.append(value)
        return tuple(converted)

    def _check_repeated(self, flag: Flag, option: str, values: tuple[Any, ...], place: Location) -> None:
        earlier = self.last.get(flag.dest)
        if earlier is not None and flag.action not in ("append", "extend") and earlier.values != values:
            self.findings.append(
                warning(
                    "flag-repeated",
                    f"{option} is given twice with different values; the last one counts",
                    "Keep one of the two.",
                    place,
                )
            )

    def _unexpected(self, word: Word) -> None:
        self.at += 1
        remedy = "Every value stands behind its option; a missing dash, quote or backslash may have cut it off."
        place = self.locate(word.start)
        self.findings.append(error("argument-unexpected", f"{word.text[:60]!r} belongs to no option", remedy, place))

    def _check_config(self, joined: str, place: Location, flag: Flag) -> None:
        if joined:
            # The parser accepts it; but the entry point looks for the bare word before it asks the parser.
            message = "SGLang reads no file that is joined to --config with an equals sign"
            self.findings.append(warning("config-not-read", message, "Write --config FILE.", place, flag.source))
        else:
            self.has_open_options = True

    def _check_required(self) -> None:
        if self.has_open_options:
            return
        for flag in self.release.flags:
            if flag.required and not any(given.flag is flag for given in self.given):
                option = f"--{flag.name}"
                place = self.locate(self.start)
                self.findings.append(error("flag-missing", f"{option} is required", "Add it.", place, flag.source))

    def _error(self, code: str, message: str, help: str, place: Location, flag: Flag) -> None:
        self.findings.append(error(code, message, help, place, flag.source))


def _check_adapter(text: str) -> None:
    """What SGLang asks of an adapter that is written as JSON.

    Raises:
        ValueError: If the parser would refuse it; the message says what is wanted.
    """
    if text.startswith("{") and text.endswith("}"):
        value = convert("json.loads", text)
        if not {"lora_name", "lora_path"} <= value.keys():
            raise ValueError("a JSON object with lora_name and lora_path")
