"""A node out of a file: replaying what was read, and writing down what is read.

A recording is JSON. Every key but ``about`` may be left out::

    {"about": "where it comes from", "base": "healthy.json", "now": 1763971200.0,
     "files": {"/proc/meminfo": ["MemTotal: ...", ""]},   text, lines, {"json": ...}, {"base64": ...}, {"error": ...}
     "sizes": {"/models/x.safetensors": 123},             bytes, where they are not those of the content above
     "dirs": {"/sys/class/net": ["eth0", "lo"]},          all names, where those of the other parts are not all
     "links": {"/sys/class/net/eth0/device": "/sys/devices/..."},
     "commands": {"ip -json addr": {"code": 0, "out": ..., "err": ...}},   ``out`` may be JSON, text, or lines
     "connects": {"192.168.100.11 22": "open"}}

With ``base`` it holds only what differs from that file (beside it); ``null`` takes an entry away. What a recording does
not hold is not there: a file is missing, a command is not installed, a connection gets no answer.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mimo_gb10.preflight.machine import MAX_FILE, MISSING, Machine, Ran, check_allowed

_PARTS = ("files", "sizes", "dirs", "links", "commands", "connects")


def load_recording(path: str) -> dict[str, Any]:
    """Read a recording, and the ones that it is based on.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If one is no recording.
    """
    with open(path, encoding="utf-8") as stream:  # noqa: PTH123
        data = json.load(stream)
    if not isinstance(data, dict) or "about" not in data:
        raise ValueError(f"{path} is no recording: it says nothing under 'about'")
    unknown = set(data) - {"about", "base", "now", *_PARTS}
    if unknown:
        raise ValueError(f"{path} has unknown keys: {', '.join(sorted(unknown))}")
    if "base" not in data:
        return data
    base = load_recording(os.path.join(os.path.dirname(path), data["base"]))  # noqa: PTH118, PTH120
    for part in _PARTS:
        merged = {**base.get(part, {}), **data.get(part, {})}
        base[part] = {name: value for name, value in merged.items() if value is not None}
    return {**base, "about": data["about"], "now": data.get("now", base.get("now", 0.0))}


class Recorded:
    """A machine that answers out of a recording, and allows the same commands as a live one."""

    def __init__(self, data: Mapping[str, Any], *, image_checks: bool = False) -> None:
        self._data = data
        self._image_checks = image_checks
        self._dirs = _folders(data)
        self.commands: list[tuple[str, ...]] = []
        """Every command that was asked for."""

    def _part(self, part: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._data.get(part, {})
        return found

    def read_file(self, path: str, limit: int = MAX_FILE, offset: int = 0) -> bytes:
        """At most `limit` bytes of a recorded file."""
        if path not in self._part("files"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        value = self._part("files")[path]
        if isinstance(value, dict) and "error" in value:
            raise _error(value["error"], path)
        return _content(value)[offset : offset + limit]

    def list_dir(self, path: str) -> list[str]:
        """The names in a recorded folder."""
        if path not in self._dirs:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        value = self._part("dirs").get(path)
        if isinstance(value, dict):
            raise _error(value["error"], path)
        return sorted(self._dirs[path])

    def real_path(self, path: str) -> str:
        """Where a recorded link leads; any other path that is there is its own."""
        if path in self._part("links"):
            return str(self._part("links")[path])
        if path in self._part("files") or path in self._dirs:
            return path
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def size(self, path: str) -> int:
        """The recorded size of a file."""
        if path in self._part("sizes"):
            return int(self._part("sizes")[path])
        return len(self.read_file(path))

    def run(self, command: Sequence[str], stdin: str = "") -> Ran:
        """What a recorded command did."""
        check_allowed(command, image_checks=self._image_checks)
        self.commands.append(tuple(command))
        value = self._part("commands").get(shlex.join(command))
        if value is None:
            return Ran(MISSING)
        return Ran(int(value.get("code", 0)), _text(value.get("out", "")), _text(value.get("err", "")))

    def connect(self, address: str, port: int) -> str:
        """How a recorded connection went."""
        return str(self._part("connects").get(f"{address} {port}", "no answer"))

    def now(self) -> float:
        """The recorded time."""
        return float(self._data.get("now", 0.0))


class Recorder:
    """Passes everything on to a machine, and keeps what came back. Not for ``stdin`` that holds secrets: none does."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}

    def recording(self, about: str) -> dict[str, Any]:
        """Everything that was read, in the form that `Recorded` replays."""
        return {"about": about, "now": self._machine.now(), **{part: self._parts[part] for part in _PARTS}}

    def read_file(self, path: str, limit: int = MAX_FILE, offset: int = 0) -> bytes:
        """Read a file and keep its first bytes."""
        try:
            data = self._machine.read_file(path, limit, offset)
        except OSError as problem:
            if not isinstance(problem, FileNotFoundError):
                self._parts["files"][path] = {"error": errno.errorcode.get(problem.errno or 0, "EIO")}
            raise
        before = self._parts["files"].get(path)
        # A file that is read in parts is kept from its start to the farthest byte that was read without a gap.
        held = b"" if before is None else _content(before)
        if offset <= len(held):
            self._parts["files"][path] = _kept(held[:offset] + data if offset + len(data) > len(held) else held)
        return data

    def list_dir(self, path: str) -> list[str]:
        """List a folder and keep the names."""
        names = self._machine.list_dir(path)
        self._parts["dirs"][path] = names
        return names

    def real_path(self, path: str) -> str:
        """Follow a link and keep where it leads."""
        target = self._machine.real_path(path)
        self._parts["links"][path] = target
        return target

    def size(self, path: str) -> int:
        """Ask for a size and keep it."""
        size = self._machine.size(path)
        self._parts["sizes"][path] = size
        return size

    def run(self, command: Sequence[str], stdin: str = "") -> Ran:
        """Run a command and keep what it printed."""
        done = self._machine.run(command, stdin)
        if done.code != MISSING:
            self._parts["commands"][shlex.join(command)] = {"code": done.code, "out": done.out, "err": done.err}
        return done

    def connect(self, address: str, port: int) -> str:
        """Connect and keep how it went."""
        outcome = self._machine.connect(address, port)
        self._parts["connects"][f"{address} {port}"] = outcome
        return outcome

    def now(self) -> float:
        """The machine's time."""
        return self._machine.now()


def _folders(data: Mapping[str, Any]) -> dict[str, set[str]]:
    """Every folder with its names: those that are written down, and those that paths imply."""
    names: dict[str, set[str]] = {"/": set()}
    for part in ("files", "sizes", "dirs", "links"):
        for path in data.get(part, {}):
            steps = path.split("/")
            for end in range(1, len(steps)):
                names.setdefault("/".join(steps[:end]) or "/", set()).add(steps[end])
    for path, listed in data.get("dirs", {}).items():
        # What is written down is all there is: without it, taking an entry away in an overlay would not empty a folder.
        names[path] = set(listed) if isinstance(listed, list) else set()
    return names


def _error(name: str, path: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number), path)


def _content(value: Any) -> bytes:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"]) if "base64" in value else json.dumps(value["json"]).encode()
    return _text(value).encode()


def _kept(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return json.dumps(value)
