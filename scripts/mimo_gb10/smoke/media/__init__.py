"""What the smoke test shows and plays to a server, and what is in it. `make_media.py` made the files."""

from __future__ import annotations

import base64
from pathlib import Path

HERE = Path(__file__).resolve().parent

SENTENCE = "Seven green boats carried forty lamps across the quiet harbour."
SECONDS = 4.58
WAV, FLAC, MP3 = "sentence.wav", "sentence.flac", "sentence.mp3"
SHAPES, SHAPES_DIGIT = "shapes-7.png", "7"
CROSS, CROSS_DIGIT = "cross-4.png", "4"
CLIP = "square-right.mp4"

TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".png": "image/png",
    ".mp4": "video/mp4",
}


def content(name: str) -> bytes:
    """The bytes of one file."""
    return (HERE / name).read_bytes()


def media_type(name: str) -> str:
    """Its media type."""
    return TYPES[Path(name).suffix]


def data_uri(name: str) -> str:
    """The file as a ``data:`` address: nothing has to be fetched by the server."""
    return f"data:{media_type(name)};base64,{base64.b64encode(content(name)).decode()}"
