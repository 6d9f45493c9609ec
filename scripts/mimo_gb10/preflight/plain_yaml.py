"""Reading configs where PyYAML is not installed: a small strict reader for the part of YAML that they are written in.

It knows mappings and lists by indentation, ``{...}`` and ``[...]`` on one line, plain and quoted scalars on one line,
folded and literal text (``>-``, ``|``), and comments. Everything else (anchors, tags, several documents, values over
several lines) is refused with its place, and so is every scalar that YAML 1.1 and 1.2 read differently. What it reads,
the project's own reader (`mimo_gb10.text.document`) reads alike; it may refuse what that one takes, never the reverse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mimo_gb10.findings import Location, Refused, error

NodePath = tuple[str | int, ...]

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 24
_MAX_DIGITS = 40

_INSTALL = "This small reader stands in for PyYAML; with it (pip install pyyaml jsonschema) the full one is used."

# As in mimo_gb10.text.document, and the three characters that only YAML 1.1 takes for line breaks.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_TRUE = re.compile(r"(?:true|True|TRUE)\Z")
_FALSE = re.compile(r"(?:false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+\Z")
_OTHER_SWITCH = re.compile(r"(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|[yYnN])\Z")
# Whatever else some YAML takes for a number: octal, hexadecimal, binary, sexagesimal, with underscores or exponents.
_NUMBER_LIKE = re.compile(
    r"(?:[-+]?0b[01_]+|[-+]?0o?[0-9_]+|[-+]?0x[0-9a-fA-F_]+"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
_KEY = re.compile(r"(?P<key>[A-Za-z_][A-Za-z0-9_./-]*)(?P<space> *):(?: |$)")
_BLOCK_TEXT = re.compile(r"[|>][-+]?(?: +#.*)?\Z")
_ESCAPES = dict(zip('0abtnvfre "/\\', '\0\a\b\t\n\v\f\r\x1b "/\\', strict=True))
_ESCAPED_CODES = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True)
class PlainDocument:
    """A file that was read: values, and where each of them stands.

    Attributes:
        file: The name shown in findings.
        value: The top mapping.
    """

    file: str
    value: dict[str, Any]
    _places: Mapping[NodePath, tuple[int, int]] = field(repr=False, default_factory=dict)
    _keys: Mapping[NodePath, tuple[int, int]] = field(repr=False, default_factory=dict)

    def location(self, path: NodePath, *, key: bool = False) -> Location:
        """The place of a value, or of its key; of the nearest parent where it has none."""
        if key and path in self._keys:
            return Location(self.file, *self._keys[path])
        for end in range(len(path), -1, -1):
            if path[:end] in self._places:
                return Location(self.file, *self._places[path[:end]])
        return Location(self.file)


def parse_plain(data: bytes, file: str) -> PlainDocument:
    """Read a config whose top is a mapping.

    Raises:
        Refused: With the first problem.
    """
    if len(data) > MAX_BYTES:
        raise Refused(
            [error("file-too-large", "the file is larger than 4 MiB", "A config is a few kilobytes.", Location(file))]
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        place = Location(file, data.count(b"\n", 0, problem.start) + 1)
        raise Refused(
            [error("file-not-text", f"byte {problem.start + 1} is not UTF-8", "Save the file as UTF-8 text.", place)]
        ) from None
    return _Reader(text, file).document()


def plain_scalar(text: str) -> Any:
    """The value of a scalar without quotes.

    Raises:
        ValueError: If YAML 1.1 and 1.2 read it differently, or it is a number in a form that no config needs.
    """
    if _NULL.match(text):
        return None
    if _TRUE.match(text) or _FALSE.match(text):
        return bool(_TRUE.match(text))
    if len(text) <= _MAX_DIGITS and _INT.match(text):
        return int(text)
    if len(text) <= _MAX_DIGITS and _FLOAT.match(text):
        return float(text)
    if _OTHER_SWITCH.match(text) or _NUMBER_LIKE.match(text) or text == "=":
        raise ValueError(f"{text!r} is not read alike by all readers of YAML")
    return text


@dataclass(frozen=True)
class _Line:
    number: int
    indent: int
    text: str


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.places: dict[NodePath, tuple[int, int]] = {}
        self.keys: dict[NodePath, tuple[int, int]] = {}
        self.raw = [line.removesuffix("\r") for line in text.split("\n")]
        found = next(
            ((n, m) for n, line in enumerate(self.raw, 1) if (m := _CONTROL.search(line) or _bare_return(line))), None
        )
        if found:
            number, match = found
            message = f"the file holds the control character U+{ord(match.group()):04X}"
            self.stop(number, match.start() + 1, "control-character", message, "Delete the character.")
        for number, line in enumerate(self.raw, 1):
            if "\t" in line[: len(line) - len(line.lstrip(" \t"))]:
                self.stop(
                    number, line.index("\t") + 1, "yaml-tab", "a tab is used for indentation", "Indent with spaces."
                )
        self.lines = [
            _Line(number, len(line) - len(line.lstrip(" ")), line.strip(" "))
            for number, line in enumerate(self.raw, 1)
            if line.strip(" ") and not line.lstrip(" ").startswith("#")
        ]
        self.at = 0

    def stop(self, line: int, column: int, code: str, message: str, help: str) -> NoReturn:
        raise Refused([error(code, message, help, Location(self.file, line, column))])

    def beyond(self, line: int, column: int, what: str, help: str) -> NoReturn:
        self.stop(line, column, "yaml-subset", f"{what} cannot be read without PyYAML", f"{help} {_INSTALL}")

    def document(self) -> PlainDocument:
        if not self.lines:
            raise Refused(
                [error("file-empty", "the file is empty", "Start from an example in configs/.", Location(self.file))]
            )
        first = self.lines[0]
        if first.indent or first.text.startswith(("- ", "[", "{", "%")) or first.text in ("-", "---"):
            self.beyond(
                first.number, first.indent + 1, "a file that does not start with a key", "Start with 'name: ...'."
            )
        value = self.block((), 0, 0)
        if self.at < len(self.lines):
            line = self.lines[self.at]
            self.stop(
                line.number, line.indent + 1, "yaml-syntax", "this line's indentation fits nothing above", "Align it."
            )
        return PlainDocument(self.file, value, self.places, self.keys)

    # --- blocks

    def block(self, path: NodePath, indent: int, depth: int) -> Any:
        """The mapping or list whose lines start at `indent`."""
        line = self.lines[self.at]
        if depth >= MAX_DEPTH:
            self.stop(
                line.number,
                indent + 1,
                "yaml-too-deep",
                f"values are nested more than {MAX_DEPTH} deep",
                "Write it flat.",
            )
        self.places[path] = (line.number, indent + 1)
        if line.text == "-" or line.text.startswith("- "):
            return self.items(path, indent, depth)
        return self.mapping(path, indent, depth)

    def mapping(self, path: NodePath, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.at < len(self.lines) and self.lines[self.at].indent == indent:
            line = self.lines[self.at]
            if line.text == "-" or line.text.startswith("- "):
                break
            key, rest = self.key(line, indent + 1)
            if key in found:
                self.stop(
                    line.number,
                    indent + 1,
                    "yaml-duplicate-key",
                    f"the key {key!r} was given before",
                    "Keep one of the two.",
                )
            self.keys[(*path, key)] = (line.number, indent + 1)
            self.places[(*path, key)] = (line.number, indent + rest + 1)
            found[key] = self.value(line, rest, (*path, key), indent, depth, in_mapping=True)
        return found

    def items(self, path: NodePath, indent: int, depth: int) -> list[Any]:
        found: list[Any] = []
        while self.at < len(self.lines) and self.lines[self.at].indent == indent:
            line = self.lines[self.at]
            if line.text != "-" and not line.text.startswith("- "):
                break
            rest = line.text[1:].lstrip(" ")
            column = len(line.text) - len(rest)
            here = (*path, len(found))
            self.places[here] = (line.number, indent + column + 1)
            if rest == "-" or rest.startswith("- "):
                self.beyond(
                    line.number, indent + column + 1, "a list that starts on its parent's line", "Write [a, b]."
                )
            if _KEY.match(rest) and not rest.startswith("#"):
                # A mapping that starts behind the dash: its keys are aligned with the first of them.
                self.lines[self.at] = _Line(line.number, indent + column, rest)
                found.append(self.block(here, indent + column, depth + 1))
            else:
                found.append(self.value(line, column, here, indent, depth, in_mapping=False))
        return found

    def key(self, line: _Line, column: int) -> tuple[str, int]:
        """The key at the start of a line, and where in the line its value starts."""
        if line.text[0] in "\"'":
            scanner = _Scanner(self, line.number, column - 1, line.text)
            key = scanner.quoted()
            if not line.text.startswith(":", scanner.at) or line.text[scanner.at + 1 : scanner.at + 2] not in ("", " "):
                self.stop(line.number, column, "yaml-syntax", "a key has no ': ' behind it", "Write 'key: value'.")
            return key, scanner.at + 1
        match = _KEY.match(line.text)
        if not match or match["space"]:
            if line.text[0] in "&*!?%@`" or line.text.startswith("<<") or line.text in ("---", "..."):
                self.beyond(line.number, column, f"{line.text[:20]!r}", "Write plain keys and values.")
            self.stop(
                line.number,
                column,
                "yaml-syntax",
                "this is not 'key: value'",
                "Check indentation, colons and quotes here.",
            )
        self.check_key(match["key"], line.number, column)
        return match["key"], match.end() - (1 if match.group().endswith(" ") else 0)

    def check_key(self, key: str, line: int, column: int) -> None:
        try:
            is_text = isinstance(plain_scalar(key), str)
        except ValueError:
            is_text = False
        if not is_text:
            self.stop(line, column, "yaml-key", f"the key {key!r} is not text", "Write the key in quotes.")

    def value(self, line: _Line, start: int, path: NodePath, indent: int, depth: int, *, in_mapping: bool) -> Any:
        """What stands behind a key or a dash: on this line from `start` on, or on the lines below."""
        rest = line.text[start:].lstrip(" ")
        column = line.indent + len(line.text) - len(rest)
        self.at += 1
        if not rest or rest.startswith("#"):
            return self.below(path, indent, depth, in_mapping=in_mapping)
        self.places[path] = (line.number, column + 1)
        if _BLOCK_TEXT.match(rest):
            return self.block_text(line, rest, indent)
        if rest[0] in "|>":
            self.beyond(line.number, column + 1, f"the text header {rest!r}", "Write >- or |.")
        scanner = _Scanner(self, line.number, column, rest)
        value = scanner.entry(path, depth + 1)
        scanner.end()
        if self.at < len(self.lines) and self.lines[self.at].indent > indent:
            after = self.lines[self.at]
            self.beyond(
                after.number,
                after.indent + 1,
                "a value over several lines",
                "Write it on one line, or as text with >-.",
            )
        return value

    def below(self, path: NodePath, indent: int, depth: int, *, in_mapping: bool) -> Any:
        if self.at < len(self.lines):
            line = self.lines[self.at]
            is_item = line.text == "-" or line.text.startswith("- ")
            if line.indent > indent or (in_mapping and is_item and line.indent == indent):
                if not is_item and not _KEY.match(line.text) and line.text[0] not in "\"'":
                    self.beyond(line.number, line.indent + 1, "a value below its key", "Write it behind the key.")
                return self.block(path, line.indent, depth + 1)
        return None

    def block_text(self, line: _Line, header: str, indent: int) -> str:
        """Folded (``>``) or literal (``|``) text: the raw lines below that are indented more than `indent`."""
        if line.indent != indent:
            self.beyond(line.number, line.indent + 1, "text behind a dash", "Write it in quotes.")
        lines: list[str] = []
        number = line.number
        while number < len(self.raw):
            raw = self.raw[number]
            if raw.strip(" ") and len(raw) - len(raw.lstrip(" ")) <= indent:
                break
            lines.append(raw)
            number += 1
        while self.at < len(self.lines) and self.lines[self.at].number <= number:
            self.at += 1
        while lines and not lines[-1]:
            lines.pop()
        ended = line.number + len(lines) < len(self.raw)
        if not lines or not lines[0].strip(" "):
            self.beyond(
                line.number, line.indent + 1, "text that is empty or starts with an empty line", "Write it in quotes."
            )
        inner = len(lines[0]) - len(lines[0].lstrip(" "))
        for offset, raw in enumerate(lines, 1):
            deep = len(raw) - len(raw.lstrip(" "))
            odd = "\t" in raw or (raw.strip(" ") and (deep < inner or (header[0] == ">" and deep > inner)))
            if odd or (raw and not raw.strip(" ")):
                self.beyond(line.number + offset, 1, "text with uneven indentation", "Indent its lines alike.")
        if header[1:2] == "+":
            self.beyond(line.number, line.indent + 1, "text that keeps its last empty lines", "Write >- or |-.")
        body = [raw[inner:] for raw in lines]
        text = "\n".join(body) if header[0] == "|" else _folded(body)
        # The last line break is kept, if there is one: the file can end without.
        return text if header[1:2] == "-" or not ended else text + "\n"


def _bare_return(line: str) -> re.Match[str] | None:
    return re.search("\r", line)


def _folded(lines: list[str]) -> str:
    """Lines joined by blanks; n empty lines between two become n line breaks."""
    text, breaks = "", 0
    for number, line in enumerate(lines):
        if not line:
            breaks += 1
        elif number == 0:
            text = line
        else:
            text += ("\n" * breaks if breaks else " ") + line
            breaks = 0
    return text


class _Scanner:
    """What stands on one line: a scalar, ``[...]`` or ``{...}``."""

    def __init__(self, reader: _Reader, line: int, column: int, text: str) -> None:
        self.reader = reader
        self.line = line
        self.column = column
        self.text = text
        self.at = 0

    def stop(self, code: str, message: str, help: str, at: int | None = None) -> NoReturn:
        self.reader.stop(self.line, self.column + (self.at if at is None else at) + 1, code, message, help)

    def blanks(self) -> None:
        while self.text.startswith(" ", self.at):
            self.at += 1

    def end(self) -> None:
        """Nothing but a comment may follow."""
        start = self.at
        self.blanks()
        rest = self.text[self.at :]
        if rest and not (rest.startswith("#") and self.at > start):
            self.stop("yaml-syntax", f"{rest[:20]!r} stands behind the value", "Put the whole value in quotes.")

    def entry(self, path: NodePath, depth: int, *, in_brackets: bool = False) -> Any:
        self.reader.places[path] = (self.line, self.column + self.at + 1)
        first = self.text[self.at]
        if depth >= MAX_DEPTH and first in "[{":
            self.stop("yaml-too-deep", f"values are nested more than {MAX_DEPTH} deep", "Write it flat.")
        if first == "[":
            return self.items(path, depth)
        if first == "{":
            return self.mapping(path, depth)
        if first in "\"'":
            return self.quoted()
        return self.plain(in_brackets)

    def items(self, path: NodePath, depth: int) -> list[Any]:
        opened = self.at
        self.at += 1
        found: list[Any] = []
        self.blanks()
        if self.take("]"):
            return found
        while True:
            self.blanks()
            self.inside(opened, "[")
            found.append(self.entry((*path, len(found)), depth + 1, in_brackets=True))
            if self.separated(opened, "["):
                return found

    def mapping(self, path: NodePath, depth: int) -> dict[str, Any]:
        opened = self.at
        self.at += 1
        found: dict[str, Any] = {}
        self.blanks()
        if self.take("}"):
            return found
        while True:
            self.blanks()
            self.inside(opened, "{")
            start = self.at
            if self.text[self.at] in "\"'":
                key = self.quoted()
                colon = self.text.startswith(": ", self.at)
                self.at += 1
            else:
                match = _KEY.match(self.text, self.at)
                colon = match is not None and not match["space"]
                key = match["key"] if match else ""
                self.at = match.end() if match else self.at
            if not colon:
                self.stop("yaml-syntax", "this is not 'key: value'", "Write {key: value, key: value}.", start)
            self.reader.check_key(key, self.line, self.column + start + 1)
            self.reader.keys[(*path, key)] = (self.line, self.column + start + 1)
            if key in found:
                self.stop("yaml-duplicate-key", f"the key {key!r} was given before", "Keep one of the two.", start)
            self.blanks()
            self.inside(opened, "{")
            found[key] = self.entry((*path, key), depth + 1, in_brackets=True)
            if self.separated(opened, "{"):
                return found

    def take(self, mark: str) -> bool:
        if self.text.startswith(mark, self.at):
            self.at += 1
            return True
        return False

    def inside(self, opened: int, bracket: str) -> None:
        """The next character starts a value."""
        rest = self.text[self.at :]
        if not rest or rest.startswith("#"):
            self.reader.beyond(
                self.line,
                self.column + opened + 1,
                f"a {bracket!r} that is not closed on its line",
                "Write it on one line.",
            )
        if rest[0] in ",]}":
            self.stop("yaml-syntax", "a value is missing here", "Write the value, or remove the comma.")

    def separated(self, opened: int, bracket: str) -> bool:
        """Take a comma, or the closing bracket and say so."""
        self.blanks()
        if self.take({"[": "]", "{": "}"}[bracket]):
            return True
        if not self.take(","):
            rest = self.text[self.at :]
            if not rest or rest.startswith("#"):
                self.inside(opened, bracket)
            self.stop(
                "yaml-syntax", f"expected ',' or the end of {bracket!r}", "Check commas, brackets and quotes here."
            )
        return False

    def quoted(self) -> str:
        mark = self.text[self.at]
        opened = self.at
        self.at += 1
        found = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == mark == "'" and self.text.startswith("''", self.at):
                found.append("'")
                self.at += 2
            elif char == mark:
                self.at += 1
                return "".join(found)
            elif char == "\t":
                self.stop("yaml-tab", "a tab stands in the text", "Write \\t in double quotes.")
            elif char == "\\" and mark == '"':
                found.append(self.escape())
            else:
                found.append(char)
                self.at += 1
        place = self.column + opened + 1
        what = "a quote that is not closed on its line"
        return self.reader.beyond(self.line, place, what, "Close it, or write the text with >-.")

    def escape(self) -> str:
        code = self.text[self.at + 1 : self.at + 2]
        if code in _ESCAPES:
            self.at += 2
            return _ESCAPES[code]
        digits = self.text[self.at + 2 : self.at + 2 + _ESCAPED_CODES.get(code, 0)]
        number = int(digits, 16) if code in _ESCAPED_CODES and re.fullmatch("[0-9a-fA-F]+", digits) else -1
        if len(digits) == _ESCAPED_CODES.get(code, -1) and 0 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
            self.at += 2 + len(digits)
            return chr(number)
        return self.stop("yaml-syntax", f"the escape '\\{code}' is not known", "Write \\\\ for a backslash.")

    def plain(self, in_brackets: bool) -> Any:
        start = self.at
        end = re.compile(r"[,\[\]{}]| #|: |:$" if in_brackets else r" #|: |:$").search(self.text, start)
        text = (self.text[start : end.start()] if end else self.text[start:]).rstrip(" ")
        self.at = start + len(text)
        if end and end.group().startswith(":"):
            self.stop("yaml-syntax", "a second ': ' stands in the value", "Put the value in quotes.", end.start())
        if "\t" in text:
            self.stop("yaml-tab", "a tab stands here", "Write blanks.", start + text.index("\t"))
        if (
            not text
            or text[0] in "&*!|>%@`#?:,]}"
            or re.match(r"-(?:\s|$)", text)
            or (in_brackets and re.search(r"\?|:$", text))
        ):
            self.reader.beyond(
                self.line, self.column + start + 1, f"{(text or self.text[start:])[:20]!r}", "Put it in quotes."
            )
        try:
            return plain_scalar(text)
        except ValueError as problem:
            self.stop("yaml-ambiguous", str(problem), f'Write "{text}" in quotes if you mean text.', start)
