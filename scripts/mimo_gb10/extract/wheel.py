"""The wheel of one SGLang release: fetched with pip, checked, read without unpacking."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mimo_gb10.findings import Refused, error

GLIBC_MINORS = (34, 35, 28, 31, 24, 17, 39)
"""The glibc versions (2.N) for which wheels are looked for, the one SGLang uses first."""


class EnvironmentProblem(Refused):
    """Something around the project is missing (network, pip): exit code 3."""


@dataclass(frozen=True)
class Wheel:
    """One downloaded wheel.

    Attributes:
        release: The SGLang version, for example ``0.5.23``.
        path: Where the file lies.
        sha256: Checksum of the file, in hexadecimal.
    """

    release: str
    path: Path
    sha256: str

    @property
    def file(self) -> str:
        """The file's name as published."""
        return self.path.name

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The paths of all members, sorted."""
        return tuple(sorted(self._zip.namelist()))

    def read(self, member: str) -> str:
        """The text of a member, with universal newlines. Raises `KeyError`."""
        return self.read_bytes(member).decode("utf-8-sig").replace("\r\n", "\n")

    def read_bytes(self, member: str) -> bytes:
        """A member as it is. Raises `KeyError`."""
        return self._zip.read(member)

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every member in hexadecimal, as the wheel's own RECORD lists them."""
        record = next(name for name in self.members if name.endswith(".dist-info/RECORD"))
        found = {}
        for path, digest, _size in csv.reader(self.read(record).splitlines()):
            kind, _, value = digest.partition("=")
            if kind == "sha256":
                found[path] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
        return found


def default_cache_dir() -> Path:
    """The folder for downloaded wheels, by the XDG convention."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "mimo-gb10" / "wheels"


def fetch(release: str, cache_dir: Path | None = None, sha256: str | None = None) -> Wheel:
    """The wheel that GB10 containers install: aarch64, Python 3.12.

    Args:
        release: The SGLang version.
        cache_dir: Where wheels are kept; `default_cache_dir` when None.
        sha256: The checksum that the file must have, if one is known.

    Returns:
        The wheel. A file in the cache that is damaged or does not match is downloaded once more.

    Raises:
        EnvironmentProblem: pip or the network is missing, or nothing fits.
        Refused: the downloaded file does not have the expected checksum.
    """
    folder = cache_dir or default_cache_dir()
    cached = _cached(release, folder)
    if cached is not None:
        digest = digest_of(cached)
        if digest == sha256 or (sha256 is None and _is_sound(cached)):
            return Wheel(release, cached, digest)
    path = _download(release, folder)
    digest = digest_of(path)
    if sha256 is not None and digest != sha256:
        raise Refused(
            [
                error(
                    "wheel-checksum",
                    f"{path.name} has sha256 {digest}, but the committed catalog says {sha256}",
                    "find out why the published file changed before using it; "
                    f"to accept it, delete configs/releases/sglang-{release}.json and add the release again",
                )
            ]
        )
    if not _is_sound(path):
        raise Refused([error("wheel-damaged", f"{path.name} is not a readable wheel", f"delete {path} and try again")])
    return Wheel(release, path, digest)


def _cached(release: str, folder: Path) -> Path | None:
    found = sorted(folder.glob(f"sglang-{release}-*aarch64.whl")) + sorted(folder.glob(f"sglang-{release}-*any.whl"))
    return found[0] if found else None


def digest_of(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_sound(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def _download(release: str, folder: Path) -> Path:
    # Download beside the cache and rename: a download that was cut short never looks like a wheel.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=".download-", dir=folder)
    except OSError as problem:
        raise _environment(
            "cache-folder", f"cannot write to {folder}: {problem.strerror}", "choose another folder"
        ) from None
    try:
        _pip_download(release, scratch)
        wheels = sorted(Path(scratch).glob("*.whl"))
        if not wheels:
            raise _environment("wheel-missing", f"pip downloaded no wheel of sglang {release}", "check the version")
        target = folder / wheels[0].name
        wheels[0].replace(target)
        return target
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _pip_download(release: str, folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12", "--dest", folder]
    for minor in GLIBC_MINORS:
        command += ["--platform", f"manylinux_2_{minor}_aarch64"]
    command += ["--platform", "manylinux2014_aarch64", "--platform", "any", f"sglang=={release}"]
    remedy = "check the network and that this version exists, or copy the wheel into the cache folder"
    run_pip(command, f"sglang {release}", remedy)


def run_pip(command: Sequence[str], what: str, remedy: str) -> None:
    """Run a download by pip.

    Args:
        command: The whole of it.
        what: What it downloads, in words.
        remedy: What to do where it cannot.

    Raises:
        EnvironmentProblem: If there is no pip, or it fails.
    """
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as problem:
        raise _environment(
            "pip-missing", f"cannot run {sys.executable}: {problem.strerror}", "install Python's pip"
        ) from None
    if run.returncode == 0:
        return
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    if "No module named pip" in run.stderr:
        raise _environment("pip-missing", "Python has no pip", "install it, for example with the package python3-pip")
    reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "no message")
    raise _environment(
        "wheel-download",
        f"pip could not download {what}: {reason.removeprefix('ERROR: ')}",
        remedy,
    )


def _environment(code: str, message: str, help: str) -> EnvironmentProblem:
    return EnvironmentProblem([error(code, message, help)])
