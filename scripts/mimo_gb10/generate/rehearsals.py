"""The pages of the rehearsals: all receipts in one table, and one page for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mimo_gb10.evidence import Receipt, failures, rehearsals
from mimo_gb10.files import Output
from mimo_gb10.generate.markdown import code, mark, table
from mimo_gb10.generate.prose import prose
from mimo_gb10.release import version_key
from mimo_gb10.smoke.client import shorten

FOLDER = "docs/rehearsals"

_MARK = mark("docs/evidence/rehearsals/")

_INDEX = """
A rehearsal runs a recipe's real launch, with its flags, its patches, its ranks, real SGLang and real NCCL, and a model
of the same architecture that is tiny and has random weights. [How to run one](../rehearse.md).

It shows that the launch starts, that every endpoint answers, that the text is what the weights say, and what load and
broken uploads do to the server. It shows nothing of speed, of memory at full size, of the quality of answers, of RDMA,
or of anything that only GB10 does. None of these ran on GB10.
"""

_BROKEN = """
What each release did when it was sent something broken. **alive** means that the server answered the next request;
where a rank died, all four nodes would have to be started again.
"""

_LONGEST = 140
"""Characters of what a check says; the receipt has the rest."""

_WORDS = {"ok": "ok", "warn": "warning", "fail": "**failed**", "skip": "skipped"}


def make() -> Mapping[str, Output]:
    """The index, and a page for each receipt."""
    found = rehearsals()
    pages = {f"{FOLDER}/{name}.md": Output(_page(name, receipt)) for name, receipt in found.items()}
    pages[f"{FOLDER}/index.md"] = Output("\n".join(_index(found)))
    return pages


def _index(found: Mapping[str, Receipt]) -> Iterator[str]:
    yield f"# Rehearsals\n\n{_MARK}{_INDEX}"
    yield table(
        ["Receipt", "What ran", "Ended", "Checks", "Ran on"],
        [_row(name, receipt) for name, receipt in _ordered(found)],
    )
    broken = [(name, receipt) for name, receipt in _ordered(found) if _broken(receipt)]
    if broken:
        yield f"## Broken uploads\n{_BROKEN}"
        names = list(dict.fromkeys(check["name"] for _, receipt in broken for check in _broken(receipt)))
        header = ["Upload", *(_short(receipt) for _, receipt in broken)]
        yield table(
            header, [[code(name.removeprefix("broken-")), *(_cell(r, name) for _, r in broken)] for name in names]
        )


def _ordered(found: Mapping[str, Receipt]) -> list[tuple[str, Receipt]]:
    return sorted(found.items(), key=lambda item: (version_key(item[1]["sglang"]["version"]), item[0]))


def _row(name: str, receipt: Receipt) -> list[str]:
    return [
        f"[{name}]({name}.md)",
        f"{code(receipt['recipe']['name'])}, SGLang {receipt['sglang']['version']}, {_mtp(receipt)}, "
        f"patches: {_patches(receipt)}",
        receipt["ended"],
        _counts(receipt["checks"]),
        where(receipt),
    ]


def _mtp(receipt: Receipt) -> str:
    return "with MTP" if receipt["variant"]["mtp"] else "without MTP"


def _short(receipt: Receipt) -> str:
    mtp = ", MTP" if receipt["variant"]["mtp"] else ""
    return f"{receipt['sglang']['version']}{mtp}, {'patched' if receipt['variant']['patched'] else 'unpatched'}"


def _patches(receipt: Receipt) -> str:
    if receipt["variant"]["patched"]:
        return "the recipe's" if receipt["sglang"]["mended"] else "none needed"
    return "none" if not receipt["sglang"]["mended"] else ", ".join(map(code, receipt["sglang"]["mended"]))


def where(receipt: Receipt) -> str:
    """How many ranks ran, on which GPUs."""
    names = Counter(gpu["name"] for gpu in receipt["machine"]["gpus"])
    ranks = f"{receipt['ranks']} rank{'' if receipt['ranks'] == 1 else 's'}"
    return f"{ranks} on " + ", ".join(f"{count} × {name}" for name, count in names.items())


def _counts(checks: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(check["status"] for check in checks)
    return ", ".join(f"{counts[status]} {_WORDS[status]}" for status in _WORDS if counts[status]) or "none"


def _broken(receipt: Receipt) -> list[Mapping[str, Any]]:
    return [check for check in receipt["checks"] if check["area"] == "broken"]


def _cell(receipt: Receipt, name: str) -> str:
    found = next((check for check in _broken(receipt) if check["name"] == name), None)
    if found is None or found["status"] == "skip":
        return "–"
    status, ranks = found["numbers"].get("http_status"), found["numbers"].get("ranks")
    answer = "no answer" if status is None else f"HTTP {status}"
    return f"{answer}, alive" if ranks == "alive" else f"**{answer}, ranks {ranks}**"


def _gpu(gpu: Mapping[str, Any]) -> str:
    return f"{gpu['name']}, {gpu['mib']} MiB, capability {gpu['capability']}"


def nccl_links(said: Mapping[str, Any]) -> str:
    """NCCL's own report of its network, in a line."""
    links = ", ".join(f"{one['from']} → {one['to']} {code(one['via'])}" for one in said["links"])
    largest = said["communicators"][0] if said["communicators"] else {"ranks": "?", "hosts": "?"}
    network = ", ".join(map(code, said["network"])) or "none"
    return f"network {network}; {largest['ranks']} ranks on {largest['hosts']} hosts; {links or 'no links'}"


def _page(name: str, receipt: Receipt) -> str:
    return "\n".join(_parts(name, receipt))


def _parts(name: str, receipt: Receipt) -> Iterator[str]:
    recipe, machine = receipt["recipe"], receipt["machine"]
    patched = "patched" if receipt["variant"]["patched"] else "unpatched"
    yield f"# Rehearsal {name}\n\n{_MARK}"
    yield f"Recipe {code(recipe['name'])} on SGLang {recipe['sglang']}, {patched}, {_mtp(receipt)}.\n"
    hosts = "one host" if receipt["hosts"] == 1 else f"{receipt['hosts']} hosts"
    yield (
        f"Run on {receipt['date'][:10]}: {where(receipt)} of {hosts}, with a tiny random model of "
        f"{receipt['model']['bytes'] >> 20} MiB. Not on GB10. How it ended: {receipt['ended']}. "
        f"Receipt: `docs/evidence/rehearsals/{name}.json`.\n"
    )
    if receipt.get("not_ready"):
        yield f"It did not come up: {prose(receipt['not_ready'])}.\n"
    wrong = failures(receipt)
    if wrong:
        yield f"Failed: {', '.join(map(code, wrong))}.\n"
    yield "".join(f"- {prose(text)}\n" for text in receipt.get("notes", ()))
    yield "## What ran\n"
    packages = machine["packages"]
    shown = ("torch", "triton", "transformers", "flashinfer-python", "sglang-kernel")
    yield table(
        ["", ""],
        [
            ["SGLang", f"{recipe['sglang']}; mended: {', '.join(map(code, receipt['sglang']['mended'])) or 'nothing'}; "
                       f"still there: {', '.join(map(code, receipt['sglang']['present'])) or 'nothing'}"],
            ["GPU", "; ".join(_gpu(gpu) for gpu in machine["gpus"])],
            ["Driver, CUDA, NCCL", f"{machine['driver']}, {machine['cuda']}, {machine['nccl']}"],
            ["System", f"{machine['architecture']}, kernel {machine['kernel']}, Python {machine['python']}"],
            ["Packages", ", ".join(f"{one} {packages[one]}" for one in shown if one in packages)],
            ["Accept length", "–" if receipt.get("accept_length") is None
             else f"{receipt['accept_length']} (random weights: that it is reported, not how good it is)"],
            *([["NCCL's links", nccl_links(receipt["nccl"])]] if receipt.get("nccl") else []),
        ],
    )  # fmt: skip
    if receipt.get("stand_ins"):
        yield "Stood in for what the machine lacked:\n"
        yield "".join(f"- {prose(text)}\n" for text in receipt["stand_ins"])
    yield "## In what it differs from the recipe's launch\n"
    yield table(
        ["Flag or variable", "In the launch", "Here", "Why"],
        [
            [code(one["what"]), code(one["before"] or ""), code(one["after"] or ""), prose(one["why"])]
            for one in receipt["changes"]
        ],
    )
    if receipt["deaths"] or receipt["symptoms"]:
        yield "## What went wrong\n"
        yield "".join(f"- During `{one['during']}`: {prose(one['how'])}.\n" for one in receipt["deaths"])
        yield "".join(
            f"- Symptom [{one['id']}](../troubleshooting/index.md#{one['id']}), "
            f"rank{'s' if len(one['ranks']) > 1 else ''} {', '.join(map(str, one['ranks']))}.\n"
            for one in receipt["symptoms"]
        )
    if receipt["checks"]:
        yield "## Checks\n"
        yield table(
            ["Check", "Result", "What was seen"],
            [
                [code(one["name"]), _WORDS[one["status"]], prose(shorten(one["says"], _LONGEST))]
                for one in receipt["checks"]
                # How fast a tiny random model is says nothing.
                if one["area"] != "rates"
            ],
        )
