"""The images with the most mistakes on one page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgedet.evaluation.mistakes import ImageMistakes, worst
from edgedet.evaluation.page import shortened
from edgedet.files import replacing
from edgedet.images import read_image

# Of Okabe and Ito's palette, which stays readable with any form of colour blindness.
HIT_COLOUR = "#009E73"
FALSE_COLOUR = "#E69F00"
MISSED_COLOUR = "#CC79A7"

_TILE = 320
_CAPTION = 22
_COLUMNS = 4
_TAG = 13


def write_contact_sheet(
    mistakes: Sequence[ImageMistakes],
    paths: Mapping[int, Path],
    labels: Mapping[int, str],
    path: str | os.PathLike[str],
    *,
    count: int = 12,
) -> int:
    """Write a PNG of the images with the most mistakes, the worst first.

    Hits are thin green boxes; false detections orange and missed objects purple, both with their
    label. The caption of a tile counts them.

    Args:
        mistakes: the outcome on every image (`find_mistakes`).
        paths: file of each image id.
        labels: name of each category id.
        path: the PNG to write; nothing is written when there are no mistakes.
        count: most images on the sheet.

    Returns:
        Number of images on the sheet.
    """
    chosen = worst(mistakes, count)
    if not chosen:
        return 0
    columns = min(_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    legend = 30
    sheet = Image.new("RGB", (columns * _TILE, legend + rows * (_TILE + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    left = 8
    for text, colour in (
        ("found", HIT_COLOUR),
        ("false detection", FALSE_COLOUR),
        ("missed object", MISSED_COLOUR),
    ):
        if left + 110 < sheet.width or left == 8:
            draw.rectangle((left, 9, left + 12, 21), fill=colour)
            draw.text((left + 18, 8), text, fill="black", font=_font(13))
        left += 30 + round(draw.textlength(text, font=_font(13)))
    for position, entry in enumerate(chosen):
        tile = _tile(entry, paths[entry.image_id], labels)
        x = position % columns * _TILE
        y = legend + position // columns * (_TILE + _CAPTION)
        name = " ".join(paths[entry.image_id].name.split())
        caption = f"{name[-28:]}: {len(entry.missed)} missed, "
        caption += f"{len(entry.false)} false"
        draw.text((x + 4, y + 3), caption, fill="black", font=_font(12))
        sheet.paste(tile, (x, y + _CAPTION))
    with replacing(path) as aside:
        sheet.save(aside, format="PNG")
    return len(chosen)


def _tile(entry: ImageMistakes, path: Path, labels: Mapping[int, str]) -> Image.Image:
    picture = Image.fromarray(read_image(path))
    ratio = min((_TILE - 4) / picture.width, _TILE / picture.height)
    size = max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))
    tile = Image.new("RGB", (_TILE - 4, _TILE), "white")
    tile.paste(picture.resize(size, Image.Resampling.BILINEAR), (0, 0))
    draw = ImageDraw.Draw(tile)
    for box in entry.hits * ratio:
        _rectangle(draw, box, HIT_COLOUR, width=1)
    for box, category in zip(entry.false * ratio, entry.false_classes, strict=True):
        _rectangle(draw, box, FALSE_COLOUR, width=2)
        _tag(draw, (box[0], box[3]), FALSE_COLOUR, labels[category])
    for box, category in zip(entry.missed * ratio, entry.missed_classes, strict=True):
        _rectangle(draw, box, MISSED_COLOUR, width=2)
        _tag(draw, (box[0], box[1] - _TAG), MISSED_COLOUR, labels[category])
    return tile


def _rectangle(
    draw: ImageDraw.ImageDraw, box: NDArray[np.float32], colour: str, *, width: int
) -> None:
    x0, y0, x1, y1 = (float(value) for value in box)
    draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)


def _tag(draw: ImageDraw.ImageDraw, corner: tuple[float, float], colour: str, text: str) -> None:
    # Missed objects have it above and false detections below, so that both can be read where a
    # wrong class makes one of each in the same place.
    # Pillow can't measure more than a line.
    text = shortened(text, 24)
    x, y = float(corner[0]), min(max(0.0, float(corner[1])), _TILE - _TAG)
    draw.rectangle((x, y, x + draw.textlength(text, font=_font(11)) + 3, y + _TAG - 1), fill=colour)
    draw.text((x + 2, y - 1), text, fill="black", font=_font(11))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
