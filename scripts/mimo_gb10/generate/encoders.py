"""What the encoders of MiMo-V2.5 do in each release with the masks that the model was trained with.

Read from the wheels by ``tests/site/make_encoders.py``; a test compares the file with them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("encoders.json")


@dataclass(frozen=True, slots=True)
class VisionBackend:
    """One value of ``--mm-attention-backend``.

    Attributes:
        reads: Whether its class reads the sinks and the window that it is given.
        at: ``file:line`` of the class.
    """

    reads: bool
    at: str


@dataclass(frozen=True, slots=True)
class AudioAttention:
    """The attention of the audio tokenizer's encoder.

    Attributes:
        calls: What computes it.
        causal: Whether the causal mask reaches that.
        window: Whether the window does.
        at: ``file:line`` of the call.
    """

    calls: str
    causal: bool
    window: bool
    at: str


@dataclass(frozen=True, slots=True)
class Encoders:
    """The encoders of one release.

    Attributes:
        vision: Vision backends by name.
        window_needs_sinks: ``file:line`` where a layer without sinks loses its window.
        audio: The audio encoder's attention.
    """

    vision: Mapping[str, VisionBackend]
    window_needs_sinks: str
    audio: AudioAttention


@functools.cache
def encoders() -> Mapping[str, Encoders]:
    """The encoders by release, oldest first."""
    return {
        version: Encoders(
            vision={name: VisionBackend(**entry) for name, entry in found["vision"].items()},
            window_needs_sinks=found["window_needs_sinks"],
            audio=AudioAttention(**found["audio"]),
        )
        for version, found in json.loads(FILE.read_text(encoding="utf-8")).items()
    }
