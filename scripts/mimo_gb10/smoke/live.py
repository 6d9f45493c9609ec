"""A line that is rewritten while something takes its time; nothing at all where nobody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

_EVERY = 0.25


class Live:
    """Keeps one line of a terminal up to date.

    Args:
        stream: Where; if it is no terminal, nothing is written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.enabled = stream.isatty()
        self._text: Callable[[float], str] | None = None
        self._start = 0.0
        self._lock = threading.Lock()
        if self.enabled:
            threading.Thread(target=self._run, daemon=True).start()

    def show(self, text: Callable[[float], str]) -> None:
        """Show what `text` gives for the seconds since now, until `clear`."""
        if self.enabled:
            with self._lock:
                self._text, self._start = text, time.monotonic()
                self._draw()

    def clear(self) -> None:
        """Take the line away, so that another can be written in its place."""
        if self.enabled:
            with self._lock:
                self._text = None
                self._stream.write("\r\x1b[K")
                self._stream.flush()

    def _run(self) -> None:
        while True:
            time.sleep(_EVERY)
            with self._lock:
                if self._text is not None:
                    try:
                        self._draw()
                    except (OSError, ValueError):
                        return

    def _draw(self) -> None:
        if self._text is not None:
            self._stream.write(f"\r\x1b[K{self._text(time.monotonic() - self._start)}")
            self._stream.flush()
