"""Non-maximum suppression of boxes, hard and soft."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgedet import _native, arguments
from edgedet.errors import InvalidInputError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

MAX_BOXES = (1 << 29) - 1  # fewer than 2**31 coordinates
MAX_DETECTIONS = (1 << 63) - 1

# Outside these bounds the gaussian is a step or a constant in float32.
SIGMAS = (1e-6, 1e6)


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
    return _native.nms(
        boxes,
        scores,
        None if class_ids is None else _classes(class_ids, len(boxes)),
        arguments.number("iou_threshold", iou_threshold, 0, 1),
        (
            float("-inf")
            if score_threshold is None
            else arguments.number("score_threshold", score_threshold)
        ),
        _limit(max_detections),
    )


def soft_nms(
    boxes: FloatArray,
    scores: FloatArray,
    *,
    method: Literal["gaussian", "linear"] = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
    class_ids: npt.NDArray[np.integer[Any]] | None = None,
    max_detections: int | None = None,
) -> tuple[IntArray, FloatArray]:
    """Soft-NMS: boxes that overlap a better one stay, with a lower score.

    The box of the highest score is selected, the score of every remaining box is multiplied by
    `exp(-IoU**2 / sigma)` (gaussian) or, where the IoU is above `iou_threshold`, by `1 - IoU`
    (linear), and so on with the boxes that remain: Bodla et al. 2017, "Soft-NMS", Eqs. 1 and 3.
    Boxes and scores that are not finite are dropped. Inverted boxes have no area, and a box without
    area overlaps nothing.

    Thresholds and factors are rounded to float32, the gaussian's from float64.

    Args:
        boxes: [N, 4] float32 `x0, y0, x1, y1`.
        scores: [N] float32.
        method: "gaussian" or "linear".
        sigma: width of the gaussian, above 0; the smaller, the harder.
        iou_threshold: 0 to 1; an IoU equal to it lowers nothing. Ignored by the gaussian.
        score_threshold: 0 or more; a box is dropped when its score is or falls below it.
        class_ids: [N] integers; boxes of different classes don't lower each other's scores.
        max_detections: how many to select at most.

    Returns:
        int64 [K]: indices in the order of selection: by descending new score, ties by lower index;
        and float32 [K]: the new scores.

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    arguments.choice("method", method, ("gaussian", "linear"))
    boxes = arguments.rows("boxes", boxes, 4, None, MAX_BOXES)
    scores = arguments.rows("scores", scores, None, len(boxes), MAX_BOXES)
    return _native.soft_nms(
        boxes,
        scores,
        None if class_ids is None else _classes(class_ids, len(boxes)),
        method == "gaussian",
        arguments.number("sigma", sigma, *SIGMAS),
        arguments.number("iou_threshold", iou_threshold, 0, 1),
        arguments.number("score_threshold", score_threshold, 0),
        _limit(max_detections),
    )


def _classes(class_ids: npt.NDArray[np.integer[Any]], count: int) -> IntArray:
    if not isinstance(class_ids, np.ndarray) or class_ids.dtype.kind not in "iu":
        raise InvalidInputError(
            f"class_ids must be an integer array, not {arguments.kind(class_ids)}."
        )
    if class_ids.shape != (count,):
        raise InvalidInputError(
            f"class_ids must have shape {[count]}, not {list(class_ids.shape)}."
        )
    return arguments.packed(class_ids.astype(np.int64, copy=False))


def _limit(max_detections: int | None) -> int:
    if max_detections is None:
        return MAX_DETECTIONS
    return arguments.integer("max_detections", max_detections, 0, MAX_DETECTIONS)
