"""The page about media and the page about memory: requests that run, tables that are what receipts and wheels say."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mimo_gb10.defects import PRESENT, load_verdicts
from mimo_gb10.evidence import rehearsals
from mimo_gb10.generate.blocks import memory, multimodal
from mimo_gb10.generate.chart import Axis, Line, chart
from mimo_gb10.generate.encoders import FILE, encoders
from mimo_gb10.generate.smoke_requests import FILES, Request, curl, request_of, server
from mimo_gb10.memory.basis import GIB
from mimo_gb10.rehearsal.checks import senses as greedy_senses
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.smoke import media
from mimo_gb10.smoke.check import Outcome, Session, ok
from mimo_gb10.smoke.checks import senses
from tests.site.make_encoders import audio_attention, made, vision_backends

Run = Callable[[Session], Outcome]

CHATS = (senses.image, senses.images, senses.audio, senses.audio_inline, senses.video)
SVG = "{http://www.w3.org/2000/svg}"

# What a reader runs reaches this instead of the network: it notes its arguments and what it reads.
FAKE_CURL = """#!/usr/bin/env python3
import json, sys
data = sys.stdin.read() if "@-" in sys.argv else ""
print(json.dumps({"argv": sys.argv[1:], "data": data}))
"""


def shell(text: str, tmp_path: Path) -> dict[str, Any]:
    """Run what stands in a block as a reader would, in the folder of the media, and what curl was given."""
    fake = tmp_path / "curl"
    fake.write_text(FAKE_CURL, encoding="utf-8")
    fake.chmod(0o755)
    command = ["bash", "-euc", f"PATH={tmp_path}:$PATH\n{text}"]
    done = subprocess.run(command, cwd=media.HERE, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def fenced(text: str) -> list[str]:
    return re.findall(r"^ *```\w+\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("run", CHATS)
def test_a_chat_command_sends_what_the_check_sends(run: Run, tmp_path: Path) -> None:
    (command,) = fenced(multimodal.chat(run))
    given = shell(command, tmp_path)
    assert json.loads(given["data"]) == request_of(run).body
    assert f"{server().url}/v1/chat/completions" in given["argv"]
    assert "Content-Type: application/json" in given["argv"]


def test_a_chat_command_is_short() -> None:
    for run in CHATS:
        lines = multimodal.chat(run).splitlines()
        assert len(lines) < 30
        assert max(map(len, lines)) < 160


def test_transcription_commands_send_what_the_checks_send(tmp_path: Path) -> None:
    commands = fenced(multimodal.transcriptions())
    for command, run in zip(commands, multimodal.FORMATS.values(), strict=True):
        made_request = request_of(run)
        argv = shell(command, tmp_path)["argv"]
        parts = [value for flag, value in itertools.pairwise(argv) if flag == "-F"]
        fields = dict(part.split("=", 1) for part in parts)
        assert fields.pop("file") == f"@{made_request.file};type={made_request.media_type}"
        assert fields == dict(made_request.fields)


def test_a_streamed_form_is_read_back() -> None:
    assert request_of(senses.transcribe_stream) == Request(
        senses.PATH, None, {"model": server().model, "stream": "true", "language": "en"}, media.WAV, "audio/wav"
    )


def test_every_check_of_the_endpoints_is_shown() -> None:
    shown = {*CHATS, *multimodal.FORMATS.values()}
    assert {check.run for check in senses.CHECKS} == shown
    assert {name for names in multimodal.CHECKS.values() for name in names} == {check.name for check in senses.CHECKS}


def test_what_the_shell_would_read_is_refused() -> None:
    request = Request("/v1/x", {"text": "costs $5"}, {}, "", "")
    with pytest.raises(ValueError, match="shell"):
        curl(request)


def test_a_check_without_a_request_is_refused() -> None:
    with pytest.raises(ValueError, match="no request"):
        request_of(lambda _: ok("nothing to do"))


def test_python_sends_what_the_checks_send(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    class Anything:
        """Stands for every object of the library: any attribute, any call."""

        def __getattr__(self, name: str) -> Any:
            return "" if name in ("content", "text") else self

        def __getitem__(self, _: int) -> Any:
            return self

        def create(self, **given: Any) -> Any:
            given |= {"read": given.pop("file").read()} if "file" in given else {}
            sent.append(given | given.pop("extra_body", {}))
            return self

    def client(**given: Any) -> Any:
        sent.append(given)
        return Anything()

    library = types.ModuleType("openai")
    library.OpenAI = client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "openai", library)
    monkeypatch.chdir(media.HERE)
    (text,) = fenced(multimodal.python())
    exec(compile(text, "page", "exec"), {})
    made_client, chat, transcription = sent
    assert made_client["base_url"] == f"{server().url}/v1"
    assert chat == request_of(senses.image).body
    wanted = request_of(senses.transcribe_language)
    assert transcription.pop("read") == media.content(wanted.file)
    assert {name: str(value) for name, value in transcription.items()} == {**wanted.fields, "temperature": "0.0"}


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_what_works_is_what_the_probes_say() -> None:
    verdicts = load_verdicts()
    found = rows(multimodal.works())
    first, last = found[0], found[-1]
    for row, version in ((first, known_releases()[0]), (last, known_releases()[-1])):
        for cell, names in zip(row[2:], multimodal.DEFECTS.values(), strict=True):
            there = [name for name in names if verdicts[name].in_release(version) == PRESENT]
            assert re.findall(r"\[([\w-]+)\]", cell) == there
            assert bool(there) != (cell == "no known defect")
    assert "mm-attention-backend" in first[1]
    assert last[1] == "nothing"


def test_every_defect_of_the_media_belongs_to_a_modality() -> None:
    named = {name for names in multimodal.DEFECTS.values() for name in names}
    assert named == set(load_verdicts()) - {"mtp-triton-window", *multimodal.SILENT}


def test_what_was_seen_is_what_the_receipts_say() -> None:
    found = {row[0]: row[1:] for row in rows(multimodal.seen())}
    links = {re.search(r"rehearsals/(.+)\.md", name)[1]: cells for name, cells in found.items()}  # type: ignore[index]
    receipts = rehearsals()
    assert links["0.5.11-unpatched"] == [
        "answered",
        "**the ranks died**",
        "answered",
        "**HTTP 500**, **an empty stream**",
    ]
    assert links["0.5.11-patched"] == ["answered"] * 4
    assert not any(receipts[name]["variant"]["mtp"] for name in links)


def test_the_table_of_servers_shows_what_the_patches_do() -> None:
    """Above what rounding does where a mask differs, and not above it where none does."""
    older_fa3, older_without, noise, fa3, without, both = (
        [float(cell) for cell in row[1:4]] for row in rows(multimodal.attended())
    )
    limit = greedy_senses.FIRST
    assert max(noise) < fa3[0] < limit < without[0]
    assert older_fa3[0] < limit < older_without[0]
    assert fa3[2] < limit
    assert without[1] < limit < both[1]
    assert both[0] < limit


def test_what_was_measured_is_what_the_receipt_says() -> None:
    """In each cell: unpatched, patched, FlashAttention 3."""
    receipt = json.loads(multimodal.MEASURED.read_text(encoding="utf-8"))
    found = rows(multimodal.measured())
    assert len(found) * 3 == len(receipt["rows"])
    for release, name, *cells in found:
        for (key, form), cell in zip(multimodal.MEASURES.values(), cells, strict=True):
            measured = {
                (row["tree"], row["backend"]): form.format(row[key])
                for row in receipt["rows"]
                if (row["release"], row["input"]) == (release, name)
            }
            ways = [("unpatched", "triton_attn"), ("patched", "triton_attn"), ("unpatched", "fa3")]
            assert cell.split(" / ") == [measured[way] for way in ways]


def test_uploads_are_counted_whole() -> None:
    for row in rows(multimodal.uploads()):
        name = re.search(r"rehearsals/(.+)\.md", row[0])[1]  # type: ignore[index]
        counted = sum(int(number) for cell in row[1:] for number in re.findall(r"(\d+) [a-zH*]", cell))
        checks = [check for check in rehearsals()[name]["checks"] if check["area"] == "broken"]
        assert counted == sum(check["status"] != "skip" for check in checks)


# --- encoders


def test_encoders_are_those_of_the_wheels() -> None:
    """Mend: python tests/site/make_encoders.py."""
    assert FILE.read_text(encoding="utf-8") == made()


def test_no_backend_of_gb10_reads_sinks() -> None:
    # The page says so in words. Where this fails upstream has mended it: rewrite the page.
    for version, found in encoders().items():
        assert {name for name, backend in found.vision.items() if backend.reads} <= {"fa3", "xpu_attn"}
        assert not found.vision["triton_attn"].reads
        lost = not (found.audio.causal and found.audio.window)
        assert lost == load_release(version).is_from("0.5.16")
        assert found.audio.causal == found.audio.window


def test_a_backend_reads_sinks_when_it_names_both() -> None:
    source = """
class Takes:
    def forward(self, q, **kwargs):
        window_size = kwargs.get("window_size")
        return call(q, window_size, kwargs.get("s_aux"))

class Drops:
    def forward(self, q, **kwargs):
        return call(q)

QKV_BACKEND_IMPL = {"takes": Takes, "drops": Drops}
"""
    found = vision_backends(source)
    assert {name: backend["reads"] for name, backend in found.items()} == {"takes": True, "drops": False}
    assert found["drops"]["at"].endswith(":7")


@pytest.mark.parametrize(
    ("call", "causal", "window"),
    [
        ("flash_attn_varlen_func(q, causal=self.causal, window_size=self.window_size)", True, True),
        ("VisionAttention(dim, window_size=window_size)", False, False),
        ("VisionAttention(dim, window_size=window_size, causal=causal, use_sink=True)", True, True),
    ],
)
def test_what_reaches_the_audio_attention(call: str, *, causal: bool, window: bool) -> None:
    found = audio_attention(f"class AudioEncoderAttention:\n    def forward(self):\n        return {call}\n")
    assert (found["causal"], found["window"]) == (causal, window)


# --- memory


def test_the_table_adds_up() -> None:
    report = memory.report()
    found = [row for row in rows(memory.where()) if not row[0].startswith("**")]
    assert len(found) == 2 + len(report.plan.loaded) + len(report.kv) + len(report.plan.after)
    sums = {row[0].strip("*"): row[1].strip("*") for row in rows(memory.where()) if row[0].startswith("**")}
    low = min(report.tight.margin, report.roomy.margin) / GIB
    assert sums["Left"].startswith(f"{low:.2f} to ")


def test_sources_are_links() -> None:
    for text in (memory.assumed(), memory.published(), memory.where()):
        assert not re.search(r"(?<!https://)(?<![\w.])github\.com/", text)
        assert "<https://" in text


def test_every_published_figure_lies_below_its_bound() -> None:
    for row in rows(memory.published()):
        rate, bound, pool, most = (cell.replace(",", "") for cell in row[3:7])
        assert float(rate) < float(bound)
        assert pool == "–" or int(pool) < int(most)


@pytest.mark.parametrize("block", [memory.bars, memory.capacity, memory.speed_plot])
def test_drawings_have_words_and_fit(block: Callable[[], str]) -> None:
    text = block()
    # A blank line would end the HTML block in the middle of the page.
    assert "\n\n" not in text.strip()
    drawn = ElementTree.fromstring(text).find(f"./div/{SVG}svg")
    assert drawn is not None
    described = drawn.find(f"{SVG}desc")
    assert described is not None
    assert len(described.text or "") > 80
    _, _, width, height = map(float, drawn.attrib["viewBox"].split())
    for line in drawn.iter(f"{SVG}polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_names_of_drawings_differ() -> None:
    names = [name for block in (memory.bars, memory.capacity, memory.speed_plot) for name in ids(block())]
    assert len(names) == len(set(names)) == 6


def ids(text: str) -> list[str]:
    return re.findall(r' id="([^"]+)"', text)


def test_a_chart_puts_points_where_they_belong() -> None:
    line = Line("a & b", [(0, 0), (10, 5)])
    drawn = ElementTree.fromstring(chart("n", "t", "d", Axis("x", [0, 10]), Axis("y", [0, 5]), [line]))
    (polyline,) = drawn.iter(f"{SVG}polyline")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in polyline.attrib["points"].split())
    assert x1 > x0
    assert y1 < y0
    assert "a & b" in [text.text for text in drawn.iter(f"{SVG}text")]


def test_files_are_those_of_the_smoke_test() -> None:
    assert {file.name for file in media.HERE.iterdir() if file.suffix in media.TYPES} == set(FILES)
