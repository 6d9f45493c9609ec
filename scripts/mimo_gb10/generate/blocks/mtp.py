"""Parts of the page about MTP: the block, its reasons, its life by release, the upstream pages, the proposed text."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.command.checks import check_launch
from mimo_gb10.command.reader import Lines, find_launches
from mimo_gb10.context import Context
from mimo_gb10.defaults import DEFAULT_CLUSTER
from mimo_gb10.defects import PRESENT, Defect, load_defects, load_verdicts
from mimo_gb10.diagnose.symptoms import load_symptoms
from mimo_gb10.evidence import Receipt, failures, rehearsals
from mimo_gb10.explain import explain
from mimo_gb10.findings import Finding, Refused, Severity, error, has_errors
from mimo_gb10.generate.markdown import code, table
from mimo_gb10.generate.prose import block, prose
from mimo_gb10.launch import check
from mimo_gb10.memory.plan import make_plan as make_memory_plan
from mimo_gb10.memory.report import make_report
from mimo_gb10.memory.setting import setting_of
from mimo_gb10.model import Model, load_model
from mimo_gb10.paths import MODELS
from mimo_gb10.plan import COMMAND, LaunchPlan, make_plan
from mimo_gb10.receipt import load_receipt
from mimo_gb10.rehearsal.variant import check_variant
from mimo_gb10.release import Release, known_releases, load_release, version_key
from mimo_gb10.rules.speculation import MtpWithoutGrammar
from mimo_gb10.spans import runs, span
from mimo_gb10.text.shell import command_lines, quote

RECIPE = "gb10x4-mtp"
DEFECT = "mtp-triton-window"
VARIABLE = "SGLANG_ENABLE_SPEC_V2"
CHECKPOINT = "XiaomiMiMo/MiMo-V2.5"

HUNT = "-hunt-"
"""In the name of a receipt: one of a series, each with another thing switched off."""

CAUSES = ("bad-probabilities", "illegal-access")
"""Symptoms that say what ended a server, nearest first."""

_GRAMMAR = MtpWithoutGrammar()
_KV = {"bfloat16": "bf16", "float8_e4m3fn": "FP8"}

HOPPER: Mapping[str, bool | int | float | str] = {
    "trust-remote-code": True,
    "tp-size": 8,
    "dp-size": 2,
    "enable-dp-attention": True,
    "enable-dp-lm-head": True,
    "mm-enable-dp-encoder": True,
    "attention-backend": "fa3",
    "mm-attention-backend": "fa3",
    "mem-fraction-static": 0.65,
    "chunked-prefill-size": 16384,
}
"""The cookbook's flags for eight Hopper GPUs, without MTP and parsers; the backends are those of upstream's test."""

HOPPER_FIRST = "0.5.16"
"""The first release for which the launch on Hopper is proposed: before it MTP does not hold answers to a grammar."""


@dataclass(frozen=True, slots=True)
class Page:
    """What an upstream page gave when it was copied.

    Attributes:
        title: Its name.
        link: Where it lives.
        copy: Which copy was read, and how.
        mtp: Names of the recipe's MTP flags that it gives; None for all.
        variable: Whether it sets `VARIABLE`.
        reasoning: The reasoning parser it names.
        tools: The tool call parser it names.
        others: Flags it gives that a release refuses or warns about.
        hardware: What its launch is for.
    """

    title: str
    link: str
    copy: str
    mtp: tuple[str, ...] | None
    variable: bool
    reasoning: str
    tools: str
    others: tuple[str, ...]
    hardware: str


PAGES = (
    Page(
        "Card of MiMo-V2.5",
        "https://huggingface.co/XiaomiMiMo/MiMo-V2.5",
        "summarised in autumn 2026 (reported)",
        (),
        False,
        "qwen3",
        "mimo",
        ("enable-dp-attention", "collect-tokens-histogram"),
        "8 GPUs, DP attention, DeepEP",
    ),
    Page(
        "Card of MiMo-V2.5-Pro",
        "https://huggingface.co/XiaomiMiMo/MiMo-V2.5-Pro",
        "summarised in autumn 2026 (reported)",
        None,
        True,
        "mimo",
        "mimo",
        ("enable-dp-attention",),
        "16 GPUs, DP attention, DeepEP",
    ),
    Page(
        "Card of MiMo-V2-Flash",
        "https://huggingface.co/XiaomiMiMo/MiMo-V2-Flash",
        "summarised in autumn 2026 (reported)",
        None,
        True,
        "qwen3",
        "mimo",
        ("enable-dp-attention",),
        "8 GPUs, DP attention",
    ),
    Page(
        "README of MiMo-V2-Flash on GitHub",
        "https://github.com/XiaomiMiMo/MiMo-V2-Flash/blob/26ef87c7e77b0ff16344a1777868946269e3ebb4/README.md",
        "commit 26ef87c, read",
        (
            "speculative-algorithm",
            "speculative-num-steps",
            "speculative-eagle-topk",
            "speculative-num-draft-tokens",
        ),
        False,
        "qwen3",
        "mimo",
        ("enable-dp-attention", "enable-mtp"),
        "8 GPUs, DP attention, DeepEP",
    ),
    Page(
        "SGLang cookbook, MiMo-V2.5",
        "https://github.com/sgl-project/sglang/blob/05d702b466c237b2fdd1c0cd6ee2b88c6e290b49/docs_new/src/snippets/autoregressive/mimo-v25-deployment.jsx",
        "commit 05d702b, read",
        None,
        False,
        "mimo",
        "mimo",
        ("enable-dp-attention",),
        "H100, H200, B200, GB300; not GB10",
    ),
    Page(
        "SGLang cookbook, MiMo-V2-Flash",
        "https://docs.sglang.io/cookbook/autoregressive/Xiaomi/MiMo-V2-Flash",
        "summarised in autumn 2026 (reported)",
        None,
        True,
        "qwen3",
        "mimo",
        ("enable-dp-attention",),
        "H100, H200, MI355X",
    ),
)


# --- what is read


@functools.cache
def _context() -> Context:
    context = check(RECIPE, DEFAULT_CLUSTER).context
    assert context is not None
    return context


def _plan() -> LaunchPlan:
    return make_plan(_context())


@functools.cache
def unpatched() -> Context:
    """The recipe under the first release that needs no patch for MTP: what can be proposed to others."""
    verdict = load_verdicts()[DEFECT]
    release = next(one for one in known_releases() if verdict.in_release(one) != PRESENT)
    context = check_variant(RECIPE, DEFAULT_CLUSTER, sglang=release).context
    assert context is not None
    return context


@functools.cache
def _model() -> Model:
    return load_model(MODELS / "mimo-v2.5.yaml", validate=False)


def mtp_flags() -> dict[str, Any]:
    """The recipe's MTP flags with their values, in its order."""
    return {
        name: value
        for name, value in _context().recipe.flags.items()
        if name.startswith("speculative-") or name == "enable-multi-layer-eagle"
    }


def arguments(flags: Mapping[str, Any]) -> list[str]:
    """Flags as words of a command."""
    words: list[str] = []
    for name, value in flags.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def with_mtp(*, hunts: bool = False) -> list[tuple[str, Receipt]]:
    """The receipts of launches with MTP, by release.

    Args:
        hunts: Those of the search for what ends a server, rather than those of servers as somebody would run them.
    """
    found = [
        (name, receipt)
        for name, receipt in rehearsals().items()
        if receipt["variant"]["mtp"] and (HUNT in name) is hunts
    ]
    return sorted(found, key=lambda item: (version_key(item[1]["sglang"]["version"]), item[0]))


# --- the block


def _flags() -> str:
    return block(" \\\n".join(_pairs(mtp_flags())), "text")


def _pairs(flags: Mapping[str, Any]) -> Iterator[str]:
    for name, value in flags.items():
        yield f"--{name}" if value is True else f"--{name} {quote(str(value))}"


def _why() -> str:
    rows = [
        [code(choice.name), code(choice.value), "" if choice.default is None else code(str(choice.default)), why]
        for choice in explain(_context(), _plan())
        if choice.name in (*mtp_flags(), "attention-backend", "max-running-requests", "mem-fraction-static")
        for why in [prose(choice.why)]
    ]
    recipe = _context().recipe
    return table(["Flag", "Value", "SGLang's default", "Why"], rows) + (
        f"\nFrom the recipe [{RECIPE}](recipes/{RECIPE}.md), SGLang {recipe.sglang}.\n"
    )


def _layers() -> str:
    mtp, window = _model().facts["mtp"], _model().facts["attention"]["sliding_window"]["window"]
    flags = mtp_flags()
    steps, tokens = flags["speculative-num-steps"], flags["speculative-num-draft-tokens"]
    return (
        f"The checkpoint has **{mtp['layers']} MTP layers**, {mtp['bytes'] / 1e9:.2f} GB in all (reported). Each is "
        f"one dense layer with a sliding window of {window} tokens, and each drafts one token: the first layer the "
        f"next one, the second the one after it. With {steps} steps a round drafts {steps} tokens, and the model "
        f"verifies {tokens} at once: the drafts and the one before them. So a round gives 1 to {tokens} tokens.\n"
    )


# --- the variable


def variable_state(release: Release) -> str:
    """What a release does with the environment variable."""
    found = release.environment.get(VARIABLE)
    if found is None:
        return "no mention: it is ignored without a word"
    if found.removed:
        return "a warning that it is gone"
    return f"read; the default is {found.default} already"


def _variable() -> str:
    rows = []
    for state, versions in runs((variable_state(load_release(one)), one) for one in known_releases()):
        places = dict.fromkeys(
            found.source for one in versions if (found := load_release(one).environment.get(VARIABLE)) is not None
        )
        rows.append([span(versions), state, ", ".join(map(code, places))])
    return table(["SGLang", f"What {VARIABLE} does", "Where"], rows)


# --- releases


def _releases() -> str:
    """Consecutive releases that behave alike, with what was seen."""
    rows = []
    for state, versions in runs((_state(one), one) for one in known_releases()):
        rows.append([span(versions), *state, _seen(versions)])
    header = ["SGLang", "MTP with triton, as released", "The same without graphs", "Patch", "Grammars", "Rehearsed"]
    return table(header, rows)


def _state(version: str) -> tuple[str, ...]:
    verdict = load_verdicts()[DEFECT]
    present = verdict.in_release(version) == PRESENT
    unplanned = load_symptoms(validate=False).symptoms["draft-extend-eager"].is_known_in(version)
    patch = verdict.patch_for(version)
    if not present:
        return ("fills the buffers itself", "slower, not needed", "not needed", _grammar(version))
    eager = "**layers 2 and 3 unplanned**; slower" if unplanned else "slower; SGLang warns of wrong results"
    mend = f"[{DEFECT}](patches/{DEFECT}.md)" if patch is not None else "none"
    return ("**dies at graph capture**", eager, mend, _grammar(version))


def _grammar(version: str) -> str:
    return "**ignored**" if _GRAMMAR.applies_to(version) else "kept, by its source"


def _seen(versions: Sequence[str]) -> str:
    return (
        "<br>".join(
            f"[{name}](rehearsals/{name}.md): {_end(receipt)}"
            for name, receipt in with_mtp()
            if receipt["sglang"]["version"] in versions
        )
        or "not run"
    )


# --- receipts


def _receipts() -> str:
    rows = [
        [
            f"[{name}](rehearsals/{name}.md)",
            f"SGLang {receipt['sglang']['version']}, {_what_ran(receipt)}",
            prose(_ended(receipt)),
            _accept(receipt),
            _done(receipt, "stress", "stress"),
            _done(receipt, "greedy", "greedy-equals-base"),
        ]
        for name, receipt in with_mtp()
    ]
    header = ["Receipt", "What ran", "How it ended", "Accept length", "Load", "Greedy against no MTP"]
    return f"{table(header, rows)}\n{_sum_up()}"


def _what_ran(receipt: Receipt) -> str:
    sglang = receipt["sglang"]
    without = "without the patch" if DEFECT in sglang["present"] else "no patch needed"
    return f"{'patched' if DEFECT in sglang['mended'] else without}, graphs {'off' if _graphs_off(receipt) else 'on'}"


def _graphs_off(receipt: Receipt) -> bool:
    words = receipt["launch"][0]["argv"]
    named = ("--disable-cuda-graph", "--disable-decode-cuda-graph")
    return any(word in words for word in named) or "--cuda-graph-backend-decode disabled" in " ".join(words)


def _end(receipt: Receipt) -> str:
    if receipt["ended"] == "died":
        # After a death the ranks are started again, so that the other checks are made too.
        return f"died during {', '.join(code(death['during']) for death in receipt['deaths'])}"
    return "lived until it was stopped" if receipt["ended"] == "stopped by us" else str(receipt["ended"])


def _ended(receipt: Receipt) -> str:
    wrong = failures(receipt)
    parts = [_end(receipt)]
    if receipt.get("not_ready"):
        parts.append(receipt["not_ready"])
    if wrong:
        parts.append(f"{len(wrong)} checks failed")
    return "; ".join(parts)


def _accept(receipt: Receipt) -> str:
    found = receipt.get("accept_length")
    if found is None:
        found = next(
            (
                check["numbers"]["accept_length"]
                for check in receipt["checks"]
                if check["name"] == "accept-length" and "accept_length" in check["numbers"]
            ),
            None,
        )
    return "not asked" if found is None else str(found)


def _done(receipt: Receipt, area: str, name: str) -> str:
    found = next((one for one in receipt["checks"] if one["area"] == area and one["name"] == name), None)
    if found is None or found["status"] == "skip":
        return "not run"
    return {"ok": "ok", "warn": "warning"}.get(found["status"], "**failed**")


def _how(version: str) -> str:
    return "MTP and the patch" if load_verdicts()[DEFECT].in_release(version) == PRESENT else "MTP"


def not_yet(found: Sequence[Receipt]) -> list[str]:
    """What no receipt shows yet, in words."""
    mended = [receipt for receipt in found if DEFECT not in receipt["sglang"]["present"] and receipt["starts"]]
    missing = []
    if not mended:
        missing.append("A whole server with MTP, the patch and CUDA graphs, asked everything that a rehearsal asks.")
    if not any(_done(receipt, "greedy", "greedy-equals-base") != "not run" for receipt in found):
        missing.append("Greedy text with MTP compared with the text without it, by a rehearsal.")
    loaded = {r["sglang"]["version"] for r in mended if _done(r, "stress", "stress") != "not run"}
    missing += [
        f"SGLang {one} with {_how(one)} under load." for one in ("0.5.11", "0.5.17", "0.5.23") if one not in loaded
    ]
    return [*missing, "MTP on GB10, by anybody we know of."]


def _sum_up() -> str:
    return "Not run yet:\n\n" + "".join(f"- {text}\n" for text in not_yet([receipt for _, receipt in with_mtp()]))


def _servers() -> str:
    """The runs of the defect's receipt that were whole servers with MTP."""
    receipt = load_receipt(DEFECT)
    assert receipt is not None
    machine = receipt["machine"]
    rows = [
        [
            f"SGLang {run['release']}, {run['tree']}, graphs {'on' if run['graphs'] else 'off'}, "
            f"{_KV[run['kv']]} KV, {run['kernel']}",
            str(run["answers"]),
            f"{run['ended']}. {prose(run['saw'])}",
        ]
        for run in receipt["server"]["runs"]
        if run["mtp"]
    ]
    return (
        f"One {machine['gpu']}, {receipt['date']}; a tiny text model, not a rehearsal.\n\n"
        f"{table(['What ran', 'Answers', 'How it ended, and what was seen'], rows)}"
    )


def _hunts() -> str:
    """What was changed in each run of the search, and whether the server outlived the load."""
    found = with_mtp(hunts=True)
    common = set.intersection(*(set(receipt["recipe"]["set"]) for _, receipt in found))
    rows = []
    for name, receipt in found:
        load = next(check for check in receipt["checks"] if check["name"] == "stress")["numbers"]
        known = {symptom["id"] for symptom in receipt["symptoms"]}
        cause = next((f", [{one}](troubleshooting/index.md#{one})" for one in CAUSES if one in known), "")
        lived = "lived" if receipt["ended"] == "stopped by us" else f"**died**{cause}"
        after = f"{load['requests']} in {load['seconds']:.0f} s"
        rows.append([f"[{name}](rehearsals/{name}.md)", _changed(receipt, common), after, lived])
    header = ["Receipt", "What was changed", "Requests sent", "How it ended"]
    return f"{table(header, rows)}\nAll have {' and '.join(map(_override, sorted(common)))}.\n"


def _changed(receipt: Receipt, common: Container[str]) -> str:
    changed = [_override(one) for one in receipt["recipe"]["set"] if one not in common]
    # What rehearse.py switched off by itself stands among the stand-ins.
    changed += [text.rstrip(".") for text in receipt["stand_ins"] if "switched off where SGLang asks" in text]
    return ", ".join(changed) or "nothing"


def _override(text: str) -> str:
    """``flags.NAME=VALUE`` or ``env.NAME=VALUE`` without the part of the recipe that it is in."""
    return code(text.partition(".")[2])


# --- when it pays


def _worth() -> str:
    """The accept length from which a round of MTP is worth its bytes, by context."""
    context = _context()
    setting, _ = setting_of(context)
    facts = context.model.facts
    report = make_report(
        make_memory_plan(facts, setting, None), facts, context.recipe.title, measured=False, accept_length=None
    )
    rows = [
        [
            f"{row.context:,}",
            f"{row.plain.bytes / 1e9:.2f}",
            f"{row.draft.bytes / 1e9:.2f} to {row.draft.bytes_apart / 1e9:.2f}",
            f"{row.draft.bytes / row.plain.bytes:.1f} to {row.draft.bytes_apart / row.plain.bytes:.1f}",
        ]
        for row in report.speed
        if row.draft is not None
    ]
    return table(["Context", "GB a step without MTP", "GB a round with MTP", "Pays from an accept length of"], rows)


# --- pages upstream


def _pages() -> str:
    rows = [
        [
            f"[{page.title}]({page.link})<br>{page.copy}",
            f"{page.hardware}<br>MTP flags: {_given(page)}<br>{code(VARIABLE)}: {'set' if page.variable else 'not set'}"
            f"<br>reasoning {code(page.reasoning)}, tools {code(page.tools)}",
            "<br>".join(_stale(page)) or "nothing",
        ]
        for page in PAGES
    ]
    return table(["Page", "What it gives", "What is missing or stale"], rows)


def _given(page: Page) -> str:
    if page.mtp is None:
        return "all"
    return f"{len(page.mtp)} of {len(mtp_flags())}" if page.mtp else "**none**"


def _stale(page: Page) -> Iterator[str]:
    missing = [name for name in mtp_flags() if page.mtp is not None and name not in page.mtp]
    if missing:
        yield f"missing: {', '.join(map(code, missing))}"
    releases = [load_release(version) for version in known_releases()]
    if page.variable:
        dead = [one.version for one in releases if not (one.environment.get(VARIABLE) and _reads(one))]
        yield f"{code(VARIABLE)} is read by no release from {dead[0]}"
    for name in page.others:
        gone = [one.version for one in releases if one.flag(name) is None]
        warned = [one.version for one in releases if (flag := one.flag(name)) is not None and flag.deprecated]
        if gone and gone[0] == releases[0].version:
            yield f"{code(f'--{name}')} is known to no release here"
        elif gone:
            yield f"{code(f'--{name}')} ends the start from {gone[0]}"
        elif warned:
            yield f"{code(f'--{name}')} is deprecated from {warned[0]}"


def _reads(release: Release) -> bool:
    variable = release.environment[VARIABLE]
    return variable.reads and not variable.removed


# --- the proposed text


def hopper_flags() -> dict[str, Any]:
    """Every flag of the proposed launch on Hopper."""
    facts = {one["fact"]: one for one in load_release(known_releases()[-1]).facts["model_code"]}
    recipe = _context().recipe
    parsers = {name: recipe.flags[name] for name in ("reasoning-parser", "tool-call-parser")}
    # SGLang's own number with speculation, written out so that it is a choice.
    requests = {"max-running-requests": facts["max-running-requests"]["default"]}
    return {"model-path": CHECKPOINT, **HOPPER, **requests, **mtp_flags(), **parsers}


def hopper_launch() -> str:
    """The proposed launch on Hopper, as a command."""
    return command_lines(COMMAND, arguments(hopper_flags()))


def gb10_launch() -> str:
    """The proposed launch on GB10: the recipe's without a patch, with the cluster's values left open."""
    rank = make_plan(unpatched()).ranks[0]
    open_values = {
        "SGLANG_HOST_IP": "<this node's address>",
        "NCCL_SOCKET_IFNAME": "<interface>",
        "GLOO_SOCKET_IFNAME": "<interface>",
        "NCCL_IB_HCA": "<RDMA devices>",
    }
    exports = "".join(f'export {name}="{open_values.get(name, value)}"\n' for name, value in rank.env.items())
    replaced = {"--model-path": CHECKPOINT, "--node-rank": "<0, 1, 2 or 3>", "--dist-init-addr": "<head address>:29500"}
    words = list(rank.argv[len(COMMAND) :])
    for option, value in replaced.items():
        words[words.index(option) + 1] = value
    return f"{exports}\n{_open_command(words)}"


def _open_command(words: Sequence[str]) -> str:
    lines = [" ".join(COMMAND)]
    for word in words:
        shown = f'"{word}"' if " " in word else word
        if word.startswith("--"):
            lines.append(f"  {shown}")
        else:
            lines[-1] += f" {shown}"
    return " \\\n".join(lines)


def verdict(text: str, version: str) -> tuple[Finding, ...]:
    """The findings about the one launch in a text, under a release.

    Raises:
        Refused: If it does not hold exactly one launch.
    """
    launches = find_launches(text)
    if len(launches) != 1:
        raise Refused([error("proposal", f"the proposed text has {len(launches)} launches", "It must have one.")])
    return check_launch(launches[0], load_release(version), _model(), Lines(text, "proposal")).findings


def checked(text: str, versions: Sequence[str]) -> str:
    """`text`, if its launch has no error under any of the releases.

    Raises:
        Refused: If it has.
    """
    wrong = [finding for version in versions for finding in verdict(text, version) if has_errors([finding])]
    if wrong:
        raise Refused(wrong)
    return text


def proposed_for_hopper() -> list[str]:
    """The releases that the launch on Hopper is proposed for."""
    return [one for one in known_releases() if version_key(one) >= version_key(HOPPER_FIRST)]


def _hopper_releases() -> str:
    text = hopper_launch()
    rows = [
        [span(versions), word, says]
        for (word, says), versions in runs((_word(verdict(text, one)), one) for one in known_releases())
    ]
    return table(["SGLang", "Verdict", "What the checker says"], rows)


_EVERYWHERE = frozenset({"swa-ratio", "open-without-key"})


def _word(findings: Sequence[Finding]) -> tuple[str, str]:
    """One word for the findings, and their texts without the release's number."""
    told = [one for one in findings if one.severity is not Severity.NOTE and one.code not in _EVERYWHERE]
    word = "error" if has_errors(told) else ("warning" if told else "ok")
    return word, "<br>".join(f"{code(one.code)}: {prose(_undated(one.message))}" for one in told)


def _undated(text: str) -> str:
    for version in sorted(known_releases(), key=len, reverse=True):
        text = text.replace(f"SGLang {version}", "this release")
    return text


def card_diff() -> str:
    """The diff of the card's part about SGLang."""
    recipe, defects = unpatched().recipe, load_defects()
    parser = recipe.flags["reasoning-parser"]
    known = [name for name in recipe.defects if load_verdicts()[name].in_release(recipe.sglang) == PRESENT]
    added = [
        "#### Hopper, 8 GPUs",
        "",
        *wrapped(f"SGLang {HOPPER_FIRST} or newer. MTP (speculative decoding with the checkpoint's own layers) is on."),
        "",
        "```bash",
        *checked(hopper_launch(), proposed_for_hopper()).split("\n"),
        "```",
        "",
        *wrapped(_DP_FLAGS),
        "",
        *wrapped(_AUDIO),
        "",
        "#### DGX Spark (GB10), 4 nodes",
        "",
        *wrapped(
            f"SGLang {recipe.sglang}. Earlier releases stop at start-up with MTP and the triton backend "
            "(sgl-project/sglang#24481); leave the speculative flags out there. No run of MTP on GB10 is published "
            "yet. On every node, rank 0 last:"
        ),
        "",
        "```bash",
        *checked(gb10_launch(), [recipe.sglang]).split("\n"),
        "```",
        "",
        *wrapped(_THINKING),
        "",
        f"Open defects of SGLang {recipe.sglang} that this model can meet, by its source:",
        "",
        *(line for name in known for line in wrapped(f"- {defects[name].title} ({_threads(defects[name])})", "  ")),
    ]
    lines = [
        "--- a/README.md",
        "+++ b/README.md",
        "@@ SGLang deployment @@",
        "-    --collect-tokens-histogram \\",
        "-    --reasoning-parser qwen3 \\",
        f"+    --reasoning-parser {parser} \\",
        "@@ SGLang deployment, after the launch @@",
        *(f"+{line}" for line in added),
    ]
    return "\n".join(lines)


_DP_FLAGS = (
    "Keep the three DP flags together: with `--enable-dp-attention` alone and more memory a public run on H100 hung."
)

_AUDIO = (
    "Audio: with DP attention SGLang's audio encoder reduces over all eight GPUs although each attention group has "
    "four (since 0.5.16, read in its source, not run). Check audio answers before you rely on them, and those about "
    "videos with sound. Text and images do not go through that encoder, and a launch on four GPUs without DP "
    "attention is not affected."
)

_THINKING = (
    'Send `chat_template_kwargs: {"enable_thinking": true}` or `false` with each request: then both reasoning parsers '
    "do the same in every SGLang release."
)


def wrapped(text: str, indent: str = "") -> list[str]:
    """`text` in lines that a page shows whole; `indent` stands before all but the first."""
    return textwrap.wrap(text, 72, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _threads(defect: Defect) -> str:
    """A defect's threads as GitHub writes them."""
    parts = [one.url.removeprefix("https://github.com/").split("/") for one in defect.threads]
    return ", ".join(f"{owner}/{name}#{number}" for owner, name, _, number in parts)


def _card() -> str:
    return block(card_diff(), "diff")


BLOCKS: Mapping[str, Callable[[], str]] = {
    "mtp-layers": _layers,
    "mtp-flags": _flags,
    "mtp-why": _why,
    "mtp-variable": _variable,
    "mtp-releases": _releases,
    "mtp-receipts": _receipts,
    "mtp-hunts": _hunts,
    "mtp-servers": _servers,
    "mtp-worth": _worth,
    "mtp-pages": _pages,
    "mtp-hopper-releases": _hopper_releases,
    "mtp-card": _card,
}
