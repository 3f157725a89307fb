"""Pre- and post-processing kernels for NumPy arrays: letterbox, box decoding, NMS, postprocess.

They run native code with the interpreter lock released and keep no state, so that threads may call
them at once. `edgedet.reference` holds the same functions in plain NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import _native, arguments
from edgedet.anchors import base_anchors
from edgedet.errors import InvalidInputError
from edgedet.spec import AnchorSpec, ModelSpec

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

MAX_IMAGE_SIDE = 1 << 20
MAX_TENSOR_SIDE = 8192
MAX_BOXES = (1 << 32) - 1
MAX_DETECTIONS = (1 << 63) - 1

_INPUT_TYPES = (np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.uint8))
_FLOAT32 = np.dtype(np.float32)


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
    """Fit an image into the top left of a network's input tensor, normalized and quantized.

    The aspect is kept: `ratio = min(height / H, width / W)`, and each side becomes
    `floor(side * ratio + 0.5)`, at least 1. Bilinear with half-pixel centres and clamped edges,
    without rounding to grey levels in between. A value becomes `(value - mean) / std`; for integer
    types that is divided by `scale`, rounded half to even, moved by `zero_point` and saturated.
    The rest of the tensor holds the element that stands for 0.

    Args:
        image: [H, W, 3] uint8 RGB, any strides.
        size: (height, width) of the tensor.
        mean: per-channel mean in grey levels.
        std: per-channel divisor in grey levels.
        dtype: float32, int8 or uint8.
        scale: quantization scale of integer types; ignored for float32.
        zero_point: quantization zero point of integer types; ignored for float32.
        out: tensor to write to and return: C-contiguous, of type `dtype` and of shape
            [height, width, 3] or [1, height, width, 3].

    Returns:
        The tensor [height, width, 3] (or `out`), and the ratio of tensor to image pixels.

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    height, width = arguments.size("size", size, MAX_TENSOR_SIDE)
    arguments.image("image", image, MAX_IMAGE_SIDE)
    element = arguments.element_type("dtype", dtype, _INPUT_TYPES)
    means, divisors = arguments.channels("mean", mean), arguments.channels("std", std)
    if element == _FLOAT32:
        scale, zero_point = 1.0, 0
    else:
        scale = arguments.scale("scale", scale)
        zero_point = arguments.zero_point("zero_point", zero_point, element)
    if (
        min(divisors) * scale < arguments.SMALLEST_SCALE
        or max(divisors) * scale > arguments.LARGEST_SCALE
    ):
        raise InvalidInputError(f"std must be positive and neither tiny nor huge, not {std!r}.")
    if out is None:
        tensor = np.empty((height, width, 3), element)
        target = tensor
    else:
        tensor = out
        target = arguments.output("out", out, (height, width, 3), element)
        if np.may_share_memory(target, image):
            raise InvalidInputError("out must not share memory with image.")
    ratio = _native.letterbox(image, target, means, divisors, scale, zero_point)
    return tensor, ratio


def decode(codes: FloatArray, anchors: FloatArray) -> FloatArray:
    """Turn box codes into boxes: the native form of `edgedet.boxes.decode`.

    Args:
        codes: [N, 4] float32 `ty, tx, th, tw`; log sizes are clamped to log(1000 / 16).
        anchors: [N, 4] float32 `cx, cy, w, h`.

    Returns:
        [N, 4] float32 `x0, y0, x1, y1`.

    Raises:
        InvalidInputError: an argument has the wrong type or shape.
    """
    codes = arguments.rows("codes", codes, 4, None, MAX_BOXES)
    anchors = arguments.rows("anchors", anchors, 4, len(codes), MAX_BOXES)
    return _native.decode(codes, anchors)


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
    """Turn the raw head tensors of one image into detections in pixels of that image.

    Every (anchor, class) pair whose score, `sigmoid(logit)` in float32, is `conf` or more is a
    candidate (RetinaNet, Lin et al. 2017, section 4). The comparison is made in the tensors' own
    domain, so that only candidates are dequantized and decoded. NaN logits and boxes that are not
    finite are dropped. Per-class NMS runs in pixels of the input tensor; then boxes are divided by
    `ratio`, clipped to the image, and dropped when empty.

    Exponentials are rounded from float64 to float32; scores and boxes of other machines differ by
    no more than one float32 step.

    Args:
        class_maps: logits per level, finest first: [1, rows, columns, A * classes] or without the
            1; float32, int8, uint8 or int16.
        box_maps: codes `ty, tx, th, tw` per level: [1, rows, columns, A * 4] or without the 1.
        spec: the model's spec, which gives anchors, classes and input size.
        conf: 0 to 1; lowest score.
        iou: 0 to 1; an IoU above it suppresses.
        max_det: how many detections to return at most.
        class_quantization: (scale, zero point) per level, for integer class maps.
        box_quantization: (scale, zero point) per level, for integer box maps.
        ratio: tensor pixels per image pixel, from `letterbox`.
        image_size: (height, width) of the image; without it boxes are not clipped.

    Returns:
        boxes [K, 4] float32 `x0, y0, x1, y1`, scores [K] float32 and class ids [K] int64, by
        descending score, ties by lower candidate (level, row, column, anchor, class).

    Raises:
        InvalidInputError: an argument has the wrong type, shape or range.
    """
    if not isinstance(spec, ModelSpec):
        raise InvalidInputError(f"spec must be a ModelSpec, not {arguments.kind(spec)}.")
    grids, sizes = _levels(spec.anchors, spec.input.height, spec.input.width)
    per_location = spec.anchors.per_location
    locations = sum(rows * columns for rows, columns, _ in grids)
    if locations * per_location * spec.num_classes > MAX_BOXES:
        raise InvalidInputError(f"spec must have at most {MAX_BOXES} candidates.")
    class_arrays, class_scales = _heads(
        "class", class_maps, class_quantization, grids, per_location * spec.num_classes
    )
    box_arrays, box_scales = _heads("box", box_maps, box_quantization, grids, per_location * 4)
    height = width = float("inf")
    if image_size is not None:
        height, width = arguments.size("image_size", image_size, MAX_IMAGE_SIDE)
    return _native.postprocess(
        class_arrays,
        box_arrays,
        class_scales,
        box_scales,
        grids,
        sizes,
        spec.num_classes,
        arguments.number("conf", conf, 0, 1),
        arguments.number("iou", iou, 0, 1),
        arguments.integer("max_det", max_det, 0, MAX_DETECTIONS),
        arguments.number("ratio", ratio, 1e-9, 1e9),
        height,
        width,
    )


@lru_cache(maxsize=64)
def _levels(
    anchors: AnchorSpec, height: int, width: int
) -> tuple[list[tuple[int, int, float]], list[FloatArray]]:
    """(rows, columns, stride) and anchor sizes [A, 2] of each level."""
    grids, sizes = [], []
    for level in anchors.levels:
        stride = 2**level
        grids.append((-(-height // stride), -(-width // stride), float(stride)))
        sizes.append(base_anchors(anchors, level))
    return grids, sizes


def _heads(
    head: str,
    maps: Sequence[npt.NDArray[Any]],
    quantization: Sequence[tuple[float, int]] | None,
    grids: list[tuple[int, int, float]],
    channels: int,
) -> tuple[list[npt.NDArray[Any]], list[tuple[float, int]]]:
    """Maps in packed form, and scale and zero point of each (1 and 0 for float32)."""
    name = f"{head}_maps"
    if not isinstance(maps, (list, tuple)) or len(maps) != len(grids):
        raise InvalidInputError(f"{name} must hold {len(grids)} arrays, one per level.")
    given = f"{head}_quantization"
    if quantization is not None and (
        not isinstance(quantization, (list, tuple)) or len(quantization) != len(grids)
    ):
        raise InvalidInputError(f"{given} must hold {len(grids)} (scale, zero point) pairs.")
    arrays: list[npt.NDArray[Any]] = []
    scales: list[tuple[float, int]] = []
    for i, (array, (rows, columns, _)) in enumerate(zip(maps, grids, strict=True)):
        shape = (rows, columns, channels)
        if not isinstance(array, np.ndarray) or (
            array.dtype != _FLOAT32 and array.dtype not in arguments.INTEGER_RANGES
        ):
            raise InvalidInputError(
                f"{name}[{i}] must be a float32, int8, uint8 or int16 array, "
                f"not {arguments.kind(array)}."
            )
        if array.shape != (1, *shape) and array.shape != shape:
            raise InvalidInputError(
                f"{name}[{i}] must have shape {[1, *shape]}, not {list(array.shape)}."
            )
        arrays.append(np.ascontiguousarray(array))
        if array.dtype == _FLOAT32:
            scales.append((1.0, 0))
            continue
        if quantization is None:
            raise InvalidInputError(f"{given} must be given for integer {name}.")
        pair = quantization[i]
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise InvalidInputError(f"{given}[{i}] must be (scale, zero point), not {pair!r}.")
        scales.append(
            (
                arguments.scale(f"{given}[{i}]", pair[0]),
                arguments.zero_point(f"{given}[{i}]", pair[1], array.dtype),
            )
        )
    return arrays, scales
