"""`edgedet.ops.weighted_fusion` in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def weighted_fusion(
    inputs: Sequence[npt.NDArray[Any]],
    weights: Sequence[float] | npt.NDArray[np.float32],
    *,
    epsilon: float = 1e-4,
    activation: str = "none",
    quantization: Sequence[tuple[float, int]] | None = None,
    out_quantization: tuple[float, int] | None = None,
) -> npt.NDArray[Any]:
    """As `edgedet.ops.weighted_fusion`; swish is rounded from float64."""
    maps: list[npt.NDArray[Any]] = [values.reshape(values.shape[-3:]) for values in inputs]
    height, width = maps[0].shape[:2]
    factors = np.maximum(np.asarray(weights, np.float32), 0)
    # One after another, and not in pairs as NumPy's sum does.
    factors = factors / (np.add.accumulate(factors)[-1] + np.float32(epsilon))
    fused: npt.NDArray[Any] = np.zeros(maps[0].shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for i, values in enumerate(maps):
            resized = _resized(_resized(values, 0, height), 1, width)
            factor = factors[i]
            if quantization is not None:
                scale, zero_point = quantization[i]
                factor = factor * np.float32(scale)
                resized = (resized.astype(np.int32) - zero_point).astype(np.float32)
            fused = fused + factor * resized if i else factor * resized
        fused = _activated(fused, activation)
        if out_quantization is not None:
            scale, zero_point = out_quantization
            scaled = fused * np.float32(1 / np.float64(np.float32(scale)))
            low, high = -128 - zero_point, 127 - zero_point
            # Comparisons that are false for NaN, as in the kernel.
            scaled = np.where(scaled > low, scaled, np.float32(low))
            scaled = np.where(scaled < high, scaled, np.float32(high))
            fused = (np.rint(scaled) + zero_point).astype(np.int8)
    return fused.reshape(inputs[0].shape)


def _resized(values: npt.NDArray[Any], axis: int, target: int) -> npt.NDArray[Any]:
    """Brought to `target` elements along an axis: repeated, or pooled until it fits."""
    while values.shape[axis] > target:
        values = _pooled(values, axis)
    side = values.shape[axis]
    factor = target // side
    if target % side:
        factor = 2
        while -(-target // factor) > side:
            factor *= 2
    return np.repeat(values, factor, axis).take(range(target), axis)


def _pooled(values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """Max pooling of 3 elements along an axis, stride 2, padding "same"."""
    side = values.shape[axis]
    padding = [(0, 0)] * values.ndim
    padding[axis] = (side % 2, 1)
    lowest = -np.inf if values.dtype == np.float32 else -128
    padded = np.moveaxis(np.pad(values, padding, constant_values=lowest), axis, 0)
    count = -(-side // 2)
    windows = [padded[start : start + 2 * count : 2][:count] for start in range(3)]
    return np.moveaxis(np.maximum(np.maximum(windows[0], windows[1]), windows[2]), 0, axis)


def _activated(x: npt.NDArray[Any], activation: str) -> npt.NDArray[Any]:
    zero, six = np.float32(0), np.float32(6)
    if activation == "relu":
        return np.where(x > 0, x, zero)
    if activation == "relu6":
        return np.clip(np.where(x > 0, x, zero), zero, six)
    if activation == "swish":
        wide = x.astype(np.float64)
        return np.where(x < -88, 0, wide / (1 + np.exp(-wide))).astype(np.float32)
    if activation == "hard_swish":
        gate = np.where(x + np.float32(3) > 0, x + np.float32(3), zero)
        return x * (np.minimum(gate, six) * np.float32(1 / 6))
    return x
