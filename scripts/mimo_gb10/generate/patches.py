"""The pages of the defects and their patches: the matrix by release, and for each defect what there is to know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mimo_gb10.defects import (
    FIXED,
    NOT_AFFECTED,
    PRESENT,
    UNKNOWN,
    Defect,
    PatchFile,
    Verdict,
    load_defects,
    load_verdicts,
)
from mimo_gb10.files import Output
from mimo_gb10.findings import Refused, error
from mimo_gb10.generate.markdown import mark, table
from mimo_gb10.generate.prose import as_code, block, prose
from mimo_gb10.paths import PATCHES
from mimo_gb10.receipt import Receipt, is_claimed, load_receipt
from mimo_gb10.release import known_releases
from mimo_gb10.spans import runs, span

FOLDER = "docs/patches"

_MARK = mark("patches/")
_CELLS = {PRESENT: "**none**", FIXED: "fixed", NOT_AFFECTED: "–", UNKNOWN: "?"}
_MENDED = "patch"
_LEGEND = {
    _MENDED: "The release has the defect, and a patch here mends it.",
    _CELLS[PRESENT]: "The release has the defect, and there is no patch. Its page says why.",
    _CELLS[FIXED]: "Upstream has mended it.",
    _CELLS[NOT_AFFECTED]: "The release does not have the code.",
    _CELLS[UNKNOWN]: "The probe does not recognise the source.",
}
_WORDS = {PRESENT: "present", FIXED: "fixed upstream", NOT_AFFECTED: "not affected", UNKNOWN: "unknown source"}

_HOW_TO_READ = """
A mark comes from a *probe*: regular expressions over the source file where the defect is, run on the wheel of each
release. `python scripts/generate.py patches --check` runs them again. A mark says what the code does, not that you
meet the defect. In three places that matters:
"""

_INDEX = """
SGLang has bugs that a MiMo-V2.5 user on GB10 meets. Each of them is a **defect** here, with its symptom, its cause and
how to tell whether a source tree has it. A **patch** is this project's mend of one defect for one range of releases
whose source is alike. A recipe lists the defects whose patches it needs.

The patches are written here, from the cause; they are not the upstream pull requests. They apply in the order of this
table, without fuzz and without offsets.
"""

_APPLY = """
`scripts/apply_patches.py` puts them on. It is one file, needs Python 3.10 and nothing else, and does not import SGLang.
It recognises sources by their SHA-256, so a build whose version number says nothing is recognised too. It writes all
of it or nothing. Without names it mends every defect that is present. All options:
[Commands](../reference/commands.md#apply_patchespy).

### In an image

The docker target writes the command that builds the patched image from the recipe's image, and its rank scripts run
that image:

```bash
python scripts/gen_launch.py RECIPE --target docker --out launch
./launch/build-image.sh
```

Build it on every node, or build it once and copy it (`docker save`, `docker load`). The build fails unless every
listed defect is gone afterwards. By hand it is:

```bash
docker build --build-arg BASE_IMAGE=IMAGE --build-arg DEFECTS="DEFECT DEFECT" \\
  --tag NAME --file docker/Dockerfile .
```

### In a container

Mount the file and the folder `patches/`, nothing is copied into the image:

```bash
docker run --rm -it \\
  --mount type=bind,source="$PWD/scripts/apply_patches.py",target=/mimo-gb10/apply_patches.py,readonly \\
  --mount type=bind,source="$PWD/patches",target=/mimo-gb10/patches,readonly \\
  IMAGE bash
```

and inside, before the server starts:

```bash
python3 /mimo-gb10/apply_patches.py
```

What it changes goes with the container. In a container that runs already, use `docker cp` for both and `docker exec`,
then start the server again: a running Python does not read its files a second time.

### In a virtual environment

```bash
/path/to/venv/bin/python scripts/apply_patches.py
```

or name the folder: `--sglang-dir` takes site-packages, a checkout of SGLang, its `python/` folder or the package.

## See the state

```bash
python3 scripts/apply_patches.py --status
```

It says of each defect *present*, *mended by us*, *fixed upstream*, *not affected* or *unknown source*. `--require`
shows the same and fails unless each is mended, fixed or absent: for scripts. `--dry-run` shows what would change.

## Go back

```bash
python3 scripts/apply_patches.py --revert
```

puts every patched file back as it was, byte for byte. A new installation of SGLang does so as well.
"""


def make() -> Mapping[str, Output]:
    """The index, and one page per defect.

    Raises:
        Refused: If a receipt does not bear out what its page says.
    """
    defects, verdicts = load_defects(), load_verdicts()
    if list(defects) != list(verdicts):
        raise Refused([error("patch-index", "the index has other defects", "Run: python scripts/generate.py patches")])
    pages = {f"{FOLDER}/index.md": Output("\n".join(_index(defects, verdicts)))}
    for name, defect in defects.items():
        pages[f"{FOLDER}/{name}.md"] = Output("\n".join(_page(defect, verdicts[name])))
    return pages


# --- the index


def _index(defects: Mapping[str, Defect], verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    releases = known_releases()
    yield "# Patches\n"
    yield _MARK
    yield _INDEX.strip() + "\n"
    rows = [[f"[{name}]({name}.md)", prose(defect.title)] for name, defect in defects.items()]
    yield table(["Defect", "What it is"], rows)
    yield "## Defect by release\n"
    marks = {name: [cell(verdict, release) for release in releases] for name, verdict in verdicts.items()}
    yield '<div class="matrix" markdown>\n'
    yield table(["Defect", *releases], [[f"[{name}]({name}.md)", *cells] for name, cells in marks.items()])
    yield "</div>\n"
    seen = {text for cells in marks.values() for text in cells}
    yield "".join(f"- **{text.strip('*')}**: {meaning}\n" for text, meaning in _LEGEND.items() if text in seen)
    yield _HOW_TO_READ.strip() + "\n"
    yield "\n".join(_with_a_word(verdicts)) + "\n"
    yield "## Apply\n"
    yield _APPLY.strip() + "\n"


def cell(verdict: Verdict, release: str) -> str:
    """The matrix's mark for a defect in a release."""
    status = verdict.in_release(release)
    return _MENDED if status == PRESENT and verdict.patch_for(release) is not None else _CELLS[status]


def _with_a_word(verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    """The marks that a bare word would leave open, with the lines that decide them."""
    at = _place(verdicts["video-pin-memory"], "0.5.20", "decord frames")
    yield (
        "- [video-pin-memory](video-pin-memory.md) from 0.5.20: upstream mended a part. Tensors on a device and the "
        f"CPU engine are left alone. {as_code(at)} still pins what decord2 decoded, on every CUDA machine, and nothing "
        "catches the error. decord2 decodes wherever torchcodec is missing, "
        "and torchcodec's frames on the CPU are pinned in the same way, so the defect is there."
    )
    at = _place(verdicts["video-batch-tensor"], "0.5.11", "frames as a tensor")
    yield (
        f"- [video-batch-tensor](video-batch-tensor.md): the call without a question stands there ({as_code(at)}), but "
        "stock decord2 does not trip over it. It takes something in the process that sets decord's torch bridge."
    )
    at = _place(verdicts["audio-encoder-flash-attn"], "0.5.16", "no longer the library's function")
    yield (
        f"- [audio-encoder-flash-attn](audio-encoder-flash-attn.md) from 0.5.16: the crash is fixed ({as_code(at)}). "
        "The code that came instead drops the causal mask and the window of the encoder, which no patch here mends."
    )


def _place(verdict: Verdict, release: str, says: str) -> str:
    """Where a line is; a KeyError means that the sentence which names it is out of date."""
    return {text: at for at, text in verdict.places[release]}[says]


# --- the page of a defect


def _page(defect: Defect, verdict: Verdict) -> Iterator[str]:
    receipt = load_receipt(defect.id)
    yield f"# {prose(defect.title)}\n"
    yield _MARK
    yield f"Defect `{defect.id}`. {_where(verdict)}\n"
    yield "## Symptom\n"
    yield f"{prose(defect.symptom)}\n"
    if defect.log:
        yield "What the log or the answer holds:\n"
        yield block("\n".join(defect.log), "text")
    yield "## Releases\n"
    yield _releases(verdict)
    yield from (f"{span((g.first, g.last))}, no patch: {prose(g.why)}\n" for g in defect.unmended)
    yield "## Cause\n"
    yield f"{prose(defect.cause)}\n"
    yield "The lines that prove it, in the wheels:\n"
    yield from _lines(verdict)
    yield "## Upstream\n"
    yield "".join(f"- <{thread.url}>: {prose(thread.state)}\n" for thread in defect.threads)
    if verdict.patches:
        yield "## Patch\n"
        yield f"{prose(defect.mend)}\n"
        yield block(f"python3 scripts/apply_patches.py {defect.id}", "bash")
        yield "How to run it in an image, a container or a virtual environment: [Patches](index.md#apply).\n"
        yield from (_patch(patch) for patch in verdict.patches)
    if receipt is not None:
        yield "## Evidence\n"
        yield from _evidence(receipt)
    yield "## Check by hand\n"
    yield from _check(defect.check)
    yield "## When to drop it\n"
    yield f"{prose(_sentence(defect.drop_when))}\n"
    if defect.notes:
        yield "## Notes\n"
        yield f"{prose(defect.notes)}\n"


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."


def _where(verdict: Verdict) -> str:
    """The releases by status, in words."""
    parts = []
    for status, releases in runs([(verdict.in_release(release), release) for release in known_releases()]):
        parts.append(f"{_WORDS[status].capitalize()} in {span(releases)}.")
    return " ".join(parts)


def _releases(verdict: Verdict) -> str:
    rows = []
    states = []
    for release in known_releases():
        patch = verdict.patch_for(release)
        states.append(((verdict.in_release(release), patch.touches if patch else ()), release))
    for (status, touches), releases in runs(states):
        changes = "<br>".join(as_code(path) for path in touches)
        rows.append([span(releases), _WORDS[status], changes])
    return table(["Releases", "State", "The patch changes"], rows)


def _lines(verdict: Verdict) -> Iterator[str]:
    """Each place with its line by group of releases where it is the same."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for release in known_releases():
        for at, says in verdict.places[release]:
            file, _, line = at.rpartition(":")
            found.setdefault((file, says), {}).setdefault(release, []).append(line)
    items = []
    for (file, says), by_release in found.items():
        groups = runs([(tuple(lines), release) for release, lines in by_release.items()])
        where = ", ".join(f"{' and '.join(lines)} ({span(of)})" for lines, of in groups)
        items.append(f"- {as_code(file)}, {prose(says)}: line {where}\n")
    yield "".join(items)


def _patch(patch: PatchFile) -> str:
    text = (PATCHES / patch.file).read_text(encoding="utf-8")
    title = f'??? example "{span((patch.first, patch.last))}: patches/{patch.file}"\n'
    link = f"    [Download]({patch.file}){{: download }}\n"
    return f"{title}\n{link}\n{block(text, 'diff', '    ')}"


def _check(text: str) -> Iterator[str]:
    """A command at the front goes into a block of its own; what to see follows."""
    match = re.match(r"(?:`(?P<quoted>[^`]+)`|(?P<bare>curl .*?))\.?(?= (?:Unpatched|where)\b)", text)
    if match is None:
        yield f"{prose(text)}\n"
        return
    command = re.sub(r" (?=-[FHd] )", " \\\\\n  ", match["quoted"] or match["bare"])
    rest = text[match.end() :].lstrip(". ")
    yield block(command, "bash")
    yield f"{prose(f'Run it {rest}' if rest.startswith('where') else rest)}\n"


# --- evidence


def _evidence(receipt: Receipt) -> Iterator[str]:
    machine = receipt["machine"]
    yield (
        f"Run on {receipt['date']} on an {machine['gpu']} ({machine['what']}), not on GB10. "
        f"Driver {machine['driver']}, CUDA {machine['cuda']}, torch {machine['torch']}, triton {machine['triton']}, "
        f"Python {machine['python']}, {machine['sanitizer']}. The patched sources were those that the patches make, by "
        f"SHA-256. Receipt: `docs/evidence/{receipt['defect']}.json`.\n"
    )
    yield (
        "*mma.sync* is the way in which Triton multiplies on GB10; on this GPU it was asked for with "
        "`DISABLE_MMA_V3=1`. *wgmma* is Hopper's own way, which GB10 does not have.\n"
    )
    yield from _claims(receipt)
    yield "### The attention backend\n"
    yield f"{prose(receipt['backend']['what'])} The case: `{receipt['backend']['case']}`.\n"
    yield table(
        ["SGLang", "Run", "Batches", "Error, eager", "Error, graph", "Result"],
        [_backend_row(run) for run in receipt["backend"]["runs"]],
    )
    yield (
        "*Window only* fills the window indices at replay over the whole length, and does nothing else: it is "
        "captured, runs, and is wrong.\n"
    )
    yield "### The kernel\n"
    yield f"{prose(receipt['kernel']['what'])}\n"
    yield table(
        ["SGLang", "Multiplies by", "KV heads", "Cases", "Wrong, bf16", "Wrong, FP8", "With NaN", "Ended"],
        [
            [
                run["release"], run["kernel"], str(run["kv_heads"]), str(run["cases"]),
                str(run["wrong_bf16"]), str(run["wrong_fp8"]), str(run["nan_fp8"]), run["ended"],
            ]
            for run in receipt["kernel"]["runs"]
        ],
    )  # fmt: skip
    yield "### A whole server\n"
    yield f"{prose(receipt['server']['what'])}\n"
    yield table(
        ["Run", "Answers", "With NaN", "Ended", "Seen"],
        [_server_row(run) for run in receipt["server"]["runs"]],
    )
    yield "### Not run\n"
    yield "".join(f"- {prose(text)}\n" for text in receipt["not_run"])


def _claims(receipt: Receipt) -> Iterator[str]:
    """The sentences that the runs bear out; `check_receipt` refuses a receipt that does not."""
    claimed = [run for run in receipt["backend"]["runs"] if is_claimed(run)]
    releases = sorted({run["release"] for run in claimed})
    batches = {release: sum(run["batches"] for run in claimed if run["release"] == release) for release in releases}
    tools = sorted({(run["tool"], run["release"]) for run in claimed if "tool" in run})
    yield (
        f"With the patch and mma.sync the graph's worst error is the same number as the one without a graph, "
        f"in every run: {', '.join(f'{release} over {count} batches' for release, count in batches.items())}. "
        f"No errors from {', '.join(f'{tool} ({release})' for tool, release in tools)}.\n"
    )


def _backend_row(run: Mapping[str, Any]) -> list[str]:
    result = run["ended"]
    if "tool" in run:
        result += f"; {run['tool']}: {run['tool_errors']} errors"
    if "message" in run:
        result += f"; {prose(run['message'])}"
    errors = [f"{run[key]:.6f}" if key in run else "" for key in ("error_eager", "error_graph")]
    widths = f"width{'s' if len(run['widths']) > 1 else ''} {', '.join(map(str, run['widths']))}"
    what = f"{run['tree']}, {_kv(run)}, {run['kernel']}, {widths}"
    return [run["release"], what, str(run["batches"]), *errors, result]


def _server_row(run: Mapping[str, Any]) -> list[str]:
    nan = str(run["answers_with_nan"]) if "answers_with_nan" in run else ""
    accepted = f" Accept length {run['accept_length']}." if "accept_length" in run else ""
    mtp = "MTP" if run["mtp"] else "no MTP"
    graphs = "graphs" if run["graphs"] else "no graphs"
    what = f"{run['tree']}, {mtp}, {graphs}, {_kv(run)}, {run['kernel']}"
    return [what, str(run["answers"]), nan, run["ended"], f"{prose(run['saw'])}{accepted}"]


def _kv(run: Mapping[str, Any]) -> str:
    return {"bfloat16": "bf16 KV", "float8_e4m3fn": "FP8 KV"}[run["kv"]]
