"""The page that checks the post, statement by statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mimo_gb10.claims import POST_CHECKED, Check, Claim, check_claims, load_claims
from mimo_gb10.files import Output
from mimo_gb10.findings import Refused
from mimo_gb10.generate.markdown import code, mark, table
from mimo_gb10.paths import ROOT
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.spans import runs, span

FOLDER = "docs/post"

_SECTIONS = {
    "fixes": "The five fixes",
    "notes": "The two notes for the documentation",
    "launch": "The launch",
    "environment": "The environment",
}

_VERDICTS = ("holds", "holds until", "partly", "not reproduced", "does not hold")


def make() -> Mapping[str, Output]:
    """The page.

    Raises:
        Refused: If a verdict is not borne out by the catalogs.
    """
    document, claims = load_claims()
    problems = list(check_claims(document, claims))
    if problems:
        raise Refused(problems)
    return {f"{FOLDER}/checked.md": Output("\n".join(_page(str(document.value["source"]), claims)))}


def _page(source: str, claims: Sequence[Claim]) -> Iterator[str]:
    releases = known_releases()
    yield "# The post, checked\n"
    yield mark(str(POST_CHECKED.relative_to(ROOT)))
    yield (
        f"This project starts from [a post]({source}) by somebody who serves MiMo-V2.5 on four GB10. "
        f"Each of its statements is held against the sources of SGLang {releases[0]} to {releases[-1]}.\n"
    )
    yield (
        "*Checked* means that the verdict is computed from checks against the release catalogs, which "
        "`make check-releases` compares with the wheels. *Reported* means that somebody ran or read it and says so, "
        "*inferred* that it follows from what is known.\n"
    )
    counts = Counter(claim.verdict for claim in claims)
    told = ", ".join(f"{verdict} {counts[verdict]}" for verdict in _VERDICTS)
    yield f"{len(claims)} statements: {told}.\n"
    for section, title in _SECTIONS.items():
        rows = [claim for claim in claims if claim.section == section]
        yield f"## {title}\n"
        yield table(["Statement", "Verdict"], [[f"[{_short(c.statement)}](#{c.id})", c.verdict_text] for c in rows])
    yield "## Statement by statement\n"
    for claim in claims:
        yield from _section(claim)


def _short(statement: str) -> str:
    text = statement.rstrip(".")
    return text if len(text) <= 90 else f"{text[:87].rsplit(' ', 1)[0]} ..."


def _section(claim: Claim) -> Iterator[str]:
    yield f"### {claim.statement.rstrip('.')} {{: #{claim.id} }}\n"
    yield f"**{claim.verdict_text[0].upper()}{claim.verdict_text[1:]}** ({claim.sure}). {claim.says}\n"
    lines = [line for check in sorted(claim.checks, key=lambda check: not check.proves) for line in _proof(check)]
    lines += [f"- <{link}>" for link in claim.links]
    if lines:
        yield "\n".join(lines) + "\n"


def _proof(check: Check) -> Iterator[str]:
    """What a check saw, with places where it has any."""
    facts = check.facts
    where = {"all": "in all releases", "none": "in no release"}.get(str(facts.get("releases", "all")))
    where = where or f"in {_range(str(facts['releases']))}"
    name = code(str(facts.get("name", "")))
    value = code(_value(facts.get("value")))
    text = {
        "accepts": f"{name} accepts {value} {where}",
        "abbreviates": f"{name} abbreviates {value} {where}",
        "default": f"{name} is {value} by default {where}",
        "reads": f"{name} is read {where}",
        "removed": f"{name} causes a warning that it is gone {where}",
        "pin": f"The release requires {name} {value} {where}",
        "class": f"{name} is the class {value} {where}",
        "thinking": f"{name}: expects reasoning {_when(str(facts.get('value')))} {where}",
        "fact": f"{name}, {code(str(facts.get('key')))} is {value} {where}",
        "source": f"{code(str(facts.get('file')))} holds {code(str(facts.get('pattern')))} {where}",
    }[check.kind]
    yield f"- {text}{_places(check)}"


def _range(releases: str) -> str:
    first, _, last = releases.partition("..")
    known = known_releases()
    first, last = first or known[0], last or known[-1]
    return span((first, last))


def _places(check: Check) -> str:
    """Where to look it up: file and line, releases with the same place joined; a long list is folded."""
    places = ((check.place_in(load_release(version)), version) for version in known_releases())
    found = runs((place, version) for place, version in places if place is not None)
    if check.kind == "source":
        parts = [f"line {place.rpartition(':')[2]} ({span(versions)})" for place, versions in found]
    else:
        parts = [f"<code>{place}</code> ({span(versions)})" for place, versions in found]
    if not parts:
        return ""
    if len(parts) == 1:
        return f": {parts[0]}"
    return f" <details><summary>where</summary>{'<br>'.join(parts)}</details>"


def _when(value: str) -> str:
    return {"asked": "only when a request asks", "unless-off": "unless a request switches it off"}.get(value, value)


def _value(value: object) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)
