"""Which ranks prove a symptom, and in which order symptoms are told."""

from __future__ import annotations

from dataclasses import replace

from mimo_gb10.diagnose.expression import Line
from mimo_gb10.diagnose.symptoms import load_symptoms
from mimo_gb10.diagnose.verdict import find
from tests.diagnose.cases import diagnose, ids, read

WATCHDOG = b"[x TP0] Scheduler watchdog timeout (self.watchdog_timeout=300, self.soft=False)\n"
LOADED = b"[x TP1] Load weight end. elapsed=1 s\n"
HEALTH = b"Health check failed. Server couldn't get a response from detokenizer for last 20 seconds.\n"
QUEUE = b"CustomAllreduce is disabled because this process group spans across nodes.\n"


def test_one_rank_spins_while_another_idles() -> None:
    found = diagnose(LOADED + WATCHDOG, LOADED)
    assert ids(found) == ["rank-idle", "watchdog"]
    assert [proof.rank for proof in found[0].proofs] == ["0", "1"]
    assert [proof.rank for proof in found[1].proofs] == ["0"]


def test_one_log_alone_does_not_show_that_another_rank_idles() -> None:
    assert ids(diagnose(LOADED + WATCHDOG)) == ["watchdog"]
    assert ids(diagnose(LOADED + WATCHDOG, LOADED + WATCHDOG)) == ["watchdog"]


def test_another_rank_is_another_rank() -> None:
    known = load_symptoms()
    symptom = replace(known.symptoms["watchdog"], others=Line("weights-loaded"))
    known = replace(known, symptoms={"watchdog": symptom})
    assert not find(known, read({"0": [LOADED + WATCHDOG]}, known), ended=True)
    assert find(known, read({"0": [LOADED + WATCHDOG], "1": [LOADED]}, known), ended=True)


def test_what_is_absent_counts_only_at_the_end() -> None:
    log = b"The server is fired up and ready to roll!\n" + HEALTH + b"more\n"
    assert ids(diagnose(log)) == ["kernel-build-stall"]
    assert ids(diagnose(log, ended=False)) == []


def test_every_rank_must_stop_there() -> None:
    assert ids(diagnose(QUEUE, QUEUE, QUEUE)) == ["message-queue-interface"]
    assert ids(diagnose(QUEUE, QUEUE, QUEUE + LOADED)) == []


def test_versions_are_compared_between_ranks() -> None:
    assert ids(diagnose(b"sglang is using nccl==2.30.7\n.", b"sglang is using nccl==2.30.7\n.")) == []
    found = diagnose(b"sglang is using nccl==2.30.7\n.", b".", b"sglang is using nccl==2.28.3\n.")
    assert ids(found) == ["nccl-versions-differ"]
    assert [proof.rank for proof in found[0].proofs] == ["0", "2"]


def test_causes_come_before_what_follows_from_them() -> None:
    log = (
        b"Received sigquit from a child process.\n"
        b"Scheduler hit an exception: x\n"
        b"KV cache pool is full. Retract requests.\n"
        b"CUDA out of memory. Tried to allocate 1 GiB\n"
    )
    found = diagnose(log)
    assert ids(found) == ["cuda-out-of-memory", "kv-pool-full", "scheduler-exception", "child-failed"]
    by_id = {item.symptom.id: item for item in found}
    assert by_id["child-failed"].follows_from == ("scheduler-exception", "cuda-out-of-memory")
    assert by_id["cuda-out-of-memory"].leads_to == ("scheduler-exception", "child-failed")
    assert by_id["kv-pool-full"].follows_from == ()


def test_a_chain_ends_where_a_link_is_not_found() -> None:
    """A leads to B leads to C: where B did not happen, C has another reason."""
    first, last = b"KV cache pool is full. Retract requests.\n", b"Received sigquit from a child process.\n"
    assert [item.follows_from for item in diagnose(first + last)] == [(), ()]
    found = diagnose(first + b"Prefill out of memory. Try to lower your batch size\n" + last)
    assert ids(found) == ["kv-pool-full", "pool-exhausted", "child-failed"]
    assert found[2].follows_from == ("pool-exhausted", "kv-pool-full")


def test_repeated_lines_are_counted_and_the_first_is_shown() -> None:
    [found] = diagnose(b"a\n" + b"KV cache pool is full. Retract requests.\n" * 7)
    [proof] = found.proofs
    assert [(hit.line, proof.counts[hit.name]) for hit in proof.hits] == [(2, 7)]


def test_everything_leads_somewhere_sensible() -> None:
    """An error that ends the server leads to child-failed; a warning never does."""
    known = load_symptoms().symptoms
    for one in known.values():
        if one.severity == "warning":
            assert "child-failed" not in one.causes, one.id
