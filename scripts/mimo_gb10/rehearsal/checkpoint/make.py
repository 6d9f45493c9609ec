"""Write a tiny checkpoint. Needs torch, safetensors and tokenizers, and neither transformers nor SGLang."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_gb10.rehearsal.checkpoint import config
from mimo_gb10.rehearsal.checkpoint.layout import audio_tokenizer_tensors, main_tensors
from mimo_gb10.rehearsal.checkpoint.shape import tiny_shape
from mimo_gb10.rehearsal.checkpoint.tokenizer import never_generated, write_tokenizer
from mimo_gb10.rehearsal.checkpoint.weights import draw

SHARDS = 4
"""Files that the main weights are spread over."""
RECORD = "rehearsal.json"
"""What the folder says of itself: how it was made, and the sha256 of every other file."""
_COPIED = ("chat_template.jinja", "configuration_mimo_tiny.py")


@dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint that has been written.

    Attributes:
        folder: Where it is: the server's model path.
        tensor_parallel: Attention tensor-parallel size that it loads at.
        seed: Which random weights.
        mtp_layers: Multi-token-prediction layers.
        bytes: Size of all weights.
        files: sha256 of each file, by its path in the folder.
    """

    folder: Path
    tensor_parallel: int
    seed: int
    mtp_layers: int
    bytes: int
    files: Mapping[str, str]


def make_checkpoint(folder: Path, tensor_parallel: int, seed: int, mtp_layers: int = 3) -> Made:
    """Write a whole checkpoint folder, the same bytes for the same arguments.

    Args:
        folder: Where to write; made if missing, files of the same names are replaced.
        tensor_parallel: Attention tensor-parallel size of the server, 1, 2 or 4.
        seed: Which random weights.
        mtp_layers: Multi-token-prediction layers.

    Raises:
        ValueError: If there is no tiny model for `tensor_parallel`.
        OSError: If the folder can't be written.
        ImportError: If torch, safetensors or tokenizers is missing.
    """
    save: Any = importlib.import_module("safetensors.torch").save_file
    shape = tiny_shape(tensor_parallel, mtp_layers)
    audio_folder = folder / "audio_tokenizer"
    audio_folder.mkdir(parents=True, exist_ok=True)
    tokens = write_tokenizer(folder, shape.vocabulary, shape.context_length)
    _write_json(folder / "config.json", config.model_config(shape, tokens))
    _write_json(folder / "generation_config.json", config.generation_config(tokens))
    _write_json(folder / "preprocessor_config.json", config.preprocessor_config(shape))
    _write_json(audio_folder / "config.json", config.audio_tokenizer_config(shape))
    for name in _COPIED:
        text = (Path(__file__).parent / name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")

    metadata = {"format": "pt"}
    audio_weights = draw(audio_tokenizer_tensors(shape), seed)
    save(audio_weights, audio_folder / "model.safetensors", metadata=metadata)
    weights = draw(main_tensors(shape), seed, never_generated(tokens))
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in weights.items()}
    places: dict[str, str] = {}
    for number, names in enumerate(_spread(sizes), 1):
        file = f"model-{number:05}-of-{SHARDS:05}.safetensors"
        save({name: weights[name] for name in names}, folder / file, metadata=metadata)
        places |= dict.fromkeys(names, file)
    total = sum(sizes.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    _write_json(folder / "model.safetensors.index.json", index)

    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)  # save_file leaves them to the owner; a container may run as somebody else
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }
    record = {"tensor_parallel": tensor_parallel, "seed": seed, "mtp_layers": mtp_layers, "files": files}
    _write_json(folder / RECORD, record)
    audio_total = sum(tensor.numel() * tensor.element_size() for tensor in audio_weights.values())
    return Made(folder, tensor_parallel, seed, mtp_layers, total + audio_total, files)


def _spread(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Names in their order, in `SHARDS` groups of about the same size."""
    names, done = list(sizes), 0
    limit = sum(sizes.values()) / SHARDS
    for number in range(1, SHARDS + 1):
        group: list[str] = []
        while names and (number == SHARDS or done + sizes[names[0]] / 2 < limit * number):
            done += sizes[names[0]]
            group.append(names.pop(0))
        yield group


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
