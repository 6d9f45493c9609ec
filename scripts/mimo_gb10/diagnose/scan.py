"""Finding the lines that patterns ask for, much faster than by a regular expression over every line.

A server prints the same few lines all day, with other numbers in them. A line without its digits is its *shape*; there
are few. Each pattern names a text that its lines hold (`mimo_gb10.diagnose.pattern.literals`), so a shape that lacks
this text without its digits cannot belong to a line that matches. A shape is looked at once, and remembered; only lines
of a shape that may match meet a regular expression. In a block of everyday lines no line is looked at by itself.

What a pattern sees is the part of a line between carriage returns (a progress bar rewrites its line), without terminal
colours; of a part longer than `WINDOW`, half of that before its text and half behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mimo_gb10.diagnose.pattern import compiled, literals
from mimo_gb10.diagnose.state import Hit, RankLog

WINDOW = 16 * 1024
LONGEST_CARRY = 1 << 20
"""Bytes of an unfinished line that wait for its end; a longer line is taken in by parts that overlap by `WINDOW`."""

_DIGITS = b"0123456789"
_LONGEST_SHAPE, _MOST_SHAPES = 2048, 20_000
_EXCERPT = 240
_COLOUR = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)")

Names = tuple[str, ...]


class Scanner:
    """Finds named patterns in blocks of bytes. One serves any number of logs."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        """Prepare to find `patterns`, by name; each is compiled when its text is first met."""
        self._patterns = patterns
        self._compiled: dict[str, re.Pattern[str]] = {}
        self._texts = {name: [text.encode() for text in literals(pattern)] for name, pattern in patterns.items()}
        anchors: dict[bytes, list[str]] = {}
        for name, texts in self._texts.items():
            for text in texts:
                anchors.setdefault(text.translate(None, _DIGITS), []).append(name)
        self._anchors = anchors
        self._shapes: dict[bytes, Names] = {b"": ()}

    def scan(self, block: bytes, log: RankLog) -> None:
        """Take whole lines into a log: all matches in order, the count of lines, the last line.

        Args:
            block: Lines with their ends, without terminal colours; the last may lack its end.
            log: What the block is added to.
        """
        last_line, last_start, last_text = _last_piece(block)
        shapes = block.translate(None, _DIGITS).split(b"\n")
        names_of = self._names_of(set(shapes))
        last_hits: list[Hit] = []
        if names_of:
            lines = block.split(b"\n")
            for index in [index for index, shape in enumerate(shapes) if shape in names_of]:
                for start, name, text, match in self._matches(lines[index], names_of[shapes[index]]):
                    in_last = index == last_line and start >= last_start
                    if not in_last and not log.wants(name):
                        log.count(name)
                        continue
                    hit = _hit(name, log.lines + 1 + index, start, text, match)
                    log.add(hit)
                    if in_last:
                        last_hits.append(hit)
        if last_text:
            log.last_hits = tuple(last_hits)
            log.last_line = (log.lines + 1 + last_line, last_text[-_EXCERPT:].decode("utf-8", "replace"))
        log.lines += len(shapes) - 1
        log.bytes += len(block)

    def scan_part(self, part: bytes, log: RankLog, place: int) -> None:
        """Take a part of an endless line into a log; the next part repeats its last `WINDOW` bytes.

        Args:
            part: The part.
            log: What it is added to.
            place: Where the part starts in its line.
        """
        for start, name, text, match in self._matches(part, tuple(self._patterns)):
            log.add(_hit(name, log.lines + 1, place + start, text, match))
        log.bytes += len(part) - WINDOW

    def _names_of(self, shapes: set[bytes]) -> dict[bytes, Names]:
        """The names that lines of these shapes may match, without the shapes that match nothing."""
        new = shapes - self._shapes.keys()
        found: dict[bytes, list[str]] = {}
        if new:
            together = b"\n".join(new)
            for anchor, names in self._anchors.items():
                if anchor in together:
                    for shape in new:
                        if anchor in shape:
                            found.setdefault(shape, []).extend(names)
            if len(self._shapes) > _MOST_SHAPES:
                self._shapes = {b"": ()}
            self._shapes |= {
                shape: tuple(dict.fromkeys(found.get(shape, ()))) for shape in new if len(shape) <= _LONGEST_SHAPE
            }
        known = {shape: kept for shape in shapes - new if (kept := self._shapes.get(shape))}
        return known | {shape: tuple(dict.fromkeys(names)) for shape, names in found.items()}

    def _matches(self, line: bytes, names: Names) -> Iterator[tuple[int, str, str, re.Match[str]]]:
        """Where a line matches which name: the start of the part seen, the name, that part, the match."""
        start = 0
        for piece in line.split(b"\r") if b"\r" in line else (line,):
            if len(piece) > WINDOW:
                yield from self._matches_in_long(piece, start, names)
            elif piece:
                text = piece.decode("utf-8", "replace")
                for name in names:
                    match = self._pattern(name).search(text)
                    if match is not None:
                        yield start, name, text, match
            start += len(piece) + 1

    def _matches_in_long(self, piece: bytes, start: int, names: Names) -> Iterator[tuple[int, str, str, re.Match[str]]]:
        for name in names:
            for text in self._texts[name]:
                at = piece.find(text)
                while at >= 0:
                    left = max(0, at - WINDOW // 2)
                    window = piece[left : at + WINDOW // 2].decode("utf-8", "replace")
                    match = self._pattern(name).search(window)
                    if match is not None:
                        yield start + left, name, window, match
                    at = piece.find(text, at + WINDOW // 2)

    def _pattern(self, name: str) -> re.Pattern[str]:
        pattern = self._compiled.get(name)
        if pattern is None:
            pattern = self._compiled[name] = compiled(self._patterns[name])
        return pattern


class Feeder:
    """Cuts what arrives, which ends anywhere, into blocks that end a line, and has them scanned."""

    def __init__(self, scanner: Scanner, log: RankLog) -> None:
        self._scanner = scanner
        self._log = log
        self._carry = b""
        self._place = 0

    def take(self, block: bytes) -> None:
        """Take in what arrived."""
        data = self._carry + block if self._carry else block
        if b"\x1b" in data:
            data = _COLOUR.sub(b"", data)
        end = data.rfind(b"\n") + 1
        if end:
            self._scanner.scan(data[:end], self._log)
            self._carry, self._place = data[end:], 0
        elif len(data) > LONGEST_CARRY:
            self._scanner.scan_part(data, self._log, self._place)
            self._carry = data[-WINDOW:]
            self._place += len(data) - WINDOW
        else:
            self._carry = data

    def end(self) -> None:
        """Take in a last line that has no end."""
        if self._carry:
            self._scanner.scan(self._carry, self._log)
            self._carry = b""


def _hit(name: str, line: int, start: int, text: str, match: re.Match[str]) -> Hit:
    return Hit(name, line, start, _excerpt(text, *match.span()), match[1] if match.re.groups else None)


def _last_piece(block: bytes) -> tuple[int, int, bytes]:
    """The last part of a line that is not empty: its line in the block from 0, its start in that line, its text."""
    text = block.rstrip(b"\r\n \t")
    if not text:
        return -1, 0, b""
    line_start = text.rfind(b"\n") + 1
    start = max(line_start, text.rfind(b"\r") + 1)
    return text.count(b"\n"), start - line_start, text[start:]


def _excerpt(text: str, start: int, end: int) -> str:
    """The match with what stands around it, of a bounded length."""
    if len(text) <= _EXCERPT:
        return text.strip()
    left = max(0, min(start - _EXCERPT // 4, len(text) - _EXCERPT))
    right = min(len(text), max(left + _EXCERPT, min(end, left + 2 * _EXCERPT)))
    return ("…" if left else "") + text[left:right].strip() + ("…" if right < len(text) else "")
