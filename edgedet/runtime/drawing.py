"""Draw detections on a picture with Pillow: boxes, labels and scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from edgedet import arguments
from edgedet.runtime import lettering
from edgedet.runtime.label_placement import IntArray, Place, Rectangle, place_labels
from edgedet.runtime.palette import Look, look, text_colour

if TYPE_CHECKING:
    from edgedet.runtime.detections import Detections

_LARGEST_LINE = 1000
_LARGEST_FONT = 1000
_SMALLEST_FONT = 9
# Fewer pixels than these shares of the picture's diagonal are lost when it is shown whole.
_LINE_SHARE = 1 / 450
_FONT_SHARE = 1 / 80
_SMALL_FONT_SHARE = 1 / 200
# Labels that cover more of the picture than this don't all find a place.
_MOST_COVERED = 0.5
# Boxes' worth that a label may hide, on the average, before smaller letters are tried.
_MOST_HIDDEN = 0.25
# More labels can't be read; the boxes of the others are still drawn.
_MOST_LABELS = 1000
_LONGEST_NAME = 32


@dataclass(frozen=True)
class _Text:
    """What a label says: a name and a score, either of them perhaps empty."""

    name: str
    score: str
    font: str | None

    def bare(self) -> _Text:
        """The same without the score, if a name remains."""
        return replace(self, score="") if self.name else self

    def __str__(self) -> str:
        return self.name + self.score


def draw(
    image: npt.NDArray[np.uint8],
    detections: Detections,
    *,
    labels: bool = True,
    conf: bool = True,
    line_width: int | None = None,
    font_size: int | None = None,
) -> npt.NDArray[np.uint8]:
    """A copy of `image` (RGB uint8 [H, W, 3]) with every detection drawn on it.

    Lines and letters grow with the picture. The most confident detection lies on top. Labels stay
    inside the picture and off each other, for which the letters shrink where many boxes meet; the
    label that finds no place even so is left out, the less confident first.

    Args:
        image: the picture.
        detections: what to draw, in pixels of `image`.
        labels: write the class names.
        conf: write the scores.
        line_width: pixels; follows the picture by default.
        font_size: pixels; follows the picture and its boxes by default.

    Raises:
        InvalidInputError: `line_width` or `font_size` is out of range.
    """
    canvas = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(canvas)
    diagonal = math.hypot(canvas.width, canvas.height)
    if line_width is None:
        line = 1 if min(canvas.size) < 100 else max(2, round(diagonal * _LINE_SHARE))
    else:
        line = arguments.integer("line_width", line_width, 1, _LARGEST_LINE)
    if font_size is None:
        sizes = _font_sizes(diagonal)
    else:
        sizes = [arguments.integer("font_size", font_size, 1, _LARGEST_FONT)]
    finite = np.isfinite(detections.xyxy).all(axis=1) & np.isfinite(detections.confidence)
    found = detections[finite]
    found = found[np.argsort(-found.confidence, kind="stable")]
    boxes = _pixels(found.xyxy, canvas.size)
    looks = [look(index) for index in found.class_id.tolist()]
    for box, its_look in reversed(list(zip(boxes.tolist(), looks, strict=True))):
        # A thick line would fill a small box.
        thin = (
            line if line_width else min(line, max(2, min(box[2] - box[0], box[3] - box[1]) // 14))
        )
        _frame(pen, box, its_look, thin)
    if labels or conf:
        texts = _texts(found[:_MOST_LABELS], labels=labels, conf=conf)
        chosen, size, places = _arranged(texts, boxes[:_MOST_LABELS], canvas.size, sizes)
        for text, its_look, place in zip(chosen, looks, places, strict=False):
            if place is not None:
                x0, y0, x1, y1 = place.corners
                pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=its_look.colour)
                ink = text_colour(its_look.colour)
                lettering.write(pen, (x0, y0), str(text), size, text.font, ink)
    return np.array(canvas)


def _font_sizes(diagonal: float) -> list[int]:
    """Sizes of letters to try, the largest first."""
    size = float(max(_SMALLEST_FONT + 2, round(3 + diagonal * _FONT_SHARE)))
    smallest = max(_SMALLEST_FONT, round(diagonal * _SMALL_FONT_SHARE))
    sizes = []
    while round(size) > smallest:
        sizes.append(round(size))
        size *= 0.75
    return [*sizes, smallest]


def _texts(found: Detections, *, labels: bool, conf: bool) -> list[_Text]:
    texts = []
    for index, score in zip(found.class_id.tolist(), found.confidence.tolist(), strict=True):
        share = f"{score:.0%}" if conf else ""
        if not labels:
            texts.append(_Text("", share, None))
            continue
        name, font = lettering.writable(found.names[index][: 4 * _LONGEST_NAME])
        if not any(letter.isalnum() for letter in name):
            # Nothing of it can be written here; the number still tells classes apart.
            name, font = f"class {index}", None
        if len(name) > _LONGEST_NAME:
            name = name[: _LONGEST_NAME - 3] + "..."
        # Two spaces, because names may be digits too.
        texts.append(_Text(name, share and f"  {share}", font))
    return texts


def _arranged(
    texts: list[_Text], boxes: IntArray, picture: tuple[int, int], sizes: list[int]
) -> tuple[list[_Text], int, list[Place | None]]:
    """The labels in the largest letters in which all have a good place, else in the smallest.

    In the smallest, labels without a good place try again without their score.
    """
    for size in sizes[:-1]:
        extents = _extents(texts, size)
        covered = sum(width * height for width, height in extents)
        if covered <= _MOST_COVERED * picture[0] * picture[1]:
            places = place_labels(extents, boxes, picture)
            hidden = [place.hidden if place else math.inf for place in places]
            if sum(hidden) <= _MOST_HIDDEN * len(hidden):
                return texts, size, places
    size = sizes[-1]
    places = place_labels(_extents(texts, size), boxes, picture)
    if all(map(_is_good, places)):
        return texts, size, places
    texts = [
        text if _is_good(place) else text.bare() for text, place in zip(texts, places, strict=True)
    ]
    return texts, size, place_labels(_extents(texts, size), boxes, picture)


def _extents(texts: list[_Text], size: int) -> list[tuple[int, int]]:
    return [lettering.label_size((text.name, text.score), size, text.font) for text in texts]


def _is_good(place: Place | None) -> bool:
    return place is not None and place.hidden <= 2 * _MOST_HIDDEN


def _pixels(xyxy: npt.NDArray[np.float32], size: tuple[int, int]) -> IntArray:
    """The boxes as half-open pixels inside the picture, at least one pixel large; int64 [N, 4]."""
    corner = np.array(size, np.float64) - 1
    low = np.clip(np.floor(xyxy[:, :2].astype(np.float64)), 0, corner)
    high = np.clip(np.ceil(xyxy[:, 2:].astype(np.float64)) - 1, low, corner) + 1
    return np.concatenate([low, high], axis=1).astype(np.int64)


def _frame(pen: ImageDraw.ImageDraw, box: list[int], its_look: Look, line: int) -> None:
    x0, y0, x1, y1 = box[0], box[1], box[2] - 1, box[3] - 1
    colour, against = its_look.colour, text_colour(its_look.colour)
    stroke = line * (1 if its_look.dash == "dotted" else 4)
    if its_look.dash != "solid" and min(x1 - x0, y1 - y0) > 6 * stroke:
        # Between the dashes lies the opposite brightness, visible where the colour is not.
        pen.rectangle((x0, y0, x1, y1), outline=against, width=line)
        _dashes(pen, (x0, y0, x1, y1), its_look, line, stroke)
        return
    # A thin line of the opposite brightness keeps the frame visible on its own colour.
    if line > 1 and min(x1 - x0, y1 - y0) > 4 * line:
        inner = (x0 + line, y0 + line, x1 - line, y1 - line)
        pen.rectangle(inner, outline=against, width=max(1, line // 3))
    pen.rectangle((x0, y0, x1, y1), outline=colour, width=line)


def _dashes(
    pen: ImageDraw.ImageDraw, box: Rectangle, its_look: Look, line: int, stroke: int
) -> None:
    """Strokes along the inside of the box, with one at each corner."""
    x0, y0, x1, y1 = box
    for low, high, horizontal in ((x0, x1, True), (y0, y1, False)):
        # An odd number of equal parts begins and ends with a stroke.
        parts = (high + 1 - low) // stroke | 1
        ends = np.linspace(low, high + 1, parts + 1).round().astype(int).tolist()
        for start, end in zip(ends[::2], ends[1::2], strict=True):
            if horizontal:
                pen.rectangle((start, y0, end - 1, y0 + line - 1), fill=its_look.colour)
                pen.rectangle((start, y1 - line + 1, end - 1, y1), fill=its_look.colour)
            else:
                pen.rectangle((x0, start, x0 + line - 1, end - 1), fill=its_look.colour)
                pen.rectangle((x1 - line + 1, start, x1, end - 1), fill=its_look.colour)
