#!/usr/bin/env python3
"""Read in every release what MiMo-V2.5's encoders do with sinks, windows and masks; ``--check`` only compares."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from mimo_gb10.files import Output, write_files  # noqa: E402
from mimo_gb10.generate.encoders import FILE  # noqa: E402
from mimo_gb10.release import known_releases  # noqa: E402
from tests.support.trees import pristine  # noqa: E402

VISION = "sglang/srt/layers/attention/vision.py"
AUDIO = "sglang/srt/models/mimo_audio.py"


def vision_backends(source: str) -> dict[str, dict[str, Any]]:
    """By the name that ``--mm-attention-backend`` takes: whether its class reads sinks and window, and where it stands.

    A class reads them when it names both outside of its own signature's ``**kwargs``: as a string or as a variable.
    """
    tree = ast.parse(source)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and any(isinstance(target, ast.Name) and target.id == "QKV_BACKEND_IMPL" for target in node.targets)
    )
    found = {}
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant)
        assert isinstance(value, ast.Name)
        node = classes[value.id]
        found[str(key.value)] = {
            "reads": {"window_size", "s_aux"} <= _mentioned(node),
            "at": f"{VISION}:{node.lineno}",
        }
    return found


def audio_attention(source: str) -> dict[str, Any]:
    """What the audio encoder's attention is called with: whether the causal mask reaches it, and where the call is."""
    tree = ast.parse(source)
    encoder = next(
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "AudioEncoderAttention"
    )
    names = ("flash_attn_varlen_func", "VisionAttention")
    calls = [
        node
        for node in ast.walk(encoder)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]
    (call,) = calls
    assert isinstance(call.func, ast.Name)
    given = {keyword.arg for keyword in call.keywords}
    # SGLang's vision attention takes a window, and uses it only together with sinks.
    return {
        "calls": call.func.id,
        "causal": "causal" in given,
        "window": "window_size" in given and (call.func.id != "VisionAttention" or "use_sink" in given),
        "at": f"{AUDIO}:{call.lineno}",
    }


def window_needs_sinks(source: str) -> str:
    """``file:line`` where the vision attention drops the window of a layer without sinks."""
    for number, line in enumerate(source.splitlines(), 1):
        if line.strip() == "if full_attn or self.sinks is None:":
            return f"{VISION}:{number}"
    raise AssertionError("the vision attention no longer drops the window of a layer without sinks")


def _mentioned(node: ast.AST) -> set[str]:
    found = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return found | {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def made() -> str:
    """The file's text."""
    releases = {}
    for version in known_releases():
        vision = (pristine(version) / VISION).read_text(encoding="utf-8")
        audio = (pristine(version) / AUDIO).read_text(encoding="utf-8")
        releases[version] = {
            "vision": vision_backends(vision),
            "window_needs_sinks": window_needs_sinks(vision),
            "audio": audio_attention(audio),
        }
    return json.dumps(releases, indent=1) + "\n"


def main() -> int:
    """Write or compare the file; returns the exit code."""
    text = made()
    if "--check" in sys.argv:
        return int(not FILE.is_file() or FILE.read_text(encoding="utf-8") != text)
    write_files(FILE.parent, {FILE.name: Output(text)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
