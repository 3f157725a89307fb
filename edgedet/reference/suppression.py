"""`edgedet.ops.nms` and `soft_nms` in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import boxes as box_coding

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def nms(
    boxes: FloatArray,
    scores: FloatArray,
    iou_threshold: float,
    *,
    class_ids: npt.NDArray[np.integer[Any]] | None = None,
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> IntArray:
    """As `edgedet.ops.nms`: the quadratic definition."""
    usable = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    if score_threshold is not None:
        usable &= scores >= np.float32(score_threshold)
    classes = np.zeros(len(scores), np.int64) if class_ids is None else class_ids
    # Stable: equal scores stay in the order of their indices.
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for i in order[usable[order]]:
            rivals = [j for j in kept if classes[j] == classes[i]]
            overlaps = box_coding.iou(boxes[i : i + 1], boxes[rivals])
            if not (overlaps > np.float32(iou_threshold)).any():
                kept.append(int(i))
    return np.array(kept[:max_detections], np.int64)


def soft_nms(
    boxes: FloatArray,
    scores: FloatArray,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
    class_ids: npt.NDArray[np.integer[Any]] | None = None,
    max_detections: int | None = None,
) -> tuple[IntArray, FloatArray]:
    """As `edgedet.ops.soft_nms`: every remaining box is rescored after each selection."""
    with np.errstate(over="ignore"):
        lowest = np.float32(score_threshold)
    classes = np.zeros(len(scores), np.int64) if class_ids is None else class_ids
    usable = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    left = np.flatnonzero(usable & (scores >= lowest))
    scores = scores.copy()
    selected: list[int] = []
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        while len(left) and len(selected) != max_detections:
            best = left[np.argmax(scores[left])]  # the first of equal ones
            selected.append(int(best))
            left = left[left != best]
            rivals = left[classes[left] == classes[best]]
            overlaps = box_coding.iou(boxes[best : best + 1], boxes[rivals])[0]
            if method == "gaussian":
                exponents = -(overlaps.astype(np.float64) ** 2) / np.float64(np.float32(sigma))
                factors = np.exp(exponents).astype(np.float32)
            else:
                factors = np.where(overlaps > np.float32(iou_threshold), 1 - overlaps, 1)
            scores[rivals] *= factors.astype(np.float32)
            left = left[scores[left] >= lowest]
    return np.array(selected, np.int64), scores[selected]
