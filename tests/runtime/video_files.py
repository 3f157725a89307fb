"""Small videos, written for tests with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

CODECS = {
    ".mp4": "libx264",
    ".mov": "mpeg4",
    ".mkv": "mpeg4",
    ".avi": "mpeg4",
    ".webm": "libvpx",
    ".ts": "mpeg2video",
}
COLOURS = ("red", "green", "blue")
CELL = 32


def frames(scene: Callable[..., npt.NDArray[np.uint8]], count: int) -> list[npt.NDArray[np.uint8]]:
    """Pictures of 128 x 96 pixels; that of number n has a square of colour n modulo 3."""
    return [scene(96, 128, [(COLOURS[number % 3], 32, 32, CELL)]) for number in range(count)]


def write(
    path: Path,
    images: Iterable[npt.NDArray[np.uint8]],
    rate: int = 10,
    options: dict[str, str] | None = None,
    gop: int = 1,
) -> Path:
    """Write a video; the suffix chooses the codec.

    Args:
        path: the file.
        images: its frames, RGB.
        rate: frames per second.
        options: of the container.
        gop: every so many frames one stands for itself.
    """
    if path.suffix == ".mp4":
        # What players need to know comes first, so that half a file can be read.
        options = {"movflags": "faststart", **(options or {})}
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(CODECS[path.suffix], rate=rate)
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        stream.codec_context.gop_size = gop
        if path.suffix == ".webm":
            stream.codec_context.options = {"deadline": "realtime", "cpu-used": "8"}
        for number, image in enumerate(images):
            if not number:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """The same file without its end."""
    target = path.with_name(f"cut{path.suffix}")
    data = path.read_bytes()
    target.write_bytes(data[: round(len(data) * share)])
    return target
