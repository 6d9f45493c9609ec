"""Which known symptoms stand in the logs of the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimo_gb10.diagnose.report import shown
from mimo_gb10.diagnose.scan import Feeder, Scanner
from mimo_gb10.diagnose.state import RankLog
from mimo_gb10.diagnose.symptoms import load_symptoms
from mimo_gb10.diagnose.verdict import find

_BLOCK = 256 * 1024


def symptoms_in(logs: Mapping[int, Path]) -> list[dict[str, Any]]:
    """Symptoms in causal order: id, severity, ranks, and the first line that shows each."""
    known = load_symptoms(validate=False)
    scanner = Scanner({name: line.pattern for name, line in known.lines.items()})
    read = []
    for rank, path in logs.items():
        log = RankLog(str(rank), path.name, known.orders())
        feeder = Feeder(scanner, log)
        if path.is_file():
            with path.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    feeder.take(block)
        feeder.end()
        read.append(log)
    return [
        {
            "id": item.symptom.id,
            "severity": item.symptom.severity,
            "ranks": [int(proof.rank) for proof in item.proofs],
            "follows_from": list(item.follows_from),
            "line": shown(item.proofs[0].hits[0].text) if item.proofs[0].hits else "",
        }
        for item in find(known, read, ended=True)
    ]
