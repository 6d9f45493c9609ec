"""What a bundle carries, read from ``configs/rehearsal/bundle.yaml``, and what an image already has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_gb10.findings import Finding, Location, Refused, error, warning
from mimo_gb10.paths import CONFIGS
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import read_document
from mimo_gb10.text.suggest import did_you_mean

BUNDLE = CONFIGS / "rehearsal" / "bundle.yaml"
STUBS = CONFIGS / "rehearsal" / "stubs"

_FROZEN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==+\s*([^\s;#]+)|@\s*\S+)?\s*(?:[;#].*)?\Z")


@dataclass(frozen=True, slots=True)
class Links:
    """Libraries that also get the plain name by which others load them.

    Attributes:
        folder: Where they lie in the wheel; it goes on LD_LIBRARY_PATH.
        libraries: Names without ``lib`` and version, for example ``avcodec``.
    """

    folder: str
    libraries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """One package that SGLang needs.

    Attributes:
        name: Its normalized name.
        version: The version that is carried.
        exact: Whether no other version in the image will do.
        only: The one architecture that needs it, or None.
        keep: Patterns of the files that are kept; all if empty.
        drop: Patterns of the files that are left out.
        links: Libraries to be found by their plain names, or None.
    """

    name: str
    version: str
    exact: bool = False
    only: str | None = None
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    links: Links | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """What the bundle of one release consists of.

    Attributes:
        release: The SGLang version.
        torch: The PyTorch version that its kernels are built for.
        image: Packages that the image must have.
        packages: What is carried where the image lacks it.
        stubs: Files of ours, by their path in the bundle, with the reason.
        left_out: Packages that something asks for and that are not carried, with the reason.
    """

    release: str
    torch: str
    image: tuple[str, ...]
    packages: tuple[Package, ...]
    stubs: Mapping[str, str]
    left_out: Mapping[str, str]


def normalized(name: str) -> str:
    """A package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def load_spec(release: str, path: Path = BUNDLE) -> Spec:
    """The spec of one release.

    Raises:
        Refused: If the file cannot be used, or does not know the release.
    """
    document = read_document(path)
    found = check_schema(document, "bundle")
    if found:
        raise Refused(found)
    value = document.value
    releases = value["releases"]
    if release not in releases:
        help_text = did_you_mean(release, releases, f"Known: {', '.join(releases)}.")
        raise Refused([error("release-unknown", f"no bundle is described for SGLang {release!r}", help_text)])
    versions = releases[release]["versions"]
    unknown = sorted(set(versions) - set(value["packages"]))
    if unknown:
        place = document.location(("releases", release, "versions", unknown[0]), key=True)
        raise Refused([error("package-unknown", f"{unknown[0]!r} does not stand under 'packages'", "Add it.", place)])
    common = tuple(value["drop"])
    packages = [
        _package(name, entry, versions.get(name, entry.get("version")), common)
        for name, entry in value["packages"].items()
        if name in versions or "version" in entry
    ]
    return Spec(
        release=release,
        torch=releases[release]["torch"],
        image=tuple(value["image"]),
        packages=tuple(packages),
        stubs=value["stubs"],
        left_out=value["left_out"],
    )


def _package(name: str, entry: Mapping[str, Any], version: str, drop: tuple[str, ...]) -> Package:
    links = entry.get("links")
    return Package(
        name=name,
        version=version,
        exact=entry.get("exact", False),
        only=entry.get("only"),
        keep=tuple(entry.get("keep", ())),
        drop=(*drop, *entry.get("drop", {})),
        links=Links(links["folder"], tuple(links["libraries"])) if links else None,
    )


def read_have(path: Path) -> dict[str, str | None]:
    """What an image has, from the lines of ``pip freeze``; a line may be a name alone.

    Returns:
        Version by normalized name; None where the line tells none.

    Raises:
        Refused: If the file cannot be read, or has a line that is no package.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is not UTF-8 text"
        raise Refused(
            [error("have-unreadable", f"cannot read {str(path)!r}: {reason}", "Name the output of `pip freeze`.")]
        ) from None
    have: dict[str, str | None] = {}
    found: list[Finding] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith(("#", "-")):
            # `-e` and `-r` lines name no version; a package installed that way counts as absent.
            continue
        match = _FROZEN.match(line)
        if match is None:
            place = Location(str(path), number)
            found.append(error("have-line", f"{line[:80]!r} is no line of `pip freeze`", "", place))
        else:
            have[normalized(match[1])] = match[2]
    if found:
        raise Refused(found[:20])
    return have


def check_image(spec: Spec, have: Mapping[str, str | None]) -> list[Finding]:
    """Findings for what the image must have itself, and lacks or has in another version."""
    found = []
    for name in spec.image:
        if name not in have:
            help_text = "It is too large to carry; take an image that has it."
            found.append(warning("image-lacks", f"the image has no {name}", help_text))
    torch = have.get("torch")
    if torch is not None and torch.partition("+")[0] != spec.torch:
        message = f"the image has torch {torch}; SGLang {spec.release} pins {spec.torch}"
        found.append(warning("torch-version", message, "The kernel library may not load; take another release."))
    return found


def carried(packages: Iterable[Package], have: Mapping[str, str | None], arch: str) -> list[Package]:
    """The packages that the image lacks, or has in a version that will not do."""
    return [
        package
        for package in packages
        if package.only in (None, arch)
        and (package.name not in have or (package.exact and have[package.name] != package.version))
    ]
