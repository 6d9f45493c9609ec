"""The troubleshooting page: every symptom of ``docs/symptoms.yaml``, most causal first."""

from __future__ import annotations

from collections.abc import Mapping

from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE
from mimo_gb10.diagnose.page import markdown, unknown_markdown
from mimo_gb10.diagnose.symptoms import load_symptoms
from mimo_gb10.diagnose.values import values_of
from mimo_gb10.files import Output
from mimo_gb10.generate.markdown import mark

FOLDER = "docs/troubleshooting"

_INTRO = f"""\
A log with thousands of lines often has one cause. `diagnose.py` finds the symptoms below in it, most causal first, with
the lines that prove each:

```bash
docker logs {DEFAULT_RECIPE}-rank0 > rank0.log 2>&1
docker logs {DEFAULT_RECIPE}-rank1 > rank1.log 2>&1
python scripts/diagnose.py rank0.log rank1.log
```

It also reads a running stream (`docker logs -f NAME 2>&1 | python scripts/diagnose.py`). The commands here are for the
recipe `{DEFAULT_RECIPE}` on the cluster `{DEFAULT_CLUSTER}`; with `--recipe` and `--cluster` it prints yours.
"""


def make() -> Mapping[str, Output]:
    """The page of the folder."""
    known = load_symptoms()
    values = values_of(DEFAULT_RECIPE, DEFAULT_CLUSTER)
    text = (
        f"# Troubleshooting\n\n{mark('docs/symptoms.yaml')}\n{_INTRO}\n"
        f"{markdown(known, values)}\n## Nothing here fits\n\n{unknown_markdown(known, values)}"
    )
    return {f"{FOLDER}/index.md": Output(text)}
