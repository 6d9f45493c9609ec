"""The receipt of MiMo's encoders: its form, and that it bears out what the defects' pages say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10.paths import DOCS, PATCH_INDEX
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import read_document
from tests.upstream.measure_encoders import ratios

RECEIPT = DOCS / "evidence" / "encoder-masks.json"
MACHINE = {
    "name": "GPU", "capability": "9.0", "driver": "1", "cuda": "13.0", "torch": "2", "triton": "3", "python": "3.12",
}  # fmt: skip


def wrong(receipt: Mapping[str, Any]) -> Iterator[str]:
    """What a receipt does not bear out: the defects show, the patches take them away, in the files of the index."""
    index = json.loads(PATCH_INDEX.read_text(encoding="utf-8"))
    for release, files in receipt["patched_files"].items():
        for name, digest in files.items():
            groups = [group for group in index["files"][name] if release in group["releases"]]
            if digest not in {state for group in groups for state in group["states"].values()}:
                yield f"{release}: {name} is not what the patches make"
    for row in receipt["rows"]:
        name = f"{row['release']}, {row['tree']}, {row['backend']}, {row['input']}"
        rounding = receipt["rounding"][row["release"]][row["encoder"]]
        right = row["error"] < 2 * rounding
        if (row["tree"], row["backend"]) == ("unpatched", "triton_attn"):
            if row["error"] < 5 * rounding:
                yield f"{name}: the defect does not show"
        elif not right:
            yield f"{name}: an error of {row['error']}, {rounding} is rounding"
    if receipt["ratios"] != ratios(receipt["rows"]):
        yield "the ratios are not those of the rows"


def row(tree: str, backend: str, error: float) -> dict[str, Any]:
    return {
        "release": "0.5.17", "tree": tree, "backend": backend, "encoder": "vision", "input": "image", "tokens": 4,
        "error": error, "ms": 2.0 if tree == "patched" else 4.0, "ms_least": 1.0, "peak_mib": 8.0,
    }  # fmt: skip


@pytest.fixture
def made() -> dict[str, Any]:
    """A receipt as measure_encoders.py writes it."""
    index = json.loads(PATCH_INDEX.read_text(encoding="utf-8"))
    name = "sglang/srt/layers/attention/vision_window.py"
    (group,) = (group for group in index["files"][name] if "0.5.17" in group["releases"])
    rows = [row("unpatched", "triton_attn", 0.2), row("patched", "triton_attn", 0.009), row("unpatched", "fa3", 0.009)]
    return {
        "what": "made", "defects": ["vision-sinks-window"], "date": "2026-11-25", "machine": MACHINE,
        "patched_files": {"0.5.17": {name: group["states"]["vision-sinks-window"]}},
        "rounding": {"0.5.17": {"vision": 0.0087}}, "rows": rows, "ratios": ratios(rows), "missing": [],
    }  # fmt: skip


def test_what_the_script_writes_has_the_form_and_bears_the_pages_out(made: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    assert check_schema(read_document(path, path.name), "encoders") == []
    assert list(wrong(made)) == []
    assert made["ratios"] == [
        {"release": "0.5.17", "input": "image", "time_over_unpatched": 0.5, "memory_over_unpatched": 1.0,
         "time_over_fa3": 0.5, "memory_over_fa3": 1.0}
    ]  # fmt: skip


def test_what_a_receipt_does_not_bear_out_is_found(made: dict[str, Any]) -> None:
    made["rows"][0]["error"], made["rows"][1]["error"] = 0.009, 0.2
    made["rows"][1]["ms"] = 3.0
    made["patched_files"]["0.5.17"] = dict.fromkeys(made["patched_files"]["0.5.17"], "0" * 64)
    found = list(wrong(made))
    assert len(found) == 4
    assert "is not what the patches make" in found[0]
    assert "the defect does not show" in found[1]
    assert "0.0087 is rounding" in found[2]
    assert "ratios" in found[3]


def test_the_receipt_that_is_kept_is_right() -> None:
    document = read_document(RECEIPT, RECEIPT.name)
    assert check_schema(document, "encoders") == []
    assert list(wrong(document.value)) == []
    assert document.value["missing"] == []
