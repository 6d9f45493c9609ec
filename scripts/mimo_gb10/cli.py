"""What every command shares: how it ends, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from mimo_gb10.findings import Finding

OK, ERRORS, USAGE, ENVIRONMENT = 0, 1, 2, 3


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command's main function on the process's arguments, and exit with its code."""
    _prepare_streams()
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted.
        _silence(sys.stdout)
        code = OK
    except OSError as problem:
        # Files have findings of their own; what is left is a stdout that takes no more, on a full disk for example.
        _silence(sys.stdout)
        _to_stderr(f"error[output]: the result cannot be written: {problem.strerror or problem}\n")
        code = ENVIRONMENT
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _prepare_streams() -> None:
    # A closed stream (`>&-`) is None in Python; to nobody is where its text was to go.
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    # Generated scripts are UTF-8 whatever the locale says.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _silence(stream: TextIO) -> None:
    """Send what is still buffered nowhere: Python would complain again while it closes the stream."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        # Nobody reads the findings; the exit code still says it.
        _silence(sys.stderr)


def show(findings: Sequence[Finding], *, no_color: bool = False) -> None:
    """Print findings to stderr, with a closing count where there is more than one."""
    from mimo_gb10.report import Paint, findings_text, summary

    if not findings:
        return
    sys.stdout.flush()
    text = findings_text(findings, Paint.for_stream(sys.stderr, no_color=no_color))
    _to_stderr(text + (f"{summary(findings)}\n" if len(findings) > 1 else ""))


def print_json(value: Any, out: TextIO) -> None:
    """Print what ``--json`` asks for."""
    json.dump(value, out, indent=2, ensure_ascii=False)
    out.write("\n")
