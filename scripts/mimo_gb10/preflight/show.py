"""The report as text and as JSON."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from mimo_gb10.preflight.remote import Asked
from mimo_gb10.preflight.results import FAIL, OK, SKIPPED, STATUSES, WARN, Result
from mimo_gb10.preflight.wanted import Wanted
from mimo_gb10.report import Paint, visible

_STYLE = {FAIL: "error", WARN: "warning", SKIPPED: "dim", OK: "help"}
_WIDTH = 18


def results_text(results: Iterable[Result], paint: Paint, *, brief: bool) -> str:
    """One line a result, and below it what to do. With `brief` only what is not as it should be."""
    lines = []
    for result in results:
        if brief and result.status in (OK, SKIPPED):
            continue
        word = paint(_STYLE[result.status], result.status.ljust(7))
        lines.append(f"  {word}  {result.check.ljust(_WIDTH)} {visible(result.text)}")
        if result.help:
            lines.append(f"           {paint('help', 'help')}: {visible(result.help)}")
        if result.source:
            lines.append(paint("dim", f"           source: {visible(result.source)}"))
    return "".join(line + "\n" for line in lines)


def of_node(item: Asked) -> tuple[Result, ...]:
    """The results of a node, or the one that says why there are none."""
    if item.report is not None:
        return item.report.results
    return (item.problem,) if item.problem is not None else ()


def report_text(wanted: Wanted, asked: Sequence[Asked], between: Sequence[Result], paint: Paint, *, brief: bool) -> str:
    """The whole report."""
    parts = []
    for item in asked:
        name = visible(item.report.hostname) if item.report is not None else "no report"
        parts.append(paint("bold", f"node {item.rank}: {wanted.nodes[item.rank].address} ({name})") + "\n")
        parts.append(results_text(of_node(item), paint, brief=brief))
    if between:
        parts.append(paint("bold", "between the nodes") + "\n")
        parts.append(results_text(between, paint, brief=brief))
    parts.append(f"{counts_text(all_results(asked, between))}\n")
    return "".join(parts)


def all_results(asked: Sequence[Asked], between: Sequence[Result]) -> list[Result]:
    """Every result of a run."""
    return [*(result for item in asked for result in of_node(item)), *between]


def counts_text(results: Sequence[Result]) -> str:
    """How many there are: ``1 fail, 2 warn, 3 skipped, 40 ok``."""
    counts = Counter(result.status for result in results)
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES)


def as_json(wanted: Wanted, asked: Sequence[Asked], between: Sequence[Result]) -> dict[str, Any]:
    """The whole report as plain data."""
    results = all_results(asked, between)
    counts = Counter(result.status for result in results)
    return {
        "cluster": wanted.cluster,
        "recipe": wanted.recipe.name if wanted.recipe else None,
        "ok": counts[FAIL] == 0,
        "counts": {status: counts[status] for status in STATUSES},
        "nodes": [
            {
                "rank": item.rank,
                "address": wanted.nodes[item.rank].address,
                "hostname": item.report.hostname if item.report is not None else None,
                "python": item.report.python if item.report is not None else None,
                "seconds": round(item.received - item.sent, 3),
                "results": [result.as_dict() for result in of_node(item)],
            }
            for item in asked
        ],
        "between": [result.as_dict() for result in between],
    }


class Progress:
    """Who is waited for: one line that changes on a terminal, a line for each answer elsewhere. Goes to stderr."""

    def __init__(self, names: Sequence[str], stream: TextIO | None = None) -> None:
        self._names = names
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._state = dict.fromkeys(range(len(names)), "waiting")
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        if self._live:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._live:
            self._thread.join()
            self._write("\r\x1b[K")

    def told(self, rank: int, words: str) -> None:
        """Take note of news about a node."""
        with self._lock:
            self._state[rank] = words
        if not self._live and words != "asked":
            self._write(f"node {rank} ({self._names[rank]}): {visible(words)} after {self._seconds()} s\n")

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._began:.1f}"

    def _tick(self) -> None:
        while not self._ended.wait(0.2):
            with self._lock:
                left = [rank for rank, words in self._state.items() if words in ("waiting", "asked")]
            shown = ", ".join(str(rank) for rank in left[:8]) + (" ..." if len(left) > 8 else "")
            done = len(self._state) - len(left)
            waiting = f", waiting for {shown}" if left else ""
            self._write(f"\r\x1b[K{self._seconds()} s: {done} of {len(self._state)} nodes{waiting}")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._live = False
