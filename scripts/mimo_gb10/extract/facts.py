"""What a catalog holds of a release besides its flags and variables: date, pins, parsers, the model code's demands.

Use::

    found = facts.build(wheel)      # a wheel from `wheel.fetch`
    found.findings                  # what could not be computed
    facts.as_json_lines(found)      # the lines between "wheel" and "flags" in configs/releases/sglang-<version>.json
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mimo_gb10.extract import entry, parsers, pins
from mimo_gb10.extract.entry import Entry
from mimo_gb10.extract.evaluate import Evaluator
from mimo_gb10.extract.model_code import model_code, serve
from mimo_gb10.extract.modules import Modules
from mimo_gb10.extract.release_date import release_date
from mimo_gb10.extract.values import Unresolved
from mimo_gb10.extract.wheel import Wheel
from mimo_gb10.findings import Finding, error

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one release.

    Attributes:
        date: The day on which the wheel was built, as ``YYYY-MM-DD``; empty when it could not be found.
        pins: Required packages that decide how the release behaves on GB10, in the order of `pins.PACKAGES`.
        serve: How ``sglang serve`` takes the model.
        reasoning_rule: Whether the chat template comes before the reasoning parser's own default.
        template_rules: What the release reads from a chat template, in the order in which it looks.
        reasoning_parsers: Every name of ``--reasoning-parser``, in the release's order.
        tool_call_parsers: Every name of ``--tool-call-parser``, in the release's order.
        model_code: What the code for MiMo-V2 demands of a launch.
        findings: What could not be computed; empty when the facts are complete.
    """

    date: str
    pins: tuple[Entry, ...]
    serve: Entry | None
    reasoning_rule: Entry | None
    template_rules: tuple[Entry, ...]
    reasoning_parsers: tuple[Entry, ...]
    tool_call_parsers: tuple[Entry, ...]
    model_code: tuple[Entry, ...]
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """The facts as the catalog's top-level keys, in its order."""
        found: dict[str, Any] = {"date": self.date}
        for key, value in self._parts():
            if isinstance(value, tuple):
                found[key] = [item.as_json() for item in value]
            elif value is not None:
                found[key] = value.as_json()
        return found

    def _parts(self) -> Iterable[tuple[str, Entry | tuple[Entry, ...] | None]]:
        yield "pins", self.pins
        yield "serve", self.serve
        yield "reasoning_rule", self.reasoning_rule
        yield "template_rules", self.template_rules
        yield "reasoning_parsers", self.reasoning_parsers
        yield "tool_call_parsers", self.tool_call_parsers
        yield "model_code", self.model_code


def as_json_lines(facts: Facts) -> list[str]:
    """The lines of the facts in a catalog: one entry a line, its source alone on the next."""
    lines = [f' "date": {entry.text(facts.date)},']
    for key, value in facts._parts():
        if isinstance(value, tuple):
            lines += entry.list_lines(key, value)
        elif value is not None:
            lines += entry.object_lines(key, value)
    return lines


def build(wheel: Wheel, cache_dir: Path | None = None) -> Facts:
    """The facts of a wheel. Never imports anything from it.

    Args:
        wheel: The wheel, from `wheel.fetch`.
        cache_dir: Where the requirements of torch are kept; beside the wheel when None.

    Returns:
        The facts; what could not be computed is in the findings.

    Raises:
        EnvironmentProblem: the requirements of the pinned torch are not to be had (exit code 3).
    """
    folder = cache_dir or wheel.path.parent
    return build_from(
        Modules(wheel.members, wheel.read),
        wheel.release,
        lambda: release_date(wheel.path),
        lambda: next((wheel.read(name) for name in wheel.members if name.endswith(".dist-info/METADATA")), ""),
        lambda version: pins.torch_requires(version, folder),
    )


def build_from(
    modules: Modules,
    release: str,
    date: Callable[[], str],
    metadata: Callable[[], str],
    torch_requires: pins.TorchRequires,
) -> Facts:
    """`build`, for sources that come from anywhere."""
    problems: list[str] = []
    run = parsers.evaluator(modules)
    attempt = _Attempt(problems)
    return Facts(
        date=attempt("release date", date) or "",
        pins=tuple(attempt("package pins", lambda: pins.read_pins(metadata(), torch_requires)) or ()),
        serve=attempt("sglang serve", lambda: serve(Evaluator(modules))),
        reasoning_rule=attempt("reasoning rule", lambda: parsers.reasoning_rule(run)),
        template_rules=tuple(attempt("chat template rules", lambda: parsers.template_rules(run)) or ()),
        reasoning_parsers=attempt.each("reasoning parsers", lambda: parsers.reasoning_parsers(run)),
        tool_call_parsers=attempt.each("tool call parsers", lambda: parsers.tool_call_parsers(run)),
        model_code=attempt.each("model code", lambda: model_code(modules)),
        findings=tuple(_finding(release, problem) for problem in problems),
    )


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Runs a reader; what it cannot compute becomes a problem instead of ending the extraction."""

    problems: list[str]

    def __call__(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (Unresolved, KeyError, SyntaxError, RecursionError) as problem:
            reason = problem.reason if isinstance(problem, Unresolved) else f"{type(problem).__name__}: {problem}"
            self.problems.append(f"{what}: {reason}")
            return None

    def each(self, what: str, read: Callable[[], Iterable[Entry | Unresolved]]) -> tuple[Entry, ...]:
        """The entries of a reader that reports per entry what it cannot compute."""
        found = self(what, lambda: list(read())) or []
        self.problems.extend(item.reason for item in found if isinstance(item, Unresolved))
        return tuple(item for item in found if isinstance(item, Entry))


def _finding(release: str, problem: str) -> Finding:
    return error(
        "fact-unresolved",
        f"sglang {release}: {problem}",
        "read what the release does there, and extend mimo_gb10/extract so that it computes this",
    )
