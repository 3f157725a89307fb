"""Fitting an image into a network's input tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import _native, arguments
from edgedet.errors import InvalidInputError

MAX_IMAGE_SIDE = 1 << 20
MAX_TENSOR_SIDE = 8192

_INPUT_TYPES = (np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.uint8))
_FLOAT32 = np.dtype(np.float32)


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
    """Fit an image into the top left of a network's input tensor, normalized and quantized.

    The aspect is kept: `ratio = min(height / H, width / W)`, and each side becomes
    `floor(side * ratio + 0.5)`, at least 1. Bilinear with half-pixel centres and clamped edges,
    without rounding to grey levels in between. A value becomes `(value - mean) / std`; for integer
    types that is divided by `scale`, rounded half to even, moved by `zero_point` and saturated.
    The rest of the tensor holds the element that stands for 0.

    Args:
        image: [H, W, 3] uint8 RGB, any strides.
        size: (height, width) of the tensor.
        mean: per-channel mean in grey levels.
        std: per-channel divisor in grey levels.
        dtype: float32, int8 or uint8.
        scale: quantization scale of integer types; ignored for float32.
        zero_point: quantization zero point of integer types; ignored for float32.
        out: tensor to write to and return: C-contiguous, of type `dtype` and of shape
            [height, width, 3] or [1, height, width, 3].

    Returns:
        The tensor [height, width, 3] (or `out`), and the ratio of tensor to image pixels.

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    height, width = arguments.size("size", size, MAX_TENSOR_SIDE)
    arguments.image("image", image, MAX_IMAGE_SIDE)
    element = arguments.element_type("dtype", dtype, _INPUT_TYPES)
    means, divisors = arguments.channels("mean", mean), arguments.channels("std", std)
    if element == _FLOAT32:
        scale, zero_point = 1.0, 0
    else:
        scale = arguments.scale("scale", scale)
        zero_point = arguments.zero_point("zero_point", zero_point, element)
    if (
        min(divisors) * scale < arguments.SMALLEST_SCALE
        or max(divisors) * scale > arguments.LARGEST_SCALE
    ):
        raise InvalidInputError(f"std must be positive and neither tiny nor huge, not {std!r}.")
    if out is None:
        tensor = np.empty((height, width, 3), element)
        target = tensor
    else:
        tensor = out
        target = arguments.output("out", out, (height, width, 3), element)
        if np.may_share_memory(target, image):
            raise InvalidInputError("out must not share memory with image.")
    ratio = _native.letterbox(image, target, means, divisors, scale, zero_point)
    return tensor, ratio
