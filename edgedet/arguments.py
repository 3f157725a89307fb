"""Checks of the arguments of `edgedet.ops`: each returns the value or names what is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.errors import InvalidInputError

INTEGER_RANGES = {
    np.dtype(np.int8): (-128, 127),
    np.dtype(np.uint8): (0, 255),
    np.dtype(np.int16): (-32768, 32767),
}

# Quantization scales and divisors outside these bounds have no finite, positive float32 inverse.
SMALLEST_SCALE = 1e-30
LARGEST_SCALE = 1e30


def kind(value: object) -> str:
    """What an argument is, for a message."""
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {list(value.shape)}"
    return type(value).__name__


def integer(name: str, value: object, low: int, high: int) -> int:
    """An integer of low..high."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InvalidInputError(f"{name} must be an integer, not {kind(value)}.")
    if not low <= value <= high:
        raise InvalidInputError(f"{name} must be from {low} to {high}, not {value}.")
    return int(value)


def number(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number of low..high."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise InvalidInputError(f"{name} must be a number, not {kind(value)}.")
    try:
        converted = float(value)
    except OverflowError:
        converted = math.inf
    if not math.isfinite(converted):
        raise InvalidInputError(f"{name} must be finite, not {converted}.")
    if not low <= converted <= high:
        raise InvalidInputError(f"{name} must be from {low} to {high}, not {converted}.")
    return converted


def size(name: str, value: object, limit: int) -> tuple[int, int]:
    """A (height, width) pair, each of 1..limit."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InvalidInputError(f"{name} must be (height, width), not {value!r}.")
    return integer(name, value[0], 1, limit), integer(name, value[1], 1, limit)


def channels(name: str, values: object) -> tuple[float, float, float]:
    """Three finite numbers that fit float32."""
    if not isinstance(values, (tuple, list, np.ndarray)) or len(values) != 3:
        raise InvalidInputError(f"{name} must be three numbers, not {values!r}.")
    first, second, third = (number(name, value, -LARGEST_SCALE, LARGEST_SCALE) for value in values)
    return first, second, third


def scale(name: str, value: object) -> float:
    """A quantization scale: positive, with a float32 inverse."""
    return number(name, value, SMALLEST_SCALE, LARGEST_SCALE)


def zero_point(name: str, value: object, dtype: np.dtype[Any]) -> int:
    """A quantization zero point: an integer that `dtype` can hold."""
    low, high = INTEGER_RANGES[dtype]
    return integer(name, value, low, high)


def element_type(
    name: str, value: npt.DTypeLike, known: tuple[np.dtype[Any], ...]
) -> np.dtype[Any]:
    """One of the known element types, in native byte order."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype not in known:
        names = ", ".join(str(entry) for entry in known)
        raise InvalidInputError(f"{name} must be one of {names}, not {value!r}.")
    return dtype


def image(name: str, value: object, limit: int) -> npt.NDArray[np.uint8]:
    """A uint8 array [H, W, 3] with sides of 1..limit."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise InvalidInputError(f"{name} must be a uint8 array, not {kind(value)}.")
    if value.ndim != 3 or value.shape[2] != 3:
        raise InvalidInputError(f"{name} must have shape [H, W, 3], not {list(value.shape)}.")
    if not (1 <= value.shape[0] <= limit and 1 <= value.shape[1] <= limit):
        raise InvalidInputError(
            f"{name} must have sides of 1 to {limit} pixels, not {list(value.shape[:2])}."
        )
    return value


def output(
    name: str, value: object, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """An array to write to, of this shape or with a leading 1; returned in this shape."""
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        raise InvalidInputError(f"{name} must be a {dtype} array, not {kind(value)}.")
    if value.shape not in (shape, (1, *shape)):
        raise InvalidInputError(f"{name} must have shape {list(shape)}, not {list(value.shape)}.")
    if not value.flags.c_contiguous or not value.flags.writeable:
        raise InvalidInputError(f"{name} must be C-contiguous and writeable.")
    return value.reshape(shape)


def rows(
    name: str, value: object, columns: int | None, count: int | None, limit: int
) -> npt.NDArray[np.float32]:
    """A float32 array [N, columns], or [N] without columns; packed, copied only when it isn't."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        raise InvalidInputError(f"{name} must be a float32 array, not {kind(value)}.")
    wanted = "N" if count is None else str(count)
    if columns is not None:
        wanted += f", {columns}"
    fits = value.ndim == 1 if columns is None else value.ndim == 2 and value.shape[1] == columns
    if not fits or (count is not None and value.shape[0] != count):
        raise InvalidInputError(f"{name} must have shape [{wanted}], not {list(value.shape)}.")
    if value.shape[0] > limit:
        raise InvalidInputError(f"{name} must have at most {limit} rows, not {value.shape[0]}.")
    return np.ascontiguousarray(value)
