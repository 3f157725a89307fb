"""From raw head tensors to detections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgedet import _native, arguments
from edgedet.anchors import Grid, base_anchors, grid
from edgedet.errors import InvalidInputError
from edgedet.ops.letterboxing import MAX_IMAGE_SIDE
from edgedet.ops.suppression import MAX_BOXES, MAX_DETECTIONS, SIGMAS
from edgedet.spec import AnchorSpec, ModelSpec

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_FLOAT32 = np.dtype(np.float32)

Suppression = Literal["hard", "soft-gaussian", "soft-linear", "none"]

_SUPPRESSIONS = ("hard", "soft-gaussian", "soft-linear", "none")

# Candidates that the native code takes at a time; 0 leaves the choice to it. Results don't depend
# on it: tests set it to a few, so that small maps need many chunks.
_CHUNK = 0


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


def postprocess(
    class_maps: Sequence[npt.NDArray[Any]],
    box_maps: Sequence[npt.NDArray[Any]],
    spec: ModelSpec,
    *,
    conf: float = 0.25,
    iou: float = 0.5,
    max_det: int = 100,
    nms: Suppression = "hard",
    agnostic: bool = False,
    sigma: float = 0.5,
    class_quantization: Sequence[tuple[float, int]] | None = None,
    box_quantization: Sequence[tuple[float, int]] | None = None,
    ratio: float = 1.0,
    image_size: tuple[int, int] | None = None,
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Turn the raw head tensors of one image into detections in pixels of that image.

    Every (anchor, class) pair whose score, `sigmoid(logit)` in float32, is `conf` or more is a
    candidate (RetinaNet, Lin et al. 2017, section 4). The comparison is made in the tensors' own
    domain, so that only candidates are dequantized and decoded; the best of them first, some
    thousands at a time, until `max_det` detections are found. NaN logits and boxes that are not
    finite are dropped. Suppression runs in pixels of the input tensor; then boxes are divided by
    `ratio`, clipped to the image, and dropped when empty.

    Suppression is NMS ("hard"; an IoU above `iou` suppresses), soft-NMS as in `soft_nms`
    ("soft-gaussian" with `sigma`; "soft-linear", where an IoU above `iou` lowers scores; both drop
    scores that fall below `conf`), or none.

    Exponentials are rounded from float64 to float32; scores and boxes of other machines differ by
    no more than one float32 step.

    Args:
        class_maps: logits per level, finest first: [1, rows, columns, A * classes] or without the
            1; float32, int8, uint8 or int16.
        box_maps: codes `ty, tx, th, tw` per level: [1, rows, columns, A * 4] or without the 1.
        spec: the model's spec, which gives anchors, classes and input size.
        conf: 0 to 1; lowest score.
        iou: 0 to 1; an IoU above it suppresses, or lowers scores ("soft-linear").
        max_det: how many detections to return at most.
        nms: "hard", "soft-gaussian", "soft-linear" or "none".
        agnostic: whether candidates of different classes suppress each other too.
        sigma: width of "soft-gaussian", above 0; the smaller, the harder.
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
    arguments.choice("nms", nms, _SUPPRESSIONS)
    if not isinstance(agnostic, (bool, np.bool_)):
        raise InvalidInputError(f"agnostic must be True or False, not {arguments.kind(agnostic)}.")
    if not isinstance(spec, ModelSpec):
        raise InvalidInputError(f"spec must be a ModelSpec, not {arguments.kind(spec)}.")
    grids, sizes = _levels(spec.anchors, spec.input.height, spec.input.width)
    per_location = spec.anchors.per_location
    locations = sum(place.rows * place.columns for place in grids)
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
        nms,
        bool(agnostic),
        arguments.number("sigma", sigma, *SIGMAS),
        _CHUNK,
    )


@lru_cache(maxsize=64)
def _levels(anchors: AnchorSpec, height: int, width: int) -> tuple[list[Grid], list[FloatArray]]:
    """The grid and the anchor sizes [A, 2] of each level."""
    grids = [grid(anchors, level, height, width) for level in anchors.levels]
    sizes = [
        base_anchors(anchors, level, place.stride_y, place.stride_x)
        for level, place in zip(anchors.levels, grids, strict=True)
    ]
    return grids, sizes


def _heads(
    head: str,
    maps: Sequence[npt.NDArray[Any]],
    quantization: Sequence[tuple[float, int]] | None,
    grids: list[Grid],
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
    for i, (array, place) in enumerate(zip(maps, grids, strict=True)):
        shape = (place.rows, place.columns, channels)
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
        arrays.append(arguments.packed(array))
        if array.dtype == _FLOAT32:
            scales.append((1.0, 0))
            continue
        if quantization is None:
            raise InvalidInputError(f"{given} must be given for integer {name}.")
        pair = quantization[i]
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise InvalidInputError(
                f"{given}[{i}] must be (scale, zero point), not {arguments.shown(pair)}."
            )
        scales.append(
            (
                arguments.scale(f"{given}[{i}]", pair[0]),
                arguments.zero_point(f"{given}[{i}]", pair[1], array.dtype),
            )
        )
    return arrays, scales
