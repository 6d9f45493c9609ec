"""The project's one reading of YAML: 1.2 scalars, no duplicate keys, every position kept.

YAML 1.1 (PyYAML, many tools) and YAML 1.2 (editors, this project) disagree about
some plain scalars: `no`, `0755`, `1e3`, `12:30`. A config must mean the same
to every reader, so a scalar that the two would read differently is refused, with
the two spellings that are safe.

The document is built from libyaml's event stream by a loop, not by recursion, so that depth,
size and aliases are bounded before any memory is spent on them.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.resolver import Resolver

from mimo_gb10.findings import Finding, Location, Refused, error

NodePath = tuple[str | int, ...]
"""Where a value stands in a document: mapping keys and list indices from the top."""

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 24
MAX_NODES = 300_000
_MAX_DIGITS = 40

# The pure Python parser reads the same events, only slower; PyYAML's wheels bring libyaml.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
# PyYAML keeps these as text, other readers of YAML 1.1 make switches of them.
_LETTERS = frozenset("yYnN")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+\Z")
# A date is read as text here and as a date by YAML 1.1; nothing in a config wants either but as text.
_HARMLESS_1_1_TAGS = {"tag:yaml.org,2002:timestamp"}

_YAML_1_1 = Resolver()


class Mark(NamedTuple):
    """Line and column, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values, and where each of them stands.

    Attributes:
        file: The name shown in findings.
        value: The top mapping, as dict, list, str, int, float, bool and None.
        overrides: Values set from outside the file (``--set``), with the name to show for each.
    """

    file: str
    value: dict[str, Any]
    _values: Mapping[NodePath, Mark] = field(repr=False, default_factory=dict)
    _keys: Mapping[NodePath, Mark] = field(repr=False, default_factory=dict)
    overrides: Mapping[NodePath, str] = field(repr=False, default_factory=dict)

    def location(self, path: NodePath, *, key: bool = False) -> Location:
        """The place of a value, or of its key; of the nearest parent where the value itself has none."""
        for end in range(len(path), -1, -1):
            part = path[:end]
            if part in self.overrides:
                return Location(self.overrides[part])
            mark = (self._keys.get(part) if key else None) or self._values.get(part) or self._keys.get(part)
            if mark is not None:
                return Location(self.file, mark.line, mark.column)
        return Location(self.file)

    def with_override(self, path: NodePath, value: Any, shown_as: str) -> Document:
        """A copy with one value replaced or added; its location is shown as `shown_as`.

        Raises:
            KeyError: If the parent is not there, or is neither a mapping nor a list with that index.
        """
        return replace(self, value=_replaced(self.value, path, value), overrides={**self.overrides, path: shown_as})


def _replaced(node: Any, path: NodePath, value: Any) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(node, list) and isinstance(head, int) and 0 <= head < len(node):
        return [*node[:head], _replaced(node[head], rest, value), *node[head + 1 :]]
    if isinstance(node, dict) and isinstance(head, str):
        return {**node, head: _replaced(node.get(head, {} if rest else None), rest, value)}
    raise KeyError(head)


def read_document(path: Path, shown_as: str | None = None) -> Document:
    """Read a YAML file whose top is a mapping.

    Raises:
        Refused: If it cannot be read or is not acceptable; every finding has its place.
    """
    name = shown_as or str(path)
    place = Location(name)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Refused([error("file-missing", f"there is no file {name!r}", "Check the path.", place)]) from None
    except IsADirectoryError:
        raise Refused([error("file-unreadable", f"{name!r} is a folder", "Name a YAML file in it.", place)]) from None
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        raise Refused(
            [error("file-unreadable", f"{name!r} cannot be read: {reason}", "Check the file's permissions.", place)]
        ) from None
    if len(data) > MAX_BYTES:
        raise Refused(
            [
                error(
                    "file-too-large",
                    f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB",
                    "A config is a few kilobytes; check that this is the file you mean.",
                    place,
                )
            ]
        )
    return parse_document(data, name)


def parse_document(data: bytes, file: str) -> Document:
    """Parse YAML text whose top is a mapping.

    Raises:
        Refused: With a finding for each problem.
    """
    text = _decode(data, file)
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as problem:
        raise Refused([_syntax_finding(problem, text, file, builder.innermost_bracket())]) from None
    if builder.findings:
        raise Refused(builder.findings)
    if builder.documents == 0 or builder.root is None:
        raise Refused([error("file-empty", "the file is empty", "Start from an example in configs/.", Location(file))])
    if not isinstance(builder.root, dict):
        kind = {list: "a list"}.get(type(builder.root), "a single value")
        raise Refused(
            [
                error(
                    "yaml-top",
                    f"the top of the file is {kind}, not a mapping of keys to values",
                    "Start from an example in configs/.",
                    Location(file, builder.root_mark.line, builder.root_mark.column),
                )
            ]
        )
    return Document(file, builder.root, builder.values, builder.keys)


# A hostile file repeats one value a hundred thousand times.
@functools.lru_cache(maxsize=256)
def parse_scalar(text: str) -> Any:
    """The value of one plain scalar under the project's reading.

    Raises:
        ValueError: If YAML 1.1 and 1.2 read it differently, or it is not a finite number; the
            message says which.
    """
    if _NULL.match(text):
        return None
    if _NOT_FINITE.match(text):
        raise ValueError("numbers must be finite")
    if text == "<<":
        return text
    tag_1_1: str = _YAML_1_1.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if _BOOL.match(text):
        return text.lower() == "true"
    number: int | float | None = None
    if len(text) > _MAX_DIGITS and (_INT.match(text) or _FLOAT.match(text) or tag_1_1.endswith((":int", ":float"))):
        raise ValueError("the number has too many digits")
    if _INT.match(text):
        number = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    elif _FLOAT.match(text):
        number = float(text)
    if number is None:
        if text in _LETTERS:
            raise ValueError(_ambiguous(text, "tag:yaml.org,2002:bool", "text"))
        if tag_1_1 in ("tag:yaml.org,2002:str", *_HARMLESS_1_1_TAGS):
            return text
        raise ValueError(_ambiguous(text, tag_1_1, "text"))
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError("numbers must be finite")
    tag_1_2 = "tag:yaml.org,2002:int" if isinstance(number, int) else "tag:yaml.org,2002:float"
    if tag_1_1 != tag_1_2 or _LEADING_ZERO.match(text):
        raise ValueError(_ambiguous(text, tag_1_1, str(number)))
    return number


def _ambiguous(text: str, tag_1_1: str, reading_1_2: str) -> str:
    kind = tag_1_1.rsplit(":", 1)[-1]
    reading_1_1 = {"bool": "a switch", "int": "another number", "float": "a number", "str": "text"}.get(kind, kind)
    return f"{text!r} is read as {reading_1_1} by YAML 1.1 and as {reading_1_2} by YAML 1.2"


def _decode(data: bytes, file: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise Refused(
            [
                error(
                    "file-not-text",
                    f"byte {problem.start + 1} is not UTF-8: this is not a text file",
                    "Save the file as UTF-8 text.",
                    Location(file, line),
                )
            ]
        ) from None
    found = _CONTROL.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise Refused(
            [
                error(
                    "control-character",
                    f"the file holds the control character U+{ord(found.group()):04X}",
                    "Delete the character; binary data has no place in a config.",
                    Location(file, line, column),
                )
            ]
        )
    return text


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")


def _syntax_finding(problem: yaml.YAMLError, text: str, file: str, bracket: Mark | None) -> Finding:
    mark = getattr(problem, "problem_mark", None)
    opened = getattr(problem, "context_mark", None)
    place = Location(file) if mark is None else Location(file, mark.line + 1, mark.column + 1)
    if mark is None or mark.line > text.rstrip().count("\n"):
        # Something was opened and never closed: the end of the file is not where the mistake is.
        if bracket is not None and "scanning" not in str(getattr(problem, "context", "")):
            place = Location(file, bracket.line, bracket.column)
        elif opened is not None:
            place = Location(file, opened.line + 1, opened.column + 1)
    what = getattr(problem, "problem", None) or getattr(problem, "reason", None) or "it cannot be parsed"
    context = getattr(problem, "context", None)
    remedy = "Check the indentation, colons and quotes around this place."
    if mark is not None:
        lines = text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return error("yaml-tab", "a tab is used for indentation", "Indent with spaces.", place)
    return error("yaml-syntax", f"this is not YAML: {context + ': ' if context else ''}{what}", remedy, place)


_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


def _json_number(text: str) -> float | None:
    """A number as JSON writes it, where that differs from what YAML 1.1 reads."""
    number = float(text) if _JSON_NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: NodePath
    anchor: str | None
    is_bracket: bool
    key: str | None = None
    size: int = 1


class _Builder:
    """Turns events into values, and notes where each stands."""

    def __init__(self, file: str) -> None:
        self.file = file
        # JSON has one reading of its own for a number like 2e-05.
        self._is_json = file.endswith(".json")
        self.findings: list[Finding] = []
        self.values: dict[NodePath, Mark] = {}
        self.keys: dict[NodePath, Mark] = {}
        self.root: Any = None
        self.root_mark = Mark(1, 1)
        self.documents = 0
        self._open: list[_Open] = []
        # Anchored values with their size when every alias is followed.
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._nodes = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(event, {})
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(event, [])
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._stop(event, "yaml-documents", "the file holds several YAML documents", "Keep one; remove '---'.")

    def innermost_bracket(self) -> Mark | None:
        """Where the innermost [ or { that is still open stands."""
        return next((self.values[part.path] for part in reversed(self._open) if part.is_bracket), None)

    def _location(self, event: Any) -> Location:
        return Location(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _stop(self, event: Any, code: str, message: str, help: str) -> None:
        """Give up at once: going on would cost memory or make no sense."""
        raise Refused([*self.findings, error(code, message, help, self._location(event))])

    def _report(self, event: Any, code: str, message: str, help: str) -> None:
        self.findings.append(error(code, message, help, self._location(event)))

    def _count(self, event: Any, size: int = 1) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            self._stop(
                event,
                "yaml-too-many-values",
                f"the file expands to more than {MAX_NODES:,} values",
                "A config has a few hundred; look for aliases (*name) that repeat one another.",
            )

    def _scalar(self, event: Any) -> None:
        self._count(event)
        if event.tag is not None and event.tag != "!":
            self._report(event, "yaml-tag", f"the tag {event.tag!r} is not used here", "Remove it, or quote the value.")
            value: Any = event.value
        elif not event.implicit[0]:
            value = event.value  # quoted: text, whatever it looks like
        else:
            value = self._plain(event)
        if self._expects_key():
            self._key(event, value)
        else:
            self._add(event, value, 1, event.anchor)

    def _plain(self, event: Any) -> Any:
        try:
            return parse_scalar(event.value)
        except ValueError as problem:
            text = event.value
            if self._is_json and (number := _json_number(text)) is not None:
                return number
            remedy = f'Write "{text}" in quotes if you mean text'
            remedy += _other_spelling(text)
            self._report(event, "yaml-ambiguous", str(problem), remedy)
            return text

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _key(self, event: Any, value: Any) -> None:
        parent = self._open[-1]
        if not isinstance(value, str):
            written = getattr(event, "value", f"*{event.anchor}")
            self._report(event, "yaml-key", f"the key {written!r} is not text", "Write the key in quotes.")
            value = written
        path = (*parent.path, value)
        if isinstance(parent.value, dict) and value in parent.value:
            first = self.keys[path]
            self._report(
                event,
                "yaml-duplicate-key",
                f"the key {value!r} was given before, at line {first.line}",
                "Keep one of the two.",
            )
        else:
            self.keys[path] = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        parent.key = value

    def _start(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        self._count(event)
        if self._expects_key():
            self._stop(event, "yaml-key", "a list or mapping cannot be a key", "Use a name as the key.")
        if len(self._open) >= MAX_DEPTH:
            self._stop(
                event, "yaml-too-deep", f"values are nested more than {MAX_DEPTH} deep", "No config needs that depth."
            )
        if event.tag is not None and event.tag != "!":
            self._report(event, "yaml-tag", f"the tag {event.tag!r} is not used here", "Remove it.")
        path = self._path()
        self.values[path] = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open(value, path, event.anchor, bool(event.flow_style)))

    def _end(self) -> None:
        done = self._open.pop()
        if done.anchor:
            self._anchors[done.anchor] = (done.value, done.size)
        self._attach(done.value, done.size)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._stop(event, "yaml-alias", f"the alias *{event.anchor} has no anchor", "Write the value out.")
        known = self._anchors[event.anchor]
        if known is None:
            self._stop(
                event, "yaml-alias", f"the alias *{event.anchor} stands inside its own anchor", "Write the value out."
            )
            return
        value, size = known
        self._count(event, size)
        if self._expects_key():
            self._key(event, value)
        else:
            self._add(event, value, size, None)

    def _path(self) -> NodePath:
        if not self._open:
            return ()
        parent = self._open[-1]
        step = parent.key if isinstance(parent.value, dict) else len(parent.value)
        assert step is not None
        return (*parent.path, step)

    def _add(self, event: Any, value: Any, size: int, anchor: str | None) -> None:
        self.values[self._path()] = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        if anchor:
            self._anchors[anchor] = (value, size)
        self._attach(value, size)

    def _attach(self, value: Any, size: int) -> None:
        if not self._open:
            self.root = value
            self.root_mark = self.values.get((), self.root_mark)
            return
        parent = self._open[-1]
        parent.size += size
        if isinstance(parent.value, list):
            parent.value.append(value)
        else:
            assert parent.key is not None
            parent.value.setdefault(parent.key, value)
            parent.key = None


def _other_spelling(text: str) -> str:
    lowered = text.lower()
    if lowered in ("yes", "on", "y"):
        return ", or true if you mean a switch."
    if lowered in ("no", "off", "n"):
        return ", or false if you mean a switch."
    if _LEADING_ZERO.match(text) and len(text) <= _MAX_DIGITS:
        return f", or {int(text)} if you mean a number."
    if len(text) > _MAX_DIGITS:
        return "."
    try:
        number = float(text)
    except ValueError:
        return "."
    if not math.isfinite(number):
        return "."
    return f", or {int(number) if number.is_integer() else number} if you mean a number."
