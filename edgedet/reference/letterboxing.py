"""`edgedet.ops.letterbox` and `letterbox_yuv` in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

_CHANNELS = {
    "rgb": [0, 1, 2],
    "bgr": [2, 1, 0],
    "rgba": [0, 1, 2],
    "bgra": [2, 1, 0],
    "gray": [0, 0, 0],
}


def letterbox(
    image: ByteArray,
    size: tuple[int, int],
    *,
    mean: Sequence[float] = (127.5, 127.5, 127.5),
    std: Sequence[float] = (127.5, 127.5, 127.5),
    dtype: npt.DTypeLike = np.float32,
    scale: float = 1.0,
    zero_point: int = 0,
    out: npt.NDArray[Any] | None = None,
    format: str = "rgb",  # noqa: A002
    rotation: int = 0,
    mirror: bool = False,
) -> tuple[npt.NDArray[Any], float]:
    """As `edgedet.ops.letterbox`, bit for bit."""
    pixels = image.reshape(*image.shape[:2], -1)[..., _CHANNELS[format]]
    pixels = np.rot90(pixels, -rotation // 90)
    if mirror:
        pixels = pixels[:, ::-1]

    height, width = size
    element = np.dtype(dtype)
    ratio = min(height / pixels.shape[0], width / pixels.shape[1])
    top, bottom, row_weights = _taps(pixels.shape[0], ratio, height)
    left, right, column_weights = _taps(pixels.shape[1], ratio, width)
    values = pixels.astype(np.float32)
    above, below = values[top], values[bottom]
    rows = above + (below - above) * row_weights[:, None, None]
    before, after = rows[:, left], rows[:, right]
    resized = before + (after - before) * column_weights[:, None]

    divisor = np.asarray(std, np.float32).astype(np.float64)
    if element != np.float32:
        divisor = divisor * scale
    values = (resized - np.asarray(mean, np.float32)) * (1.0 / divisor).astype(np.float32)
    tensor = np.zeros((height, width, 3), element)
    if element != np.float32:
        limits = np.iinfo(element)
        values = np.clip(values, limits.min - zero_point, limits.max - zero_point)
        values = np.rint(values) + zero_point
        tensor[...] = zero_point
    tensor[: len(top), : len(left)] = values
    if out is None:
        return tensor, ratio
    out[...] = tensor
    return out, ratio


def letterbox_yuv(
    y: ByteArray,
    u: ByteArray,
    v: ByteArray,
    size: tuple[int, int],
    *,
    yuv: str = "bt601-full",
    **options: Any,
) -> tuple[npt.NDArray[Any], float]:
    """As `edgedet.ops.letterbox_yuv`, bit for bit."""
    return letterbox(_rgb(y, u, v, yuv), size, **options)


def _rgb(y: ByteArray, u: ByteArray, v: ByteArray, yuv: str) -> ByteArray:
    """The image as RGB [H, W, 3] (ITU-T T.871, section 7; ITU-R BT.601-7, section 2.5.3)."""
    black, luma_gain, chroma_gain = 0.0, 1.0, 1.0
    if yuv == "bt601-limited":
        black, luma_gain, chroma_gain = 16.0, 255.0 / 219.0, 255.0 / 224.0
    red_v, green_u, green_v, blue_u = (
        np.float32(factor * chroma_gain)
        for factor in (1.402, 0.114 * 1.772 / 0.587, 0.299 * 1.402 / 0.587, 1.772)
    )
    rows, columns = np.arange(y.shape[0])[:, None] // 2, np.arange(y.shape[1]) // 2
    luma = (y.astype(np.float32) - np.float32(black)) * np.float32(luma_gain)
    cb = u[rows, columns].astype(np.float32) - np.float32(128)
    cr = v[rows, columns].astype(np.float32) - np.float32(128)
    red = luma + cr * red_v
    green = luma - cb * green_u - cr * green_v
    blue = luma + cb * blue_u
    return np.rint(np.clip(np.stack([red, green, blue], -1), 0, 255)).astype(np.uint8)


def _taps(
    side: int, ratio: float, limit: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Lower and upper source index and the upper one's weight, for each resized row or column."""
    count = min(max(int(np.floor(side * ratio + 0.5)), 1), limit)
    position = np.clip((np.arange(count) + 0.5) / ratio - 0.5, 0, side - 1)
    low = np.floor(position).astype(np.int64)
    return low, np.minimum(low + 1, side - 1), (position - low).astype(np.float32)
