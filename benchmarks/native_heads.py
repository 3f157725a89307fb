"""Head tensors of EfficientDet-D0 at 512 pixels whose scores are spread as a detector's are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import ops
from edgedet.anchors import all_anchors, grid
from edgedet.boxes import encode, iou
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

FloatArray = npt.NDArray[np.float32]

# Ranges that the int8 values stand for, in logits and in box codes.
_LOGITS = (-14.0, 5.0)
_CODES = (-3.0, 3.0)


@dataclass(frozen=True)
class Heads:
    """Int8 head tensors of one image, and what they stand for.

    Attributes:
        spec: anchors, classes and input size.
        class_maps: per level [1, rows, columns, A * classes] int8.
        box_maps: per level [1, rows, columns, A * 4] int8.
        class_quantization: (scale, zero point) of the class maps.
        box_quantization: (scale, zero point) of the box maps.
    """

    spec: ModelSpec
    class_maps: list[npt.NDArray[np.int8]]
    box_maps: list[npt.NDArray[np.int8]]
    class_quantization: tuple[float, int]
    box_quantization: tuple[float, int]

    def postprocess(self, conf: float, iou_threshold: float, max_det: int) -> Any:
        """Call `ops.postprocess`."""
        levels = len(self.class_maps)
        return ops.postprocess(
            self.class_maps,
            self.box_maps,
            self.spec,
            conf=conf,
            iou=iou_threshold,
            max_det=max_det,
            class_quantization=[self.class_quantization] * levels,
            box_quantization=[self.box_quantization] * levels,
        )

    def scores(self) -> FloatArray:
        """Sigmoid of the class logits, [anchors, classes] float32."""
        logits = _dequantized(self.class_maps, self.class_quantization, self.spec.num_classes)
        return (1 / (1 + np.exp(-logits))).astype(np.float32)

    def codes(self) -> FloatArray:
        """Box codes `ty, tx, th, tw`, [anchors, 4] float32."""
        return _dequantized(self.box_maps, self.box_quantization, 4)


def detector_heads(side: int = 512, classes: int = 90, objects: int = 40) -> Heads:
    """Heads of an image with objects in it.

    Background logits are normal around -7.0 with a deviation of 1.2. Each object has one class;
    anchors that overlap it by more than 0.4 get a logit for it that grows with the overlap, and
    codes that lead close to it. The other codes are normal with a deviation of 0.3.

    Args:
        side: height and width of the input, in pixels.
        classes: how many classes.
        objects: how many objects.
    """
    labels = tuple(f"class {number}" for number in range(classes))
    spec = ModelSpec(
        name="efficientdet-d0",
        input=InputSpec(side, side),
        anchors=AnchorSpec(scale=4.0),
        labels=labels,
        category_ids=tuple(range(classes)),
    )
    random = np.random.default_rng(0)
    anchors = all_anchors(spec)
    logits = random.normal(-7.0, 1.2, (len(anchors), classes)).astype(np.float32)
    codes = random.normal(0, 0.3, (len(anchors), 4)).astype(np.float32)
    corners = np.hstack([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2])
    centres = random.uniform(0.1 * side, 0.9 * side, (objects, 2))
    sides = side * random.uniform(0.06, 0.5, (objects, 2))
    boxes = np.hstack([centres - sides / 2, centres + sides / 2]).astype(np.float32)
    for box, overlaps in zip(boxes, iou(boxes, corners.astype(np.float32)), strict=True):
        near = np.flatnonzero(overlaps > 0.4)
        noise = random.normal(0, 0.7, len(near))
        logits[near, random.integers(classes)] = 10 * overlaps[near] - 7 + noise
        targets = encode(np.tile(box, (len(near), 1)), anchors[near])
        codes[near] = targets + random.normal(0, 0.05, (len(near), 4))

    grids = [grid(spec.anchors, level, side, side) for level in spec.anchors.levels]
    per_location = spec.anchors.per_location
    counts = [place.rows * place.columns * per_location for place in grids]
    starts = np.cumsum(counts)[:-1]
    class_quantization, box_quantization = _quantization(*_LOGITS), _quantization(*_CODES)

    def maps(values: FloatArray, quantization: tuple[float, int]) -> list[npt.NDArray[np.int8]]:
        scale, zero_point = quantization
        stored = np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)
        return [
            np.ascontiguousarray(part.reshape(1, place.rows, place.columns, -1))
            for part, place in zip(np.split(stored, starts), grids, strict=True)
        ]

    return Heads(
        spec,
        maps(logits, class_quantization),
        maps(codes, box_quantization),
        class_quantization,
        box_quantization,
    )


def _quantization(low: float, high: float) -> tuple[float, int]:
    scale = (high - low) / 255
    return scale, round(-128 - low / scale)


def _dequantized(
    maps: list[npt.NDArray[np.int8]], quantization: tuple[float, int], columns: int
) -> FloatArray:
    stored = np.concatenate([values.reshape(-1, columns) for values in maps])
    values: FloatArray = np.float32(quantization[0]) * (
        stored.astype(np.float32) - np.float32(quantization[1])
    )
    return values
