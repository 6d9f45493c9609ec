"""The page that reads a log finds what ``diagnose.py`` finds: the same logs through Python and through JavaScript."""

from __future__ import annotations

import base64
import random
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mimo_gb10.commands.diagnose import diagnose as run_diagnose
from mimo_gb10.diagnose.report import as_json, shown
from mimo_gb10.diagnose.scan import LONGEST_CARRY, WINDOW, Feeder, Scanner
from mimo_gb10.diagnose.state import RankLog
from mimo_gb10.diagnose.symptoms import load_symptoms
from mimo_gb10.diagnose.verdict import find
from mimo_gb10.paths import DOCS
from tests.diagnose.cases import EXPECTED, LOGS, all_cases
from tests.site.support import serve_tool, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.site, pytest.mark.xdist_group("tools")]

KNOWN = load_symptoms()
PATTERNS = {name: line.pattern for name, line in KNOWN.lines.items()}
FIELDS = ("id", "title", "severity", "follows_from", "leads_to", "proof", "cause")
BLOCKS = """
async (cases) => {
  const js = await import("/assets/tools/diagnose.js");
  const data = await (await fetch("/assets/data/diagnose.json")).json();
  const scanner = new js.Scanner(data);
  return cases.map((ranks) => {
    const logs = ranks.map((blocks, rank) => {
      const log = new js.RankLog(String(rank), `rank${rank}.log`, js.ordersOf(data));
      const feeder = new js.Feeder(scanner, log, data.limits);
      for (const block of blocks) feeder.take(atob(block));
      feeder.end();
      return log;
    });
    const found = js.result(js.find(data, logs), logs);
    return {...found, last: logs.map((log) => [log.lastLine[0], js.shown(log.lastLine[1])]),
      seen: logs.map((log) => [...log.seen].map(([name, {first, count}]) => [name, first.line, first.start, count]))};
  });
}
"""
WHOLE = """
async (ranks) => {
  const js = await import("/assets/tools/diagnose.js");
  const data = await (await fetch("/assets/data/diagnose.json")).json();
  const bytes = (text) => Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0));
  const sources = ranks.map((text, rank) => ({name: `rank${rank}.log`, blob: new Blob([bytes(text)])}));
  const {found, logs} = await js.diagnose(data, sources);
  return js.result(found, logs);
}
"""
Blocks = Sequence[bytes]


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Any]:
    with serving(DOCS) as address:
        opened = browser.new_page(base_url=address)
        opened.set_default_timeout(60_000)
        serve_tool(opened, "diagnose")
        opened.goto("/tools/diagnose/")
        yield opened
        opened.close()


def ours(ranks: Sequence[Blocks]) -> dict[str, Any]:
    """What Python makes of logs that arrive in blocks."""
    scanner = Scanner(PATTERNS)
    logs = []
    for rank, blocks in enumerate(ranks):
        log = RankLog(str(rank), f"rank{rank}.log", KNOWN.orders())
        feeder = Feeder(scanner, log)
        for block in blocks:
            feeder.take(block)
        feeder.end()
        logs.append(log)
    found = find(KNOWN, logs, ended=True)
    data = as_json(KNOWN, found, logs, {}, None)
    return {
        "logs": data["logs"],
        "symptoms": [{field: item[field] for field in FIELDS} for item in data["symptoms"]],
        "last": [[log.last_line[0], shown(log.last_line[1])] for log in logs],
        "seen": [[[n, s.first.line, s.first.start, s.count] for n, s in log.seen.items()] for log in logs],
    }


def theirs(page: Any, cases: Sequence[Sequence[Blocks]]) -> list[dict[str, Any]]:
    given = [[[base64.b64encode(block).decode() for block in blocks] for blocks in ranks] for ranks in cases]
    answer: list[dict[str, Any]] = page.evaluate(BLOCKS, given)
    return answer


def agree(page: Any, cases: Sequence[Sequence[Blocks]]) -> list[dict[str, Any]]:
    """Compare both; returns what they found."""
    answers = theirs(page, cases)
    assert len(answers) == len(cases)
    for case, answer in zip(cases, answers, strict=True):
        assert answer == ours(case), case
    return answers


def test_every_log_of_the_tests(page: Any) -> None:
    import yaml

    expected: Mapping[str, list[str]] = yaml.safe_load(EXPECTED.read_text(encoding="utf-8"))
    cases = all_cases()
    assert {case.name for case in cases} == set(expected)
    answers = agree(page, [[[file.read_bytes()] for file in case.files] for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        assert [item["id"] for item in answer["symptoms"]] == expected[case.name], case.name


SPICE = [
    b"",
    b"\r",
    b" \t\r",
    b"progress 10%\rprogress 20%",
    b"api_key=sk-1234567 token: 'abc' password=None hf_abcdefghijklmnopqrstu",
    b"SECRET=x,y \xe2\x84\xaa=to\xe2\x84\xaaen=abc \xc3\xa9hf_abcdefghijklmnopqrstu",
    "Größe größer \u2028 \U0001f600 \ufeff\x85\x1c".encode(),
    b"\xff\xfe broken \x00 \xed\xa0\x80 \xf0\x9f\x98 text",
    b"\x1b]0;title\x07 \x1b[1;31mred\x1b[0m",
    # One line is no order, whatever stands in it.
    b"Capture draft extend CUDA graph begin. triton.compiler.errors.CompilationError: x AttributeError(\"'NoneType' "
    b"object has no attribute 'type'\")",
    b"\x1b[31mReceived sig\x1b[1mquit from a child process.\x1b[0m",
]


def _lines() -> list[bytes]:
    """Every line of every log that matches something, and some that do not."""
    scanner = Scanner(PATTERNS)
    everyday: list[bytes] = []
    telling: dict[bytes, None] = {}
    for path in sorted(LOGS.rglob("*.log")):
        for line in path.read_bytes().split(b"\n"):
            log = RankLog("0", "x", KNOWN.orders())
            scanner.scan(line, log)
            if log.seen:
                telling[line] = None
            else:
                everyday.append(line)
    return [*telling, *random.Random(1).sample(everyday, 60), *SPICE]


def _mutated(line: bytes, chance: random.Random) -> bytes:
    """A line with its digits changed, cut, doubled, lengthened, beside other text, or with a broken byte."""
    match chance.randrange(12):
        case 0:
            return bytes(chance.choice(b"0123456789") if 48 <= byte <= 57 else byte for byte in line)
        case 1:
            return line[: chance.randrange(len(line) + 1)]
        case 2:
            return line + b"\r" + line
        case 3:
            place = chance.randrange(len(line) + 1)
            return line[:place] + bytes([chance.randrange(256)]) + line[place:]
        case 4:
            return "é\U0001f600 ".encode() * chance.randrange(1, 60) + line + b" y" * chance.randrange(300)
        case 5:
            return b"z" * chance.randrange(2 * WINDOW) + line + b"\xc3\xa9" * chance.randrange(WINDOW)
        case 6:
            return line + b"z" * chance.randrange(2 * WINDOW) + line
        case 7:
            return b"\xef\xbb\xbf" + line + b" " + chance.choice(SPICE)
        case 8:
            return b"rank3  | \x1b[2m" + line + b"\x1b[0m"
        case _:
            return line


def _cut(data: bytes, chance: random.Random) -> list[bytes]:
    places = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(chance.randrange(6)))})
    return [data[a:b] for a, b in pairwise(places)]


def test_random_mixtures_of_their_lines(page: Any) -> None:
    chance = random.Random(20261101)
    lines = _lines()
    cases = []
    for _ in range(500):
        ranks = []
        for _ in range(chance.choice([1, 1, 2, 4])):
            some = [_mutated(chance.choice(lines), chance) for _ in range(chance.randrange(12))]
            ranks.append(_cut(b"\n".join(some) + chance.choice([b"", b"\n", b"\r\n", b"\n \n"]), chance))
        cases.append(ranks)
    found: set[str] = set()
    for at in range(0, len(cases), 50):
        for answer in agree(page, cases[at : at + 50]):
            found |= {item["id"] for item in answer["symptoms"]}
    assert len(found) > 0.8 * len(KNOWN.symptoms), "the mixtures show few of the symptoms"


def test_a_line_that_never_ends(page: Any) -> None:
    """Parts of it, their seams, and places beyond the first part."""
    text = b"CUDA error: an illegal memory access was encountered"
    for place in (10, 1_100_000 - 20, 1_100_000 - WINDOW - 20, 3 * LONGEST_CARRY - 60):
        only = bytearray(b"x" * (3 * LONGEST_CARRY))
        only[place : place + len(text)] = text
        [answer] = agree(page, [[[bytes(only[at : at + 100_000]) for at in range(0, len(only), 100_000)]]])
        assert [item["id"] for item in answer["symptoms"]] == ["illegal-access"]


def test_a_line_proves_once(page: Any) -> None:
    """No symptom asks for a line twice; an expression may."""
    from mimo_gb10.diagnose.expression import parse

    form = {"all": ["child-failed", {"any": ["child-failed", "watchdog"]}]}
    log = RankLog("0", "x", ())
    Scanner(PATTERNS).scan(b"Received sigquit from a child process.", log)
    proof = log.proof(parse(form), ended=True)
    assert proof is not None
    theirs = page.evaluate(
        """async (form) => {
          const js = await import("/assets/tools/diagnose.js");
          const log = new js.RankLog("0", "x", []);
          const data = await (await fetch("/assets/data/diagnose.json")).json();
          new js.Scanner(data).scan("Received sigquit from a child process.", log);
          return log.proof(form).map((hit) => hit.name);
        }""",
        form,
    )
    assert theirs == [hit.name for hit in proof] == ["child-failed"]


def test_files_as_they_come(page: Any) -> None:
    """A whole file read in slices, a packed one, one from PowerShell: what the plain one shows."""
    import gzip

    file = LOGS / "fp8-kv-on-hopper" / "match-recorded-nan.log"
    data = file.read_bytes()
    plain = ours([[data]])
    want = {key: plain[key] for key in ("logs", "symptoms")}
    for form in (data, gzip.compress(data), data.decode().encode("utf-16")):
        assert page.evaluate(WHOLE, [base64.b64encode(form).decode()]) == want


# --- the page


@pytest.fixture
def fresh(page: Any) -> Any:
    page.goto("/tools/diagnose/")
    page.get_by_label("Paste a log here").wait_for()
    page.wait_for_load_state("networkidle")
    return page


def test_a_pasted_log_shows_its_symptoms_and_nothing_is_sent(fresh: Any) -> None:
    requests: list[str] = []
    fresh.on("request", lambda request: requests.append(request.url))
    text = (next((LOGS / "mtp-triton-window").glob("match*.log"))).read_text(encoding="utf-8")
    fresh.get_by_label("Paste a log here").fill(text)
    first = fresh.locator("#diagnose-tool .admonition").first
    first.wait_for()
    want, *rest = ours([[text.encode()]])["symptoms"]
    assert want["title"] in first.locator("h2").inner_text()
    assert "failure" in first.get_attribute("class")
    line = want["proof"][0]["lines"][0]
    assert f"line {line['line']}" in first.locator("li").first.inner_text()
    assert first.locator("li code").first.inner_text() == line["text"]
    links = first.evaluate("element => [...element.querySelectorAll('a')].map(link => link.href)")
    base = fresh.url.partition("/tools/")[0]
    assert f"{base}/troubleshooting/#mtp-triton-window" in links
    assert f"{base}/patches/mtp-triton-window/" in links
    said = fresh.locator("#diagnose-tool [role=status]").inner_text()
    assert said == f"{len(rest) + 1} symptoms in {text.count(chr(10))} lines. Begin with {want['id']}."
    assert requests == []


def test_two_ranks_are_compared(fresh: Any) -> None:
    case = next(case for case in all_cases() if case.name.startswith("nccl-versions-differ/match"))
    fresh.get_by_label("Paste a log here").fill(case.files[0].read_text(encoding="utf-8"))
    fresh.get_by_role("button", name="Add the log of another rank").click()
    assert fresh.evaluate("document.activeElement.id") == "diagnose-log-1"
    fresh.keyboard.insert_text(case.files[1].read_text(encoding="utf-8"))
    fresh.locator("#found-nccl-versions-differ").wait_for()
    assert "rank 1" in fresh.locator("#found-nccl-versions-differ ul").inner_text()


def test_files_come_in_rank_order_and_can_be_removed(fresh: Any, tmp_path: Path) -> None:
    for rank in (10, 9):
        (tmp_path / f"rank{rank}.log").write_text("all is well\n", encoding="utf-8")
    (tmp_path / "rank9.log").write_text("Received sigquit from a child process.\n", encoding="utf-8")
    fresh.locator("#diagnose-files").set_input_files([tmp_path / "rank10.log", tmp_path / "rank9.log"])
    fresh.locator("#found-child-failed").wait_for()
    assert "rank 0, rank9.log, line 1" in fresh.locator("#found-child-failed").inner_text()
    fresh.get_by_role("button", name="Remove rank9.log").click()
    nothing = fresh.get_by_text("known symptoms is in there")
    nothing.wait_for()
    assert "all is well" in fresh.locator("#diagnose-tool").inner_text()
    fresh.get_by_role("button", name="Clear").click()
    nothing.wait_for(state="detached")
    assert fresh.locator("#diagnose-tool .admonition").count() == 0


def test_markup_in_a_log_stays_text(fresh: Any) -> None:
    text = "<img src=x onerror=document.title='broken'> Received sigquit from a child process."
    fresh.get_by_label("Paste a log here").fill(text)
    fresh.locator("#found-child-failed").wait_for()
    assert fresh.locator("#found-child-failed code").inner_text() == text
    assert fresh.locator("#diagnose-tool img").count() == 0


def test_fifty_megabytes_do_not_freeze_the_page(fresh: Any) -> None:
    """A paste goes past the text field, and while it is read the page's own timers go on."""
    fresh.evaluate(
        """async () => {
          const parts = [];
          for (let i = 0; i < 450000; i += 1) {
            parts.push(`[2026-11-01 10:00:00 TP0] Decode batch ${i}, #running-req: ${i % 24}, ` +
              `token usage: 0.${i % 100}, gen throughput (token/s): ${i % 977}.5\\n`);
          }
          parts.push("Received sigquit from a child process.\\n");
          window.big = new DataTransfer();
          window.big.setData("text/plain", parts.join(""));
          window.seen = new Set();
          const bar = document.querySelector("#diagnose-tool progress");
          setInterval(() => { if (!bar.hidden) window.seen.add(bar.value); }, 1);
        }"""
    )
    taken = fresh.evaluate(
        """() => {
          const field = document.getElementById("diagnose-log-0");
          const event = new ClipboardEvent("paste", {clipboardData: window.big, bubbles: true, cancelable: true});
          return {default: field.dispatchEvent(event), size: window.big.getData("text/plain").length};
        }"""
    )
    assert taken["default"] is False, "the text went into the field"
    assert taken["size"] > 45e6
    fresh.locator("#found-child-failed").wait_for()
    assert "line 450,001" in fresh.locator("#found-child-failed").inner_text()
    assert fresh.evaluate("window.seen.size") >= 5


def test_without_javascript_the_page_says_what_to_run() -> None:
    text = (DOCS / "tools/diagnose.md").read_text(encoding="utf-8")
    assert "Nothing leaves your browser" in text
    assert "needs JavaScript" in text
    assert "(../troubleshooting/index.md)" in text


def test_the_command_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util
    import io

    from mimo_gb10.paths import ROOT

    text = (DOCS / "tools/diagnose.md").read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line.startswith("python scripts/diagnose.py")]
    spec = importlib.util.spec_from_file_location("command", ROOT / "scripts/diagnose.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options = module.parser().parse_args(shlex.split(line)[2:])
    monkeypatch.chdir(tmp_path)
    for name in options.log:
        Path(name).write_text("all is well\n", encoding="utf-8")
    out = io.StringIO()
    assert run_diagnose(options, out) == 0
    assert "None of the" in out.getvalue()
