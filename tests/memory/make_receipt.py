#!/usr/bin/env python3
"""Run the plan's pool formulas beside SGLang's own classes, and write the receipt; ``--check`` compares."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from mimo_gb10.files import Output, write_files  # noqa: E402
from mimo_gb10.memory.pools import RECEIPT, cell_of, pools_of  # noqa: E402
from mimo_gb10.memory.setting import Draft, Setting  # noqa: E402
from mimo_gb10.model import load_model  # noqa: E402
from mimo_gb10.paths import MODELS, RELEASES  # noqa: E402
from mimo_gb10.release import known_releases, load_release  # noqa: E402
from tests.memory.upstream_pools import sizes  # noqa: E402
from tests.support.trees import pristine  # noqa: E402

BUDGETS = (-1, 0, 1, 3_000_000, 2_000_000_001, 16_750_372_454, 26 * 2**30 + 7)

SHOWN = ("tensor_parallel", "kv_bytes", "ratio", "page", "requests", "draft", "radix", "overlap", "token_limit")


def settings(release: str) -> Iterator[Setting]:
    """Launches that reach every branch of the arithmetic."""
    known = load_release(release)
    choices = itertools.product(
        (1, 2, 4),
        (1.0, 2.0),
        (0.1, 0.3, 0.8, 1.0),
        (1, 64),
        (None, 24),
        (None, Draft(3, 4), Draft(1, 2)),
        (True, False),
        (True, False),
        (None, 100_000),
    )
    for ranks, size, ratio, page, requests, draft, radix, overlap, limit in choices:
        yield Setting(
            "",
            known,
            ranks,
            size,
            ratio,
            page,
            0.8,
            requests,
            8192,
            1 << 20,
            limit,
            (0, 0),
            draft,
            radix,
            overlap,
            False,
        )


def made(releases: list[str] | None = None) -> dict[str, Any]:
    """The receipt."""
    facts = load_model(MODELS / "mimo-v2.5.yaml").facts
    window = facts["attention"]["sliding_window"]["window"]
    rows = []
    for release in releases or known_releases():
        compared, unlike = 0, []
        tree = pristine(release)
        for setting, counted in itertools.product(settings(release), (True, False)):
            cell = cell_of(facts, setting, counted=counted)
            found = sizes(tree, facts, setting, facts["mtp"]["layers"] if counted else 0, BUDGETS)
            for budget, theirs in zip(BUDGETS, found, strict=True):
                pools = pools_of(budget, cell, setting, window)
                compared += 1
                if (pools.full, pools.window) != theirs:
                    row = {name: str(getattr(setting, name)) for name in SHOWN}
                    unlike.append({**row, "budget": budget, "ours": [pools.full, pools.window], "sglang": theirs})
        catalog = json.loads((RELEASES / f"sglang-{release}.json").read_text(encoding="utf-8"))
        digest = catalog["wheel"]["sha256"]
        rows.append({"release": release, "wheel_sha256": digest, "compared": compared, "unlike": unlike})
    return {
        "what": "The plan's KV pool formulas (scripts/mimo_gb10/memory/pools.py) beside SGLang's own configurators, "
        "taken from the wheel of each release and run with stand-ins for the model runner and the arguments. Compared: "
        "tokens of both pools.",
        "made_by": "python tests/memory/make_receipt.py",
        "not_run": [
            "anything on GB10",
            "the allocation itself",
            "how a release finds the MTP layers that it counts: that was read",
        ],
        "releases": rows,
    }


def as_text(receipt: dict[str, Any]) -> str:
    """The receipt as it is kept."""
    return json.dumps(receipt, indent=2) + "\n"


def main() -> int:
    """Write or compare the receipt; returns the exit code."""
    receipt = made()
    path = ROOT / RECEIPT
    if "--check" in sys.argv:
        return int(not path.is_file() or path.read_text(encoding="utf-8") != as_text(receipt))
    unlike = sum(len(row["unlike"]) for row in receipt["releases"])
    if unlike:
        sys.stderr.write(
            f"error[unlike]: {unlike} results differ\n{json.dumps(receipt['releases'][-1]['unlike'][:3], indent=1)}\n"
        )
        return 1
    write_files(path.parent, {path.name: Output(as_text(receipt))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
