"""Generated files are fresh, and a stale one is noticed."""

from __future__ import annotations

from pathlib import Path

from mimo_gb10.generate import stale, write
from tests.support.run import run_command


def test_generated_files_are_fresh() -> None:
    done = run_command("generate.py", "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_missing_changed_and_orphaned_files_are_found_and_mended(tmp_path: Path) -> None:
    everything = write(tmp_path)
    assert len(everything) > 30
    assert stale(tmp_path) == []
    assert write(tmp_path) == []

    changed = tmp_path / "tests/golden/gb10x4-omni/bash/rank0.sh"
    changed.write_text(changed.read_text(encoding="utf-8").replace("0.8", "0.9"), encoding="utf-8")
    missing = tmp_path / "docs/recipes/gb10x4-mtp.md"
    missing.unlink()
    orphan = tmp_path / "tests/golden/old-recipe/plan.json"
    orphan.parent.mkdir()
    orphan.write_text("{}", encoding="utf-8")

    found = {str(finding.location): finding for finding in stale(tmp_path)}
    assert set(found) == {str(path.relative_to(tmp_path)) for path in (changed, missing, orphan)}
    assert all("make generate" in finding.help for finding in found.values())
    assert sorted(write(tmp_path)) == sorted(found)
    assert stale(tmp_path) == []
