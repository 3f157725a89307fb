"""`edgedet.ops.nms` in NumPy."""

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
