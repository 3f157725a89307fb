"""Anchor grids: the reference that the native decoder and the training targets agree with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgedet.spec import AnchorSpec, ModelSpec

FloatArray = npt.NDArray[np.float32]


def base_anchors(spec: AnchorSpec, level: int) -> FloatArray:
    """Widths and heights of a level's anchors in input pixels, shape [A, 2], octave-major.

    Anchor `o * len(aspect_ratios) + r` has side `scale * 2**level * 2**(o / octaves)`, width
    `side * sqrt(ratio)` and height `side / sqrt(ratio)` (EfficientDet's anchors).
    """
    sides = spec.scale * 2.0**level * 2.0 ** (np.arange(spec.octaves) / spec.octaves)
    roots = np.sqrt(np.asarray(spec.aspect_ratios))
    widths = (sides[:, None] * roots[None, :]).ravel()
    heights = (sides[:, None] / roots[None, :]).ravel()
    return np.stack([widths, heights], axis=-1).astype(np.float32)


def level_anchors(spec: ModelSpec, level: int) -> FloatArray:
    """Anchors of one level as `cx, cy, w, h` in input pixels, shape [rows * columns * A, 4].

    The order is the heads' own: row, column, anchor. Centres lie at `(index + 0.5) * stride`.
    """
    rows, columns = spec.level_size(level)
    stride = np.float32(2**level)
    sizes = base_anchors(spec.anchors, level)
    grid = np.empty((rows, columns, len(sizes), 4), np.float32)
    grid[..., 0] = ((np.arange(columns, dtype=np.float32) + 0.5) * stride)[None, :, None]
    grid[..., 1] = ((np.arange(rows, dtype=np.float32) + 0.5) * stride)[:, None, None]
    grid[..., 2:] = sizes
    return grid.reshape(-1, 4)


def all_anchors(spec: ModelSpec) -> FloatArray:
    """Anchors of every level, finest first, as `cx, cy, w, h`; shape [N, 4]."""
    return np.concatenate([level_anchors(spec, level) for level in spec.anchors.levels])
