"""Python and JavaScript find the same lines: every pattern over every log of the tests, in both."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mimo_gb10.diagnose.pattern import JAVASCRIPT_FLAGS, compiled
from mimo_gb10.diagnose.symptoms import load_symptoms
from tests.diagnose.cases import LOGS

NODE = shutil.which("node")
PROGRAM = r"""
const fs = require("fs");
const {patterns, flags, files} = JSON.parse(fs.readFileSync(0, "utf8"));
const compiled = Object.entries(patterns).map(([name, pattern]) => [name, new RegExp(pattern, flags)]);
const found = {};
for (const file of files) {
  const lines = fs.readFileSync(file, "utf8").split(/\n|\r/);
  const matches = (pattern) => lines.flatMap((line, index) => {
    const m = pattern.exec(line);
    return m ? [[index, m.index, m[0], m[1] ?? null]] : [];
  });
  found[file] = Object.fromEntries(compiled.map(([name, pattern]) => [name, matches(pattern)]));
}
process.stdout.write(JSON.stringify(found));
"""


@pytest.mark.skipif(NODE is None, reason="node is not installed: patterns are not compared with JavaScript")
def test_node_finds_what_python_finds(tmp_path: Path) -> None:
    patterns = {name: line.pattern for name, line in load_symptoms().lines.items()}
    tricky = tmp_path / "tricky.log"
    tricky.write_text(
        "sglang is using nccl==2.29.10\nsglang is using nccl==2.29.1\n nnodes=2x nnodes=12, nnodes=1\n"
        "sglang is using nccl==2.28.٩\n"
        "device_name=NVIDIA_H200_NVL device_name=NVIDIA_H2000\nxxncclLocalOpAppend\nncclLocalOpAppendé\n"
        "Model architectures ['MiMoV2ForCausalLM'\u2028] are not supported for now.\n"
        "NET/IB : Using [0]rocep1s0f0:1/RoCE \U0001f600 [1]roceP2p1s0f0:1/RoCE\n",
        encoding="utf-8",
    )  # fmt: skip
    files = [str(path) for path in sorted(LOGS.rglob("*.log"))] + [str(tricky)]
    given = json.dumps({"patterns": patterns, "flags": JAVASCRIPT_FLAGS, "files": files})
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", PROGRAM], input=given, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert set(theirs) == set(files)
    matched = set()
    for file in files:
        lines = re.split(r"\n|\r", Path(file).read_bytes().decode("utf-8"))
        for name, pattern in patterns.items():
            ours = [
                [index, _utf16(line[: match.start()]), match[0], match[1] if match.re.groups else None]
                for index, line in enumerate(lines)
                if (match := compiled(pattern).search(line))
            ]
            assert theirs[file][name] == ours, f"{name} in {file}"
            matched |= {name} if ours else set()
    assert matched == set(patterns), "a pattern that no log shows is not compared"


def _utf16(text: str) -> int:
    """The length of a text as JavaScript counts it."""
    return len(text.encode("utf-16-le")) // 2
