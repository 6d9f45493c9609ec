"""The receipt of a rehearsal: what ran, on what, what each check found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mimo_gb10.plan import LaunchPlan
from mimo_gb10.smoke.check import Status
from mimo_gb10.smoke.runner import Result

KIND = "rehearsal"


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
