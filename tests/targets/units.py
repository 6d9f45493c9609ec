"""Reading systemd units: by their documented rules, and by systemd itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([0-7]{3})|(.))", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "s": " "}


def settings(text: str) -> list[tuple[str, str]]:
    """Every ``key=value`` line, continued lines joined by a blank, comments left out."""
    found, waiting = [], ""
    # Only a line feed ends a line here, whatever else Unicode knows.
    for line in text.split("\n"):
        if line.lstrip().startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            waiting += line[:-1] + " "
            continue
        whole, waiting = waiting + line, ""
        if "=" in whole:
            key, _, value = whole.partition("=")
            found.append((key, value.strip(" \t")))
    return found


def _unescaped(match: re.Match[str]) -> str:
    *codes, octal, other = match.groups()
    code = next((code for code in codes if code), None)
    if code or octal:
        return chr(int(code, 16) if code else int(octal, 8))
    return _NAMED.get(other, other)


def words(value: str) -> list[str]:
    """A command line as systemd splits and unquotes it."""
    found, rest = [], value
    while rest := rest.lstrip(" \t\n\r"):
        match = re.match(r'"((?:[^"\\]|\\.)*)"(?=[ \t]|\Z)|((?:[^ \t"\'\\])+)(?=[ \t]|\Z)', rest, re.DOTALL)
        assert match, rest
        found.append(_ESCAPE.sub(_unescaped, match[1]) if match[1] is not None else match[2])
        assert match[0] != ";"
        rest = rest[match.end() :]
    return found


def expanded(word: str) -> str:
    """A word after specifiers and variables; there may be none."""
    assert not word.replace("%%", "").count("%"), word
    word = word.replace("%%", "%")
    assert not word.replace("$$", "").count("$"), word
    return word.replace("$$", "$")


def loaded(text: str, folder: Path) -> list[list[str]]:
    """Command lines as systemd itself has loaded them: a user manager reads the unit, says what it holds, and ends."""
    units, run = folder / "units", folder / "run"
    for made in (units, run):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        made.chmod(0o777)
    # Nothing of the file but its command lines matters here, and a user's manager has no docker.service.
    text = re.sub(r"(?m)^(Requires|After|Wants|WantedBy)=.*\n", "", text)
    (units / "probe.service").write_text(text, encoding="utf-8", newline="\n")
    (units / "probe.target").write_text("[Unit]\nWants=probe.service\n", encoding="utf-8")
    for above in (folder, *folder.parents):
        if above.owner() == "root" and os.getuid() == 0 and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o055)
    command = [str(SYSTEMD), "--test", "--user", "--unit=probe.target", "--no-pager"]
    if os.getuid() == 0:
        command = ["setpriv", "--reuid=nobody", "--clear-groups", *command]
    path = f"{units}:/usr/lib/systemd/user"
    env = {"PATH": "/usr/bin:/bin", "HOME": str(run), "XDG_RUNTIME_DIR": str(run), "SYSTEMD_UNIT_PATH": path}
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=60)
    output = done.stdout.decode("utf-8", "surrogateescape") + done.stderr.decode("utf-8", "surrogateescape")
    assert "-> Unit probe.service" in output, output[:2000]
    section = output.split("-> Unit probe.service", 1)[1].split("\n\t-> Unit ")[0].split("\n-> Unit ")[0]
    return [_shell_words(line) for line in re.findall(r"Command Line: (.*)", section)]


def _shell_words(line: str) -> list[str]:
    found = []
    for quoted, bare in re.findall(r'"((?:[^"\\]|\\.)*)"|([^ "]+)', line):
        # Bytes that are not printable come as octal escapes, beside others as they are: so all is read as bytes.
        as_bytes = (quoted or bare).encode("utf-8", "surrogateescape").decode("latin-1")
        found.append(_ESCAPE.sub(_unescaped, as_bytes).encode("latin-1").decode("utf-8"))
    return [word.replace("$$", "$") for word in found]
