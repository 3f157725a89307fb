"""The functions of `edgedet.ops` in plain NumPy: slow, obvious, and what the kernels must equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import boxes as box_coding
from edgedet.anchors import all_anchors
from edgedet.spec import ModelSpec

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def letterbox(
    image: npt.NDArray[np.uint8],
    size: tuple[int, int],
    *,
    mean: Sequence[float] = (127.5, 127.5, 127.5),
    std: Sequence[float] = (127.5, 127.5, 127.5),
    dtype: npt.DTypeLike = np.float32,
    scale: float = 1.0,
    zero_point: int = 0,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], float]:
    """As `edgedet.ops.letterbox`, bit for bit."""
    height, width = size
    element = np.dtype(dtype)
    ratio = min(height / image.shape[0], width / image.shape[1])
    top, bottom, row_weights = _taps(image.shape[0], ratio, height)
    left, right, column_weights = _taps(image.shape[1], ratio, width)
    pixels = image.astype(np.float32)
    above, below = pixels[top], pixels[bottom]
    rows = above + (below - above) * row_weights[:, None, None]
    before, after = rows[:, left], rows[:, right]
    resized = before + (after - before) * column_weights[:, None]

    divisor = np.asarray(std, np.float32).astype(np.float64)
    if element != np.float32:
        divisor = divisor * scale
    values = (resized - np.asarray(mean, np.float32)) * (1.0 / divisor).astype(np.float32)
    tensor = np.zeros((height, width, 3), element)
    if element != np.float32:
        limits = np.iinfo(element)
        values = np.clip(values, limits.min - zero_point, limits.max - zero_point)
        values = np.rint(values) + zero_point
        tensor[...] = zero_point
    tensor[: len(top), : len(left)] = values
    if out is None:
        return tensor, ratio
    out[...] = tensor
    return out, ratio


def decode(codes: FloatArray, anchors: FloatArray) -> FloatArray:
    """As `edgedet.ops.decode`."""
    return box_coding.decode(codes, anchors)


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


def postprocess(
    class_maps: Sequence[npt.NDArray[Any]],
    box_maps: Sequence[npt.NDArray[Any]],
    spec: ModelSpec,
    *,
    conf: float = 0.25,
    iou: float = 0.5,
    max_det: int = 100,
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
        kept = nms(boxes, scores, iou, class_ids=class_ids)
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


def _taps(
    side: int, ratio: float, limit: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Lower and upper source index and the upper one's weight, for each resized row or column."""
    count = min(max(int(np.floor(side * ratio + 0.5)), 1), limit)
    position = np.clip((np.arange(count) + 0.5) / ratio - 0.5, 0, side - 1)
    low = np.floor(position).astype(np.int64)
    return low, np.minimum(low + 1, side - 1), (position - low).astype(np.float32)
