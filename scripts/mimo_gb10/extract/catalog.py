"""The catalog of one SGLang release: built from its wheel, written as reviewable JSON."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mimo_gb10.extract.environment import Environment, prefix_as_json, read_environment, variable_as_json
from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.facts import Facts, as_json_lines
from mimo_gb10.extract.facts import build as build_facts
from mimo_gb10.extract.flags import Flag, flag_as_json, flag_sort_key, read_flags
from mimo_gb10.extract.modules import Modules
from mimo_gb10.extract.passages import locate
from mimo_gb10.extract.values import Unresolved
from mimo_gb10.extract.wheel import Wheel, fetch
from mimo_gb10.findings import Finding, Refused, error, warning
from mimo_gb10.passage import Passage


@dataclass(frozen=True, slots=True)
class Catalog:
    """What one release accepts on the command line and in the environment.

    Attributes:
        release: The SGLang version.
        wheel_file: Name of the wheel that it was read from.
        sha256: Checksum of that wheel.
        flags: All flags, sorted by destination.
        environment: All environment variables, sorted by name.
        findings: What could not be computed; empty when the catalog is complete.
        passages: Upstream ``file:line`` that a rule rests on, by the rule's code.
        facts: Date, pins, parsers and model code; None where only the command line was read.
    """

    release: str
    wheel_file: str
    sha256: str
    flags: tuple[Flag, ...]
    environment: Environment
    findings: tuple[Finding, ...]
    passages: Mapping[str, str] = field(default_factory=dict)
    facts: Facts | None = None

    def as_json_text(self) -> str:
        """The file's text: one flag or variable a line, its source alone on the next."""
        head = {"file": self.wheel_file, "sha256": self.sha256}
        lines = ["{", f' "release": {_json(self.release)},', f' "wheel": {_json(head)},']
        lines += as_json_lines(self.facts) if self.facts else []
        lines += [' "flags": [', *_entries((flag_as_json(flag), flag.source) for flag in self.flags), " ],"]
        rules = ((prefix_as_json(rule), rule.source) for rule in self.environment.prefixes)
        lines += [' "environment_prefixes": [', *_entries(rules), " ],"]
        variables = ((variable_as_json(variable), variable.source) for variable in self.environment.variables)
        lines += [' "environment": [', *_entries(variables), " ],"]
        lines += [
            ' "passages": {',
            ",\n".join(f"  {_json(code)}: {_json(place)}" for code, place in self.passages.items()),
        ]
        lines += [" }", "}"]
        return "\n".join(lines) + "\n"


def build(wheel: Wheel) -> Catalog:
    """Extract the catalog of a wheel. Never imports anything from it.

    Args:
        wheel: The wheel, from `fetch`.

    Returns:
        The catalog; what could not be computed is in its findings.

    Raises:
        Refused: the wheel has no parser that this extractor understands.
    """
    return build_from(Modules(wheel.members, wheel.read), wheel.release, wheel.file, wheel.sha256)


def build_from(modules: Modules, release: str, wheel_file: str, sha256: str) -> Catalog:
    """`build`, for modules that come from anywhere."""
    with _without_garbage_collection():
        try:
            parser = read_flags(Evaluator(modules))
            environment = read_environment(Evaluator(modules))
        except (Unresolved, KeyError, SyntaxError, RecursionError) as problem:
            reason = problem.reason if isinstance(problem, Unresolved) else f"{type(problem).__name__}: {problem}"
            raise Refused(
                [
                    error(
                        "catalog-unreadable",
                        f"sglang {release} declares its options in a way that is not understood: {reason}",
                        "extend mimo_gb10/extract for this release",
                    )
                ]
            ) from problem
    flags = tuple(sorted(parser.flags, key=flag_sort_key))
    findings = [_finding(error, "flag-unresolved", release, problem) for problem in parser.problems]
    findings += [_finding(warning, "variable-unresolved", release, problem) for problem in environment.problems]
    return Catalog(release, wheel_file, sha256, flags, environment, tuple(findings))


def extract_release(
    release: str,
    cache_dir: Path | None = None,
    committed: Path | None = None,
    passages: Mapping[str, Sequence[Passage]] | None = None,
) -> Catalog:
    """Download a release's wheel and extract its catalog.

    Args:
        release: The SGLang version, for example ``0.5.23``.
        cache_dir: Where wheels are kept; the user's cache folder when None.
        committed: The committed catalog of this release; when the file exists, the wheel must have its sha256.
        passages: The upstream passages that the rules rest on, by the rule's code.

    Returns:
        The catalog; what could not be computed is in its findings.

    Raises:
        EnvironmentProblem: the wheel cannot be downloaded (exit code 3).
        Refused: the wheel is not the committed one, or is not understood.
    """
    if not re.fullmatch(r"\d+(?:\.\d+)*(?:(?:a|b|rc|\.post|\.dev)\d+)*", release):
        raise Refused([error("release-name", f"{release!r} is not a version", "give one such as 0.5.23")])
    wheel = fetch(release, cache_dir, committed_sha256(committed))
    made = build(wheel)
    places, problems = locate(lambda path: wheel.read(path) if path in wheel.members else None, release, passages or {})
    facts = build_facts(wheel, cache_dir)
    return replace(made, passages=places, facts=facts, findings=(*made.findings, *facts.findings, *problems))


def committed_sha256(committed: Path | None) -> str | None:
    """The checksum that a committed catalog holds; None when there is no such file.

    Raises:
        Refused: the file is no catalog.
    """
    if committed is None or not committed.exists():
        return None
    try:
        digest = json.loads(committed.read_text(encoding="utf-8"))["wheel"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise Refused([error("catalog-damaged", f"{committed} is no catalog: {problem}", "restore it")]) from problem
    return str(digest)


def _finding(make: Any, code: str, release: str, problem: str) -> Finding:
    found: Finding = make(code, f"sglang {release}: {problem}", "extend mimo_gb10/extract so that it computes this")
    return found


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _entries(items: Any) -> Iterator[str]:
    entries = list(items)
    for index, (facts, source) in enumerate(entries):
        yield f"  {_json(facts)[:-1]},"
        yield f'   "source": {_json(source)}}}{"," if index < len(entries) - 1 else ""}'


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    # Parsing hundreds of files makes millions of nodes that all live on: collecting doubles the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
