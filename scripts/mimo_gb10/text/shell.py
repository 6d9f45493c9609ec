"""Quoting for POSIX shells: every value a target prints goes through here, once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from mimo_gb10.text.escape import without_nul

# Bash gives these a meaning or a value of its own, or makes them read-only: exporting one fails or changes the script.
_BASH_OWNED = frozenset(
    "_ BASHOPTS BASHPID BASH_ENV COMP_WORDBREAKS DIRSTACK ENV EPOCHREALTIME EPOCHSECONDS EUID FUNCNAME GLOBIGNORE "
    "GROUPS HISTCMD IFS LINENO OPTARG OPTERR OPTIND PIPESTATUS POSIXLY_CORRECT PPID PS4 PWD OLDPWD RANDOM REPLY "
    "SECONDS SHELL SHELLOPTS SHLVL SRANDOM UID".split()
)

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def is_shell_owned(name: str) -> bool:
    """Whether bash itself sets, reads or locks the variable, so that a script cannot pass it on faithfully."""
    return name in _BASH_OWNED or name.startswith("BASH_")


def quote(value: str) -> str:
    """One shell word that expands to exactly `value`.

    Raises:
        ValueError: If the value holds a NUL character, which no program argument can.
    """
    return shlex.quote(without_nul(value))


def comment(text: str) -> str:
    """`text` as the rest of one comment line: whatever could end the line is shown escaped."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape", "replace").decode() for ch in text)


def option_groups(arguments: Sequence[str]) -> Iterable[list[str]]:
    """Arguments grouped for reading: each long option with the values that follow it."""
    group: list[str] = []
    for argument in arguments:
        if argument.startswith("--") and group:
            yield group
            group = []
        group.append(argument)
    if group:
        yield group


def command_lines(head: Sequence[str], arguments: Sequence[str], indent: str = "  ") -> str:
    """A command over several lines, one option a line, that any POSIX shell reads as one."""
    lines = [" ".join(quote(word) for word in head)]
    lines += [indent + " ".join(quote(word) for word in group) for group in option_groups(arguments)]
    return " \\\n".join(lines)
