"""Checks of the checkpoint."""

from __future__ import annotations

from mimo_gb10.preflight.checks import GIB, Node, Outcome, check, fail, gib, listed, ok, skipped, warn
from mimo_gb10.preflight.facts import Unread
from mimo_gb10.preflight.read_weights import INDEX

_AGAIN = "Download it again; hf download (huggingface_hub) goes on where it stopped."


@check("weights-model")
def weights_model(node: Node) -> Outcome:
    """The folder holds the recipe's model."""
    found = node.facts.weights.architectures
    if isinstance(found, Unread):
        return fail(found.why, f"Put the checkpoint at model_path, {node.wanted.model_path}, on this node.")
    shown = ", ".join(found)
    if node.recipe is None:
        return ok(shown)
    if node.recipe.architecture not in found:
        return fail(
            f"config.json says {shown}, the recipe's model is {node.recipe.architecture}",
            "Correct model_path in the cluster file, or take the recipe of this model.",
        )
    return ok(shown)


@check("weights-index")
def weights_index(node: Node) -> Outcome:
    """Every file that the index names is there."""
    weights = node.facts.weights
    if isinstance(weights.index, Unread):
        if isinstance(weights.architectures, Unread):
            return skipped(weights.index.why)
        return fail(weights.index.why, _AGAIN)
    missing = sorted(set(weights.index) - set(weights.shards))
    if missing:
        return fail(f"{len(missing)} of {len(weights.index)} files are missing: {listed(missing)}", _AGAIN)
    return ok(f"{len(weights.index)} files, all there")


@check("weights-sizes")
def weights_sizes(node: Node) -> Outcome:
    """Every file is as long as its own header says, and holds the tensors that the index promises."""
    weights = node.facts.weights
    if isinstance(weights.index, Unread) or not weights.shards:
        return skipped("no weights were read")
    damaged = sorted(name for name, shard in weights.shards.items() if shard.promised is None)
    if damaged:
        return fail(f"no readable header: {listed(damaged)}", f"Delete the file. {_AGAIN}")
    for name, shard in sorted(weights.shards.items()):
        if shard.size != shard.promised:
            return fail(
                f"{name} has {shard.size:,} bytes, its header promises {shard.promised:,}", f"Delete the file. {_AGAIN}"
            )
    for name, tensors in sorted(weights.index.items()):
        lacking = tensors - weights.shards[name].tensors if name in weights.shards else frozenset()
        if lacking:
            return fail(
                f"{name} lacks {len(lacking)} tensors of the index, {min(lacking)} for one",
                f"{INDEX} and the files are of different revisions. {_AGAIN}",
            )
    total = sum(shard.size for shard in weights.shards.values())
    expected = node.recipe.weights_bytes if node.recipe else None
    if expected and set(weights.index) <= set(weights.shards) and abs(total - expected) > 0.02 * expected:
        return warn(
            f"{gib(total)} in all; the model's file says {gib(expected)}",
            "Check that this is the checkpoint the recipe is for, not another precision of it.",
        )
    return ok(f"{gib(total)} in {len(weights.shards)} files, each as long as its header says")


@check("disk-free")
def disk_free(node: Node) -> Outcome:
    """The disk has room: for what is missing of the weights, and for the caches that kernels are built into."""
    weights = node.facts.weights
    if isinstance(weights.free, Unread):
        return skipped(weights.free.why)
    complete = not isinstance(weights.index, Unread) and set(weights.index) <= set(weights.shards)
    present = sum(shard.size for shard in weights.shards.values())
    if not complete and node.recipe and weights.free < node.recipe.weights_bytes - present:
        return fail(
            f"{gib(weights.free)} free, {gib(node.recipe.weights_bytes - present)} of weights are missing",
            "Make room, or put the checkpoint on another disk and correct model_path.",
        )
    if weights.free < 10 * GIB:
        return warn(f"{gib(weights.free)} free where the weights are", "Make room: images and kernel caches grow.")
    return ok(f"{gib(weights.free)} free where the weights are")


CHECKS = (weights_model, weights_index, weights_sizes, disk_free)
