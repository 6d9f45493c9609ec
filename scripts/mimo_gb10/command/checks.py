"""A launch command against a release: what its parser refuses, what it does not read, which rules it breaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mimo_gb10.command.arguments import Read, read_arguments
from mimo_gb10.command.reader import Launch, Lines
from mimo_gb10.command.to_recipe import amounts_to
from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, error, warning, worst_first
from mimo_gb10.flag_checks import check_variable
from mimo_gb10.model import Model
from mimo_gb10.release import Release
from mimo_gb10.rules import ALL_RULES
from mimo_gb10.rules.serving import KeyOnCommandLine

_ODDITIES = {
    "smart-quote": (error, "a typographic quote, which bash takes for a letter", "Type ' or \"."),
    "smart-dash": (error, "a typographic dash, which begins no option", "Type two hyphens: --."),
    "odd-space": (error, "a blank that bash does not take for one", "Type a plain space."),
    "html-entity": (
        error,
        "an HTML entity, which bash takes for a separator and letters",
        "Copy the text of the page, not its source: &lt; is <, &gt; is >, &amp; is &.",
    ),
    "continuation-broken": (
        error,
        "a blank stands behind the backslash, so the command ends here",
        "Remove the blank at the end of the line.",
    ),
    "continuation-missing": (
        error,
        "the next line begins with an option, but no backslash joins it: the command ends here",
        "End this line with a backslash.",
    ),
    "comment-breaks-command": (
        error,
        "a comment inside the command ends it; the options behind it are lost",
        "Move the comment in front of the command.",
    ),
    "quote-open": (error, "this quote is never closed", "Close it."),
}

_MOST_SUGGESTIONS = 20

_ABOUT_PRESENCE = (KeyOnCommandLine,)
"""Rules for which it is enough that a flag is there: a key from $KEY shows in the process list as well."""

NO_MODEL = Model(name="unknown", title="an unknown model", architecture="", fused_qkv_tensor_parallel=None, facts={})
"""The model of a command about whose model nothing was said: the rules of a checkpoint stay silent."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about one launch under one release.

    Attributes:
        launch: The launch.
        release: The release's number.
        findings: Worst first.
        read: Its options.
    """

    launch: Launch
    release: str
    findings: tuple[Finding, ...]
    read: Read


def check_launch(launch: Launch, release: Release, model: Model | None, lines: Lines) -> Verdict:
    """Check one launch under one release; the rules of a checkpoint only where `model` is given."""
    read = read_arguments(launch.arguments, release, lines.location, is_serve=launch.is_serve, start=launch.start)
    findings = [
        *_oddities(launch, lines),
        *read.findings,
        *_variables(launch, release, lines),
        *_rules(launch, read, release, model or NO_MODEL, lines),
    ]
    return Verdict(launch, release.version, tuple(worst_first(findings)), read)


def check_line_ends(text: str, lines: Lines) -> Iterator[Finding]:
    """A finding if the text has Windows line ends, at the first of them."""
    at = text.find("\r\n")
    if at >= 0:
        yield warning(
            "line-ends",
            "the text has Windows line ends (CRLF); bash takes the carriage return for a part of the last word",
            "Convert it: sed -i 's/\\r$//' FILE",
            lines.location(at),
        )


def _oddities(launch: Launch, lines: Lines) -> Iterator[Finding]:
    for oddity in launch.oddities:
        make, message, remedy = _ODDITIES[oddity.kind]
        yield make(oddity.kind, message, remedy, lines.location(oddity.offset))


def _variables(launch: Launch, release: Release, lines: Lines) -> Iterator[Finding]:
    unknown = 0
    for assigned in launch.env.values():
        place = lines.location(assigned.start)
        # Of an open value only the name can be judged; any value that the check takes as text will do.
        value = "{rank}" if assigned.is_open else assigned.value
        for found in check_variable(release, assigned.name, value, place, place, suggest=unknown < _MOST_SUGGESTIONS):
            unknown += found.code == "env-unknown"
            yield found


def _rules(launch: Launch, read: Read, release: Release, model: Model, lines: Lines) -> Iterator[Finding]:
    amounts = amounts_to([launch], [read.given], release, model.name, lines.location)
    recipe = replace(
        amounts.recipe, env={name: value for name, value in amounts.recipe.env.items() if value is not None}
    )
    context = Context(recipe, amounts.cluster, model, release)
    left_open = {given.flag.dest for given in read.given if given.is_open}
    for rule in ALL_RULES:
        looked_at = {flag.dest for option in rule.options if (flag := release.flag(option)) is not None}
        # Any flag may hide behind $EXTRA_ARGS or in a file: a rule that misses one, or its value, would be guessing.
        is_guess = read.has_open_options or bool(looked_at & left_open)
        if rule.applies_to(release.version) and (not is_guess or isinstance(rule, _ABOUT_PRESENCE)):
            yield from rule.check(context)


def as_json(verdicts: Sequence[Verdict], lines: Lines) -> list[dict[str, Any]]:
    """Verdicts as plain data, for ``--json``."""
    return [
        {
            "file": lines.file,
            "line": lines.location(verdict.launch.start).line,
            "release": verdict.release,
            "findings": [finding.as_dict() for finding in verdict.findings],
        }
        for verdict in verdicts
    ]
