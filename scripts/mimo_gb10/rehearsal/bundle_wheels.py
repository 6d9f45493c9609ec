"""The wheels of a bundle: found in the cache, or fetched with pip in one call."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mimo_gb10.extract.wheel import EnvironmentProblem, default_cache_dir, run_pip
from mimo_gb10.findings import error
from mimo_gb10.rehearsal.bundle_spec import Package, normalized

GLIBC_MINORS = range(39, 4, -1)
"""The glibc versions (2.N) whose wheels are accepted, the newest first: the image is a recent one."""

_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def cache_dir() -> Path:
    """The folder for the wheels of bundles, beside the project's other wheels."""
    return default_cache_dir().parent / "bundle-wheels"


def wheels(packages: Sequence[Package], python: str, arch: str, folder: Path) -> dict[str, Path]:
    """A wheel for every package, by its name.

    Args:
        packages: What is wanted.
        python: The Python version that the wheels are for, for example ``3.12``.
        arch: ``x86_64`` or ``aarch64``.
        folder: The cache.

    Raises:
        EnvironmentProblem: pip or the network is missing, or no wheel fits. Nothing is added to the cache then.
    """
    found = {package.name: _cached(package, python, arch, folder) for package in packages}
    missing = [package for package in packages if found[package.name] is None]
    if missing:
        _download(missing, python, arch, folder)
        found.update((package.name, _cached(package, python, arch, folder)) for package in missing)
    absent = [package for package in packages if found[package.name] is None]
    if absent:
        named = ", ".join(f"{package.name} {package.version}" for package in absent)
        raise _environment("wheel-missing", f"pip brought no wheel that fits for {named}", "Check the versions.")
    return {name: path for name, path in found.items() if path is not None}


def _cached(package: Package, python: str, arch: str, folder: Path) -> Path | None:
    minor = int(python.partition(".")[2])
    fitting = []
    for path in sorted(folder.glob("*.whl")):
        parts = path.name.removesuffix(".whl").split("-")
        if len(parts) < 5 or normalized(parts[0]) != package.name or _version(parts[1]) != _version(package.version):
            continue
        tags, abis, platforms = parts[-3:]
        if _fits(tags, abis, minor) and (platforms == "any" or any(p.endswith(arch) for p in platforms.split("."))):
            fitting.append(path)
    # A wheel made for this very Python before one for many.
    fitting.sort(key=lambda path: f"cp3{minor}-cp3{minor}" not in path.name)
    return next((path for path in fitting if zipfile.is_zipfile(path)), None)


def _fits(tags: str, abis: str, minor: int) -> bool:
    for tag in tags.split("."):
        if abis == "none" and (tag == "py3" or re.fullmatch(rf"cp3{minor}|py3{minor}", tag)):
            return True
        match = re.fullmatch(r"cp3(\d+)", tag)
        if match and "abi3" in abis.split(".") and int(match[1]) <= minor:
            return True
        if match and int(match[1]) == minor and f"cp3{minor}" in abis.split("."):
            return True
    return False


def _version(text: str) -> str:
    # Wheels are named with the normalized version: 26.02.1 becomes 26.2.1.
    return re.sub(r"(?<![\d])0+(?=\d)", "", text.lower().replace("_", "-"))


def _platforms(arch: str) -> Iterator[str]:
    for minor in GLIBC_MINORS:
        yield f"manylinux_2_{minor}_{arch}"
        if minor in _OLD_NAMES:
            yield f"{_OLD_NAMES[minor]}_{arch}"
    yield f"linux_{arch}"
    yield "any"


def _download(packages: Sequence[Package], python: str, arch: str, folder: Path) -> None:
    # Download beside the cache and rename: a download that was cut short never looks like a wheel.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".download-", dir=folder))
    except OSError as problem:
        message = f"cannot write to {str(folder)!r}: {problem.strerror}"
        raise _environment("cache-folder", message, "Name another folder with --cache.") from None
    try:
        _pip_download(packages, python, arch, scratch)
        for path in sorted(scratch.glob("*.whl")):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _pip_download(packages: Sequence[Package], python: str, arch: str, folder: Path) -> None:
    minor = python.partition(".")[2]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    for abi in (f"cp3{minor}", "abi3", "none"):
        command += ["--abi", abi]
    for platform in _platforms(arch):
        command += ["--platform", platform]
    command += [f"{package.name}=={package.version}" for package in packages]
    remedy = "Check the network, and that these versions exist for this Python and platform."
    run_pip(command, "the bundle's wheels", remedy)


def _environment(code: str, message: str, help_text: str) -> EnvironmentProblem:
    return EnvironmentProblem([error(code, message, help_text)])
