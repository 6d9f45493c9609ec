"""Which symptoms the logs prove, and which of them follow from which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mimo_gb10.diagnose.state import Hit, RankLog
from mimo_gb10.diagnose.symptoms import Symptom, Symptoms


@dataclass(frozen=True, slots=True)
class Proof:
    """What proves a symptom in the log of one rank.

    Attributes:
        rank: The rank.
        file: Its log.
        hits: The lines, in order.
        counts: How often each of them came so far, by name.
    """

    rank: str
    file: str
    hits: tuple[Hit, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A symptom with its proof.

    Attributes:
        symptom: The symptom.
        proofs: One a rank, in the order of the ranks.
        follows_from: Ids of found symptoms that lead to this one, nearest in the file first.
        leads_to: Ids of found symptoms that follow from it.
    """

    symptom: Symptom
    proofs: tuple[Proof, ...]
    follows_from: tuple[str, ...] = ()
    leads_to: tuple[str, ...] = ()


def find(known: Symptoms, logs: Sequence[RankLog], *, ended: bool) -> list[Found]:
    """The symptoms that the logs prove, most causal first.

    The file keeps a symptom before those that follow from it; among the found ones, those that nothing found leads to
    come first, errors before warnings.

    Args:
        known: All symptoms.
        logs: One a rank.
        ended: Whether the logs are complete, so that what is absent or last in them counts.
    """
    proofs = {name: proof for name, symptom in known.symptoms.items() if (proof := _proofs(symptom, logs, ended))}
    reach = _reach([known.symptoms[name] for name in proofs])
    found = []
    for name, proof in proofs.items():
        before = tuple(other for other in proofs if name in reach[other])
        after = tuple(other for other in proofs if other in reach[name])
        found.append(Found(known.symptoms[name], proof, before[::-1], after))
    return causal_order(found)


def causal_order(found: Iterable[Found]) -> list[Found]:
    """Most causal first: roots before what follows from them; of equals errors first, then the file's order."""
    left = list(found)
    done: set[str] = set()
    ordered: list[Found] = []
    while left:
        ready = [item for item in left if set(item.follows_from) <= done] or left[:1]
        item = min(ready, key=lambda one: (bool(one.follows_from), one.symptom.severity != "error"))
        left.remove(item)
        done.add(item.symptom.id)
        ordered.append(item)
    return ordered


def _proofs(symptom: Symptom, logs: Sequence[RankLog], ended: bool) -> tuple[Proof, ...]:
    held = [(log, hits) for log in logs if (hits := log.proof(symptom.match, ended=ended)) is not None]
    if not held or (symptom.every and len(held) < len(logs)):
        return ()
    if symptom.differ is not None and not _differ(symptom.differ, logs):
        return ()
    shown = {log.rank: (log, hits) for log, hits in held}
    if symptom.others is not None:
        beside = [
            (log, hits)
            for log in logs
            if log.rank not in shown and (hits := log.proof(symptom.others, ended=ended)) is not None
        ]
        if not beside:
            return ()
        shown |= {log.rank: (log, hits) for log, hits in beside}
    return tuple(
        Proof(
            log.rank, log.file, shown[log.rank][1], {hit.name: log.seen[hit.name].count for hit in shown[log.rank][1]}
        )
        for log in logs
        if log.rank in shown
    )


def _differ(name: str, logs: Sequence[RankLog]) -> bool:
    """Whether two ranks say different things in a line, each in the first that it wrote."""
    return len({log.seen[name].first.value for log in logs if name in log.seen}) > 1


def _reach(found: Sequence[Symptom]) -> dict[str, frozenset[str]]:
    """For each found symptom all that follows from it, from one found symptom to the next.

    A chain ends where a link is not in the logs. A cause stands before its effects in the file, and so in `found`.
    """
    reach: dict[str, frozenset[str]] = {}
    for symptom in reversed(found):
        near = [name for name in symptom.causes if name in reach]
        reach[symptom.id] = frozenset(near).union(*(reach[name] for name in near))
    return reach
