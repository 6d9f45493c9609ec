"""The index of the patches: what the wheels say of each defect, and what every patch makes of them.

`build` reads the touched files of every release from its wheel, runs the probes, applies the patches with the very code
that puts them on in a container (``scripts/apply_patches.py``), and refuses what does not fit. The result is
``patches/index.json``, which that script and the site read.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apply_patches as tool
from mimo_gb10.defects import Defect, PatchFile, load_defects
from mimo_gb10.extract.wheel import fetch
from mimo_gb10.findings import Finding, Location, error
from mimo_gb10.paths import PATCH_INDEX, PATCHES, RELEASES, ROOT
from mimo_gb10.release import in_range, known_releases, version_key

REMAKE = "Run: python scripts/generate.py patches"
COMPILED = (".so",)
"""What is left out of a tree's hash: it differs between platforms, and no patch touches it."""

_FIELDS = {
    "Description": r"\S",
    "Author": r"\S",
    "Origin": r"\S",
    "Bug": r"https://",
    "Forwarded": r"\S",
    "Last-Update": r"\d{4}-\d\d-\d\d$",
    "Drop-When": r"\S",
}
_NAME = re.compile(r"sglang-(?P<first>[0-9][^ ]*?)\.\.(?P<last>[0-9][^ ]*)\.patch\Z")


@dataclass(frozen=True)
class Source:
    """The sources of one release.

    Attributes:
        digests: The SHA-256 of every file under ``sglang/`` but compiled ones, by path.
        read: Reads one of them.
    """

    digests: Mapping[str, str]
    read: Callable[[str], bytes]

    def content(self, path: str) -> bytes | None:
        """A file, or None if the release does not have it."""
        return self.read(path) if path in self.digests else None


@dataclass(frozen=True)
class Series:
    """One patch file, read.

    Attributes:
        defect: What it mends.
        file: Its path under ``patches/``, its range and what it touches.
        sha256: Of the patch file.
        changes: What it does, by path.
    """

    defect: str
    file: PatchFile
    sha256: str
    changes: Mapping[str, tool.FilePatch]


def wheels(cache: Path | None = None) -> dict[str, Source]:
    """The sources of every known release, from the wheels that the catalogs name.

    Raises:
        EnvironmentProblem: If a wheel is not in the cache and cannot be downloaded.
        Refused: If a wheel is not the one that the catalog was made from.
    """
    found = {}
    for release in known_releases():
        digest = _wheel_digest(release)
        wheel = fetch(release, cache, digest)
        digests = {path: value for path, value in wheel.digests().items() if is_source(path)}
        found[release] = Source(digests, wheel.read_bytes)
    return found


def is_source(path: str) -> bool:
    """Whether a file of a wheel counts for the tree's hash."""
    return path.startswith("sglang/") and not path.endswith(COMPILED)


def _wheel_digest(release: str) -> str:
    # The catalog is large, and this stands near its beginning.
    with (RELEASES / f"sglang-{release}.json").open(encoding="utf-8") as stream:
        head = stream.read(4096)
    match = re.search(r'"wheel": \{[^}]*"sha256": "([0-9a-f]{64})"', head)
    assert match is not None, release
    return match[1]


def tree_hash(digests: Mapping[str, str]) -> str:
    """One digest for a whole tree: SHA-256 over the lines ``<sha256>  <path>``, sorted by path."""
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def build(
    sources: Mapping[str, Source], folder: Path = PATCHES, defects: Mapping[str, Defect] | None = None
) -> tuple[dict[str, Any], list[Finding]]:
    """Make the index.

    Args:
        sources: The releases, oldest first.
        folder: Where the patches are.
        defects: The defects in application order; those of ``patches/defects.yaml`` if None.

    Returns:
        The index, and what is wrong with the patches. With an error the index is not to be used.
    """
    builder = _Builder(sources, folder, defects if defects is not None else load_defects())
    return builder.index(), builder.findings


class _Builder:
    def __init__(self, sources: Mapping[str, Source], folder: Path, defects: Mapping[str, Defect]) -> None:
        self.sources = sources
        self.folder = folder
        self.defects = defects
        self.findings: list[Finding] = []
        self.read = functools.cache(lambda release, path: sources[release].content(path))
        self.status = {name: {release: self.probe(name, release) for release in sources} for name in defects}
        self.patches = {name: self.read_patches(name) for name in defects}
        self.paths = sorted(
            {path for series in self.patches.values() for patch in series for path in patch.changes}
            | {str(defect.probe["file"]) for defect in defects.values() if "*" not in str(defect.probe["file"])}
        )

    def index(self) -> dict[str, Any]:
        self.check_strays()
        for name in self.defects:
            self.check_ranges(name)
            self.check_split(name)
        trees = {release: self.apply_series(release) for release in self.sources}
        defects = [self.defect_entry(name) for name in self.defects]
        return {
            "format": tool.FORMAT,
            "about": "Made by 'python scripts/generate.py patches' from the wheels, defects.yaml and the patches. "
            "A tree's hash is SHA-256 over the lines '<sha256 of the file>  <path>', sorted by path, of all files "
            "under sglang/ but compiled ones (.so).",
            "releases": trees,
            "defects": defects,
            "files": {path: self.groups(path) for path in self.paths},
        }

    def complain(self, code: str, what: str, help: str, path: str) -> None:
        place = self.folder / path
        shown = place.relative_to(ROOT) if place.is_relative_to(ROOT) else place
        self.findings.append(error(code, what, help, Location(str(shown))))

    # --- probes and places

    def probe(self, name: str, release: str, changed: Mapping[str, bytes | None] | None = None) -> str:
        probe, changed = self.defects[name].probe, changed or {}
        paths = {path for path in self.sources[release].digests if tool.probe_matches(probe, path)}
        paths |= {path for path in changed if tool.probe_matches(probe, path)}
        contents = [changed[path] if path in changed else self.read(release, path) for path in sorted(paths)]
        return tool.probe_says(probe, [data.decode("utf-8", "replace") for data in contents if data is not None])

    def places(self, name: str, release: str) -> list[dict[str, str]]:
        affected = self.status[name][release] == tool.PRESENT
        found = []
        for place in self.defects[name].places:
            # Beside the lines that prove the defect there may be some that show what newer releases do instead.
            if not in_range(release, place.first, place.last) or not (affected or place.first):
                continue
            line = self.line(release, place.file, place.line, place.after)
            if line is None:
                what = f"{name}: sglang {release} does not hold the line /{place.line}/ in {place.file}"
                self.complain("place-missing", what, "Correct the place's expression or its range.", "defects.yaml")
            else:
                found.append({"at": f"{place.file}:{line}", "says": place.says})
        return found

    def line(self, release: str, path: str, wanted: str, after: str | None) -> int | None:
        content = self.read(release, path)
        below = after is None
        for number, text in enumerate((content or b"").decode("utf-8", "replace").splitlines(), 1):
            if below and re.search(wanted, text):
                return number
            below = below or re.search(after or "", text) is not None
        return None

    # --- the patch files

    def read_patches(self, name: str) -> list[Series]:
        found = []
        for path in sorted((self.folder / name).glob("*.patch")):
            shown = f"{name}/{path.name}"
            match = _NAME.match(path.name)
            if not match or {match["first"], match["last"]} - set(self.sources):
                remedy = "Name it sglang-<first>..<last>.patch after two known releases."
                self.complain("patch-name", "the name is not that of a range of releases", remedy, shown)
                continue
            data = path.read_bytes()
            for field in missing_fields(data):
                remedy = f"The header has {', '.join(_FIELDS)}; Bug is a link, Last-Update a date."
                self.complain("patch-header", f"the header has no {field} of the right form", remedy, shown)
            try:
                changes = {patch.path: patch for patch in tool.parse_patch(data)}
            except tool.PatchError as problem:
                self.complain("patch-unreadable", str(problem), "Make it with: git diff --no-index.", shown)
                continue
            first, last = match["first"], match["last"]
            releases = tuple(release for release in self.sources if in_range(release, first, last))
            if not releases:
                self.complain("patch-name", "the range holds no release", "Put the older release first.", shown)
                continue
            file = PatchFile(shown, first, last, releases, tuple(sorted(changes)))
            found.append(Series(name, file, hashlib.sha256(data).hexdigest(), changes))
        return sorted(found, key=lambda patch: version_key(patch.file.first))

    def check_strays(self) -> None:
        for path in sorted(self.folder.glob("*/**/*")):
            shown = path.relative_to(self.folder)
            known = shown.parts[0] in self.defects and len(shown.parts) == 2 and path.suffix == ".patch"
            if path.is_file() and not known:
                remedy = "Patches are patches/<defect>/sglang-<first>..<last>.patch."
                self.complain("patch-stray", "is no patch of a known defect", remedy, str(shown))

    def check_ranges(self, name: str) -> None:
        defect = self.defects[name]
        for release in self.sources:
            status = self.status[name][release]
            meant = [patch.file.file for patch in self.patches[name] if release in patch.file.releases]
            why = defect.why_unmended(release)
            if status == tool.UNKNOWN:
                what = f"{name}: the probe cannot tell whether sglang {release} has the defect"
                self.complain("probe-unknown", what, "Correct the probe.", "defects.yaml")
            if len(meant) > 1:
                self.complain("patch-overlap", f"sglang {release} also has {meant[0]}", "Correct the ranges.", meant[1])
            if meant and status != tool.PRESENT:
                what = f"sglang {release} does not have the defect: its probe says {status}"
                self.complain("patch-not-needed", what, "Correct the range.", meant[0])
            if meant and why:
                self.complain(
                    "patch-unmended", f"{name}: sglang {release} has a patch", "Correct unmended.", "defects.yaml"
                )
            if not meant and not why and status == tool.PRESENT:
                what = f"{name}: sglang {release} has the defect and no patch"
                remedy = f"Add patches/{name}/, or say under unmended why there is none."
                self.complain("patch-gap", what, remedy, "defects.yaml")

    def check_split(self, name: str) -> None:
        """A tree tells its release by the files that a defect's patches touch: those decide for one patch."""
        paths = self.watched(name)
        for one, other in itertools.combinations(self.patches[name], 2):
            for first, second in itertools.product(one.file.releases, other.file.releases):
                if all(
                    self.sources[first].digests.get(path) == self.sources[second].digests.get(path) for path in paths
                ):
                    what = (
                        f"sglang {first} and {second} read alike, but have two patches; the other is {other.file.file}"
                    )
                    self.complain("patch-split", what, "Join the two.", one.file.file)
                    return

    def watched(self, name: str) -> list[str]:
        touched = {path for patch in self.patches[name] for path in patch.changes}
        return sorted(touched | ({str(self.defects[name].probe["file"])} & set(self.paths)))

    def series(self, release: str) -> Iterator[Series]:
        for name in self.defects:
            patch = next((patch for patch in self.patches[name] if release in patch.file.releases), None)
            if patch is not None:
                yield patch

    # --- what the patches make

    def apply_series(self, release: str) -> dict[str, str]:
        """Apply the whole series exactly: every hunk where its header says."""
        digests = self.sources[release].digests
        changed: dict[str, bytes | None] = {}
        for patch in self.series(release):
            for path, change in patch.changes.items():
                before = changed[path] if path in changed else self.read(release, path)
                try:
                    changed[path] = tool.apply_file(before, change)
                except tool.PatchError as problem:
                    remedy = "Make the patch again on the sources with the patches before it on."
                    self.complain("patch-apply", f"sglang {release}: {problem}", remedy, patch.file.file)
            if self.probe(patch.defect, release, changed) == tool.PRESENT:
                what = f"sglang {release}: the probe still sees the defect with the patch on"
                self.complain("patch-probe", what, "Correct the probe or the patch.", patch.file.file)
        patched = {path: hashlib.sha256(data).hexdigest() for path, data in changed.items() if data is not None}
        return {"pristine_tree": tree_hash(digests), "patched_tree": tree_hash({**digests, **patched})}

    def groups(self, path: str) -> list[dict[str, Any]]:
        groups: dict[tuple[Any, ...], list[str]] = {}
        for release in self.sources:
            patches = tuple((patch.defect, patch) for patch in self.series(release) if path in patch.changes)
            key = (self.sources[release].digests.get(path), tuple((name, patch.file.file) for name, patch in patches))
            groups.setdefault(key, []).append(release)
        return [
            {
                "releases": releases,
                "patches": dict(key[1]),
                "states": self.states(path, releases[0]),
            }
            for key, releases in groups.items()
        ]

    def states(self, path: str, release: str) -> dict[str, str | None]:
        """The file's digest for every set of patches that applies to it."""
        patches = [patch for patch in self.series(release) if path in patch.changes]
        found: dict[str, str | None] = {}
        for wanted in itertools.product((False, True), repeat=len(patches)):
            chosen = [patch for patch, on in zip(patches, wanted, strict=True) if on]
            content = self.read(release, path)
            try:
                for patch in chosen:
                    content = tool.apply_file(content, patch.changes[path], offsets=True)
            except tool.PatchError:
                continue
            found[" ".join(patch.defect for patch in chosen)] = tool.sha256(content)
        return found

    def defect_entry(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "title": self.defects[name].title,
            "probe": {key: self.defects[name].probe[key] for key in ("file", "fixed", "present")},
            "patches": [
                {
                    "file": patch.file.file,
                    "sha256": patch.sha256,
                    "first": patch.file.first,
                    "last": patch.file.last,
                    "releases": list(patch.file.releases),
                    "touches": list(patch.file.touches),
                }
                for patch in self.patches[name]
            ],
            "releases": {
                release: {"status": self.status[name][release], "places": self.places(name, release)}
                for release in self.sources
            },
        }


def missing_fields(data: bytes) -> list[str]:
    """The DEP-3 fields that a patch's header lacks, or that have not their form."""
    header = data.decode("utf-8", "replace").partition("\n---\n")[0]
    return [field for field, form in _FIELDS.items() if not re.search(rf"^{field}: *{form}", header, re.MULTILINE)]


def as_text(index: Mapping[str, Any]) -> str:
    """The index as JSON, with what belongs together on one line."""
    return _text(index, 0) + "\n"


def _text(value: Any, depth: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    items = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not value:
        return flat
    nested = any(isinstance(item, dict | list) for item in items)
    if not nested and ((isinstance(value, list) and len(flat) < 300) or len(flat) < 110):
        return flat
    inner, outer = " " * (depth + 1), " " * depth
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(key)}: {_text(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    return "[\n" + ",\n".join(inner + _text(item, depth + 1) for item in value) + f"\n{outer}]"


def changed_since() -> list[Finding]:
    """What changed since the index was made, as far as that can be told without wheels."""
    try:
        index = json.loads(PATCH_INDEX.read_bytes())
        known = {patch["file"]: patch["sha256"] for entry in index["defects"] for patch in entry["patches"]}
        entries = {entry["id"]: (entry["title"], entry["probe"]) for entry in index["defects"]}
        releases = list(index["releases"])
    except (OSError, ValueError, LookupError, TypeError):
        return [_stale(PATCH_INDEX, "cannot be read")]
    there = {
        str(path.relative_to(PATCHES)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(PATCHES.glob("*/*.patch"))
    }
    found = [
        _stale(
            PATCHES / name, "is not the patch that the index was made from" if name in known else "is not in the index"
        )
        for name, digest in there.items()
        if known.get(name) != digest
    ]
    found += [_stale(PATCH_INDEX, f"names {name}, which is not there") for name in known if name not in there]
    defects = {name: (defect.title, defect.probe) for name, defect in load_defects().items()}
    if list(defects.items()) != list(entries.items()):
        found.append(_stale(PATCH_INDEX, "was made from other ids, titles or probes than those of defects.yaml"))
    if releases != known_releases():
        found.append(_stale(PATCH_INDEX, "is not of the releases that have a catalog"))
    return found


def _stale(path: Path, what: str) -> Finding:
    return error("patch-index", what, REMAKE, Location(str(path.relative_to(ROOT))))
