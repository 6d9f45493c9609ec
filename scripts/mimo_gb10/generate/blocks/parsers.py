"""Parts of the page about parsers: what each name does in each release, what a client sees, the proposed diffs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mimo_gb10.compare import thinking_text
from mimo_gb10.evidence import Receipt, rehearsals
from mimo_gb10.findings import Refused, error
from mimo_gb10.generate.markdown import code, table
from mimo_gb10.generate.prose import block, prose
from mimo_gb10.launch import recipes
from mimo_gb10.release import Release, known_releases, load_release, version_key
from mimo_gb10.spans import runs, span

NAMES = ("mimo", "qwen3")
TOOLS = ("mimo", "qwen3_coder")
RECOMMENDED = "mimo"
KEY = "enable_thinking"
CASES = (f"{KEY}=true", f"{KEY}=false", "absent")
"""What a request says, by the catalogs' names for it."""

_CHECKS = {"reasoning-on": CASES[0], "reasoning-off": CASES[1], "reasoning-absent": CASES[2]}


def _releases() -> list[Release]:
    return [load_release(version) for version in known_releases()]


def _entry(release: Release, kind: str, name: str) -> Mapping[str, Any]:
    found = release.entry(kind, name)
    if found is None:
        raise Refused([error("parser-gone", f"SGLang {release.version} has no {kind} {name!r}", "Correct the page.")])
    return found


def expects(release: Release, name: str, case: str) -> bool:
    """Whether a release takes an answer for reasoning until ``</think>``, if the chat template says nothing."""
    return bool(_entry(release, "reasoning_parsers", name)["thinking"]["expects"][case])


# --- the names


def _names() -> str:
    rows = []
    for state, versions in runs((_state(release), release.version) for release in _releases()):
        rows.append([span(versions), *state])
    header = ["SGLang", *(code(name) for name in NAMES), "A switch in the chat template comes first"]
    return table(header, rows)


def _state(release: Release) -> tuple[str, ...]:
    entries = [_entry(release, "reasoning_parsers", name) for name in NAMES]
    template = "yes, if it is recognised" if release.facts["reasoning_rule"]["template_first"] else "no"
    return (*(f"{code(str(entry['class']))}: {thinking_text(entry)}" for entry in entries), template)


# --- what a client sees


def _clients() -> str:
    """By name and request: whether the answer is taken for reasoning; releases that agree are one row."""
    rows = []
    found = (tuple(expects(release, name, case) for name in NAMES for case in CASES) for release in _releases())
    for outcomes, versions in runs(zip(found, known_releases(), strict=True)):
        for at, name in enumerate(NAMES):
            cells = outcomes[at * len(CASES) : (at + 1) * len(CASES)]
            rows.append([span(versions), code(name), *("reasoning first" if cell else "content" for cell in cells)])
    return table(["SGLang", "Parser", *(code(case) if "=" in case else case for case in CASES)], rows)


SHAPES = {
    "opens and closes the tag itself": "<think>R</think>A",
    "only closes it: `<think>` is the prompt's end": "R</think>A",
    "has no tag: the model does not think": "A",
    "opens it and is cut off": "<think>R",
}
"""What a model may write; R is its reasoning, A the answer."""


def split(text: str, *, inside: bool) -> tuple[str, str]:
    """Reasoning and content of a whole answer, as `Qwen3Detector` splits it in every release here.

    Args:
        text: What the model wrote.
        inside: Whether the server takes it for reasoning from the start.
    """
    if not inside and "<think>" not in text:
        return "", text
    reasoning, tag, content = text.removeprefix("<think>").partition("</think>")
    return (reasoning, content) if tag else (reasoning, "")


def _shapes() -> str:
    rows = []
    for what, text in SHAPES.items():
        cells = [_where(*split(text, inside=inside)) for inside in (True, False)]
        rows.append([what, code(text), *cells])
    return table(["The model's text", "Written", "Reasoning first", "Content"], rows)


def _where(reasoning: str, content: str) -> str:
    if not content:
        return "**all in `reasoning_content`, `content` is empty**" if reasoning == "A" else "`content` is empty"
    if "</think>" in content:
        return "**the reasoning and `</think>` stand in `content`**"
    return "right" if reasoning else "right, no reasoning"


def agreeing() -> list[str]:
    """The requests for which both names do the same in every release."""
    return [case for case in CASES if all(len({expects(r, n, case) for n in NAMES}) == 1 for r in _releases())]


def _agree() -> str:
    alike = agreeing()
    apart = [case for case in CASES if case not in alike]
    return (
        f"In every release from {known_releases()[0]} to {known_releases()[-1]} both names do the same for "
        f"{' and '.join(code(case) for case in alike)}. They differ where the request says nothing"
        f"{'' if apart == ['absent'] else ', and for ' + ', '.join(map(code, apart))}.\n"
    )


def _key() -> str:
    """What the cookbook's key does."""
    rows = []
    for name in NAMES:
        entries = [_entry(release, "reasoning_parsers", name)["thinking"]["expects"] for release in _releases()]
        changed = [case for case in ("thinking=true", "thinking=false") if any(e[case] != e["absent"] for e in entries)]
        rows.append([code(name), "nothing, in any release" if not changed else ", ".join(map(code, changed))])
    return table(["Parser", "What `thinking` changes"], rows)


# --- what was seen


def _seen() -> str:
    rows = []
    for name, receipt in _ordered():
        checks = {one["name"]: one for one in receipt["checks"] if one["name"] in _CHECKS}
        if checks:
            asks = load_release(receipt["sglang"]["version"]).facts["reasoning_rule"]["template_first"]
            cells = [_place(checks.get(check), bool(asks)) for check in _CHECKS]
            rows.append([f"[{name}](rehearsals/{name}.md)", receipt["sglang"]["version"], _parser(receipt), *cells])
    header = ["Receipt", "SGLang", "Parser", *(code(case) if "=" in case else case for case in _CHECKS.values())]
    return table(header, rows)


def _ordered() -> list[tuple[str, Receipt]]:
    return sorted(rehearsals().items(), key=lambda item: (version_key(item[1]["sglang"]["version"]), item[0]))


def _parser(receipt: Receipt) -> str:
    words = receipt["launch"][0]["argv"]
    return code(words[words.index("--reasoning-parser") + 1]) if "--reasoning-parser" in words else "none"


TEMPLATE = "by the template's switch"
"""Where the text is not where the parser's rule puts it, and the release asks the chat template first."""


def _place(check: Mapping[str, Any] | None, asks_template: bool) -> str:
    if check is None or check["status"] == "skip":
        return "not asked"
    place = next((one for one in ("reasoning_content", "content") if f"text in {one}" in check["says"]), None)
    if place is None:
        return prose(check["says"])
    if check["status"] == "ok":
        return code(place)
    return f"{code(place)}, {TEMPLATE}" if asks_template else f"**not as promised** {code(place)}"


# --- recommendation


def _recipes() -> str:
    rows = [
        [
            f"[{recipe.name}](recipes/{recipe.name}.md)",
            recipe.sglang,
            code(str(recipe.flags.get("reasoning-parser", "none"))),
            prose(recipe.why.get("reasoning-parser", "")),
        ]
        for recipe in recipes()
    ]
    return table(["Recipe", "SGLang", "Reasoning parser", "Why"], rows)


def _diff(file: str, hunks: Sequence[tuple[str, Sequence[str]]]) -> str:
    lines = [f"--- a/{file}", f"+++ b/{file}"]
    for where, changes in hunks:
        lines += [f"@@ {where} @@", *changes]
    return block("\n".join(lines), "diff")


def _card() -> str:
    changes = [
        "-    --reasoning-parser qwen3 \\",
        f"+    --reasoning-parser {RECOMMENDED} \\",
        *(f"+{line}" for line in _NOTE),
    ]
    return _diff("README.md", [("SGLang deployment, the launch and the text after it", changes)])


_NOTE = (
    "",
    f'Send `"chat_template_kwargs": {{"{KEY}": true}}` or `false` with each',
    "request. Without it SGLang falls back on the rule of the reasoning",
    "parser, which knows nothing of the chat template's own default.",
)


def _cookbook() -> str:
    changes = [
        '-    extra_body={"chat_template_kwargs": {"thinking": False}}',
        f'+    extra_body={{"chat_template_kwargs": {{"{KEY}": False}}}}',
        "@@ 4.2 Reasoning Output @@",
        *(f"+{line}" for line in _NOTE),
    ]
    file = "docs_new/cookbook/autoregressive/Xiaomi/MiMo-V2.5.mdx"
    return _diff(file, [("4.2 Reasoning Output, Thinking Off", changes)])


# --- tool calls


def _tools() -> str:
    rows = []
    for state, versions in runs((tuple(_tool_cells(release)), release.version) for release in _releases()):
        rows.append([span(versions), *state])
    return table(["SGLang", *(code(name) for name in TOOLS)], rows)


def _tool_cells(release: Release) -> Iterator[str]:
    for name in TOOLS:
        entry = _entry(release, "tool_call_parsers", name)
        tag = "can constrain a call in its own format" if entry["structural_tag"] else "sets no grammar of its own"
        yield f"{code(str(entry['class']))}: {tag}"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "parsers-names": _names,
    "parsers-clients": _clients,
    "parsers-shapes": _shapes,
    "parsers-agree": _agree,
    "parsers-key": _key,
    "parsers-seen": _seen,
    "parsers-recipes": _recipes,
    "parsers-card": _card,
    "parsers-cookbook": _cookbook,
    "parsers-tools": _tools,
}
