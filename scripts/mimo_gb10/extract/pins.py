"""The package pins of a release that decide how it behaves on GB10."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mimo_gb10.extract import requirements
from mimo_gb10.extract.entry import Entry
from mimo_gb10.extract.requirements import Requirement
from mimo_gb10.extract.values import Unresolved
from mimo_gb10.extract.wheel import EnvironmentProblem, default_cache_dir
from mimo_gb10.findings import error

PACKAGES = (
    "torch", "torchvision", "triton", "transformers", "tokenizers", "flashinfer-python", "flashinfer-cubin",
    "sglang-kernel", "kernels", "xgrammar", "decord2", "torchcodec", "av",
)  # fmt: skip
"""The packages looked for among SGLang's requirements, in the order of the catalog."""

EXPECTED = ("torch", "transformers", "flashinfer-python", "sglang-kernel", "xgrammar", "decord2")
"""Those that every release has had: without one the extraction is wrong, or the release is very different."""

FROM_TORCH = ("triton", "nvidia-nccl-cu13")
"""The packages looked for among the requirements of the pinned torch."""

MACHINES = ("aarch64", "x86_64")

TorchRequires = Callable[[str], Sequence[str]]
"""Gives the requirement lines of one torch version's aarch64 wheel."""


def read_pins(metadata: str, torch_requires: TorchRequires) -> list[Entry]:
    """The pins of a release.

    Args:
        metadata: The text of the wheel's METADATA.
        torch_requires: Gives the requirements of a torch version.

    Returns:
        One entry per package and, where the machines differ, per machine.

    Raises:
        Unresolved: a requirement is not understood, or one that every release has had is missing.
        EnvironmentProblem: the requirements of torch are not to be had.
    """
    lines = re.findall(r"^Requires-Dist: (.+)$", metadata.partition("\n\n")[0], re.MULTILINE)
    parsed = [requirements.parse(text) for text in lines]
    found = [entry for package in PACKAGES for entry in _pins_of(package, parsed)]
    missing = set(EXPECTED) - {normal(str(entry.data["package"])) for entry in found}
    if missing:
        raise Unresolved(f"METADATA requires no {', '.join(sorted(missing))}")
    version = _exact(next(entry for entry in found if entry.data["package"] == "torch"))
    return found + list(_torch_pins(version, torch_requires(version)))


def _pins_of(package: str, parsed: Sequence[Requirement]) -> Iterator[Entry]:
    for requirement in parsed:
        if normal(requirement.name) != package:
            continue
        machines = [
            machine for machine in MACHINES if requirements.applies(requirement, requirements.platform(machine))
        ]
        if machines:
            only = None if len(machines) == len(MACHINES) else machines[0]
            yield _pin(requirement, only, "METADATA")


def _torch_pins(version: str, lines: Sequence[str]) -> Iterator[Entry]:
    names = requirements.platform("aarch64")
    parsed = [requirements.parse(text) for text in lines]
    for package in FROM_TORCH:
        found = [item for item in parsed if normal(item.name) == package and requirements.applies(item, names)]
        if len(found) != 1:
            raise Unresolved(f"torch {version} for aarch64 names {package} {len(found)} times")
        yield _pin(found[0], "aarch64", f"requirement of torch {version} (aarch64, Python 3.12)")


def _pin(requirement: Requirement, machine: str | None, source: str) -> Entry:
    return Entry({"package": requirement.name, "requirement": requirement.wanted, "platform": machine}, source)


def _exact(entry: Entry) -> str:
    wanted = str(entry.data["requirement"])
    found = re.fullmatch(r"==\s*(\d+(?:\.\d+)*)", wanted)
    if not found:
        raise Unresolved(f"torch is not pinned to one version: {wanted!r}")
    return found[1]


def normal(name: str) -> str:
    """A package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# The requirements of torch


def torch_requires(version: str, cache_dir: Path | None = None) -> list[str]:
    """The requirement lines of torch's wheel for aarch64 and Python 3.12, without downloading the wheel.

    pip reads the metadata file that package indexes keep beside a wheel. The answer is kept in the cache folder.

    Raises:
        EnvironmentProblem: pip or the network is missing, or there is no such wheel.
    """
    kept = (cache_dir or default_cache_dir()) / f"torch-{version}-aarch64.json"
    if kept.is_file():
        try:
            return [str(text) for text in json.loads(kept.read_text(encoding="utf-8"))["requires"]]
        except (ValueError, KeyError, TypeError):
            kept.unlink()
    requires = _ask_pip(version, kept.parent)
    scratch = kept.with_suffix(".part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps({"torch": version, "requires": requires}, indent=1) + "\n", encoding="utf-8")
        scratch.replace(kept)
    except OSError as problem:
        raise _unavailable(version, f"cannot write to {kept.parent}: {problem.strerror}") from None
    return requires


def _ask_pip(version: str, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += ["--no-deps", "--ignore-installed", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", "3.12", "--platform", "manylinux_2_28_aarch64", "--platform", "any"]
    command += ["--target", str(folder / "nothing-is-installed"), "--report", "-", f"torch=={version}"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as problem:
        raise _unavailable(version, f"cannot run {sys.executable}: {problem.strerror}") from None
    if run.returncode != 0:
        lines = [text for text in run.stderr.splitlines() if text.strip()] or ["no message"]
        reason = next((text for text in reversed(lines) if text.startswith("ERROR")), lines[-1])
        raise _unavailable(version, reason.removeprefix("ERROR: "))
    try:
        report: Any = json.loads(run.stdout)
        return [str(text) for text in report["install"][0]["metadata"]["requires_dist"]]
    except (ValueError, KeyError, IndexError, TypeError):
        raise _unavailable(version, "pip's report has another form") from None


def _unavailable(version: str, reason: str) -> EnvironmentProblem:
    message = f"the requirements of torch {version} for aarch64 are not to be had: {reason}"
    return EnvironmentProblem([error("torch-requirements", message, "check the network, and that pip is 23 or newer")])
