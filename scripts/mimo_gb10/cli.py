"""What every command shares: how it ends, whatever happens."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from mimo_gb10.findings import Finding

OK, ERRORS, USAGE, ENVIRONMENT = 0, 1, 2, 3


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command's main function on the process's arguments, and exit with its code."""
    # Generated scripts are UTF-8 whatever the locale says.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted. Python would complain again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def show(findings: Sequence[Finding], *, no_color: bool = False) -> None:
    """Print findings to stderr, with a closing count where there is more than one."""
    from mimo_gb10.report import Paint, findings_text, summary

    if not findings:
        return
    sys.stdout.flush()
    sys.stderr.write(findings_text(findings, Paint.for_stream(sys.stderr, no_color=no_color)))
    if len(findings) > 1:
        sys.stderr.write(summary(findings) + "\n")
    sys.stderr.flush()
