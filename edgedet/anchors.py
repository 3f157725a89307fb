"""Anchor grids: the reference that the native decoder and the training targets agree with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgedet.spec import AnchorSpec, ModelSpec

FloatArray = npt.NDArray[np.float32]


class Grid(NamedTuple):
    """The places of a level's anchors: centres at `(index + 0.5) * stride` along each axis.

    Attributes:
        rows: places along the height.
        columns: places along the width.
        stride_y: input pixels from row to row, a float32 value.
        stride_x: input pixels from column to column, a float32 value.
    """

    rows: int
    columns: int
    stride_y: float
    stride_x: float


def grid(spec_anchors: AnchorSpec, level: int, height: int, width: int) -> Grid:
    """The grid of a level for an input of `height` by `width` pixels.

    The places share the input evenly, as EfficientDet's do: a stride is the input's side divided by
    the map's, rounded to float32. That is `2**level` where it divides the side. At 320 pixels level
    7 has 3 x 3 places 320 / 3 = 106.67 pixels apart, not 128.
    """
    rows, columns = spec_anchors.level_size(level, height, width)
    return Grid(rows, columns, float(np.float32(height / rows)), float(np.float32(width / columns)))


def base_anchors(
    anchors: AnchorSpec, level: int, stride_y: float | None = None, stride_x: float | None = None
) -> FloatArray:
    """Widths and heights of a level's anchors in input pixels, shape [A, 2], octave-major.

    Anchor `o * len(aspect_ratios) + r` has width `scale * stride_x * 2**(o / octaves) *
    sqrt(ratio)` and height `scale * stride_y * 2**(o / octaves) / sqrt(ratio)` (EfficientDet's
    anchors), multiplied from left to right in float64 and rounded to float32 once.

    Args:
        anchors: scale, octaves and aspect ratios.
        level: pyramid level.
        stride_y: pixels from row to row (see `grid`); `2**level` by default.
        stride_x: pixels from column to column; `2**level` by default.
    """
    octaves = 2.0 ** (np.arange(anchors.octaves) / anchors.octaves)
    roots = np.sqrt(np.asarray(anchors.aspect_ratios))
    widths = anchors.scale * (2.0**level if stride_x is None else stride_x) * octaves
    heights = anchors.scale * (2.0**level if stride_y is None else stride_y) * octaves
    sizes = [np.outer(widths, roots).ravel(), np.divide.outer(heights, roots).ravel()]
    return np.stack(sizes, axis=-1).astype(np.float32)


def level_anchors(spec: ModelSpec, level: int) -> FloatArray:
    """Anchors of one level as `cx, cy, w, h` in input pixels, shape [rows * columns * A, 4].

    The order is the heads' own: row, column, anchor. A centre is `(index + 0.5) * stride` of its
    `Grid`, in float32.
    """
    rows, columns, stride_y, stride_x = grid(
        spec.anchors, level, spec.input.height, spec.input.width
    )
    sizes = base_anchors(spec.anchors, level, stride_y, stride_x)
    anchors = np.empty((rows, columns, len(sizes), 4), np.float32)
    anchors[..., 0] = _centres(columns, stride_x)[None, :, None]
    anchors[..., 1] = _centres(rows, stride_y)[:, None, None]
    anchors[..., 2:] = sizes
    return anchors.reshape(-1, 4)


def all_anchors(spec: ModelSpec) -> FloatArray:
    """Anchors of every level, finest first, as `cx, cy, w, h`; shape [N, 4]."""
    return np.concatenate([level_anchors(spec, level) for level in spec.anchors.levels])


def _centres(count: int, stride: float) -> FloatArray:
    return (np.arange(count, dtype=np.float32) + np.float32(0.5)) * np.float32(stride)
