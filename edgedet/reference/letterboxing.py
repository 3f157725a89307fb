"""`edgedet.ops.letterbox` in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def letterbox(
    image: npt.NDArray[np.uint8],
    size: tuple[int, int],
    *,
    mean: Sequence[float] = (127.5, 127.5, 127.5),
    std: Sequence[float] = (127.5, 127.5, 127.5),
    dtype: npt.DTypeLike = np.float32,
    scale: float = 1.0,
    zero_point: int = 0,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], float]:
    """As `edgedet.ops.letterbox`, bit for bit."""
    height, width = size
    element = np.dtype(dtype)
    ratio = min(height / image.shape[0], width / image.shape[1])
    top, bottom, row_weights = _taps(image.shape[0], ratio, height)
    left, right, column_weights = _taps(image.shape[1], ratio, width)
    pixels = image.astype(np.float32)
    above, below = pixels[top], pixels[bottom]
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


def _taps(
    side: int, ratio: float, limit: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Lower and upper source index and the upper one's weight, for each resized row or column."""
    count = min(max(int(np.floor(side * ratio + 0.5)), 1), limit)
    position = np.clip((np.arange(count) + 0.5) / ratio - 0.5, 0, side - 1)
    low = np.floor(position).astype(np.int64)
    return low, np.minimum(low + 1, side - 1), (position - low).astype(np.float32)
