"""The receipt of a rehearsal: what ran, on what, what each check found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mimo_gb10.plan import LaunchPlan
from mimo_gb10.rehearsal.adapt import changes_as_data
from mimo_gb10.rehearsal.checks.greedy import Held
from mimo_gb10.rehearsal.stage import Stage
from mimo_gb10.rehearsal.stand import Stand
from mimo_gb10.rehearsal.tree import as_data
from mimo_gb10.rehearsal.variant import is_mtp
from mimo_gb10.smoke.check import Status
from mimo_gb10.smoke.runner import Result

KIND = "rehearsal"


def make(
    stand: Stand,
    stage: Stage,
    results: Sequence[Result],
    facts: Mapping[str, Any],
    held: Held,
    symptoms: Sequence[Mapping[str, Any]],
    started: str,
    nccl: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole receipt, in the form of ``configs/schema/rehearsal.schema.json``.

    Args:
        stand: What ran.
        stage: How it went.
        results: What each check found.
        facts: ``/server_info`` before broken uploads were sent; empty if the server did not say.
        held: The greedy text and answers.
        symptoms: What the logs say.
        started: When, ISO 8601.
        nccl: What NCCL says of its network, if it was asked to.
    """
    recipe = stand.context.recipe
    return {
        "kind": KIND,
        "date": started,
        "recipe": {
            "name": recipe.name,
            "sglang": recipe.sglang,
            "sha256": recipe.digest,
            "set": list(stand.overrides),
        },
        "variant": {
            "mtp": any(map(is_mtp, recipe.flags)),
            "patched": stand.is_patched,
        },
        "sglang": as_data(stand.tree),
        "machine": stand.machine.as_dict(),
        "ranks": len(stand.plan.ranks),
        "hosts": stand.hosts,
        "stand_ins": list(stand.stand_ins),
        "model": {
            "seed": stand.model.seed,
            "bytes": stand.model.bytes,
            "tensor_parallel": stand.model.tensor_parallel,
            "sha256": model_digest(stand.model.files),
        },
        "changes": changes_as_data(stand.changes),
        "launch": launch_data(stand.plan),
        "starts": stage.starts,
        "ended": ended(stage.starts, stage.deaths, stage.not_ready),
        "not_ready": stage.not_ready,
        "deaths": [{"during": during, "how": how} for during, how in stage.deaths],
        "checks": checks_data(results),
        "accept_length": accept_length(facts),
        "memory": server_memory(facts),
        "symptoms": symptoms,
        **({"nccl": nccl} if nccl else {}),
        "greedy": held.greedy.as_dict() if held.greedy is not None else {},
        "senses": held.senses.as_dict() if held.senses is not None else {},
    }


def launch_data(plan: LaunchPlan) -> list[dict[str, Any]]:
    """What the ranks ran."""
    return [{"rank": rank.rank, "env": dict(rank.env), "argv": list(rank.argv)} for rank in plan.ranks]


def checks_data(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Each check's result."""
    return [
        {
            "name": result.check.name,
            "area": result.check.area,
            "status": str(result.outcome.status),
            "seconds": round(result.seconds, 1),
            "says": result.outcome.says,
            "evidence": list(result.outcome.evidence),
            "numbers": dict(result.outcome.numbers),
        }
        for result in results
    ]


def ended(starts: Sequence[float], deaths: Sequence[tuple[str, str]], not_ready: str | None) -> str:
    """How it ended, in the words of the schema."""
    if not starts:
        return "not ready" if not_ready is not None and not_ready.startswith("not ready") else "died at start"
    return "died" if deaths else "stopped by us"


def model_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over the names and digests of a model's files."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()


def server_memory(info: Mapping[str, Any]) -> dict[str, Any]:
    """Memory as ``/server_info`` reports it: GiB for weights, KV cache and graphs, and how many tokens fit."""
    states = info.get("internal_states")
    state = states[0] if isinstance(states, list) and states and isinstance(states[0], dict) else {}
    usage = state.get("memory_usage")
    found = dict(usage) if isinstance(usage, dict) else {}
    tokens = info.get("max_total_num_tokens")
    return found | ({"max_total_num_tokens": tokens} if tokens is not None else {})


def accept_length(info: Mapping[str, Any]) -> float | None:
    """Tokens a step since the start, or None without speculation."""
    states = info.get("internal_states")
    state = states[0] if isinstance(states, list) and states and isinstance(states[0], dict) else {}
    value = state.get("avg_spec_accept_length")
    return round(float(value), 3) if isinstance(value, int | float) else None


def failed(results: Sequence[Result]) -> list[str]:
    """Names of the checks that failed."""
    return [result.check.name for result in results if result.outcome.status is Status.FAIL]
