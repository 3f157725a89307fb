"""What policies and colour jitter do to pixels while the boxes stay where they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from edgedet.data import colour_tables
from edgedet.data.autoaugment import REFERENCE_SIDE, Operation
from edgedet.data.colour_tables import Histogram, Table

FloatArray = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

_CUTOUT = 100.0
_CUTOUT_IN_BOX = 50.0
_CUTOUT_SHARE = 0.75
_TRANSLATION_IN_BOX = 120.0
_ROTATION = 30.0
_SHEAR = 0.3
_MOST_BOXES = 200


class Retouching:
    """A picture under change; changes of grey levels wait until something needs the pixels.

    Args:
        image: RGB; it may be changed.
        boxes: [N, 4] in its pixels.
        inside: [H, W] bool, which pixels are the picture's; None for all. Colours are judged by
            these, and the others end up with the colour `fill`.
        fill: the colour of padding and of what is cut out.
        longer_side: pixels of the longer side that the whole picture has at this scale.
        flip: whether what is in a box may be mirrored.
    """

    def __init__(
        self,
        image: Image.Image,
        boxes: FloatArray,
        inside: npt.NDArray[np.bool_] | None,
        fill: Colour,
        longer_side: float,
        *,
        flip: bool,
    ) -> None:
        self._image = image
        self._boxes = boxes
        self._mask = None if inside is None else Image.fromarray(inside).convert("L")
        self._fill = fill
        self._unit = longer_side / REFERENCE_SIDE
        self._flip = flip
        self._table: Table | None = None

    def finished(self) -> Image.Image:
        """The picture with all changes done."""
        self._settle()
        if self._mask is not None:
            self._image.paste(self._fill, (0, 0), ImageOps.invert(self._mask))
        return self._image

    def recolour(self, table: Table) -> None:
        """Change grey levels by a table (see `colour_tables`)."""
        self._table = (
            table if self._table is None else colour_tables.followed_by(self._table, table)
        )

    def apply(self, operation: Operation, rng: np.random.Generator) -> None:
        """Apply an operation that moves no box; those inside boxes as often as they say."""
        if operation.name.endswith("_Only_BBoxes"):
            self._apply_inside_boxes(operation, rng)
            return
        factor = 0.1 + operation.within(1.8)
        match operation.name:
            case "AutoContrast":
                self.recolour(colour_tables.autocontrast(self._histogram()))
            case "Equalize":
                self.recolour(colour_tables.equalize(self._histogram()))
            case "Posterize":
                # The paper's range; the release's own ends at 0 bits, which is black.
                self.recolour(colour_tables.posterize(4 + int(operation.within(4))))
            case "Solarize":
                self.recolour(colour_tables.solarize(int(operation.within(256))))
            case "SolarizeAdd":
                self.recolour(colour_tables.solarize_add(int(operation.within(110))))
            case "Brightness":
                self.recolour(colour_tables.brightness(factor))
            case "Contrast":
                self.recolour(colour_tables.contrast(factor, self._histogram()))
            case "Color":
                self._settle()
                self._image = ImageEnhance.Color(self._image).enhance(factor)
            case "Sharpness":
                self._settle()
                self._image = sharpened(self._image, factor)
            case "Cutout":
                self._settle()
                _cut_out(self._image, operation.within(_CUTOUT) * self._unit, self._fill, rng)
            case "BBox_Cutout":
                self._settle()
                self._cut_out_of_a_box(operation.within(_CUTOUT_SHARE), rng)
            case unknown:
                raise ValueError(f"{unknown} is no operation on pixels")

    def _settle(self) -> None:
        if self._table is not None:
            self._image = self._image.point(self._table.ravel().tolist())
            self._table = None

    def _histogram(self) -> Histogram:
        counts = self._image.histogram(self._mask)
        histogram = np.array(counts, np.float64).reshape(3, 256)
        return histogram if self._table is None else colour_tables.through(histogram, self._table)

    def _cut_out_of_a_box(self, share: float, rng: np.random.Generator) -> None:
        """Paint over a part of one box, in both directions this share of its sides."""
        if not len(self._boxes):
            return
        x0, y0, x1, y1 = self._boxes[int(rng.integers(len(self._boxes)))].tolist()
        half_width, half_height = share * (x1 - x0) / 2, share * (y1 - y0) / 2
        x, y = rng.uniform(x0, x1), rng.uniform(y0, y1)
        area = (x - half_width, y - half_height, x + half_width, y + half_height)
        _paint(self._image, area, self._fill)

    def _apply_inside_boxes(self, operation: Operation, rng: np.random.Generator) -> None:
        # The paper's third of the probability: boxes are many, and near each other.
        chosen = np.flatnonzero(rng.random(len(self._boxes)) < operation.probability / 3)
        if not len(chosen):
            return
        self._settle()
        # In random order, because boxes overlap.
        for index in rng.permutation(chosen)[:_MOST_BOXES]:
            x0, y0, x1, y1 = (math.floor(edge) for edge in self._boxes[index].tolist())
            area = (x0, y0, min(x1 + 1, self._image.width), min(y1 + 1, self._image.height))
            content = self._image.crop(area)
            if min(content.size) > 0:
                self._image.paste(self._content_changed(content, operation, rng), area)

    def _content_changed(
        self, content: Image.Image, operation: Operation, rng: np.random.Generator
    ) -> Image.Image:
        sign = -1.0 if rng.random() < 0.5 else 1.0
        shift = sign * operation.within(_TRANSLATION_IN_BOX) * self._unit
        shear = sign * operation.within(_SHEAR)
        warp: Callable[..., Image.Image] = self._warped
        match operation.name.removesuffix("_Only_BBoxes"):
            case "TranslateX":
                return warp(content, (1, 0, -round(shift), 0, 1, 0))
            case "TranslateY":
                return warp(content, (1, 0, 0, 0, 1, -round(shift)))
            case "ShearX":
                return warp(content, (1, shear, 0, 0, 1, 0))
            case "ShearY":
                return warp(content, (1, 0, 0, shear, 1, 0))
            case "Rotate":
                angle = sign * operation.within(_ROTATION)
                return content.rotate(angle, Image.Resampling.BILINEAR, fillcolor=self._fill)
            case "Flip":
                return ImageOps.mirror(content) if self._flip else content
            case "Solarize":
                table = colour_tables.solarize(int(operation.within(256)))
                return content.point(table.ravel().tolist())
            case "Equalize":
                return ImageOps.equalize(content)
            case "Cutout":
                _cut_out(content, operation.within(_CUTOUT_IN_BOX) * self._unit, self._fill, rng)
                return content
            case _:
                raise ValueError(f"{operation.name} is no operation inside boxes")

    def _warped(self, content: Image.Image, coefficients: tuple[float, ...]) -> Image.Image:
        return content.transform(
            content.size,
            Image.Transform.AFFINE,
            coefficients,
            Image.Resampling.BILINEAR,
            fillcolor=self._fill,
        )


def sharpened(image: Image.Image, factor: float) -> Image.Image:
    """Blend with the smoothed picture: 0 is smooth, 1 changes nothing, 2 is sharp.

    Pillow's smoothing has weight 5 in the middle of a window of 1, 13 in all. That is 9 / 13 of a
    box filter and 4 / 13 of the picture, and box filters are fast.
    """
    smooth = image.filter(ImageFilter.BoxBlur(1))
    return Image.blend(image, smooth, (1 - factor) * 9 / 13)


def _cut_out(image: Image.Image, half: float, fill: Colour, rng: np.random.Generator) -> None:
    """Paint a square of sides `2 * half` with its centre somewhere in the picture."""
    x, y = rng.uniform(0, image.width), rng.uniform(0, image.height)
    _paint(image, (x - half, y - half, x + half, y + half), fill)


def _paint(image: Image.Image, area: tuple[float, float, float, float], fill: Colour) -> None:
    x0, y0, x1, y1 = (round(edge) for edge in area)
    cut = (max(x0, 0), max(y0, 0), min(x1, image.width), min(y1, image.height))
    if cut[2] > cut[0] and cut[3] > cut[1]:
        image.paste(fill, cut)
