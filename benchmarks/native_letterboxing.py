"""`ops.letterbox` beside OpenCV and Pillow with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import ops
from edgedet.benchmarks.native_peers import Peers
from edgedet.benchmarks.native_timing import Comparison, Measure, compare
from edgedet.benchmarks.pictures import standard_picture

Pixels = npt.NDArray[np.uint8]

# ImageNet's statistics in grey levels, and the int8 input they usually lead to.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
SCALE = 0.0187
ZERO_POINT = -14


def photo(height: int = 720, width: int = 1280) -> Pixels:
    """The bundled scene in this size, [height, width, 3] RGB."""
    scene = Image.fromarray(standard_picture())
    return np.asarray(scene.resize((width, height), Image.Resampling.BICUBIC))


def noise(height: int = 720, width: int = 1280) -> Pixels:
    """Even noise, [height, width, 3]: the image on which two resizers differ most."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def measure_letterbox(peers: Peers, quick: bool) -> Iterator[Comparison | Measure]:
    """Compare the way from a 1280x720 picture to a 384x384 int8 tensor, and count grey levels.

    The peers resize to grey levels, pad, normalize in float32, and quantize, with the usual NumPy.
    Pillow's bilinear filter averages when it shrinks, which is more work for a smoother picture.
    """
    cv2 = peers.opencv()
    image = photo(72, 128) if quick else photo()
    size = (48, 48) if quick else (384, 384)
    for dtype in (np.int8, np.float32):
        bars = {"OpenCV and NumPy": 4.0, "Pillow and NumPy": 8.0} if dtype == np.int8 else {}
        calls: dict[str, Callable[[], object]] = {}
        if cv2 is not None:
            calls["OpenCV and NumPy"] = partial(numpy_letterbox, opencv(cv2), image, size, dtype)
        calls["Pillow and NumPy"] = partial(numpy_letterbox, pillow, image, size, dtype)
        yield from compare(
            "letterbox",
            f"{image.shape[1]}x{image.shape[0]} to {size[1]}x{size[0]}, {np.dtype(dtype)}",
            partial(
                ops.letterbox,
                image,
                size,
                mean=MEAN,
                std=STD,
                dtype=dtype,
                scale=SCALE,
                zero_point=ZERO_POINT,
            ),
            {name: (call, bars.get(name)) for name, call in calls.items()},
            0.02 if quick else 2.0,
        )
    if cv2 is not None:
        for name, picture in (("scene", image), ("noise", noise(*image.shape[:2]))):
            difference = _grey_levels(opencv(cv2), picture, size)
            yield Measure("letterbox", f"{name}, from OpenCV's bilinear", difference, "levels", 1.0)


def numpy_letterbox(
    resize: Callable[[Pixels, int, int], Pixels],
    image: Pixels,
    size: tuple[int, int],
    dtype: npt.DTypeLike,
) -> npt.NDArray[Any]:
    """Resize by a library, pad with the mean, normalize and quantize."""
    height, width = size
    ratio = min(height / image.shape[0], width / image.shape[1])
    rows, columns = round(image.shape[0] * ratio), round(image.shape[1] * ratio)
    padded = np.full((height, width, 3), np.rint(MEAN), np.uint8)
    padded[:rows, :columns] = resize(image, rows, columns)
    values = (padded.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    if np.dtype(dtype) == np.float32:
        return values
    quantized = np.rint(values / np.float32(SCALE)) + np.float32(ZERO_POINT)
    return np.clip(quantized, -128, 127).astype(np.int8)


def pillow(image: Pixels, rows: int, columns: int) -> Pixels:
    """Pillow's bilinear resize."""
    return np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR))


def opencv(cv2: Any) -> Callable[[Pixels, int, int], Pixels]:
    """OpenCV's bilinear resize."""

    def resize(image: Pixels, rows: int, columns: int) -> Pixels:
        resized: Pixels = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return resized

    return resize


def _grey_levels(
    resize: Callable[[Pixels, int, int], Pixels], image: Pixels, size: tuple[int, int]
) -> float:
    tensor, ratio = ops.letterbox(
        image, size, mean=(0, 0, 0), std=(1, 1, 1), dtype=np.uint8, scale=1.0, zero_point=0
    )
    rows, columns = round(image.shape[0] * ratio), round(image.shape[1] * ratio)
    theirs = resize(image, rows, columns).astype(np.int16)
    return float(np.abs(tensor[:rows, :columns].astype(np.int16) - theirs).max())
