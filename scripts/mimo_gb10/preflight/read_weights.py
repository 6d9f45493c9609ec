"""Reading the checkpoint: which files there are, and whether each is as long as its own header says."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from mimo_gb10.preflight.facts import Shard, Unread, Weights
from mimo_gb10.preflight.machine import Machine
from mimo_gb10.preflight.read_system import json_object, unread, why
from mimo_gb10.preflight.wanted import Wanted

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SMALL_FILES = ("config.json", INDEX, "tokenizer.json", "tokenizer_config.json")
"""Files whose content must be alike on all nodes; the weights themselves are compared by size."""

MAX_HEADER = 100_000_000
"""The longest header that safetensors itself reads (its format description)."""


def read_weights(machine: Machine, wanted: Wanted) -> Weights:
    """The checkpoint at the cluster's ``model_path``."""
    folder = wanted.model_path.rstrip("/") or "/"
    try:
        names = set(machine.list_dir(folder))
    except OSError as problem:
        absent = Unread(f"{folder}: {why(problem)}", isinstance(problem, FileNotFoundError))
        return Weights(absent, absent, None, {}, {}, free_bytes(machine, _nearest_folder(machine, folder)))
    small: dict[str, bytes] = {}
    for name in SMALL_FILES:
        if name in names:
            try:
                small[name] = machine.read_file(f"{folder}/{name}")
            except OSError:
                continue
    index, total = _index(small, names)
    files = [] if isinstance(index, Unread) else sorted(index)
    with ThreadPoolExecutor(4) as pool:
        shards = dict(zip(files, pool.map(lambda name: _shard(machine, f"{folder}/{name}"), files), strict=True))
    return Weights(
        architectures=_architectures(small.get("config.json")),
        index=index,
        total=total,
        shards={name: shard for name, shard in shards.items() if shard is not None},
        digests={name: hashlib.sha256(data).hexdigest() for name, data in small.items()},
        free=free_bytes(machine, folder),
    )


def _nearest_folder(machine: Machine, folder: str) -> str:
    """The nearest folder above that is there."""
    while folder != "/":
        folder = folder.rpartition("/")[0] or "/"
        try:
            machine.list_dir(folder)
        except OSError:
            continue
        break
    return folder


def _architectures(data: bytes | None) -> tuple[str, ...] | Unread:
    if data is None:
        return Unread("config.json is not there", missing=True)
    config = json_object(data)
    if config is None or not isinstance(config.get("architectures"), list):
        return Unread("config.json names no architectures")
    return tuple(str(name) for name in config["architectures"])


def _index(small: dict[str, bytes], names: set[str]) -> tuple[dict[str, frozenset[str]] | Unread, int | None]:
    if INDEX not in small:
        if SINGLE in names:
            return {SINGLE: frozenset()}, None
        return Unread(f"there is neither {INDEX} nor {SINGLE}", missing=True), None
    data = json_object(small[INDEX])
    mapping = data.get("weight_map") if data else None
    if not isinstance(mapping, dict) or not mapping:
        return Unread(f"{INDEX} is damaged: it has no weight_map"), None
    by_file: dict[str, set[str]] = {}
    for tensor, file in mapping.items():
        if not isinstance(file, str) or "/" in file:
            return Unread(f"{INDEX} is damaged: {tensor!r} has no file name"), None
        by_file.setdefault(file, set()).add(tensor)
    metadata = data.get("metadata") if data else None
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    found = {file: frozenset(tensors) for file, tensors in by_file.items()}
    return found, int(total) if isinstance(total, int | float) else None


def _shard(machine: Machine, path: str) -> Shard | None:
    try:
        size = machine.size(path)
        head = machine.read_file(path, 8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or not 0 < length <= MAX_HEADER:
            return Shard(size, None)
        header = json_object(machine.read_file(path, length, 8))
    except OSError:
        return None
    if header is None:
        return Shard(size, None)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    try:
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (LookupError, TypeError):
        return Shard(size, None)
    return Shard(size, 8 + length + int(end), frozenset(tensors))


def free_bytes(machine: Machine, folder: str) -> int | Unread:
    """Bytes that are free where a folder is."""
    done = machine.run(("df", "-P", "-B1", "--", folder))
    if not done.ok:
        return unread("df", done)
    words = (done.out.strip().splitlines() or [""])[-1].split()
    if len(words) < 6 or not words[3].isdigit():
        return Unread("df printed no table")
    return int(words[3])
