"""mtp-triton-window: draft-extend steps of multi-layer EAGLE on the triton backend, run and compiled on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.trees import patched, unpatched
from tests.upstream.run import run_case

pytestmark = pytest.mark.upstream

DEFECT = "mtp-triton-window"
# The first release of each group of releases in which all files that the patch touches are alike.
GROUPS = [
    "0.5.11", "0.5.12", "0.5.13", "0.5.14", "0.5.15", "0.5.16",
    "0.5.17", "0.5.18", "0.5.19", "0.5.20", "0.5.21", "0.5.22",
]  # fmt: skip
FIXED = "0.5.23"
# Each MTP layer extends by one token more there.
GROWING = ["0.5.11", "0.5.12", "0.5.13", "0.5.14"]
# The worker without CUDA graphs plans the first layer only.
UNPLANNED = [*GROWING, "0.5.15"]
# The pool of hidden states is one row short.
SHORT_POOL = ["0.5.11"]
GB10 = "121"  # its compute capability, without the point
# Every batch here, three of them elsewhere.
THOROUGH = ["0.5.11", "0.5.17"]
ROUNDING = 1e-5

Found = dict[str, Any]


def window(release: str, tree: Path, thorough: bool = False) -> list[Found]:
    """For each width of a draft-extend step: how far graph and eager path are from float64."""
    widths = ["4", "5", "6"] if release in GROWING else ["4"]
    quick = [] if thorough else ["--quick"]
    found = run_case("mtp_window", tree, "--widths", *widths, *quick, TRITON_INTERPRET="1")
    assert "died" not in found, found["died"]
    assert list(found["widths"]) == widths
    return list(found["widths"].values())


def worker(tree: Path, *arguments: str) -> Found:
    found = run_case("mtp_worker", tree, *arguments, TRITON_INTERPRET="1")
    assert "died" not in found, found["died"]
    return found


def capture(tree: Path) -> Found:
    """The kernels that Triton compiles for GB10 while a graph is captured, and its error."""
    found = run_case("mtp_compile", tree, GB10)
    assert "died" not in found, found["died"]
    return found


def is_right(found: Found) -> None:
    assert found["window_at_capture"]
    assert found["worst_eager"] < ROUNDING
    assert found["worst_graph"] < ROUNDING


@pytest.mark.parametrize("release", GROUPS)
def test_unpatched_the_kernel_does_not_compile_at_capture(release: str) -> None:
    """The error that users report, in this Triton's words: 3.6 says 'type' where 3.9 says 'dtype'."""
    found = capture(unpatched(release))
    assert found["compiled"] == []
    assert found["error"].startswith("CompilationError: at ")
    assert "tl.load(" in found["error"]
    assert "kv_indices + cur_seq_kv_start_idx" in found["error"]
    assert "'NoneType' object has no attribute 'dtype'" in found["error"]


@pytest.mark.parametrize("release", GROUPS)
def test_patched_the_kernel_compiles_at_capture(release: str) -> None:
    assert capture(patched(release, only=[DEFECT])) == {"compiled": ["_fwd_kernel"], "error": None}


@pytest.mark.parametrize("release", GROUPS)
def test_unpatched_the_graph_reads_no_window(release: str) -> None:
    """Triton's interpreter goes on without the indices and gets it wrong."""
    for found in window(release, unpatched(release)):
        assert not found["window_at_capture"]
        assert found["worst_graph"] > 0.5
        assert found["worst_eager"] < ROUNDING


@pytest.mark.parametrize("release", GROUPS)
def test_patched_the_graph_equals_the_eager_path_and_float64(release: str) -> None:
    """Over lengths below, at and above the window, one-token prompts, and batches smaller than the captured one."""
    thorough = release in THOROUGH
    for found in window(release, patched(release, only=[DEFECT]), thorough):
        assert found["batches"] == (10 if thorough else 3)
        is_right(found)


def test_upstream_mended_it_in_0_5_23() -> None:
    for found in window(FIXED, unpatched(FIXED)):
        is_right(found)


@pytest.mark.parametrize("release", UNPLANNED)
def test_unpatched_without_graphs_later_layers_run_with_the_last_prefills_plan(release: str) -> None:
    """Two requests of four draft tokens are eight rows; the prefill before had 200."""
    found = worker(unpatched(release))
    assert found["rows"] == 8
    assert found["planned"] == [8, 200, 200]


@pytest.mark.parametrize("release", UNPLANNED)
def test_patched_without_graphs_every_layer_is_planned(release: str) -> None:
    assert worker(patched(release, only=[DEFECT]))["planned"] == [8, 8, 8]


@pytest.mark.parametrize("release", SHORT_POOL)
def test_unpatched_the_last_request_has_no_row_of_hidden_states(release: str) -> None:
    pool = worker(unpatched(release), "pool")["pool"]
    assert pool["rows"] <= pool["highest"]


@pytest.mark.parametrize("release", SHORT_POOL)
def test_patched_every_request_has_a_row_of_hidden_states(release: str) -> None:
    pool = worker(patched(release, only=[DEFECT]), "pool")["pool"]
    assert pool["rows"] > pool["highest"]


def test_upstream_mended_the_rows_in_0_5_12() -> None:
    pool = worker(unpatched("0.5.12"), "pool")["pool"]
    assert pool["rows"] > pool["highest"]
