"""The logs of ``tests/diagnose/logs/``, and what the tool makes of them without a process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mimo_gb10.diagnose.scan import Feeder, Scanner
from mimo_gb10.diagnose.state import RankLog
from mimo_gb10.diagnose.symptoms import Symptoms, load_symptoms
from mimo_gb10.diagnose.verdict import Found, find

LOGS = Path(__file__).parent / "logs"
EXPECTED = Path(__file__).parent / "expected.yaml"


@dataclass(frozen=True)
class Case:
    """One log, or one log a rank.

    Attributes:
        name: Its path below ``logs/``, without the suffix.
        symptom: The folder: a symptom, or ``healthy``.
        files: The files in rank order.
    """

    name: str
    symptom: str
    files: tuple[Path, ...]

    @property
    def matches(self) -> bool:
        return self.name.partition("/")[2].startswith("match")


def all_cases() -> list[Case]:
    found = []
    for folder in sorted(path for path in LOGS.iterdir() if path.is_dir()):
        for path in sorted(folder.iterdir()):
            files = tuple(sorted(path.glob("rank*.log"))) if path.is_dir() else (path,)
            found.append(Case(f"{folder.name}/{path.stem if path.is_file() else path.name}", folder.name, files))
    return found


def read(blocks_of_ranks: Mapping[str, Iterable[bytes]], known: Symptoms | None = None) -> list[RankLog]:
    """The logs of some ranks after reading them in blocks."""
    known = known or load_symptoms()
    scanner = Scanner({name: line.pattern for name, line in known.lines.items()})
    logs = []
    for rank, blocks in blocks_of_ranks.items():
        log = RankLog(rank, f"rank{rank}.log", known.orders())
        feeder = Feeder(scanner, log)
        for block in blocks:
            feeder.take(block)
        feeder.end()
        logs.append(log)
    return logs


def diagnose(*texts: bytes, known: Symptoms | None = None, ended: bool = True) -> list[Found]:
    """The symptoms in the logs of ranks 0, 1, ..., given whole."""
    known = known or load_symptoms()
    return find(known, read({str(rank): [text] for rank, text in enumerate(texts)}, known), ended=ended)


def ids(found: Iterable[Found]) -> list[str]:
    return [item.symptom.id for item in found]
