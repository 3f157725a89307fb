"""Fusing feature maps of several sizes into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import _native, arguments
from edgedet.errors import InvalidInputError

MAX_FUSED = 16
MAX_MAP_ELEMENTS = 1 << 28

ACTIVATIONS = ("none", "relu", "relu6", "swish", "hard_swish")

_MAP_TYPES = (np.dtype(np.float32), np.dtype(np.int8))
_INT8 = np.dtype(np.int8)

# How often an axis repeats its elements, and how often max pooling halves it; one is neutral.
_Axis = tuple[int, int]


def weighted_fusion(
    inputs: Sequence[npt.NDArray[Any]],
    weights: Sequence[float] | npt.NDArray[np.float32],
    *,
    epsilon: float = 1e-4,
    activation: str = "none",
    quantization: Sequence[tuple[float, int]] | None = None,
    out_quantization: tuple[float, int] | None = None,
) -> npt.NDArray[Any]:
    """Fast normalized fusion of feature maps (EfficientDet, Tan et al. 2020, section 3.3).

    `activation(sum of w_i * x_i)` with `w_i = relu(weights_i) / (sum of relu(weights) + epsilon)`,
    where every `x_i` is brought to the size of the first map, rows and columns each by itself:

    - A smaller map is repeated (nearest neighbour) by the factor that divides the first map's side,
      or else by the power of two whose last repetition is cut: 3 elements become 5.
    - A larger map is halved by max pooling, 3 elements with stride 2 and padding "same", until it
      fits. What that gives for NaN is not defined.

    Everything is float32, each product rounded and added in the order of the inputs; only swish is
    not the same bits as `edgedet.reference`, but within 2 float32 steps where its argument is -87
    or more (below -88 it is 0). Integers stand for `scale * (q - zero_point)`; the result is
    rounded half to even and saturated.

    Args:
        inputs: [H, W, C] or [1, H, W, C] maps, all float32 or all int8; at most 16.
        weights: [N] finite numbers, before relu and normalization.
        epsilon: 0 to 1; keeps the sum of the weights off zero.
        activation: none, relu, relu6, swish or hard_swish (`x * relu6(x + 3) / 6`).
        quantization: (scale, zero point) per input, for int8.
        out_quantization: (scale, zero point) of the result, for int8.

    Returns:
        The fused map, of the first input's shape and type.

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    maps = _maps(inputs)
    factors = _weights(weights, len(maps))
    epsilon = arguments.number("epsilon", epsilon, 0, 1)
    if sum(max(factor, 0.0) for factor in factors) + epsilon <= np.finfo(np.float32).tiny:
        raise InvalidInputError("weights must have a positive sum when epsilon is 0.")
    arguments.choice("activation", activation, ACTIVATIONS)
    scales, out_scale = [(1.0, 0)] * len(maps), (1.0, 0)
    if maps[0].dtype == _INT8:
        if not isinstance(quantization, (list, tuple)) or len(quantization) != len(maps):
            raise InvalidInputError(
                f"quantization must hold {len(maps)} (scale, zero point) pairs for int8 inputs."
            )
        scales = [_quantization(f"quantization[{i}]", pair) for i, pair in enumerate(quantization)]
        out_scale = _quantization("out_quantization", out_quantization)
    height, width, _ = maps[0].shape
    resampling = []
    for i, values in enumerate(maps):
        rows, columns = _axis(values.shape[0], height), _axis(values.shape[1], width)
        if rows is None or columns is None:
            raise InvalidInputError(
                f"inputs[{i}] must be [{height}, {width}] repeated or halved a whole number of "
                f"times per axis, not {list(values.shape[:2])}."
            )
        resampling.append((rows, columns))
    fused = np.empty(np.shape(inputs[0]), maps[0].dtype)
    _native.weighted_fusion(
        maps,
        resampling,
        factors,
        epsilon,
        activation,
        scales,
        out_scale,
        fused.reshape(maps[0].shape),
    )
    return fused


def _maps(inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """The maps as packed [H, W, C] arrays of one type and one number of channels."""
    if not isinstance(inputs, (list, tuple)) or not 1 <= len(inputs) <= MAX_FUSED:
        raise InvalidInputError(f"inputs must be a list of 1 to {MAX_FUSED} arrays.")
    maps: list[npt.NDArray[Any]] = []
    for i, array in enumerate(inputs):
        name = f"inputs[{i}]"
        if not isinstance(array, np.ndarray) or array.dtype not in _MAP_TYPES:
            raise InvalidInputError(
                f"{name} must be a float32 or int8 array, not {arguments.kind(array)}."
            )
        if array.dtype != inputs[0].dtype:
            raise InvalidInputError(f"{name} must be {inputs[0].dtype} as inputs[0] is.")
        shape = array.shape[1:] if array.ndim == 4 and array.shape[0] == 1 else array.shape
        if len(shape) != 3 or 0 in shape or math.prod(shape) > MAX_MAP_ELEMENTS:
            raise InvalidInputError(
                f"{name} must have shape [H, W, C] and 1 to {MAX_MAP_ELEMENTS} elements, "
                f"not {list(array.shape)}."
            )
        if maps and shape[2] != maps[0].shape[2]:
            raise InvalidInputError(
                f"{name} must have {maps[0].shape[2]} channels as inputs[0] has, not {shape[2]}."
            )
        maps.append(arguments.packed(array).reshape(shape))
    return maps


def _weights(weights: object, count: int) -> list[float]:
    if isinstance(weights, np.ndarray) and weights.shape == (count,):
        weights = list(weights)
    if not isinstance(weights, (list, tuple)) or len(weights) != count:
        raise InvalidInputError(f"weights must be {count} numbers, one per input.")
    limit = arguments.LARGEST_SCALE
    return [arguments.number(f"weights[{i}]", w, -limit, limit) for i, w in enumerate(weights)]


def _quantization(name: str, pair: object) -> tuple[float, int]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InvalidInputError(
            f"{name} must be (scale, zero point) for int8 inputs, not {arguments.shown(pair)}."
        )
    return arguments.scale(name, pair[0]), arguments.zero_point(name, pair[1], _INT8)


def _axis(side: int, target: int) -> _Axis | None:
    """How an axis of `side` elements gets `target` of them; None where it can't."""
    if side <= target:
        if target % side == 0:
            return target // side, 0
        factor = 2
        while -(-target // factor) > side:
            factor *= 2
        return (factor, 0) if -(-target // factor) == side else None
    halvings = 0
    while side > target:
        side = -(-side // 2)
        halvings += 1
    return (1, halvings) if side == target else None
