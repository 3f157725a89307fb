"""Box coding and overlap in NumPy: the reference for the native kernels and the training loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

# exp(LOG_SIZE_LIMIT) bounds how far a code can stretch its anchor: untrained or hostile heads must
# not overflow float32. 1000 / 16 is the bound torchvision uses.
LOG_SIZE_LIMIT = float(np.log(1000.0 / 16.0))


def encode(boxes: FloatArray, anchors: FloatArray) -> FloatArray:
    """Code boxes against anchors as `ty, tx, th, tw` (Faster R-CNN, Ren et al. 2015, Eq. 2).

    Args:
        boxes: [N, 4] as `x0, y0, x1, y1` with positive width and height.
        anchors: [N, 4] as `cx, cy, w, h`.

    Returns:
        [N, 4] float32, unscaled, in EfficientDet's order.
    """
    boxes = np.asarray(boxes, np.float32)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    centre_x, centre_y = boxes[:, 0] + width / 2, boxes[:, 1] + height / 2
    return np.stack(
        [
            (centre_y - anchors[:, 1]) / anchors[:, 3],
            (centre_x - anchors[:, 0]) / anchors[:, 2],
            np.log(height / anchors[:, 3]),
            np.log(width / anchors[:, 2]),
        ],
        axis=-1,
    ).astype(np.float32)


def decode(codes: FloatArray, anchors: FloatArray) -> FloatArray:
    """Inverse of `encode`: [N, 4] codes `ty, tx, th, tw` to boxes `x0, y0, x1, y1`.

    Log sizes are clamped to `LOG_SIZE_LIMIT`; boxes are not clipped to the image.
    """
    codes = np.asarray(codes, np.float32)
    centre_y = codes[:, 0] * anchors[:, 3] + anchors[:, 1]
    centre_x = codes[:, 1] * anchors[:, 2] + anchors[:, 0]
    # Rounded from float64, because float32 exponentials differ between machines by a step or two.
    limited = np.minimum(codes[:, 2:], np.float32(LOG_SIZE_LIMIT))
    factors = np.exp(limited.astype(np.float64)).astype(np.float32)
    half_height = factors[:, 0] * anchors[:, 3] * np.float32(0.5)
    half_width = factors[:, 1] * anchors[:, 2] * np.float32(0.5)
    return np.stack(
        [
            centre_x - half_width,
            centre_y - half_height,
            centre_x + half_width,
            centre_y + half_height,
        ],
        axis=-1,
    ).astype(np.float32)


def area(boxes: FloatArray) -> FloatArray:
    """Areas [N] of boxes [N, 4]; inverted boxes have none."""
    boxes = np.asarray(boxes, np.float32)
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas: FloatArray = size[:, 0] * size[:, 1]
    return areas


def iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Intersection over union of every pair: [N, 4] and [M, 4] to [N, M]; 0 if both are empty."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    size = np.maximum(high - low, 0)
    inter = size[..., 0] * size[..., 1]
    union = area(first)[:, None] + area(second)[None, :] - inter
    overlaps: FloatArray = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return overlaps
