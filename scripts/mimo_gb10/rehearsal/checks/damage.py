"""Files that are not what they should be, made when they are needed."""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mimo_gb10.smoke import media

TEXT = b"This is a plain text, and no medium of any kind. " * 20

CLOSED = "http://127.0.0.1:9/nothing"
"""Where nobody listens: the discard port, privileged and long out of use."""


@dataclass(frozen=True)
class Damaged:
    """An upload.

    Attributes:
        name: File name that a form gives it.
        media_type: What it is declared as.
        content: Its bytes.
        uri: The address that a chat gives it.
    """

    name: str
    media_type: str
    content: bytes
    uri: str


WHOLE = {"image": media.SHAPES, "audio": media.WAV, "video": media.CLIP, "transcription": media.WAV}
"""The unharmed file of each modality."""

_OTHER = {"image": media.WAV, "audio": media.SHAPES, "video": media.CROSS, "transcription": media.SHAPES}


def zero(modality: str) -> Damaged:
    """Nothing at all."""
    return _of(modality, b"")


def truncated(modality: str) -> Damaged:
    """The first half of the real file."""
    whole = media.content(WHOLE[modality])
    return _of(modality, whole[: len(whole) // 2])


def text(modality: str) -> Damaged:
    """A text, declared as the medium."""
    return _of(modality, TEXT)


def other(modality: str) -> Damaged:
    """Another medium, declared as this one."""
    return _of(modality, media.content(_OTHER[modality]))


def not_base64(modality: str) -> Damaged:
    """A ``data:`` address whose data is no base64."""
    whole = _of(modality, media.content(WHOLE[modality]))
    return Damaged(whole.name, whole.media_type, b"", f"data:{whole.media_type};base64,@@ no base64, not at all @@")


def unreachable(modality: str) -> Damaged:
    """The address of a port where nobody listens."""
    whole = _of(modality, b"")
    return Damaged(whole.name, whole.media_type, b"", CLOSED)


def huge(modality: str) -> Damaged:
    """Small to send and large to hold.

    An image of 20000 x 20000 pixels, more than Pillow's limit against bombs (179 million pixels), or half an hour of
    silence.

    Raises:
        KeyError: For a video; none is made here.
    """
    return _of(modality, {"image": lambda: png(20000), "audio": silence, "transcription": silence}[modality]())


def large(modality: str) -> Damaged:
    """An image of 13000 x 13000 pixels, just below Pillow's limit: 507 MB once it is decoded to RGB."""
    return _of(modality, png(13000))


FAULTS: Mapping[str, Callable[[str], Damaged]] = {
    "zero-bytes": zero,
    "truncated": truncated,
    "text": text,
    "other-medium": other,
    "not-base64": not_base64,
    "unreachable": unreachable,
    "large": large,
    "huge": huge,
}
"""What can be wrong, by name; the mildest first."""


def _of(modality: str, content: bytes) -> Damaged:
    name = WHOLE[modality]
    declared = media.media_type(name)
    return Damaged(name, declared, content, f"data:{declared};base64,{base64.b64encode(content).decode()}")


def png(side: int) -> bytes:
    """A black square of so many pixels a side, one bit each."""
    rows = zlib.compressobj(1)
    row = bytes(1 + -(-side // 8))
    data = b"".join([rows.compress(row * side), rows.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    chunks = (struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
              for kind, body in parts)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def silence(seconds: int = 1800, rate: int = 8000) -> bytes:
    """A WAV file of silence, 8 bit mono: 14.4 MB for half an hour."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(rate)
        file.writeframes(b"\x80" * (seconds * rate))
    return held.getvalue()
