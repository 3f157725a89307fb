"""Augmented training examples beside the pictures they come from, on one sheet to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from edgedet.data.augment import NO_AUGMENTATION, Augmentation
from edgedet.data.dataset import DetectionDataset
from edgedet.data.pipeline import TrainingBatches
from edgedet.errors import InvalidInputError
from edgedet.files import replacing
from edgedet.spec import InputSpec

# Okabe and Ito's palette, which readers with any colour vision can tell apart, without black.
_PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
_BACKGROUND = "#202020"
_LETTERS = "#E0E0E0"

_LARGEST_TILE = 320
_SMALLEST_TILE = 128
_CAPTION = 18
_GAP = 4
_COLUMNS = 6
_TAG = 12


def write_preview(
    dataset: DetectionDataset,
    out_png: str | os.PathLike[str],
    *,
    size: int | tuple[int, int],
    augmentation: Augmentation,
    seed: int,
    count: int,
) -> Path:
    """Write a contact sheet of the first examples of a training run with this seed.

    Each example stands below the picture that it was made of (of a mosaic, the first of four), as
    the detector would be shown it; both have their boxes and class names, in a colour for each
    class. Crowd boxes are not shown, because they are not learned.

    Args:
        dataset: what to show.
        out_png: the PNG to write.
        size: the network's input, a side or (height, width).
        augmentation: how pictures are changed.
        seed: as that of the training run.
        count: examples on the sheet, at most as many as there are pictures.

    Returns:
        The path of the PNG.

    Raises:
        InvalidInputError: no pictures or no examples, or a picture can't be read.
    """
    count = min(count, len(dataset.samples))
    if count < 1:
        raise InvalidInputError(f"{dataset.name} has nothing to preview; count must be 1 or more.")
    height, width = (size, size) if isinstance(size, int) else size
    spec = InputSpec(height, width)
    before, after = (
        _examples(dataset, spec, how, seed, count) for how in (NO_AUGMENTATION, augmentation)
    )
    largest = max(height, width)
    ratio = min(max(largest, _SMALLEST_TILE), _LARGEST_TILE) / largest
    tile = max(1, round(width * ratio)), max(1, round(height * ratio))
    columns = min(_COLUMNS, count)
    cell_width, cell_height = tile[0] + _GAP, 2 * (tile[1] + _CAPTION) + 2 * _GAP
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for index, pair in enumerate(zip(before, after, strict=True)):
        left, top = index % columns * cell_width, index // columns * cell_height
        for (image, boxes, classes), said in zip(pair, ("original", "augmented"), strict=True):
            pen.text((left + 2, top + 2), f"{index + 1} {said}", _LETTERS, _font(12))
            top += _CAPTION
            sheet.paste(_tile(image, boxes, classes, dataset.labels, tile, ratio), (left, top))
            top += tile[1]
    path = Path(out_png)
    with replacing(path) as aside:
        sheet.save(aside, format="PNG")
    return path


_Example = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.int32]]


def _examples(
    dataset: DetectionDataset, spec: InputSpec, how: Augmentation, seed: int, count: int
) -> list[_Example]:
    """The first examples of a run; every step holds one, so that the order is the same for all."""
    batches = TrainingBatches(
        dataset, spec, batch_size=1, augmentation=how, seed=seed, threads=min(2, count)
    )
    found = []
    with batches.iterate() as iterator:
        for _ in range(count):
            images, truth = next(iterator)
            used = truth["classes"][0] >= 0
            found.append((images[0], truth["boxes"][0][used], truth["classes"][0][used]))
    return found


def _tile(
    image: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int32],
    labels: Sequence[str],
    size: tuple[int, int],
    ratio: float,
) -> Image.Image:
    tile = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(tile)
    scaled = [[float(edge) * ratio for edge in box] for box in boxes]
    colours = [_PALETTE[index % len(_PALETTE)] for index in classes]
    for (x0, y0, x1, y1), colour in zip(scaled, colours, strict=True):
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=1)
    # Names last, so that no frame runs through them.
    for (x0, y0, _, _), colour, index in zip(scaled, colours, classes, strict=True):
        # Line breaks in a name would leave its tag.
        name = " ".join(labels[index].split())
        left, top = x0, min(max(0.0, y0 - _TAG), size[1] - _TAG)
        right = left + pen.textlength(name, font=_font(10)) + 3
        pen.rectangle((left, top, right, top + _TAG - 1), fill=colour)
        pen.text((left + 2, top - 1), name, fill="black", font=_font(10))
    return tile


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
