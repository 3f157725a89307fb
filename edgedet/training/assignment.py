"""Which anchor learns which box: RetinaNet's assignment with static shapes, in `keras.ops`."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any

IOU_MATCH = 0.5
"""An anchor is positive from this overlap on, background below it (EfficientDet's setting)."""


def pairwise_iou(anchors: Tensor, boxes: Tensor) -> Tensor:
    """IoU of every box of each example with every anchor.

    Args:
        anchors: [N, 4] as `x0, y0, x1, y1`, of positive size.
        boxes: [B, M, 4] as `x0, y0, x1, y1`.

    Returns:
        [B, M, N].
    """
    # The long axis last and one coordinate at a time: broadcasting pairs of corners is slow.
    low, high = (ops.transpose(anchors)[side] for side in (slice(0, 2), slice(2, 4)))

    def overlap(axis: int) -> Tensor:
        near = ops.maximum(low[axis], boxes[..., axis : axis + 1])
        return ops.relu(ops.minimum(high[axis], boxes[..., axis + 2 : axis + 3]) - near)

    inter = overlap(0) * overlap(1)
    size = boxes[..., 2:] - boxes[..., :2]
    anchor_area = (high[0] - low[0]) * (high[1] - low[1])
    return inter / (anchor_area + size[..., :1] * size[..., 1:] - inter)


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
    # Padding overlaps nothing, whatever its coordinates.
    boxes = ops.where(ops.expand_dims(valid, -1), boxes, 0.0)
    iou = pairwise_iou(corners, boxes)

    best_anchor = ops.where(valid, ops.argmax(iou, axis=-1), -1)
    index = ops.arange(ops.shape(anchors)[0], dtype=best_anchor.dtype)
    forced = ops.equal(index, ops.expand_dims(best_anchor, -1))
    overlap = ops.where(forced, 2.0, iou)
    chosen = ops.argmax(overlap, axis=1)
    positive = ops.max(overlap, axis=1) >= IOU_MATCH

    matched = ops.take_along_axis(boxes, ops.expand_dims(chosen, -1), axis=1)
    labels = ops.take_along_axis(classes, chosen, axis=1)
    # Padding boxes have no size; their codes are never used but must stay finite.
    size = ops.maximum(matched[..., 2:] - matched[..., :2], 1e-3)
    centre = matched[..., :2] + size / 2
    offset = (centre - anchors[:, :2]) / anchors[:, 2:]
    scale = ops.log(size / anchors[:, 2:])
    codes = ops.stack([offset[..., 1], offset[..., 0], scale[..., 1], scale[..., 0]], axis=-1)
    return positive, labels, codes
