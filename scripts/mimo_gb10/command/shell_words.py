"""Shell text into words with positions, forgiving what forum pages do to it.

This reads, it does not expand: ``$VAR``, ``$(...)`` and ``<placeholder>`` stay in the word, which is then marked open.
Every character is looked at a bounded number of times, so that time is linear in the input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

SMART_QUOTES = {"\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2018": "'", "\u2019": "'", "\u201a": "'"}
DASHES = {"\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "--", "\u2014": "--", "\u2212": "-"}
ODD_SPACES = frozenset("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000")
ZERO_WIDTH = frozenset("\u200b\u200c\u200d\u2060\ufeff")

# A hole for the reader to fill: <head-ip>, <0|1|2|3>, <this rank's IP>. A redirection has a blank behind its "<".
_HOLE = re.compile(r"<[^\s<>&|=-][^<>\n]{0,78}(?<!\s)>|<[0-9A-Za-z]>")
_VARIABLE = re.compile(r"\$(?:\{[^}\n]{0,200}\}|[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-])")
_TEMPLATE = re.compile(r"\{\{[^{}\n]{0,80}\}\}|\{[A-Za-z_][A-Za-z0-9_]*\}")
_BLANKS_TO_LINE_END = re.compile(r"[ \t\r]{1,200}\n")
_BLANKS_THEN_COMMENT = re.compile(r"[ \t]{1,200}#")
_OPTION_LINE = re.compile(r"[ \t]{0,200}--?[A-Za-z][A-Za-z0-9-]{1,80}(?:[ \t=\r\n\\]|\Z)")
# An unquoted {a,b} or {1..4}: the shell makes several words of it.
_BRACES = re.compile(r"\{[^\s{}'\"]{0,200}(?:,|\.\.)[^\s{}'\"]{0,200}\}")
# The source of a page in place of its text. &lt;model&gt; is one hole.
_ENTITY = re.compile(
    r"(?P<ampersands>(?:&amp;){1,2})|&lt;(?:(?!&[lg]t;)[^\n]){1,80}&gt;"
    r"|&(?:lt|gt|quot|apos|nbsp|#\d{1,5}|#x[0-9a-fA-F]{1,4});"
)
_REDIRECTION = re.compile(r"&>>?|>&amp;|>[>|&]?|<<<|<<-?|<[>&]?")
# "> " in front of a continued line: a shell's second prompt, or a quotation in a page; no file is called "--tp-size".
_PROMPT_OF_LINE = re.compile(r"[ \t]{0,200}>[ \t]{1,200}(?=--?[A-Za-z])")
_LONG_DASH_REST = re.compile("[-\u2010-\u2014\u2212]{0,4}")


class Oddity(NamedTuple):
    """Something in the text that bash would take otherwise than its writer meant.

    Attributes:
        kind: ``smart-quote``, ``smart-dash``, ``odd-space``, ``html-entity``, ``continuation-broken``,
            ``continuation-missing``, ``comment-breaks-command`` or ``quote-open``.
        offset: Where, in characters from the start of the input.
    """

    kind: str
    offset: int


@dataclass(slots=True)
class Word:
    """One word of a command.

    Attributes:
        text: The word without its quotes; open parts stand as they were written.
        start: Offset of its first character in the input.
        is_open: Whether it holds a part that only the reader or the shell can fill.
        is_quoted: Whether a part of it was quoted.
    """

    text: str
    start: int
    is_open: bool = False
    is_quoted: bool = False


@dataclass(slots=True)
class Command:
    """One simple command.

    Attributes:
        words: Its words, assignments before the program included.
        end: Offset behind it, separator included.
        separator: What ended it: a newline, ``;``, ``&``, ``|`` and the like, or an empty string at the end.
        oddities: What bash would take otherwise than meant.
    """

    words: list[Word]
    end: int
    separator: str
    oddities: list[Oddity] = field(default_factory=list)


def read_command(text: str, start: int, stop: int | None = None) -> Command:
    """Read one simple command from `start` on.

    Args:
        text: The input, with any line ends.
        start: Offset of its first character.
        stop: Offset at which to stop in any case; the end of the text when None.
    """
    return _Reader(text, start, len(text) if stop is None else stop).read()


class _Reader:
    def __init__(self, text: str, start: int, stop: int) -> None:
        self.text = text
        self.at = start
        self.stop = stop
        self.words: list[Word] = []
        self.oddities: list[Oddity] = []
        self.parts: list[str] = []
        self.word: Word | None = None
        self.depth = 0  # of $( ... ) around here; its content belongs to the word
        self.is_target = False  # the next word is where a redirection goes

    def read(self) -> Command:
        text = self.text
        while self.at < self.stop:
            ch = text[self.at]
            if ch == "\n":
                self.depth = 0
                self.is_target = self.is_target and self.word is not None
                if not self._goes_on_without_backslash():
                    return self._done(1, "\n")
            elif ch == "\\":
                self._backslash()
            elif self.depth:
                self.depth += {"(": 1, ")": -1}.get(ch, 0)
                self._take(ch)
            elif ch in " \t\r" or ch in ODD_SPACES:
                if ch in ODD_SPACES:
                    self._odd("odd-space", self.at)
                self._end_word()
                self.at += 1
            elif ch in ZERO_WIDTH:
                self._odd("odd-space", self.at)
                self.at += 1
            elif ch in "'\"" or ch in SMART_QUOTES:
                self._quote(ch)
            elif ch == "#" and self.word is None:
                if not self._comment():
                    return self._done(0, "")
            elif ch in ";&|()":
                if text.startswith("&>", self.at):
                    self._redirection()
                    continue
                if entity := _ENTITY.match(text, self.at, self.stop):
                    self._odd("html-entity", self.at)
                    if entity["ampersands"]:
                        return self._done(len(entity.group()), "&" * entity.group().count("&"))
                    self._take(entity.group(), is_open=True)
                    continue
                double = text[self.at : self.at + 2]
                length = 2 if double in ("&&", "||", ";;") else 1
                return self._done(length, text[self.at : self.at + length])
            elif ch == "$":
                self._dollar()
            elif ch == "<" and (match := _HOLE.match(text, self.at, self.stop)):
                self._take(match.group(), is_open=True)
            elif ch in "<>":
                self._redirection()
            elif ch == "{":
                match = _TEMPLATE.match(text, self.at, self.stop) or _BRACES.match(text, self.at, self.stop)
                self._take(match.group() if match else ch, is_open=match is not None)
            elif ch == "`":
                self._backtick()
            elif ch in DASHES and self.word is None:
                self._long_dash(ch)
            else:
                self._take(ch)
        return self._done(0, "")

    def _done(self, length: int, separator: str) -> Command:
        self._end_word()
        return Command(self.words, min(self.at + length, self.stop), separator, self.oddities)

    def _odd(self, kind: str, offset: int) -> None:
        self.oddities.append(Oddity(kind, offset))

    def _begin(self) -> Word:
        if self.word is None:
            self.word = Word("", self.at)
        return self.word

    def _end_word(self) -> None:
        if self.word is not None:
            self.word.text = "".join(self.parts)
            if not self.is_target:
                self.words.append(self.word)
            self._drop_word()
            self.is_target = False

    def _drop_word(self) -> None:
        self.word = None
        self.parts = []

    def _redirection(self) -> None:
        """Leave out ``2>``, ``&>>`` and the like, and the word behind it."""
        is_number = self.word is not None and not (self.word.is_quoted or self.word.is_open)
        if is_number and "".join(self.parts).isdecimal() and self.text[self.at] != "&":
            self._drop_word()
        self._end_word()
        match = _REDIRECTION.match(self.text, self.at, self.stop)
        self.at = match.end() if match else self.at + 1
        self.is_target = True

    def _take(self, part: str, *, is_open: bool = False) -> None:
        word = self._begin()
        word.is_open |= is_open
        self.parts.append(part)
        self.at += len(part)

    def _backslash(self) -> None:
        text, at = self.text, self.at
        if text.startswith("\n", at + 1):
            self.at = at + 2
            self._continued()
        elif text.startswith("\r\n", at + 1):
            self.at = at + 3
            self._continued()
        elif match := _BLANKS_TO_LINE_END.match(text, at + 1, self.stop):
            # Bash reads backslash-blank as a word and ends the command at the line's end.
            self._odd("continuation-broken", at)
            self._end_word()
            self.at = match.end()
        elif match := _BLANKS_THEN_COMMENT.match(text, at + 1, self.stop):
            self._odd("comment-breaks-command", at)
            self._end_word()
            self.at = self._line_end(match.end()) + 1
        elif at + 1 < self.stop:
            self._begin()
            self.parts.append(text[at + 1])
            self.at = at + 2
        else:
            self.at += 1

    def _continued(self) -> None:
        prompt = _PROMPT_OF_LINE.match(self.text, self.at, self.stop)
        if prompt:
            self._end_word()
            self.at = prompt.end()
        # Blanks behind a continuation separate words, as they do anywhere.
        if self.at < self.stop and self.text[self.at] in " \t":
            self._end_word()

    def _line_end(self, at: int) -> int:
        found = self.text.find("\n", at, self.stop)
        return self.stop if found < 0 else found

    def _comment(self) -> bool:
        """Skip a comment; True if the command plainly goes on behind it, although bash ends it there."""
        start = self.at
        self.at = self._line_end(start)
        if self.words and self._next_line_is_option():
            self._odd("comment-breaks-command", start)
            self.at += 1
            return True
        return False

    def _goes_on_without_backslash(self) -> bool:
        if (self.words or self.word) and self._next_line_is_option():
            self._end_word()
            self._odd("continuation-missing", self.at)
            self.at += 1
            return True
        return False

    def _next_line_is_option(self) -> bool:
        return _OPTION_LINE.match(self.text, self.at + 1, self.stop) is not None

    def _quote(self, ch: str) -> None:
        text = self.text
        plain = SMART_QUOTES.get(ch, ch)
        if ch != plain:
            if self.word is not None and self.parts and self.parts[-1].isalnum():
                self._take(ch)  # an apostrophe inside a word
                return
            self._odd("smart-quote", self.at)
        closers = plain if ch == plain else plain + "".join(q for q, p in SMART_QUOTES.items() if p == plain)
        opened = self.at
        word = self._begin()
        word.is_quoted = True
        self.at += 1
        while self.at < self.stop:
            here = text[self.at]
            if here in closers:
                self.at += 1
                return
            if plain == '"' and here == "\\" and text[self.at + 1 : self.at + 2] in ('"', "\\", "$", "`"):
                self.parts.append(text[self.at + 1])
                self.at += 2
            elif plain == '"' and here == "\\" and text.startswith("\n", self.at + 1):
                self.at += 2
            elif plain == '"' and here == "$":
                match = _VARIABLE.match(text, self.at, self.stop)
                is_open = match is not None or text.startswith("$(", self.at)
                self._take(match.group() if match else "$", is_open=is_open)
            elif plain == '"' and here == "`":
                self._take(here, is_open=True)
            else:
                match = _HOLE.match(text, self.at, self.stop) if here == "<" else None
                self._take(match.group() if match else here, is_open=match is not None)
        self._odd("quote-open", opened)

    def _dollar(self) -> None:
        if self.text.startswith("$(", self.at):
            self._take("$(", is_open=True)
            self.depth = 1
            return
        if self.text.startswith("$'", self.at):
            self._begin().is_open = True  # its backslashes mean something; that is not expanded here
        if self.text[self.at + 1 : self.at + 2] in ("'", '"'):
            self.at += 1
            return
        match = _VARIABLE.match(self.text, self.at, self.stop)
        self._take(match.group() if match else "$", is_open=match is not None)

    def _backtick(self) -> None:
        end = self.at + 1
        while end < self.stop and self.text[end] not in "`\n":
            end += 1
        if end < self.stop and self.text[end] == "`":
            self._take(self.text[self.at : end + 1], is_open=True)
        else:
            # The end of an inline code span, most likely.
            self._end_word()
            self.at += 1

    def _long_dash(self, ch: str) -> None:
        self._odd("smart-dash", self.at)
        self._begin()
        # Two hyphens often become one long dash, or a long dash and a hyphen: both were meant as two.
        match = _LONG_DASH_REST.match(self.text, self.at + 1, self.stop)
        rest = match.group() if match else ""
        self.parts.append("--" if rest else DASHES[ch])
        self.at += 1 + len(rest)
