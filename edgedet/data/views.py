"""Where a picture comes to lie on the canvas of a training example, and its pixels there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import ops
from edgedet.data.pictures import Picture

FloatArray = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

# A box of which less than this part stays visible teaches a fragment, not an object.
MIN_VISIBLE = 0.5
MIN_SIDE = 3.0

_REDUCTIONS = (8, 4, 2)


class Rectangle(NamedTuple):
    """Pixels of the canvas, `x0, y0` inclusive to `x1, y1` exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    def within(self, other: Rectangle) -> Rectangle:
        """The part that lies in `other`; its sides are negative where there is none."""
        return Rectangle(
            max(self.x0, other.x0),
            max(self.y0, other.y0),
            min(self.x1, other.x1),
            min(self.y1, other.y1),
        )


@dataclass(frozen=True)
class View:
    """How a picture is laid on the canvas: distorted, mirrored, scaled, moved, cut.

    Attributes:
        tile: the part of the canvas that may be painted.
        left: canvas column of the left edge of the picture's frame.
        top: canvas row of its upper edge.
        ratio: canvas pixels per picture pixel.
        zoom: `ratio` relative to that of the detector's letterbox.
        mirror: whether left and right are swapped.
        distortion: [3, 3], moves points within the picture's frame, in picture pixels; what leaves
            the frame is lost.
    """

    tile: Rectangle
    left: int
    top: int
    ratio: float
    zoom: float
    mirror: bool = False
    distortion: Matrix | None = None


@dataclass(frozen=True)
class Piece:
    """The visible part of a picture.

    Attributes:
        pixels: RGB, in the size of `place`.
        place: where it belongs on the canvas.
        matrix: [3, 3], from picture pixels to canvas pixels.
        inside: [H, W] bool, which pixels show the picture; None for all of them.
    """

    pixels: npt.NDArray[np.uint8] | Image.Image
    place: Rectangle
    matrix: Matrix
    inside: npt.NDArray[np.bool_] | None = None


def letterbox_ratio(picture: Picture, width: int, height: int) -> float:
    """Canvas pixels per picture pixel of the picture fitted into `width` by `height`."""
    return min(height / picture.height, width / picture.width)


def render(view: View, picture: Picture, fill: tuple[int, int, int]) -> Piece | None:
    """Resample the visible part of a picture, once; None if nothing of it is visible.

    Bilinear, as the detector's letterbox; with neither distortion nor reduction it is the
    letterbox's own result. Only what the view makes smaller than the letterbox would is left to
    the JPEG decoder, which averages.

    Args:
        view: how the picture is laid.
        picture: the picture; it is decoded here.
        fill: the colour of pixels that a distortion leaves empty.
    """
    height_binds = view.tile.height * picture.width < view.tile.width * picture.height
    width = max(1, math.floor(picture.width * view.ratio + 0.5))
    height = max(1, math.floor(picture.height * view.ratio + 0.5))
    frame = Rectangle(view.left, view.top, view.left + width, view.top + height)
    frame = frame.within(view.tile)
    if min(frame.width, frame.height) < 1:
        return None
    most = min(1 / view.zoom, 1 / view.ratio)
    image, reduction = picture.decode(next((r for r in _REDUCTIONS if r <= most), 1))
    matrix = _matrix(view, picture.width)
    if abs(matrix[0, 1]) + abs(matrix[1, 0]) == 0:
        return _scaled(image, matrix, reduction, frame, height_binds)
    return _distorted(image, matrix, reduction, frame, fill)


def moved(boxes: FloatArray, matrix: Matrix) -> FloatArray:
    """The upright extents of boxes [N, 4] whose corners a matrix [3, 3] moves."""
    x0, y0, x1, y1 = boxes.astype(np.float64).T
    corners = np.stack([[x0, x1, x1, x0], [y0, y0, y1, y1]])
    x, y = np.einsum("ij,jkn->ikn", matrix[:2, :2], corners) + matrix[:2, 2, None, None]
    return np.stack([x.min(0), y.min(0), x.max(0), y.max(0)], axis=1).astype(np.float32)


def visible(boxes: FloatArray, shown: Rectangle) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Boxes [N, 4] cut to a rectangle, those of which enough is left, and which these are."""
    low, high = np.array(shown[:2], np.float32), np.array(shown[2:], np.float32)
    clipped = np.concatenate(
        [np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)], axis=1
    )
    before = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    size = clipped[:, 2:] - clipped[:, :2]
    kept = (size.prod(axis=1) >= MIN_VISIBLE * before) & (size.min(axis=1, initial=1e9) >= MIN_SIDE)
    return clipped[kept], kept


def _matrix(view: View, width: int) -> Matrix:
    """From picture pixels to canvas pixels."""
    laid = np.array(
        [[view.ratio, 0.0, view.left], [0.0, view.ratio, view.top], [0.0, 0.0, 1.0]], np.float64
    )
    if view.mirror:
        laid = laid @ np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return laid if view.distortion is None else laid @ view.distortion


def _scaled(
    image: Image.Image, matrix: Matrix, reduction: int, frame: Rectangle, height_binds: bool
) -> Piece | None:
    """Whole pixels are cut out and scaled by the letterbox: the picture moves by up to a pixel."""
    scale_x, scale_y = float(matrix[0, 0]) * reduction, float(matrix[1, 1]) * reduction
    first_x, last_x = _span(frame.x0, frame.x1, scale_x, float(matrix[0, 2]), image.width)
    first_y, last_y = _span(frame.y0, frame.y1, scale_y, float(matrix[1, 2]), image.height)
    if last_x <= first_x or last_y <= first_y:
        return None
    area = (first_x, first_y, last_x, last_y)
    pixels = np.asarray(image if area == (0, 0, *image.size) else image.crop(area))
    mirrored = scale_x < 0
    if mirrored:
        pixels = pixels[:, ::-1]
    # One side is rounded to whole pixels and decides the ratio; the other one has room to spare.
    rows, columns = (pixels.shape[axis] * scale_y for axis in (0, 1))
    if height_binds:
        size = max(1, math.floor(rows + 0.5)), math.ceil(columns) + 1
    else:
        size = math.ceil(rows) + 1, max(1, math.floor(columns + 0.5))
    resized, ratio = ops.letterbox(pixels, size, mean=(0, 0, 0), std=(1, 1, 1), dtype=np.uint8)
    height, width = (
        min(max(1, math.floor(side * ratio + 0.5)), limit)
        for side, limit in zip(pixels.shape, size, strict=False)
    )
    left = math.floor(scale_x * (last_x if mirrored else first_x) + matrix[0, 2] + 0.5)
    top = math.floor(scale_y * first_y + matrix[1, 2] + 0.5)
    place = Rectangle(left, top, left + width, top + height).within(frame)
    if min(place.width, place.height) < 1:
        return None
    shown = resized[place.y0 - top : place.y1 - top, place.x0 - left : place.x1 - left]
    exact = np.eye(3)
    exact[0, 0] = (-ratio if mirrored else ratio) / reduction
    exact[1, 1] = ratio / reduction
    exact[0, 2] = left + (ratio * last_x if mirrored else -ratio * first_x)
    exact[1, 2] = top - ratio * first_y
    return Piece(shown, place, exact)


def _span(low: int, high: int, scale: float, offset: float, count: int) -> tuple[int, int]:
    """Which of `count` pixels show on the canvas from `low` to `high`, with a margin."""
    ends = sorted(((low - offset) / scale, (high - offset) / scale))
    # Rounding moves the edges by up to a canvas pixel each.
    margin = math.ceil(1 / abs(scale))
    first, last = math.floor(ends[0] + 1e-6), math.ceil(ends[1] - 1e-6)
    if last <= 0 or first >= count:
        return 0, 0
    return max(0, first - margin), min(count, last + margin)


def _distorted(
    image: Image.Image,
    matrix: Matrix,
    reduction: int,
    frame: Rectangle,
    fill: tuple[int, int, int],
) -> Piece | None:
    forth = matrix @ np.diag([reduction, reduction, 1.0])
    corners = np.array([[0, image.width, image.width, 0], [0, 0, image.height, image.height]])
    x, y = forth[:2, :2] @ corners + forth[:2, 2:]
    extent = (math.floor(x.min()), math.floor(y.min()), math.ceil(x.max()), math.ceil(y.max()))
    place = Rectangle(*extent).within(frame)
    if min(place.width, place.height) < 1:
        return None
    back: Matrix = np.linalg.inv(forth).astype(np.float64)
    back[:2, 2] += back[:2, 0] * place.x0 + back[:2, 1] * place.y0
    pixels = image.transform(
        (place.width, place.height),
        Image.Transform.AFFINE,
        tuple(back[:2].ravel().tolist()),
        Image.Resampling.BILINEAR,
        fillcolor=fill,
    )
    inside = _inside(back, image.size, place)
    return Piece(pixels, place, matrix, inside)


def _inside(back: Matrix, size: tuple[int, int], place: Rectangle) -> npt.NDArray[np.bool_]:
    """Which pixels of `place` have their centre in the picture: in each row, those in between."""
    rows = np.arange(place.height) + 0.5
    first = np.full(place.height, -np.inf)
    last = np.full(place.height, np.inf)
    for (across, down, offset), side in zip(back[:2].tolist(), size, strict=True):
        start = down * rows + offset
        if abs(across) < 1e-12:
            outside = (start < 0) | (start >= side)
            last[outside] = -np.inf
            continue
        ends = np.stack([-start / across, (side - start) / across])
        first = np.maximum(first, ends.min(0))
        last = np.minimum(last, ends.max(0))
    limits = np.clip([first, last], -1, place.width + 1) - 0.5
    low, high = np.ceil(limits).astype(np.int16)[:, :, None]
    columns = np.arange(place.width, dtype=np.int16)
    return (columns >= low) & (columns < high)
