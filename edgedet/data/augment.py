"""Training-time changes to a picture and its boxes, each drawn from one random generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgedet import ops
from edgedet.spec import InputSpec

FloatArray = npt.NDArray[np.float32]

# A box that a crop leaves less than this part of teaches a fragment, not an object.
MIN_VISIBLE = 0.5
MIN_SIDE = 3.0


@dataclass(frozen=True)
class Augmentation:
    """How much training pictures are changed.

    Attributes:
        scale: range of the scale jitter relative to the letterboxed picture.
        flip: whether pictures are mirrored half of the time; digits and letters must not be.
        colour: strength of brightness, contrast and channel gain changes; 0 leaves colours alone.
    """

    scale: tuple[float, float] = (0.7, 1.4)
    flip: bool = True
    colour: float = 0.2


NO_AUGMENTATION = Augmentation(scale=(1.0, 1.0), flip=False, colour=0.0)


def augment(
    image: npt.NDArray[np.uint8],
    boxes: FloatArray,
    classes: npt.NDArray[np.int32],
    spec: InputSpec,
    rng: np.random.Generator,
    how: Augmentation,
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int32]]:
    """Turn a picture into a training example of the network's input size.

    Resampling and normalization are `edgedet.ops.letterbox`, the code that runs at detection.

    Args:
        image: [H, W, 3] uint8 RGB.
        boxes: [N, 4] as `x0, y0, x1, y1` in pixels of `image`.
        classes: [N].
        spec: input size and normalization.
        rng: where every random choice comes from.
        how: strength of the changes.

    Returns:
        The input tensor [height, width, 3] float32, and the boxes in its pixels with their
        classes; boxes of which the crop left too little are dropped.
    """
    tensor, boxes, shown = _scaled(image, boxes, spec, rng, how.scale)
    boxes, kept = _visible(boxes, shown)
    classes = classes[kept]
    if how.flip and rng.random() < 0.5:
        tensor = np.ascontiguousarray(tensor[:, ::-1])
        boxes = boxes[:, [2, 1, 0, 3]]
        boxes[:, [0, 2]] = spec.width - boxes[:, [0, 2]]
    if how.colour:
        tensor = _recoloured(tensor, rng, how.colour)
    return tensor, boxes, classes


def _scaled(
    image: npt.NDArray[np.uint8],
    boxes: FloatArray,
    spec: InputSpec,
    rng: np.random.Generator,
    limits: tuple[float, float],
) -> tuple[FloatArray, FloatArray, tuple[float, float, float, float]]:
    """Zoom in on a random part, or shrink and place at random; also where the picture lies."""
    height, width = image.shape[:2]
    zoom = float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))
    left = top = 0
    if zoom > 1:
        shown_height, shown_width = max(1, round(height / zoom)), max(1, round(width / zoom))
        top = int(rng.integers(0, height - shown_height + 1))
        left = int(rng.integers(0, width - shown_width + 1))
        image = image[top : top + shown_height, left : left + shown_width]
    small_height = max(1, round(spec.height * min(zoom, 1.0)))
    small_width = max(1, round(spec.width * min(zoom, 1.0)))
    part, ratio = ops.letterbox(image, (small_height, small_width), mean=spec.mean, std=spec.std)
    tensor = np.zeros((spec.height, spec.width, 3), np.float32)
    down = int(rng.integers(0, spec.height - small_height + 1))
    right = int(rng.integers(0, spec.width - small_width + 1))
    tensor[down : down + small_height, right : right + small_width] = part
    corner = np.array([left, top] * 2, np.float32)
    moved = (boxes - corner) * np.float32(ratio) + np.array([right, down] * 2, np.float32)
    extent = (right, down, right + image.shape[1] * ratio, down + image.shape[0] * ratio)
    return tensor, moved.astype(np.float32), extent


def _visible(
    boxes: FloatArray, shown: tuple[float, float, float, float]
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    low, high = np.array(shown[:2], np.float32), np.array(shown[2:], np.float32)
    clipped = np.concatenate(
        [np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)], axis=1
    )
    before = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    size = clipped[:, 2:] - clipped[:, :2]
    kept = (size.prod(axis=1) >= MIN_VISIBLE * before) & (size.min(axis=1, initial=1e9) >= MIN_SIDE)
    return clipped[kept], kept


def _recoloured(tensor: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    # Normalized values lie around zero, so a factor is contrast and an offset is brightness.
    contrast = np.exp(rng.uniform(-strength, strength))
    gain = contrast * np.exp(rng.uniform(-strength / 2, strength / 2, 3))
    offset = rng.uniform(-strength, strength) / 2
    painted: FloatArray = tensor * gain.astype(np.float32) + np.float32(offset)
    return np.clip(painted, tensor.min(), tensor.max())
