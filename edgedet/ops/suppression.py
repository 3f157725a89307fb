"""Non-maximum suppression of boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import _native, arguments
from edgedet.errors import InvalidInputError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

MAX_BOXES = (1 << 32) - 1
MAX_DETECTIONS = (1 << 63) - 1


def nms(
    boxes: FloatArray,
    scores: FloatArray,
    iou_threshold: float,
    *,
    class_ids: npt.NDArray[np.integer[Any]] | None = None,
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> IntArray:
    """Hard non-maximum suppression: a box goes when its IoU with a kept one is above a threshold.

    Thresholds are rounded to float32 and compared in float32. Boxes and scores that are not finite
    are dropped. Inverted boxes have no area, and a box without area overlaps nothing.

    Args:
        boxes: [N, 4] float32 `x0, y0, x1, y1`.
        scores: [N] float32.
        iou_threshold: 0 to 1; an IoU equal to it does not suppress.
        class_ids: [N] integers; boxes of different classes never suppress each other.
        score_threshold: scores below it are dropped; a score equal to it stays.
        max_detections: how many of the best to return at most.

    Returns:
        int64 [K]: indices of the kept boxes by descending score, ties by lower index.

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    boxes = arguments.rows("boxes", boxes, 4, None, MAX_BOXES)
    scores = arguments.rows("scores", scores, None, len(boxes), MAX_BOXES)
    iou_threshold = arguments.number("iou_threshold", iou_threshold, 0, 1)
    classes: IntArray | None = None
    if class_ids is not None:
        if not isinstance(class_ids, np.ndarray) or class_ids.dtype.kind not in "iu":
            raise InvalidInputError(
                f"class_ids must be an integer array, not {arguments.kind(class_ids)}."
            )
        if class_ids.shape != scores.shape:
            raise InvalidInputError(
                f"class_ids must have shape {list(scores.shape)}, not {list(class_ids.shape)}."
            )
        classes = np.ascontiguousarray(class_ids, np.int64)
    lowest = float("-inf")
    if score_threshold is not None:
        lowest = arguments.number("score_threshold", score_threshold)
    if max_detections is not None:
        max_detections = arguments.integer("max_detections", max_detections, 0, MAX_DETECTIONS)
    else:
        max_detections = MAX_DETECTIONS
    return _native.nms(boxes, scores, classes, iou_threshold, lowest, max_detections)
