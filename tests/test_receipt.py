"""Receipts of GPU runs: the numbers bear out what the page says, and a receipt that does not is refused."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimo_gb10 import receipt as module
from mimo_gb10.findings import Refused
from mimo_gb10.paths import DOCS, ROOT

NAME = "mtp-triton-window"
FILE = DOCS / "evidence" / f"{NAME}.json"


def raw() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


def run_of(data: Any, **wanted: Any) -> Any:
    runs = [
        run
        for run in data["backend"]["runs"]
        if all(run.get(key) == value for key, value in wanted.items()) and ("tool" in wanted or "tool" not in run)
    ]
    assert len(runs) == 1, wanted
    return runs[0]


def test_the_receipt_holds() -> None:
    receipt = module.load_receipt(NAME)
    assert receipt is not None
    assert list(module.check_receipt(receipt, NAME)) == []
    assert module.load_receipt("video-pin-memory") is None


def test_what_it_shows() -> None:
    data = raw()
    for release in ("0.5.11", "0.5.17"):
        assert "NoneType" in run_of(data, release=release, tree="unpatched")["message"]
        for kv, most in (("bfloat16", 0.003), ("float8_e4m3fn", 0.04)):
            run = run_of(data, release=release, tree="patched", kv=kv, kernel="mma.sync")
            assert run["error_graph"] == run["error_eager"] < most
            assert run["batches"] == 10 * len(run["widths"])
        assert run_of(data, release=release, tree="patched", tool="memcheck", kernel="mma.sync")["tool_errors"] == 0
    assert run_of(data, release="0.5.17", tool="racecheck")["tool_errors"] == 0
    # Filling the window and nothing else gives wrong numbers: the reason for the rest of the patch.
    assert run_of(data, tree="window only")["error_graph"] > 1
    # With Hopper's wgmma the kernel itself is wrong, the same without a graph.
    assert run_of(data, release="0.5.17", kernel="wgmma", tool="memcheck")["tool_errors"] > 0
    by_kernel = {(run["kernel"], run["kv_heads"]): run for run in data["kernel"]["runs"]}
    assert by_kernel["mma.sync", 2]["wrong_fp8"] == 0 < by_kernel["wgmma", 2]["wrong_fp8"]
    assert any("GB10" in text for text in data["not_run"])


def test_it_names_no_machine() -> None:
    assert not re.search(r"/(?:work|tmp|var|opt|home|root)/", FILE.read_text(encoding="utf-8"))


def test_the_case_that_it_names_is_there() -> None:
    assert (ROOT / raw()["backend"]["case"]).is_file()


def worse_graph(data: Any) -> None:
    run_of(data, release="0.5.17", tree="patched", kv="bfloat16", kernel="mma.sync")["error_graph"] = 0.5


def counted_errors(data: Any) -> None:
    run_of(data, release="0.5.11", tool="memcheck")["tool_errors"] = 1


def no_count(data: Any) -> None:
    del run_of(data, release="0.5.11", tool="memcheck")["tool_errors"]


def died(data: Any) -> None:
    run = run_of(data, release="0.5.17", tree="patched", kv="bfloat16", kernel="mma.sync")
    run["ended"] = "illegal memory access"


def no_error(data: Any) -> None:
    del run_of(data, release="0.5.17", tree="patched", kv="bfloat16", kernel="mma.sync")["error_eager"]


def defect_not_shown(data: Any) -> None:
    run = run_of(data, release="0.5.17", tree="unpatched")
    run |= {"ended": "done", "batches": 1, "error_eager": 0.1, "error_graph": 0.1}


def other_sources(data: Any) -> None:
    files = data["patched_files"]["0.5.17"]
    files[next(iter(files))] = "0" * 64


def unnamed_sources(data: Any) -> None:
    del data["patched_files"]["0.5.11"]


def wrong_kernel(data: Any) -> None:
    data["kernel"]["runs"][0]["wrong_fp8"] = 1


def too_many_nan(data: Any) -> None:
    data["server"]["runs"][0]["answers_with_nan"] = 43


def other_defect(data: Any) -> None:
    data["defect"] = "video-pin-memory"


def not_in_schema(data: Any) -> None:
    data["machine"]["gb10"] = "yes"


CHANGES: list[Callable[[Any], None]] = [
    worse_graph, counted_errors, no_count, died, no_error, defect_not_shown, other_sources, unnamed_sources,
    wrong_kernel, too_many_nan, other_defect, not_in_schema,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_receipt_that_says_otherwise_is_refused(
    change: Callable[[Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = copy.deepcopy(raw())
    change(data)
    (tmp_path / f"{NAME}.json").write_text(json.dumps(data), encoding="utf-8")
    monkeypatch.setattr(module, "EVIDENCE", tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    with pytest.raises(Refused):
        module.load_receipt(NAME)
