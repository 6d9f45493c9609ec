"""Judge a checkpoint folder with the standard library alone: no torch, no GPU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mimo_gb10.rehearsal.checkpoint import config
from mimo_gb10.rehearsal.checkpoint.layout import Tensor, audio_tokenizer_tensors, main_tensors
from mimo_gb10.rehearsal.checkpoint.make import RECORD
from mimo_gb10.rehearsal.checkpoint.shape import Shape, tiny_shape
from mimo_gb10.rehearsal.checkpoint.tokenizer import ADDED, SPECIAL, token_ids

_SIZES = {"BF16": 2, "F32": 4, "F8_E4M3": 1}
_LONGEST_HEADER = 100_000_000

Header = dict[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each tensor of a file."""


def validate(folder: Path, tensor_parallel: int) -> list[str]:
    """What is wrong with a tiny checkpoint, as sentences; an empty list if nothing is.

    Looked at: that every file is there and has the sha256 that the folder's own record gives; every tensor's name,
    type, shape and place in its file; the index; config.json and the audio tokenizer's against the shape for
    `tensor_parallel`; the tokenizer's special tokens; the chat template.

    Args:
        folder: The checkpoint.
        tensor_parallel: Attention tensor-parallel size that it must load at.
    """
    try:
        record = _read_json(folder / RECORD)
        mtp_layers, hashes = int(record["mtp_layers"]), dict(record["files"])
        made_for = record["tensor_parallel"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{RECORD} can't be read: {error}"]
    if made_for != tensor_parallel:
        return [f"the checkpoint is made for tensor parallel {made_for}, not {tensor_parallel}"]
    shape = tiny_shape(tensor_parallel, mtp_layers)
    found = list(_hash_problems(folder, hashes))
    if found:
        return found  # what follows would say the same in other words
    try:
        found += _weight_problems(folder, shape)
        found += _config_problems(folder, shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        found.append(f"a file can't be read: {type(error).__name__}: {error}")
    return found


def read_header(path: Path) -> Header:
    """Type and shape of each tensor of a safetensors file.

    Raises:
        OSError: If the file can't be read.
        ValueError: If its header is no header, or tensors don't fill the file without gap or overlap.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"{path.name}: a header of {length} bytes")
        entries: dict[str, Any] = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        start, stop = entry["data_offsets"]
        size = _SIZES.get(entry["dtype"])
        count = 1
        for length_of_axis in entry["shape"]:
            count *= length_of_axis
        if start != end or (size is not None and stop - start != count * size):
            raise ValueError(f"{path.name}: {name} lies at {start} to {stop}")
        end = stop
    if path.stat().st_size != 8 + length + end:
        raise ValueError(f"{path.name}: {path.stat().st_size} bytes, its header says {8 + length + end}")
    return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}


def expected_header(tensors: Iterable[Tensor]) -> Header:
    """What a file with these tensors holds, block scales included."""
    header: Header = {}
    for tensor in tensors:
        header[tensor.name] = (tensor.dtype, tensor.shape)
        if tensor.dtype == "F8_E4M3":
            header[tensor.scale_name] = ("F32", tensor.scale_shape)
    return header


def _hash_problems(folder: Path, hashes: dict[str, str]) -> Iterator[str]:
    for name, digest in sorted(hashes.items()):
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"{name} has another sha256 than {RECORD} says"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    # Python leaves bytecode of the configuration class behind.
    for name in sorted(there - {*hashes, RECORD}):
        if "__pycache__" not in name:
            yield f"{name} is not in {RECORD}"


def _weight_problems(folder: Path, shape: Shape) -> Iterator[str]:
    index = _read_json(folder / "model.safetensors.index.json")
    places: dict[str, str] = index["weight_map"]
    headers = {file: read_header(folder / file) for file in sorted(set(places.values()))}
    whole: Header = {}
    for file, header in headers.items():
        whole |= header
        yield from (f"the index has {name} in {places.get(name)}, it is in {file}"
                    for name in header if places.get(name) != file)  # fmt: skip
    yield from _differences("the index", expected_header(main_tensors(shape)), whole)
    yield from (f"the index names {name}, which no file has" for name in sorted(places.keys() - whole.keys()))
    total = sum(_bytes(entry) for entry in whole.values())
    if index["metadata"]["total_size"] != total:
        yield f"the index says {index['metadata']['total_size']} bytes in all, the files have {total}"
    audio = read_header(folder / "audio_tokenizer" / "model.safetensors")
    yield from _differences("audio_tokenizer", expected_header(audio_tokenizer_tensors(shape)), audio)


def _bytes(entry: tuple[str, tuple[int, ...]]) -> int:
    size = _SIZES[entry[0]]
    for length in entry[1]:
        size *= length
    return size


def _differences(where: str, expected: Header, found: Header) -> Iterator[str]:
    yield from (f"{where}: {name} is missing" for name in sorted(expected.keys() - found.keys()))
    yield from (f"{where}: {name} is unknown" for name in sorted(found.keys() - expected.keys()))
    for name in sorted(expected.keys() & found.keys()):
        if expected[name] != found[name]:
            yield f"{where}: {name} is {_shown(found[name])}, must be {_shown(expected[name])}"


def _shown(entry: tuple[str, tuple[int, ...]]) -> str:
    return f"{entry[0]} {list(entry[1])}"


def _config_problems(folder: Path, shape: Shape) -> Iterator[str]:
    tokens = token_ids(folder)
    yield from (f"the tokenizer lacks {token}" for token in (*SPECIAL, *ADDED) if token not in tokens)
    if sorted(tokens.values()) != list(range(shape.vocabulary)):
        yield f"the tokenizer's ids are not 0 to {shape.vocabulary - 1}, each once"
    expected = {
        "config.json": config.model_config(shape, tokens),
        "generation_config.json": config.generation_config(tokens),
        "preprocessor_config.json": config.preprocessor_config(shape),
        "audio_tokenizer/config.json": config.audio_tokenizer_config(shape),
    }
    for name, wanted in expected.items():
        found = _read_json(folder / name)
        for key in sorted(wanted.keys() | found.keys()):
            if found.get(key) != wanted.get(key):
                yield f"{name}: {key} is {found.get(key)!r}, must be {wanted.get(key)!r}"
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    wanted_words = ("<|im_start|>", "<|image_pad|>", "<|video_pad|>", "<|audio_pad|>", "enable_thinking", "<tool_call>")
    yield from (f"the chat template lacks {word}" for word in wanted_words if word not in template)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
