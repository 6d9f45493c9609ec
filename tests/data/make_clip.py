"""Make clip.mp4: 24 frames of 64x48 at 8 a second, H.264 with a key frame every 8, each frame unlike the others.

Needs PyAV and numpy: `.upstream/bin/python tests/data/make_clip.py`. The result is committed; another build of the
encoder may give other bytes.
"""

from pathlib import Path

import av
import numpy as np

FRAMES, WIDTH, HEIGHT = 24, 64, 48


def picture(number: int) -> np.ndarray:
    """A gradient that turns with the number, and a white square that moves."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack([x * 4, y * 5, np.full_like(x, number * 10)], axis=-1).astype(np.uint8)
    rgb[16:32, 2 * number : 2 * number + 16] = 255
    return rgb


def main() -> None:
    with av.open(str(Path(__file__).with_name("clip.mp4")), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "30", "g": "8"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
