"""`edgedet.ops.decode` and `postprocess` in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import boxes as box_coding
from edgedet.anchors import all_anchors
from edgedet.reference import suppression
from edgedet.spec import ModelSpec

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def decode(codes: FloatArray, anchors: FloatArray) -> FloatArray:
    """As `edgedet.ops.decode`."""
    return box_coding.decode(codes, anchors)


def postprocess(
    class_maps: Sequence[npt.NDArray[Any]],
    box_maps: Sequence[npt.NDArray[Any]],
    spec: ModelSpec,
    *,
    conf: float = 0.25,
    iou: float = 0.5,
    max_det: int = 100,
    nms: str = "hard",
    agnostic: bool = False,
    sigma: float = 0.5,
    class_quantization: Sequence[tuple[float, int]] | None = None,
    box_quantization: Sequence[tuple[float, int]] | None = None,
    ratio: float = 1.0,
    image_size: tuple[int, int] | None = None,
) -> tuple[FloatArray, FloatArray, IntArray]:
    """As `edgedet.ops.postprocess`: everything is dequantized, scored and decoded first."""
    logits = _dequantized(class_maps, class_quantization, spec.num_classes)
    codes = _dequantized(box_maps, box_quantization, 4)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
        boxes = decode(codes, all_anchors(spec))
        anchor, class_ids = np.nonzero(scores >= np.float32(conf))
        scores, boxes = scores[anchor, class_ids], boxes[anchor]
        groups = np.zeros_like(class_ids) if agnostic else class_ids
        if nms == "hard":
            kept = suppression.nms(boxes, scores, iou, class_ids=groups)
        elif nms == "none":
            # Nobody shares a class: nobody is suppressed.
            kept = suppression.nms(boxes, scores, iou, class_ids=np.arange(len(scores)))
        else:
            kept, rescored = suppression.soft_nms(
                boxes,
                scores,
                method=nms.removeprefix("soft-"),
                sigma=sigma,
                iou_threshold=iou,
                score_threshold=conf,
                class_ids=groups,
            )
            scores[kept] = rescored
        scores, boxes, class_ids = scores[kept], boxes[kept], class_ids[kept]
        boxes = boxes / np.float32(ratio)
    if image_size is not None:
        height, width = image_size
        boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    solid = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))[:max_det]
    return boxes[solid], scores[solid], class_ids[solid].astype(np.int64)


def _dequantized(
    maps: Sequence[npt.NDArray[Any]],
    quantization: Sequence[tuple[float, int]] | None,
    columns: int,
) -> FloatArray:
    """The maps of all levels one after another, as float32 [N, columns]."""
    rows = []
    for i, values in enumerate(maps):
        if values.dtype != np.float32:
            assert quantization is not None
            scale, zero_point = quantization[i]
            values = np.float32(scale) * (values.astype(np.int32) - zero_point).astype(np.float32)
        rows.append(values.reshape(-1, columns))
    return np.concatenate(rows)
