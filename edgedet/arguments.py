"""Checks of the arguments of `edgedet.ops`: each returns the value or names what is wrong."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.errors import InvalidInputError

_FLOAT32 = np.dtype(np.float32)

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
        # The fields of a structured type are the caller's: any number, of any length.
        element = "structured" if value.dtype.names else value.dtype
        return f"a {element} array of shape {list(value.shape)}"
    return type(value).__name__


def shown(value: object) -> str:
    """A value, for a message: cut to a line, and described where it has no short text."""
    if isinstance(value, np.ndarray):
        return kind(value)
    try:
        return " ".join(reprlib.repr(value).split())
    except Exception:  # whatever the repr of a stranger's object raises
        return kind(value)


def packed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array C-contiguous and aligned, copied only when it isn't."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return array.copy(order="C")


def integer(name: str, value: object, low: int, high: int) -> int:
    """An integer of low..high."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InvalidInputError(f"{name} must be an integer, not {kind(value)}.")
    if not low <= value <= high:
        raise InvalidInputError(f"{name} must be from {low} to {high}, not {shown(value)}.")
    return int(value)


def number(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number of low..high."""
    # The usual case first: the instance checks take longer than the NMS of a few boxes.
    if type(value) is float and low <= value <= high and math.isfinite(value):
        return value
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


def choice(name: str, value: object, known: Collection[str]) -> str:
    """One of the known words."""
    if not isinstance(value, str) or value not in known:
        raise InvalidInputError(f"{name} must be one of {', '.join(known)}, not {shown(value)}.")
    return value


def size(name: str, value: object, limit: int) -> tuple[int, int]:
    """A (height, width) pair, each of 1..limit."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InvalidInputError(f"{name} must be (height, width), not {shown(value)}.")
    return integer(name, value[0], 1, limit), integer(name, value[1], 1, limit)


def channels(name: str, values: object) -> tuple[float, float, float]:
    """Three finite numbers that fit float32."""
    if isinstance(values, np.ndarray) and values.shape == (3,):
        values = list(values)
    if not isinstance(values, (tuple, list)) or len(values) != 3:
        raise InvalidInputError(f"{name} must be three numbers, not {shown(values)}.")
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
    except Exception:  # NumPy raises half a dozen kinds for what is no type
        dtype = None
    if dtype is None or dtype not in known:
        names = ", ".join(str(entry) for entry in known)
        raise InvalidInputError(f"{name} must be one of {names}, not {shown(value)}.")
    return dtype


def image(name: str, value: object, limit: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """A uint8 array [H, W, channels] with sides of 1..limit."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise InvalidInputError(f"{name} must be a uint8 array, not {kind(value)}.")
    if value.ndim != 3 or value.shape[2] != channels:
        raise InvalidInputError(
            f"{name} must have shape [H, W, {channels}], not {list(value.shape)}."
        )
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
    if not value.flags.c_contiguous or not value.flags.writeable or not value.flags.aligned:
        raise InvalidInputError(f"{name} must be C-contiguous, aligned and writeable.")
    return value.reshape(shape)


def rows(
    name: str, value: object, columns: int | None, count: int | None, limit: int
) -> npt.NDArray[np.float32]:
    """A float32 array [N, columns], or [N] without columns; packed, copied only when it isn't."""
    if not isinstance(value, np.ndarray) or value.dtype != _FLOAT32:
        raise InvalidInputError(f"{name} must be a float32 array, not {kind(value)}.")
    shape = value.shape
    fits = len(shape) == 1 if columns is None else len(shape) == 2 and shape[1] == columns
    if not fits or (count is not None and shape[0] != count):
        wanted = "N" if count is None else str(count)
        if columns is not None:
            wanted += f", {columns}"
        raise InvalidInputError(f"{name} must have shape [{wanted}], not {list(shape)}.")
    if shape[0] > limit:
        raise InvalidInputError(f"{name} must have at most {limit} rows, not {shape[0]}.")
    return packed(value)
