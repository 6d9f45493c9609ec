"""The troubleshooting page: every symptom of ``docs/symptoms.yaml``, most causal first."""

from __future__ import annotations

from collections.abc import Mapping

from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.defects import load_defects
from mimo_gb10.diagnose.page import markdown, unknown_markdown
from mimo_gb10.diagnose.symptoms import Symptoms, load_symptoms
from mimo_gb10.diagnose.values import values_of
from mimo_gb10.files import Output
from mimo_gb10.generate.markdown import mark

FOLDER = "docs/troubleshooting"

_INTRO = f"""\
A log with thousands of lines often has one cause. [Paste it into Diagnose](../tools/diagnose.md), which reads it in
your browser and shows the symptoms in it, most causal first. In a terminal:

```bash
docker logs {DEFAULT_RECIPE}-rank0 > rank0.log 2>&1
docker logs {DEFAULT_RECIPE}-rank1 > rank1.log 2>&1
python scripts/diagnose.py rank0.log rank1.log
```

It also reads a running stream (`docker logs -f NAME 2>&1 | python scripts/diagnose.py`). The commands here are for the
recipe `{DEFAULT_RECIPE}` on the cluster `{DEFAULT_CLUSTER}`; with `--recipe` and `--cluster` it prints yours.
"""

_STAGES = {
    "docker-no-gpu": "It does not start",
    "interface-missing": "The ranks do not meet, or stall",
    "driver-no-memory": "Memory and loading",
    "ptxas-old": "Kernels, MTP, KV cache",
    "transcription-token-list": "Transcription, audio, video, images",
    "kernel-build-stall": "It serves, and then does not",
    "graph-capture-stuck": "What follows from something else",
}
"""What a reader sees, by its first symptom. Symptoms are in causal order, which is nearly that of a launch."""


def make() -> Mapping[str, Output]:
    """The page of the folder."""
    known = load_symptoms()
    values = values_of(DEFAULT_RECIPE, DEFAULT_CLUSTER)
    text = (
        f"# Troubleshooting\n\n{mark('docs/symptoms.yaml and patches/defects.yaml')}\n{_INTRO}\n"
        f"{_contents(known)}\n{_silent()}\n{markdown(known, values)}\n"
        f"## Nothing here fits\n\n{unknown_markdown(known, values)}"
    )
    return {f"{FOLDER}/index.md": Output(text)}


def _silent() -> str:
    """Defects that leave nothing in a log, so that Diagnose cannot find them."""
    rows = [
        f"* {defect.symptom} [{defect.title}](../patches/{defect.id}.md).\n"
        for defect in load_defects().values()
        if not defect.log
    ]
    intro = "Nothing fails, and no log says so. What this project knows of:"
    return f"### Answers are worse than they should be\n\n{intro}\n\n{''.join(rows)}"


def _contents(known: Symptoms) -> str:
    """Every symptom as a link, by what a reader sees: two taps from the first page."""
    missing = _STAGES.keys() - known.symptoms.keys()
    assert not missing, missing
    parts = ["## By what you see\n"]
    for name, symptom in known.symptoms.items():
        if name in _STAGES:
            parts.append(f"\n### {_STAGES[name]}\n\n")
        parts.append(f"* [{symptom.title}](#{name})\n")
    return "".join(parts)
