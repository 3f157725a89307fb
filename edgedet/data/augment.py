"""Training-time changes to pictures and their boxes, each drawn from one random generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet.data import autoaugment, colour_tables
from edgedet.data.grid_mask import draw_grid_mask
from edgedet.data.mosaic import PICTURES, mosaic_tiles
from edgedet.data.pictures import Picture
from edgedet.data.retouching import Retouching
from edgedet.data.views import (
    Matrix,
    Rectangle,
    View,
    letterbox_ratio,
    moved,
    render,
    visible,
)
from edgedet.errors import InvalidInputError
from edgedet.spec import InputSpec

FloatArray = npt.NDArray[np.float32]
ClassArray = npt.NDArray[np.int32]
Labelled = tuple[Picture, FloatArray, ClassArray]
"""A picture, its boxes [N, 4] in its pixels, and their classes [N]."""


@dataclass(frozen=True)
class Augmentation:
    """How much training pictures are changed.

    Attributes:
        scale: range of the scale jitter relative to the letterboxed picture, evenly drawn
            (EfficientDet, section 5.1: 0.1 to 2.0).
        flip: whether pictures are mirrored half of the time; digits and letters must not be.
        mosaic: probability that four pictures share a canvas.
        colour: strength of brightness, contrast and channel gain changes; 0 leaves colours alone.
        autoaugment: a learned detection policy, `v0` to `v3`, or None.
        grid_mask: probability that a grid of squares is painted over.
    """

    scale: tuple[float, float] = (0.7, 1.4)
    flip: bool = True
    mosaic: float = 0.0
    colour: float = 0.2
    autoaugment: str | None = None
    grid_mask: float = 0.0

    def __post_init__(self) -> None:
        if not 0.01 <= self.scale[0] <= self.scale[1] <= 20:
            raise InvalidInputError(
                f"scale must be two rising factors from 0.01 to 20, not {self.scale}."
            )
        for name, most in (("mosaic", 1.0), ("colour", 2.0), ("grid_mask", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise InvalidInputError(
                    f"{name} must lie in 0 to {most:g}, not {getattr(self, name)}."
                )
        if self.autoaugment is not None and self.autoaugment not in autoaugment.POLICIES:
            raise InvalidInputError(
                f"autoaugment must be one of {', '.join(autoaugment.POLICIES)}, "
                f"not {self.autoaugment!r}."
            )


NO_AUGMENTATION = Augmentation(scale=(1.0, 1.0), flip=False, colour=0.0)


def augment(
    labelled: Labelled,
    spec: InputSpec,
    rng: np.random.Generator,
    how: Augmentation,
    *,
    others: Callable[[np.random.Generator], Labelled] | None = None,
    out: npt.NDArray[np.uint8] | None = None,
) -> tuple[npt.NDArray[np.uint8], FloatArray, ClassArray]:
    """Turn a picture into a training example of the network's input size.

    All geometry is done in one resampling. Unless a policy rotates or shears, that is
    `edgedet.ops.letterbox`, the code that runs at detection.

    Args:
        labelled: picture, boxes, classes.
        spec: input size and mean; the padding is the mean, rounded.
        rng: where every random choice comes from.
        how: strength of the changes.
        others: draws another picture with its boxes; without it there is no mosaic.
        out: [height, width, 3] uint8 to write to.

    Returns:
        The picture [height, width, 3] uint8, and the boxes in its pixels with their classes;
        boxes of which too little stays visible are dropped.

    Raises:
        InvalidInputError: a picture can't be decoded.
    """
    canvas = np.empty((spec.height, spec.width, 3), np.uint8) if out is None else out
    fill = padding(spec)
    # A row, then copies of it, takes a hundredth of the time that broadcasting a pixel takes.
    canvas[0] = fill
    canvas[1:] = canvas[0]
    if others is not None and how.mosaic and rng.random() < how.mosaic:
        tiles = mosaic_tiles(rng, spec.height, spec.width)
        pictures = [labelled, *(others(rng) for _ in range(PICTURES - 1))]
        # A tile has a quarter of the canvas on average, so its picture gets half the sides.
        share = 0.5
    else:
        tiles, pictures, share = [Rectangle(0, 0, spec.width, spec.height)], [labelled], 1.0
    found = [
        _lay(canvas, entry, tile, share, fill, rng, how)
        for entry, tile in zip(pictures, tiles, strict=True)
    ]
    if how.grid_mask and rng.random() < how.grid_mask:
        draw_grid_mask(canvas, fill, rng)
    boxes, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return canvas, boxes, classes


def padding(spec: InputSpec) -> tuple[int, int, int]:
    """The colour around pictures: the mean in whole grey levels, which normalizes to about 0."""
    red, green, blue = (min(max(round(value), 0), 255) for value in spec.mean)
    return red, green, blue


def _lay(
    canvas: npt.NDArray[np.uint8],
    labelled: Labelled,
    tile: Rectangle,
    share: float,
    fill: tuple[int, int, int],
    rng: np.random.Generator,
    how: Augmentation,
) -> tuple[FloatArray, ClassArray]:
    """Paint a picture into its tile; the boxes that stay visible, with their classes."""
    picture, boxes, classes = labelled
    distortion: Matrix | None = None
    operations: list[autoaugment.Operation] = []
    if how.autoaugment is not None:
        distortion, operations = autoaugment.choose(
            rng, how.autoaugment, picture.width, picture.height
        )
    height, width = canvas.shape[:2]
    zoom = share * float(rng.uniform(*how.scale))
    ratio = zoom * letterbox_ratio(picture, width, height)
    view = View(
        tile=tile,
        left=tile.x0 + _placed(rng, picture.width * ratio, tile.width, zoom * width),
        top=tile.y0 + _placed(rng, picture.height * ratio, tile.height, zoom * height),
        ratio=ratio,
        zoom=zoom,
        mirror=how.flip and bool(rng.random() < 0.5),
        distortion=distortion,
    )
    piece = render(view, picture, fill)
    if piece is None:
        return boxes[:0], classes[:0]
    place = piece.place
    shown, kept = visible(moved(boxes, piece.matrix), place)
    pixels = piece.pixels
    if operations or how.colour:
        retouching = Retouching(
            Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels,
            shown - np.array([place.x0, place.y0] * 2, np.float32),
            piece.inside,
            fill,
            max(picture.width, picture.height) * ratio,
            flip=how.flip,
        )
        for operation in operations:
            retouching.apply(operation, rng)
        if how.colour:
            retouching.recolour(colour_tables.jitter(rng, how.colour))
        pixels = retouching.finished()
    canvas[place.y0 : place.y1, place.x0 : place.x1] = np.asarray(pixels)
    return shown, classes[kept]


def _placed(rng: np.random.Generator, side: float, room: int, letterboxed: float) -> int:
    """Where a picture begins: a random part of what is too large, a random place for the small.

    One as large as the letterbox would make it lies at the upper left, where the detector puts it.
    """
    extent = max(1, math.floor(side + 0.5))
    if extent > room:
        return -int(rng.integers(extent - room + 1))
    return int(rng.integers(max(0, room - max(extent, round(letterboxed))) + 1))
