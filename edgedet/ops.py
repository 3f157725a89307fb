"""Pre- and post-processing kernels for NumPy arrays: letterbox, box decoding, NMS, postprocess.

They run native code with the interpreter lock released and keep no state, so that threads may call
them at once. `edgedet.reference` holds the same functions in plain NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import _native
from edgedet.errors import InvalidInputError

MAX_IMAGE_SIDE = 1 << 20
MAX_TENSOR_SIDE = 8192

_INTEGER_RANGES = {
    np.dtype(np.int8): (-128, 127),
    np.dtype(np.uint8): (0, 255),
    np.dtype(np.int16): (-32768, 32767),
}
_TENSOR_TYPES = (np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.uint8))


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
    height, width = _size("size", size, MAX_TENSOR_SIDE)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise InvalidInputError(f"image must be a uint8 array, not {_kind(image)}.")
    if image.ndim != 3 or image.shape[2] != 3:
        raise InvalidInputError(f"image must have shape [H, W, 3], not {list(image.shape)}.")
    if not (1 <= image.shape[0] <= MAX_IMAGE_SIDE and 1 <= image.shape[1] <= MAX_IMAGE_SIDE):
        raise InvalidInputError(
            f"image must have sides of 1 to {MAX_IMAGE_SIDE} pixels, not {list(image.shape[:2])}."
        )
    element = _dtype("dtype", dtype, _TENSOR_TYPES)
    means, divisors = _channels("mean", mean), _channels("std", std)
    if element == np.float32:
        scale, zero_point = 1.0, 0
    else:
        scale = _scale("scale", scale)
        zero_point = _zero_point("zero_point", zero_point, element)
    # Beyond these bounds 1 / (std * scale) is no finite, positive float32.
    if not (1e-30 < min(divisors) * scale and max(divisors) * scale < 1e30):
        raise InvalidInputError(f"std must be positive and neither tiny nor huge, not {std!r}.")
    if out is None:
        tensor = np.empty((height, width, 3), element)
        target = tensor
    else:
        tensor = out
        target = _output(out, (height, width, 3), element)
        if np.may_share_memory(target, image):
            raise InvalidInputError("out must not share memory with image.")
    ratio = _native.letterbox(image, target, means, divisors, scale, zero_point)
    return tensor, ratio


def _output(out: Any, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        raise InvalidInputError(f"out must be a {dtype} array, not {_kind(out)}.")
    if out.shape not in (shape, (1, *shape)):
        raise InvalidInputError(f"out must have shape {list(shape)}, not {list(out.shape)}.")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise InvalidInputError("out must be C-contiguous and writeable.")
    return out.reshape(shape)


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array"
    return type(value).__name__


def _integer(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InvalidInputError(f"{name} must be an integer, not {_kind(value)}.")
    if not low <= value <= high:
        raise InvalidInputError(f"{name} must be from {low} to {high}, not {value}.")
    return int(value)


def _number(name: str, value: object) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise InvalidInputError(f"{name} must be a number, not {_kind(value)}.")
    number = float(value)
    if not math.isfinite(number):
        raise InvalidInputError(f"{name} must be finite, not {number}.")
    return number


def _size(name: str, value: object, limit: int) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InvalidInputError(f"{name} must be (height, width), not {value!r}.")
    return _integer(name, value[0], 1, limit), _integer(name, value[1], 1, limit)


def _channels(name: str, values: object) -> tuple[float, float, float]:
    if not isinstance(values, (tuple, list, np.ndarray)) or len(values) != 3:
        raise InvalidInputError(f"{name} must be three numbers, not {values!r}.")
    first, second, third = (_number(name, value) for value in values)
    if max(abs(first), abs(second), abs(third)) > 1e30:
        raise InvalidInputError(f"{name} must fit float32, not {values!r}.")
    return first, second, third


def _scale(name: str, value: object) -> float:
    scale = _number(name, value)
    if not 1e-30 < scale < 1e30:
        raise InvalidInputError(f"{name} must be positive and fit float32, not {scale}.")
    return scale


def _zero_point(name: str, value: object, dtype: np.dtype[Any]) -> int:
    low, high = _INTEGER_RANGES[dtype]
    return _integer(name, value, low, high)


def _dtype(name: str, value: npt.DTypeLike, known: tuple[np.dtype[Any], ...]) -> np.dtype[Any]:
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype not in known:
        names = ", ".join(str(entry) for entry in known)
        raise InvalidInputError(f"{name} must be one of {names}, not {value!r}.")
    return dtype
