"""What a recipe and a release promise, and how far a server keeps it. Pure functions over their data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.recipe import Recipe
from mimo_gb10.release import Flag, Release, known_releases
from mimo_gb10.smoke.chat import ChatAnswer
from mimo_gb10.smoke.check import Outcome, fail, ok, warn
from mimo_gb10.smoke.judge import has_word, stray_tags

CASES = {True: "enable_thinking=true", False: "enable_thinking=false", None: "absent"}
"""What a request says about thinking, and the catalogs' name for it."""


# --- flags


@dataclass(frozen=True)
class Compared:
    """One flag of the recipe beside what the server says.

    Attributes:
        name: The flag as the recipe writes it.
        wanted: The recipe's value.
        found: The server's, or None where it does not say.
        verdict: ``same``; ``chosen`` (the recipe left the choice to SGLang, or SGLang changed what it was given);
            ``hidden`` (the server does not show it); ``differs``.
    """

    name: str
    wanted: Any
    found: Any
    verdict: str

    def text(self) -> str:
        """In one line."""
        shown = "not shown" if self.verdict == "hidden" else repr(self.found)
        return f"{self.name}: recipe {self.wanted!r}, server {shown}"


_ALIASES = ({"EAGLE", "NEXTN"},)


def compare_flags(recipe: Recipe, release: Release, info: Mapping[str, Any]) -> list[Compared]:
    """Each flag of a recipe against the arguments that ``/server_info`` shows.

    The server shows what SGLang made of its arguments. Where it also shows the command (``launch_command``, 0.5.20 and
    later), a value that the command gives as the recipe does was changed by SGLang itself.
    """
    command = str(info.get("launch_command") or "").split()
    compared = []
    for name, value in recipe.flags.items():
        flag = release.flag(name)
        if flag is None:
            continue
        wanted = not value if flag.can_be_negated and name.startswith("no-") else value
        if flag.dest not in info:
            compared.append(Compared(name, value, None, "hidden"))
            continue
        found = info[flag.dest]
        if _same(wanted, found):
            verdict = "same"
        elif wanted == "auto" or _given(flag, wanted, command):
            verdict = "chosen"
        else:
            verdict = "differs"
        compared.append(Compared(name, value, found, verdict))
    return compared


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(found, bool):
        return bool(wanted) == bool(found)
    if isinstance(wanted, list) or isinstance(found, list):
        left, right = (value if isinstance(value, list) else [value] for value in (wanted, found))
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(wanted, int | float) or isinstance(found, int | float):
        try:
            return math.isclose(float(wanted), float(found), rel_tol=1e-9)
        except (TypeError, ValueError):
            return False
    return wanted == found or any({wanted, found} <= names for names in _ALIASES)


def _given(flag: Flag, wanted: Any, command: Sequence[str]) -> bool:
    """Whether a command line gives the flag with this value. It has no quotes left: values with spaces never match."""
    for at, word in enumerate(command):
        option, equals, value = word.partition("=")
        if option in flag.options:
            if flag.is_switch:
                return wanted is True
            given = value if equals else (command[at + 1] if at + 1 < len(command) else "")
            return _same(str(wanted), given) or _same(wanted, given)
    return False


# --- reasoning


@dataclass(frozen=True)
class Promise:
    """What the server does with the reasoning of one request.

    Attributes:
        expected: Whether it takes the text for reasoning until ``</think>``; None if that is not known.
        inside: Whether text without any mark then counts as reasoning; None if that is not known.
        sure: Whether the chat template has no say in it.
        source: Where the release says it.
    """

    expected: bool | None
    inside: bool | None = None
    sure: bool = False
    source: str = ""


def promise(release: Release | None, parser: str | None, thinking: bool | None) -> Promise:
    """What a release promises with a reasoning parser, for a request that sets ``enable_thinking`` or leaves it out."""
    if parser is None:
        return Promise(expected=False, inside=False, sure=True)
    entry = release.entry("reasoning_parsers", parser) if release else None
    if release is None or entry is None:
        return Promise(expected=None)
    expected = entry["thinking"]["expects"][CASES[thinking]]
    starts = entry.get("starts_inside") or {}
    rule = release.facts.get("reasoning_rule", {})
    by_template = rule.get("template_forces") or (rule.get("template_first") and parser not in rule.get("own_rule", ()))
    source = f"sglang {release.version}, {entry['source']}"
    return Promise(expected, starts.get("expected" if expected else "not_expected"), not by_template, source)


def judge_reasoning(
    answer: ChatAnswer, thinking: bool | None, promised: Promise, *, parser: str | None, expected_text: str | None
) -> Outcome:
    """Whether reasoning and content were parted as promised.

    Args:
        answer: What came.
        thinking: What the request said.
        promised: What the release promises.
        parser: The parser that runs.
        expected_text: A word that the content must hold; None when the model is not trained, and only the place of the
            text can be judged.
    """
    case = CASES[thinking]
    seen = answer.evidence()
    who = f"parser {parser}" if parser else "no reasoning parser"
    if expected_text is None:
        return _judge_place(answer, promised, who, case, seen)
    tags = stray_tags(answer.content)
    if tags:
        return fail(f"{tags[0]} stands in the content ({who}, {case})", seen, help=_help(parser, thinking, promised))
    if stray_tags(answer.reasoning):
        return fail(f"a mark of reasoning stands inside reasoning_content ({who}, {case})", seen)
    if not has_word(answer.content, expected_text):
        if not answer.content.strip() and answer.reasoning:
            why = (
                "cut off before the end of its reasoning" if answer.finish == "length" else "it all counts as reasoning"
            )
            return fail(
                f"no answer in the content: {why} ({who}, {case})", seen, help=_help(parser, thinking, promised)
            )
        return fail(f"the content does not hold {expected_text!r} ({case})", seen)
    if thinking is False and answer.reasoning.strip():
        return fail(f"reasoning came although it was switched off ({who})", seen)
    if thinking is True and not answer.reasoning.strip():
        if promised.expected:
            return fail(f"no reasoning came although it was asked for ({who} expects it)", seen, promised.source)
        return warn(f"no reasoning came although it was asked for ({who})", seen)
    came = (
        "reasoning parted from the content" if answer.reasoning.strip() else "no reasoning, the answer in the content"
    )
    return ok(f"{came} ({who}, {case})", seen, promised.source)


def _judge_place(answer: ChatAnswer, promised: Promise, who: str, case: str, seen: str) -> Outcome:
    """Where untrained text ended up: it holds no marks, so all of it is reasoning or none."""
    if not answer.everything:
        return fail("neither reasoning nor content came", seen)
    if promised.inside is None:
        return ok(f"text came; no promise is known for {who}", seen)
    where = "reasoning_content" if answer.reasoning and not answer.content else "content"
    if answer.reasoning and answer.content:
        where = "both"
    wanted = "reasoning_content" if promised.inside else "content"
    if where == wanted:
        return ok(f"text in {where}, as {who} promises ({case})", seen, promised.source)
    says = f"text in {where}; {who} promises {wanted} ({case})"
    if promised.sure:
        return fail(says, seen, promised.source)
    return warn(f"{says}, if the chat template does not decide otherwise", seen, promised.source)


def _help(parser: str | None, thinking: bool | None, promised: Promise) -> str:
    if parser is None:
        return "The server runs without --reasoning-parser: start it with the recipe's."
    if thinking is None and promised.expected is False:
        return (
            f"Parser {parser} expects reasoning only when it is asked for, and the model thinks by itself: let clients "
            "send chat_template_kwargs.enable_thinking."
        )
    if thinking is None and promised.expected:
        return f"Parser {parser} expects reasoning unless it is switched off: let clients send enable_thinking."
    return "Compare the server's --reasoning-parser with the recipe's, and max_tokens with the length of the reasoning."


# --- known defects

_SYMPTOMS = (
    # What a mend is for, as the server words it: patches/defects.yaml and the runs that it cites.
    ("transcription-token-list", re.compile(r"expected string or bytes-like object")),
    ("transcription-adapter", re.compile(r"nexpected keyword argument '?(?:_detect_language|language|timestamp)")),
    ("video-batch-tensor", re.compile(r"has no attribute 'asnumpy'")),
    ("video-pin-memory", re.compile(r"pin_memory|Video file is corrupted or cannot be decoded")),
    ("audio-encoder-flash-attn", re.compile(r"flash_attn_varlen_func|sgl_kernel\.flash_attn")),
)  # fmt: skip


_UNMENDED = (
    # What no patch of ours mends, by its id in docs/symptoms.yaml: what is missing on the server's side.
    ("ffprobe-missing", re.compile(r"ffprobe not found; install ffmpeg"), "Install FFmpeg where rank 0 runs."),
)  # fmt: skip
_PAGE = "docs/troubleshooting/index.md"


def known_defect(texts: Sequence[str]) -> str:
    """The help for what this repository knows, if its words stand in what the server said; else nothing."""
    for name, pattern in _SYMPTOMS:
        if any(pattern.search(text) for text in texts):
            return (
                f"It reads like the defect {name}. On every node: python scripts/apply_patches.py {name}; then restart."
            )
    for name, pattern, cure in _UNMENDED:
        if any(pattern.search(text) for text in texts):
            return f"{cure} See {_PAGE}#{name}."
    return ""


def form_aborted(answer: ChatAnswer, *, speculative: str | None, version: str | None) -> str:
    """The help where SGLang itself ended an answer that a grammar was to keep in form; else nothing.

    With MTP some releases let through what the grammar refuses (docs/symptoms.yaml: mtp-structured-output).

    Args:
        answer: What came.
        speculative: The speculative algorithm that runs, or None.
        version: The release that runs; None if the server does not say.
    """
    if answer.finish != "abort":
        return ""
    # Not at the top: the smoke test starts without reading what only a failure needs.
    from mimo_gb10.diagnose.symptoms import load_symptoms

    known = load_symptoms(validate=False).symptoms["mtp-structured-output"]
    if speculative is None or (version in known_releases() and not known.is_known_in(str(version))):
        return "SGLang ended the answer itself. Its log says why: python scripts/diagnose.py rank0.log"
    return (
        f"SGLang {known.first} to {known.last} do not hold MTP to a given form: leave tool_choice at auto and send no "
        f"response_format, or serve without MTP. See {_PAGE}#{known.id}."
    )
