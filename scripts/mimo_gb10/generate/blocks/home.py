"""Home: four nodes in a picture, and where each release stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape

from mimo_gb10.defaults import DEFAULT_RECIPE
from mimo_gb10.defects import PRESENT, load_verdicts
from mimo_gb10.evidence import is_whole, rehearsals
from mimo_gb10.generate.markdown import table
from mimo_gb10.launch import check, recipes
from mimo_gb10.release import known_releases, load_release
from mimo_gb10.rules.pins import FIRST_GOOD_NCCL, can_deadlock

_CLUSTER = "post-4x-gb10"
_NCCL = "nvidia-nccl-cu13"


def _releases() -> str:
    """One row a release, newest first."""
    verdicts = load_verdicts()
    ours = {recipe.name: recipe.sglang for recipe in recipes()}
    rows = []
    for version in reversed(known_releases()):
        release = load_release(version)
        present = [verdict for verdict in verdicts.values() if verdict.in_release(version) == PRESENT]
        mended = sum(verdict.patch_for(version) is not None for verdict in present)
        links = [f"[{name}](recipes/{name}.md)" for name, wanted in ours.items() if wanted == version]
        rows.append(
            [
                version,
                str(release.facts["date"]),
                f"{len(present)} ({mended} mended)",
                _nccl(release.pins().get(_NCCL, "")),
                _rehearsed(version),
                ", ".join(links),
            ]
        )
    header = ["SGLang", "Date", "[Defects](patches/index.md)", "NCCL", "Rehearsed", "Recipes"]
    note = (
        f"Mended: with a patch of ours. Deadlock: NCCL before {FIRST_GOOD_NCCL} can stall on aarch64 when ranks are on "
        "several nodes ([reported](https://github.com/NVIDIA/nccl/issues/2353)). An image may carry another NCCL than "
        "its torch requires."
    )
    return f'<div class="matrix" markdown>\n\n{table(header, rows)}\n</div>\n\n{note}\n'


def _nccl(version: str) -> str:
    return f"{version} (deadlock)" if can_deadlock(version) else version


def _rehearsed(version: str) -> str:
    """What receipts there are of a release's whole launch, patched."""
    # Several recipes may share a launch; one link for each variant suffices here.
    links = {
        f"{'with' if receipt['variant']['mtp'] else 'without'} MTP": name
        for name, receipt in rehearsals().items()
        if receipt["recipe"]["sglang"] == version and is_whole(receipt)
    }
    return ", ".join(f"[{words}](rehearsals/{name}.md)" for words, name in sorted(links.items()))


def _picture() -> str:
    """The nodes of the post's cluster: who talks to whom, and over what. Two by two, so that a phone shows the text."""
    ranks = check(DEFAULT_RECIPE, _CLUSTER).plan().ranks
    width, box, height, top = 400, 184, 84, 62
    fabric = top + height + 26
    parts = [
        _text(12, 18, "client: HTTP, OpenAI API", "start"),
        _line(96, 26, 96, top, arrow=True),
        f'<rect class="fabric" x="8" y="{fabric}" width="{width - 16}" height="36" rx="6"/>',
        _text(width / 2, fabric + 23, "200 Gb/s fabric: NCCL over RDMA", "middle"),
    ]
    for index, rank in enumerate(ranks):
        left = 8 + index % 2 * (box + 16)
        is_above = index < 2
        y = top if is_above else fabric + 62
        middle = left + box / 2
        parts += [
            f'<rect x="{left}" y="{y}" width="{box}" height="{height}" rx="6"/>',
            _text(middle, y + 24, f"rank {rank.rank}: one GB10", "middle"),
            _text(middle, y + 46, rank.address, "middle"),
            _text(middle, y + 68, "a quarter of the weights", "middle"),
            _line(middle, y + height, middle, fabric) if is_above else _line(middle, fabric + 36, middle, y),
        ]
    description = (
        "A client speaks HTTP to rank 0. Four GB10 nodes, one rank each, hold a quarter of the weights each and "
        "exchange activations over a 200 gigabit fabric with NCCL over RDMA."
    )
    return (
        f'<svg class="mimo-nodes" viewBox="0 0 {width} {fabric + 62 + height + 8}" role="img" '
        f'aria-labelledby="mimo-nodes-title mimo-nodes-text" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="mimo-nodes-title">Four nodes and the data path</title>'
        f'<desc id="mimo-nodes-text">{escape(description)}</desc>{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, *, arrow: bool = False) -> str:
    head = f'<path d="M{x2 - 5:g} {y2 - 9:g}L{x2:g} {y2:g}L{x2 + 5:g} {y2 - 9:g}"/>' if arrow else ""
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>{head}'


BLOCKS: Mapping[str, Callable[[], str]] = {"home-releases": _releases, "home-picture": _picture}
