"""Shapes that are no digits: some beside the digits, and bars that hide a little of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from edgedet.data.backgrounds import LUMA, colour_of_luma, random_colour

FloatArray = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]
Points = list[tuple[float, float]]

_MAX_DISTRACTORS = 6
_OVERSAMPLING = 3
_PLACEMENT_TRIES = 12
_BAR_CONTRAST = 0.25


def draw_distractors(
    rng: np.random.Generator, canvas: FloatArray, boxes: Sequence[Box]
) -> FloatArray:
    """Draw up to six shapes of any contrast where no digit's box is; returns the new canvas.

    No ring, no short upright stroke and no single zigzag is among them: a person would read those
    as 0, 1, 2 or 7.
    """
    height, width = canvas.shape[:2]
    canvas = canvas.copy()
    for _ in range(int(rng.integers(0, _MAX_DISTRACTORS + 1))):
        side = math.exp(rng.uniform(math.log(10), math.log(0.4 * min(height, width) + 10)))
        kind = _KINDS[rng.integers(len(_KINDS))]
        shape = kind(rng, side)
        colour = np.asarray(random_colour(rng), np.float32)
        for _ in range(_PLACEMENT_TRIES):
            left = int(rng.integers(-shape.shape[1] // 3, width - shape.shape[1] * 2 // 3))
            top = int(rng.integers(-shape.shape[0] // 3, height - shape.shape[0] * 2 // 3))
            box = (left - 2, top - 2, left + shape.shape[1] + 2, top + shape.shape[0] + 2)
            if not any(_overlap(box, other) for other in boxes):
                _paint(canvas, shape, left, top, colour)
                break
    return canvas


def draw_occluder(
    rng: np.random.Generator,
    canvas: FloatArray,
    visible: Sequence[FloatArray],
    needed: Sequence[float],
    target: int,
    box: Box,
) -> None:
    """Lay a bar across a digit, unless it would hide too much of any digit.

    Args:
        rng: source of the bar's place, size and colour.
        canvas: [H, W, 3], painted in place.
        visible: [H, W] visible ink of each digit, reduced in place where the bar lies.
        needed: ink of each digit, in pixels, that must stay visible.
        target: which of the digits the bar is for.
        box: that digit's `x0, y0, x1, y1`.
    """
    height, width = canvas.shape[:2]
    tall = box[3] - box[1]
    x = rng.uniform(box[0], box[2])
    y = rng.uniform(box[1] + 0.1 * tall, box[3] - 0.1 * tall)
    angle, far = rng.uniform(0, math.pi), 0.5 * tall * rng.uniform(1.4, 2.5)
    thickness = max(1.5, tall * rng.uniform(0.04, 0.12))
    run_x, run_y = math.cos(angle), math.sin(angle)
    half = thickness / 2
    corners = [
        (x + end * far * run_x - side * half * run_y, y + end * far * run_y + side * half * run_x)
        for end, side in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    bar = _drawn(width, height, lambda draw: draw.polygon(_scaled(corners), fill=255))
    kept = 1.0 - bar
    if all(
        float((ink * kept).sum()) >= enough for ink, enough in zip(visible, needed, strict=True)
    ):
        colour = _unlike(rng, canvas, visible[target])
        for ink in visible:
            ink *= kept
        canvas += (colour - canvas) * bar[..., None]


def _unlike(rng: np.random.Generator, canvas: FloatArray, coverage: FloatArray) -> FloatArray:
    """A colour that can't be taken for the digit's ink, which would seem to gain a stroke."""
    total = max(float(coverage.sum()), 1e-6)
    luma = float((coverage * (canvas @ LUMA)).sum()) / total
    below, above = max(luma - _BAR_CONTRAST, 0.0), max(1.0 - luma - _BAR_CONTRAST, 0.0)
    position = rng.uniform(0.0, below + above)
    chosen = position if position < below else luma + _BAR_CONTRAST + position - below
    return np.asarray(colour_of_luma(rng, float(chosen)), np.float32)


def _rectangle(rng: np.random.Generator, side: float) -> FloatArray:
    width, height = side, side * rng.uniform(0.4, 1.0)
    frame = 0 if rng.random() < 0.6 else max(1.0, side * rng.uniform(0.06, 0.15))

    def paint(draw: ImageDraw.ImageDraw) -> None:
        draw.rectangle(_box(0, 0, width, height), fill=255)
        # An upright frame could be read as a 0; this one lies on its long side.
        if frame and height > 2 * frame:
            draw.rectangle(_box(frame, frame, width - frame, height - frame), fill=0)

    return _drawn(math.ceil(width), math.ceil(height), paint)


def _disc(rng: np.random.Generator, side: float) -> FloatArray:
    height = side * rng.uniform(0.5, 1.0)
    return _drawn(
        math.ceil(side),
        math.ceil(height),
        lambda draw: draw.ellipse(_box(0, 0, side, height), fill=255),
    )


def _star(rng: np.random.Generator, side: float) -> FloatArray:
    points, inner = int(rng.integers(3, 8)), rng.uniform(0.3, 0.7)
    turn = rng.uniform(0, 2 * math.pi)
    corners = []
    for step in range(2 * points):
        radius = side / 2 * (1.0 if step % 2 == 0 else inner)
        angle = turn + math.pi * step / points
        corners.append((side / 2 + radius * math.cos(angle), side / 2 + radius * math.sin(angle)))
    return _drawn(
        math.ceil(side),
        math.ceil(side),
        lambda draw: draw.polygon(_scaled(corners), fill=255),
    )


def _cross(rng: np.random.Generator, side: float) -> FloatArray:
    thickness, turn = max(1.0, side * rng.uniform(0.08, 0.25)), rng.uniform(0, math.pi / 2)
    run_x, run_y = 0.45 * side * math.cos(turn), 0.45 * side * math.sin(turn)
    middle = side / 2

    def paint(draw: ImageDraw.ImageDraw) -> None:
        for x, y in ((run_x, run_y), (-run_y, run_x)):
            line = [(middle - x, middle - y), (middle + x, middle + y)]
            draw.line(_scaled(line), fill=255, width=round(thickness * _OVERSAMPLING))

    return _drawn(math.ceil(side), math.ceil(side), paint)


def _squiggle(rng: np.random.Generator, side: float) -> FloatArray:
    turns = int(rng.integers(4, 9))
    tall = side * rng.uniform(0.15, 0.4)
    thickness = max(1.0, tall * rng.uniform(0.1, 0.3))
    smooth = rng.random() < 0.5
    steps = 8 if smooth else 1
    points = []
    for step in range(turns * steps + 1):
        along = step / (turns * steps)
        swing = math.cos(math.pi * step / steps) if smooth else 1.0 - 2.0 * (step % 2)
        y = tall / 2 + (tall / 2 - thickness) * swing
        points.append((thickness + (side - 2 * thickness) * along, y))
    return _drawn(
        math.ceil(side),
        math.ceil(tall),
        lambda draw: draw.line(
            _scaled(points), fill=255, width=max(1, round(thickness * _OVERSAMPLING)), joint="curve"
        ),
    )


def _triangle(rng: np.random.Generator, side: float) -> FloatArray:
    corners = [(float(x) * side, float(y) * side) for x, y in rng.random((3, 2))]
    return _drawn(
        math.ceil(side),
        math.ceil(side),
        lambda draw: draw.polygon(_scaled(corners), fill=255),
    )


_KINDS: tuple[Callable[[np.random.Generator, float], FloatArray], ...] = (
    _rectangle,
    _disc,
    _star,
    _cross,
    _squiggle,
    _triangle,
)


def _drawn(width: int, height: int, paint: Callable[[ImageDraw.ImageDraw], None]) -> FloatArray:
    """Coverage [height, width] in 0..1 of what `paint` draws on an enlarged mask."""
    mask = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
    paint(ImageDraw.Draw(mask))
    small = mask.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255.0)


def _scaled(points: Points) -> Points:
    return [(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in points]


def _box(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
    return tuple(edge * _OVERSAMPLING for edge in (left, top, right - 1 / 3, bottom - 1 / 3))


def _paint(canvas: FloatArray, shape: FloatArray, left: int, top: int, colour: FloatArray) -> None:
    height, width = canvas.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + shape.shape[1], width), min(top + shape.shape[0], height)
    share = shape[y0 - top : y1 - top, x0 - left : x1 - left, None]
    window = canvas[y0:y1, x0:x1]
    window += (colour - window) * share


def _overlap(first: Box, second: Box) -> bool:
    return max(first[0], second[0]) < min(first[2], second[2]) and max(first[1], second[1]) < min(
        first[3], second[3]
    )
