"""Run the project's commands, and the scripts they generate, as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimo_gb10.paths import ROOT

# Stands in for python3 and docker: writes what it was called with, exactly, and ends.
_STUB = """#!{python} -IS
import json, os, sys
text = lambda value: value.decode("utf-8", "surrogateescape")
env = {{text(name): text(value) for name, value in os.environb.items()}}
seen = {{"argv": [os.path.basename(sys.argv[0]), *sys.argv[1:]], "env": env}}
json.dump(seen, open(os.environ["STUB_OUT"], "w"))
"""


@dataclass(frozen=True)
class Seen:
    argv: list[str]
    env: dict[str, str]


def run_command(name: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, check=False)


def make_stubs(folder: Path, names: Sequence[str] = ("python3", "docker")) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        stub = folder / name
        stub.write_text(_STUB.format(python=sys.executable), encoding="utf-8")
        stub.chmod(0o755)


def run_script(script: str, stubs: Path) -> Seen:
    """Run a generated script with bash in an otherwise empty environment; the stub says what reached it."""
    out = stubs / "seen.json"
    out.unlink(missing_ok=True)
    file = stubs / "script.sh"
    file.write_text(script, encoding="utf-8")
    env = {"PATH": f"{stubs}{os.pathsep}/usr/bin:/bin", "STUB_OUT": str(out)}
    done = subprocess.run(["bash", str(file)], env=env, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    seen = json.loads(out.read_text(encoding="utf-8"))
    # What bash itself adds or passes on; the generator refuses these names.
    inherited = {"PATH", "STUB_OUT", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    return Seen(seen["argv"], {name: value for name, value in seen["env"].items() if name not in inherited})
