"""Which anchor learns which box: RetinaNet's assignment with static shapes, in `keras.ops`."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any

IOU_MATCH = 0.5
"""An anchor is positive from this overlap on, background below it (EfficientDet's setting)."""


def pairwise_iou(anchors: Tensor, boxes: Tensor) -> Tensor:
    """IoU of every anchor with every box of each example.

    Args:
        anchors: [N, 4] as `x0, y0, x1, y1`.
        boxes: [B, M, 4] as `x0, y0, x1, y1`.

    Returns:
        [B, N, M].
    """
    anchors = ops.reshape(anchors, (1, -1, 1, 4))
    boxes = ops.expand_dims(boxes, 1)
    low = ops.maximum(anchors[..., :2], boxes[..., :2])
    high = ops.minimum(anchors[..., 2:], boxes[..., 2:])
    size = ops.maximum(high - low, 0.0)
    inter = size[..., 0] * size[..., 1]

    def area(corners: Tensor) -> Tensor:
        return (corners[..., 2] - corners[..., 0]) * (corners[..., 3] - corners[..., 1])

    return inter / ops.maximum(area(anchors) + area(boxes) - inter, 1e-9)


def assign(anchors: Tensor, boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Assign a class and a box code to every anchor.

    An anchor takes the box it overlaps most if their IoU reaches `IOU_MATCH`; besides, every box
    takes the anchor it overlaps most, whatever their IoU (EfficientDet's force-match). The first
    box wins an anchor that several boxes force.

    Args:
        anchors: [N, 4] as `cx, cy, w, h` in input pixels.
        boxes: [B, M, 4] as `x0, y0, x1, y1` in input pixels, padded to M.
        classes: [B, M] class indices, -1 for padding.

    Returns:
        positive [B, N] bool, class of each anchor [B, N] (meaningful where positive), and box
        codes `ty, tx, th, tw` [B, N, 4].
    """
    half = anchors[:, 2:] / 2
    corners = ops.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=-1)
    valid = classes >= 0
    iou = ops.where(ops.expand_dims(valid, 1), pairwise_iou(corners, boxes), -1.0)

    best_anchor = ops.argmax(iou, axis=1)
    index = ops.arange(ops.shape(anchors)[0], dtype=best_anchor.dtype)
    forced = ops.equal(ops.reshape(index, (1, -1, 1)), ops.expand_dims(best_anchor, 1))
    forced = ops.logical_and(forced, ops.expand_dims(valid, 1))
    is_forced = ops.any(forced, axis=-1)
    chosen = ops.where(
        is_forced, ops.argmax(ops.cast(forced, "int32"), axis=-1), ops.argmax(iou, axis=-1)
    )
    positive = ops.logical_or(is_forced, ops.max(iou, axis=-1) >= IOU_MATCH)

    matched = ops.take_along_axis(boxes, ops.expand_dims(chosen, -1), axis=1)
    labels = ops.take_along_axis(classes, chosen, axis=1)
    # Padding boxes have no size; their codes are never used but must stay finite.
    size = ops.maximum(matched[..., 2:] - matched[..., :2], 1e-3)
    centre = matched[..., :2] + size / 2
    offset = (centre - anchors[:, :2]) / anchors[:, 2:]
    scale = ops.log(size / anchors[:, 2:])
    codes = ops.stack([offset[..., 1], offset[..., 0], scale[..., 1], scale[..., 0]], axis=-1)
    return positive, labels, codes
