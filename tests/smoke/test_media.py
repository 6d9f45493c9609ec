"""The committed media are what the checks take them for."""

from __future__ import annotations

import ast
import struct
import wave

import pytest

from mimo_gb10.smoke import media

FILES = (media.WAV, media.FLAC, media.MP3, media.SHAPES, media.CROSS, media.CLIP)


def test_they_are_small() -> None:
    kept = [path for path in media.HERE.iterdir() if path.suffix in media.TYPES]
    assert sorted(path.name for path in kept) == sorted(FILES)
    assert sum(path.stat().st_size for path in kept) < 300_000


@pytest.mark.parametrize(
    ("name", "start"),
    [
        (media.WAV, b"RIFF"),
        (media.FLAC, b"fLaC"),
        (media.MP3, b"ID3"),
        (media.SHAPES, b"\x89PNG"),
        (media.CROSS, b"\x89PNG"),
    ],
)
def test_they_are_of_their_type(name: str, start: bytes) -> None:
    assert media.content(name).startswith(start)
    assert media.data_uri(name).startswith(f"data:{media.media_type(name)};base64,")


def test_the_clip_is_an_mp4() -> None:
    assert media.content(media.CLIP)[4:8] == b"ftyp"


def test_the_sentence_takes_as_long_as_we_say() -> None:
    with wave.open(str(media.HERE / media.WAV)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16000)
        assert sound.getnframes() / sound.getframerate() == pytest.approx(media.SECONDS, abs=0.01)


def test_the_flac_has_the_same_samples() -> None:
    # STREAMINFO: 20 bits of rate, 3 of channels, 5 of width, 36 of sample count, after 10 bytes of sizes.
    packed = int.from_bytes(media.content(media.FLAC)[18:26], "big")
    with wave.open(str(media.HERE / media.WAV)) as sound:
        assert packed >> 44 == sound.getframerate()
        assert packed & (1 << 36) - 1 == sound.getnframes()


@pytest.mark.parametrize("name", [media.SHAPES, media.CROSS])
def test_the_pictures_fill_whole_patches(name: str) -> None:
    width, height = struct.unpack(">II", media.content(name)[16:24])
    assert width == height
    # MiMo-V2.5 merges two by two patches of 16 pixels.
    assert width % 32 == 0


def test_the_script_says_the_same_sentence() -> None:
    tree = ast.parse((media.HERE / "make_media.py").read_text(encoding="utf-8"))
    said = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and ast.unparse(node.targets[0]) == "SENTENCE"
    ]
    assert said == [media.SENTENCE]
