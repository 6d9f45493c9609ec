"""Make the media of the smoke test: one spoken sentence, two pictures, one clip. All of it is ours, its content known.

Needs espeak-ng, sox, PyAV, numpy and Pillow: `.upstream/bin/python scripts/mimo_gb10/smoke/media/make_media.py`. The
results are committed; other versions of these tools may give other bytes. `mimo_gb10.smoke.media` says what they hold.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import av  # type: ignore[import-not-found,unused-ignore]
import numpy as np  # type: ignore[import-not-found,unused-ignore]
from PIL import Image, ImageDraw, ImageFont  # type: ignore[import-not-found,unused-ignore]

HERE = Path(__file__).resolve().parent
SENTENCE = "Seven green boats carried forty lamps across the quiet harbour."
RATE = 16000
SIDE = 448


def speech() -> None:
    """The sentence, 16 kHz, one channel, 16 bit, as WAV, FLAC and MP3."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.wav"
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "160", "-g", "2", "-w", raw, SENTENCE], check=True)
        # -D: no dither, so that the same voice gives the same bytes.
        wav = HERE / "sentence.wav"
        subprocess.run(["sox", "-D", raw, "-r", str(RATE), "-c", "1", "-b", "16", wav, "norm", "-3"], check=True)
        subprocess.run(["sox", "-D", wav, "-C", "8", HERE / "sentence.flac"], check=True)
    with av.open(str(wav)) as source, av.open(str(HERE / "sentence.mp3"), "w") as sink:
        stream = sink.add_stream("libmp3lame", rate=RATE, layout="mono", options={"b": "48k"})
        for frame in source.decode(audio=0):
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))


def pictures() -> None:
    """A red circle, a blue square and a green triangle with the digit 7; a yellow cross with the digit 4."""
    one = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(one)
    draw.ellipse((24, 24, 200, 200), fill=(220, 20, 20))
    draw.rectangle((248, 24, 424, 200), fill=(20, 60, 220))
    draw.polygon(((112, 248), (24, 424), (200, 424)), fill=(20, 150, 40))
    _digit(draw, "7", (336, 336))
    one.quantize(32).save(HERE / "shapes-7.png", optimize=True)
    two = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(two)
    draw.rectangle((94, 24, 142, 200), fill=(240, 200, 0))
    draw.rectangle((30, 88, 206, 136), fill=(240, 200, 0))
    _digit(draw, "4", (336, 336))
    two.quantize(32).save(HERE / "cross-4.png", optimize=True)


def _digit(draw: ImageDraw.ImageDraw, digit: str, centre: tuple[int, int]) -> None:
    draw.text(centre, digit, fill="black", font=ImageFont.load_default(size=200), anchor="mm")


def clip() -> None:
    """Three seconds at 8 frames a second: a red square moves from left to right on white."""
    with av.open(str(HERE / "square-right.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "24", "g": "8"})
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p"
        for number in range(24):
            picture = np.full((192, 256, 3), 255, np.uint8)
            left = 8 + number * 8
            picture[64:128, left : left + 56] = (220, 20, 20)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    """Make all of it."""
    speech()
    pictures()
    clip()


if __name__ == "__main__":
    main()
