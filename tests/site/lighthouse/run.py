"""Lighthouse, as on a phone, over the pages that most readers open: `make lighthouse`.

It writes a report for each page into a folder and prints the scores. A report, not a gate: the performance of a shared
machine varies from run to run. The site is served compressed, as web hosts do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mimo_gb10.extract.wheel import default_cache_dir
from tests.site import support

HERE = Path(__file__).parent
PAGES = {"home": "", "guide": "guide/", "mtp": "mtp/", "builder": "tools/builder/"}
WANTED = {"performance": 0.95, "accessibility": 1.0, "best-practices": 1.0, "seo": 1.0}


def installed() -> Path:
    """Lighthouse's program, installed as the lock says, in the user's cache folder."""
    lock = HERE / "package-lock.json"
    name = f"lighthouse-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    folder = default_cache_dir().parent / name
    program = folder / "node_modules" / "lighthouse" / "cli" / "index.js"
    if not program.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for file in (lock, HERE / "package.json"):
            shutil.copy(file, folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return program


def score(program: Path, url: str, report: Path) -> dict[str, float]:
    """The scores of one page; the report is written beside."""
    command = [
        "node", str(program), url, "--quiet", "--output=json", "--output=html", f"--output-path={report}",
        f"--only-categories={','.join(WANTED)}", f"--chrome-flags=--headless=new {' '.join(support.FLAGS)}",
    ]  # fmt: skip
    env = {**os.environ, "CHROME_PATH": support.CHROMIUM or "chromium"}
    subprocess.run(command, env=env, check=True)
    data = json.loads(report.with_name(f"{report.name}.report.json").read_text(encoding="utf-8"))
    return {name: data["categories"][name]["score"] for name in WANTED}


def main(arguments: Sequence[str]) -> int:
    """Build, serve, measure, print."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, default=Path("lighthouse"), help="folder for the reports")
    options = made.parse_args(arguments)
    program = installed()
    options.out.mkdir(parents=True, exist_ok=True)
    below = 0
    with tempfile.TemporaryDirectory() as folder:
        support.build(Path(folder))
        with support.serving(Path(folder), compressed=True) as url:
            for name, path in PAGES.items():
                scores = score(program, f"{url}/{path}", options.out.absolute() / name)
                below += sum(scores[what] < least for what, least in WANTED.items())
                print(f"{name:8}", "  ".join(f"{what} {value:.2f}" for what, value in scores.items()), flush=True)
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
