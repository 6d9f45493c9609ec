"""Parts of the page about images, audio, video and transcription."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mimo_gb10.defects import FIXED, NOT_AFFECTED, PRESENT, load_verdicts
from mimo_gb10.evidence import Receipt, rehearsals
from mimo_gb10.generate.encoders import Encoders, encoders
from mimo_gb10.generate.markdown import code, table
from mimo_gb10.generate.prose import block, prose
from mimo_gb10.generate.smoke_requests import curl, python_chat, python_head, python_transcription, request_of
from mimo_gb10.model import load_model
from mimo_gb10.paths import MODELS
from mimo_gb10.receipt import EVIDENCE
from mimo_gb10.rehearsal.checks import senses as greedy_senses
from mimo_gb10.rehearsal.checks.greedy import Greedy
from mimo_gb10.release import Release, known_releases, load_release, version_key
from mimo_gb10.rules.multimodal import TorchcodecOnAarch64
from mimo_gb10.smoke.check import Outcome, Session
from mimo_gb10.smoke.checks import senses
from mimo_gb10.spans import runs, span

MODEL = "mimo-v2.5"

DEFECTS = {
    "image": (),
    "audio": ("audio-encoder-flash-attn",),
    "video": ("video-pin-memory", "video-batch-tensor"),
    "transcription": ("transcription-token-list", "transcription-adapter", "audio-encoder-flash-attn"),
}
"""The defects in the way of each modality. A video with sound also goes through the audio encoder."""

SILENT = ("vision-sinks-window", "audio-causal-window")
"""Defects that make answers worse and stop none: the page's limits tell of them."""

CHECKS = {
    "image": ("image", "images"),
    "audio": ("audio", "audio-inline"),
    "video": ("video",),
    "transcription": (
        "transcribe-json",
        "transcribe-language",
        "transcribe-text",
        "transcribe-verbose",
        "transcribe-stream",
    ),
}
"""The smoke checks of each modality."""

FORMATS: Mapping[str, Callable[[Session], Outcome]] = {
    "json": senses.transcribe_json,
    "json, with the language": senses.transcribe_language,
    "text": senses.transcribe_text,
    "verbose_json": senses.transcribe_verbose,
    "stream": senses.transcribe_stream,
}


ATTENDED = (
    ("0.5.11: `vision-sinks-window`, and FlashAttention 3", "0.5.11-omni-patched", "0.5.11-senses-fa3"),
    ("0.5.11: `vision-sinks-window`, and without", "0.5.11-omni-patched", "0.5.11-senses-without-masks"),
    ("0.5.17: both without the patches, started twice", "0.5.17-unpatched", "0.5.17-senses-without-masks"),
    ("0.5.17: `vision-sinks-window`, and FlashAttention 3", "0.5.17-omni-patched", "0.5.17-senses-fa3"),
    ("0.5.17: `vision-sinks-window`, and without", "0.5.17-omni-patched", "0.5.17-senses-without-masks"),
    ("0.5.17: both patches with MTP, and `vision-sinks-window`", "0.5.17-mtp-patched", "0.5.17-omni-patched"),
)
"""Receipts whose answers about media are compared, with what differs in words."""

MEASURED = EVIDENCE / "encoder-masks.json"
"""What the encoders computed in the real shapes, by tests/upstream/measure_encoders.py."""

MEASURES = {
    "Relative error": ("error", "{:.3f}"),
    "Time, ms": ("ms", "{:.0f}"),
    "Peak memory, MiB": ("peak_mib", "{:.0f}"),
}
"""Columns of the table, each with its key in the receipt and how the number is written."""


def works() -> str:
    """What stands in the way of each modality in each release, unpatched."""
    rows = [((*_start(load_release(version)), *map(_in_the_way(version), DEFECTS)), version) for version in _known()]
    header = ["Releases", "To start on GB10", *(name.capitalize() for name in DEFECTS)]
    return table(header, [[span(versions), *cells] for cells, versions in runs(rows)])


def _known() -> list[str]:
    return known_releases()


def _in_the_way(version: str) -> Callable[[str], str]:
    verdicts = load_verdicts()

    def cell(modality: str) -> str:
        status = {name: verdicts[name].in_release(version) for name in DEFECTS[modality]}
        there = [f"[{name}](patches/{name}.md)" for name, found in status.items() if found == PRESENT]
        unclear = [name for name, found in status.items() if found not in (PRESENT, FIXED, NOT_AFFECTED)]
        return ", ".join([*there, *(f"{name}: unknown source" for name in unclear)]) or "no known defect"

    return cell


def _start(release: Release) -> tuple[str]:
    wants = []
    if _fact(release, "vision-backend")["hard_coded"]:
        wants.append("[`mm-attention-backend`](reference/rules.md#vision-backend)")
    if TorchcodecOnAarch64().applies_to(release.version):
        wants.append("[`torchcodec`](reference/rules.md#torchcodec-aarch64)")
    return (", ".join(wants) or "nothing",)


def _fact(release: Release, name: str) -> Mapping[str, Any]:
    return next(entry for entry in release.facts["model_code"] if entry["fact"] == name)


def seen() -> str:
    """What the endpoints answered in the rehearsals, unpatched and patched."""
    rows = []
    for name, receipt in _ordered():
        cells = [_answers(receipt, checks) for checks in CHECKS.values()]
        if any(cell != "–" for cell in cells) and not receipt["variant"]["mtp"]:
            rows.append([f"[{_said(name, receipt)}](rehearsals/{name}.md)", *cells])
    return table(["Rehearsal", *(modality.capitalize() for modality in CHECKS)], rows)


def _ordered() -> Sequence[tuple[str, Receipt]]:
    """Receipts by release, unpatched before patched."""

    def place(item: tuple[str, Receipt]) -> tuple[object, ...]:
        name, receipt = item
        return version_key(receipt["sglang"]["version"]), receipt["variant"]["patched"], _is_forced(receipt), name

    return sorted(rehearsals().items(), key=place)


def _is_forced(receipt: Receipt) -> bool:
    """Whether something was made to fail."""
    return any("made to fail" in text for text in receipt["stand_ins"])


def _said(name: str, receipt: Receipt) -> str:
    version, recipe = receipt["sglang"]["version"], receipt["recipe"]["name"]
    patched = "patched" if receipt["variant"]["patched"] else "unpatched"
    forced = ", pinning made to fail" if _is_forced(receipt) else ""
    return f"{version} {patched}, {recipe}{forced}"


def _answers(receipt: Receipt, names: Sequence[str]) -> str:
    """The different outcomes of some checks, in their order; a dash where none of them was made."""
    died = {death["during"] for death in receipt["deaths"]}
    found = [
        "**the ranks died**" if check["name"] in died else _outcome(check)
        for check in receipt["checks"]
        if check["name"] in names and check["status"] != "skip"
    ]
    return ", ".join(dict.fromkeys(found)) or "–"


def _outcome(check: Mapping[str, Any]) -> str:
    if check["status"] in ("ok", "warn"):
        return "answered"
    status = re.search(r"HTTP (\d{3})", check["says"])
    if status:
        return f"**{status[0]}**"
    return "**an empty stream**" if "after 0 events" in check["says"] else f"**{prose(check['says'])}**"


def chat(run: Callable[[Session], Outcome]) -> str:
    """One chat request for curl."""
    return block(curl(request_of(run)), "bash")


def transcriptions() -> str:
    """The transcription in each form that SGLang answers in."""
    parts = []
    for name, run in FORMATS.items():
        parts.append(f'=== "{name}"\n\n{block(curl(request_of(run)), "bash", "    ")}')
    return "\n".join(parts)


def python() -> str:
    """An image and a transcription through OpenAI's library."""
    image, sound = request_of(senses.image), request_of(senses.transcribe_language)
    return block("\n".join([python_head(), "", python_chat(image), python_transcription(sound)]), "python")


def uploads() -> str:
    """What releases did with broken uploads, counted by modality."""
    rows = []
    for name, receipt in _ordered():
        broken = [check for check in receipt["checks"] if check["area"] == "broken" and check["status"] != "skip"]
        if broken:
            link = f"[{receipt['sglang']['version']}](rehearsals/{name}.md)"
            rows.append([link, *(_counts(broken, modality) for modality in DEFECTS)])
    return table(["Release, patched", *(modality.capitalize() for modality in DEFECTS)], rows)


def _counts(broken: Sequence[Mapping[str, Any]], modality: str) -> str:
    found: dict[str, int] = {}
    for check in broken:
        if check["name"].startswith(f"broken-{modality}-"):
            what = _ending(check["numbers"])
            found[what] = found.get(what, 0) + 1
    return ", ".join(f"{count} {what}" for what, count in sorted(found.items()))


def _ending(numbers: Mapping[str, Any]) -> str:
    if numbers.get("ranks") != "alive":
        return "**ended the ranks**"
    status = numbers.get("http_status")
    if status is None:
        return "without an answer"
    return "accepted" if status < 400 else "refused (4xx)" if status < 500 else "HTTP 500"


def vision() -> str:
    """Which vision backends take sinks and window, and what GB10 gets."""
    rows = [(tuple(_vision(version, found)), version) for version, found in encoders().items()]
    header = ["Releases", "Read sinks and window", "Do not", "GB10 takes by itself"]
    return table(header, [[span(versions), *cells] for cells, versions in runs(rows)])


def _vision(version: str, found: Encoders) -> Iterator[str]:
    for wanted in (True, False):
        yield ", ".join(code(name) for name, backend in sorted(found.vision.items()) if backend.reads is wanted)
    fact = _fact(load_release(version), "vision-backend")
    yield code(str(fact["sm121"])) if fact["sm121"] else f"none: asks for {code(str(fact['hard_coded']))}"


def audio() -> str:
    """Whether the audio encoder's masks reach its attention."""
    rows = [
        ((code(found.audio.calls), _yes(found.audio.causal), _yes(found.audio.window), code(found.audio.at)), version)
        for version, found in encoders().items()
    ]
    header = ["Releases", "Attention", "Causal mask", "Window", "Source"]
    return table(header, [[span(versions), *cells] for cells, versions in runs(rows)])


def _yes(value: bool) -> str:
    return "kept" if value else "**lost**"


def attended() -> str:
    """How far apart the first tokens of two servers' answers are, whose encoders attend alike or not."""
    rows = []
    for what, one, other in ATTENDED:
        apart = greedy_senses.first_apart(*(Greedy.from_dict(rehearsals()[name]["senses"]) for name in (one, other)))
        cells = [f"{apart[kind]:.2f}" for kind in greedy_senses.SHOWN]
        rows.append([what, *cells, f"[{one}](rehearsals/{one}.md), [{other}](rehearsals/{other}.md)"])
    header = ["Two servers", *(kind.capitalize() for kind in greedy_senses.SHOWN), "Receipts"]
    return table(header, rows)


def measured() -> str:
    """Error, time and memory of the encoders in the real shapes: unpatched, patched, and with FlashAttention 3."""
    receipt: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    ways = (("unpatched", "triton_attn"), ("patched", "triton_attn"), ("unpatched", "fa3"))
    found: dict[tuple[str, str], dict[tuple[str, str], dict[str, Any]]] = {}
    for row in receipt["rows"]:
        found.setdefault((row["release"], row["input"]), {})[row["tree"], row["backend"]] = row
    rows = [
        [
            release,
            name,
            *(" / ".join(form.format(by[way][key]) for way in ways) for key, form in MEASURES.values()),
        ]
        for (release, name), by in found.items()
    ]
    machine = receipt["machine"]
    rounding = ", ".join(
        f"{release} {encoder} {error:.3f}"
        for release, errors in receipt["rounding"].items()
        for encoder, error in errors.items()
    )
    return (
        f"{table(['SGLang', 'Input', *MEASURES], rows)}\n"
        "Each cell: unpatched / patched / FlashAttention 3. The error that bfloat16's own rounding makes, with "
        f"attention in float64: {rounding}. One {machine['name']}, driver {machine['driver']}, torch "
        f"{machine['torch']}, Triton {machine['triton']}, {receipt['date']}.\n"
    )


def shape() -> str:
    """What the checkpoint's encoders were trained with."""
    facts = load_model(MODELS / f"{MODEL}.yaml").facts
    sight, hearing = facts["vision"], facts["audio"]
    full = ", ".join(map(str, sight["full_layers"]))
    left, right = hearing["window"]
    return (
        f"- Vision: {sight['layers']} layers. Layers {full} see the whole picture. The others have a window of "
        f"{sight['window']} patches and learned sinks.\n"
        f"- Audio: {hearing['layers']} layers, all causal. Some have a window: {left} frames back, {right} ahead.\n"
    )


BLOCKS: Mapping[str, Callable[[], str]] = {
    "multimodal-works": works,
    "multimodal-seen": seen,
    "multimodal-image": lambda: chat(senses.image),
    "multimodal-images": lambda: chat(senses.images),
    "multimodal-audio": lambda: chat(senses.audio),
    "multimodal-audio-inline": lambda: chat(senses.audio_inline),
    "multimodal-video": lambda: chat(senses.video),
    "multimodal-transcription": transcriptions,
    "multimodal-python": python,
    "multimodal-uploads": uploads,
    "multimodal-shape": shape,
    "multimodal-vision": vision,
    "multimodal-hearing": audio,
    "multimodal-attended": attended,
    "multimodal-measured": measured,
}
