"""Draw detections on a picture with Pillow: boxes, labels and scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from edgedet.runtime.detections import Detections

Colour: TypeAlias = tuple[int, int, int]
Rectangle: TypeAlias = tuple[int, int, int, int]
_Font: TypeAlias = Any

# Okabe and Ito's palette, which readers with any colour vision can tell apart; without black,
# which is lost on dark pictures.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_SMALLEST_FONT = 9


def draw(image: npt.NDArray[np.uint8], detections: Detections) -> npt.NDArray[np.uint8]:
    """A copy of `image` (RGB uint8 [H, W, 3]) with every detection drawn on it.

    Lines and letters grow with the picture. The most confident detection lies on top. Labels stay
    inside the picture and off each other where there is room; one that can't fit is left out.
    """
    canvas = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(canvas)
    diagonal = math.hypot(canvas.width, canvas.height)
    line = 1 if min(canvas.size) < 100 else max(2, round(diagonal / 400))
    order = np.argsort(detections.confidence, kind="stable").tolist()
    boxes = [_pixels(box, canvas.size) for box in detections.xyxy.tolist()]
    for index in order:
        colour = PALETTE[int(detections.class_id[index]) % len(PALETTE)]
        _frame(pen, boxes[index], colour, line)
    taken: list[Rectangle] = []
    font = _load_font(max(_SMALLEST_FONT + 2, round(diagonal / 60)))
    small = _load_font(_SMALLEST_FONT)
    # The most confident label chooses its place first.
    for index in reversed(order):
        class_id = int(detections.class_id[index])
        # Line breaks in a name would leave the label.
        name = " ".join(detections.names[class_id].split())
        # Two spaces, because names may be digits too.
        full = f"{name}  {float(detections.confidence[index]):.0%}"
        for text, letters in ((full, font), (full, small), (name, small)):
            place = place_label(_text_size(letters, text), boxes[index], canvas.size, taken)
            if place is not None:
                taken.append(place)
                _label(pen, place, text, letters, PALETTE[class_id % len(PALETTE)])
                break
    return np.asarray(canvas)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever stands out more (WCAG 2.1, relative luminance)."""
    luminance = relative_luminance(background)
    return _BLACK if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else _WHITE


def relative_luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 for black to 1 for white (WCAG 2.1)."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _pixels(box: Sequence[float], size: tuple[int, int]) -> Rectangle:
    """The box as inclusive pixel corners inside the picture, at least one pixel large."""
    width, height = size
    x0 = min(max(math.floor(box[0]), 0), width - 1)
    y0 = min(max(math.floor(box[1]), 0), height - 1)
    x1 = min(max(math.ceil(box[2]) - 1, x0), width - 1)
    y1 = min(max(math.ceil(box[3]) - 1, y0), height - 1)
    return x0, y0, x1, y1


def _frame(pen: ImageDraw.ImageDraw, box: Rectangle, colour: Colour, line: int) -> None:
    x0, y0, x1, y1 = box
    # A thin line of the opposite brightness keeps the frame visible on its own colour.
    if line > 1 and min(x1 - x0, y1 - y0) > 4 * line:
        inner = (x0 + line, y0 + line, x1 - line, y1 - line)
        pen.rectangle(inner, outline=text_colour(colour), width=max(1, line // 3))
    pen.rectangle(box, outline=colour, width=line)


def _load_font(size: int) -> _Font:
    try:
        return ImageFont.load_default(size=size)
    except (ImportError, TypeError):
        # Without FreeType, or before Pillow 10.1, there is one bitmap font of one size.
        return ImageFont.load_default()


def _text_size(font: _Font, text: str) -> tuple[int, int]:
    """Width and height of the label, one height for every text of the font."""
    left, _, right, _ = font.getbbox(text)
    _, top, _, bottom = font.getbbox("Ag")
    margin = 2 * _padding(font)
    return math.ceil(right - left) + margin, math.ceil(bottom - top) + margin


def _padding(font: _Font) -> int:
    return max(1, round(getattr(font, "size", 11) / 6))


def place_label(
    label: tuple[int, int], box: Rectangle, size: tuple[int, int], taken: list[Rectangle]
) -> Rectangle | None:
    """Where the label goes: above the box, else below it, else inside; None if it can't fit."""
    width, height = label
    if width > size[0] or height > size[1]:
        return None
    x0, y0, x1, y1 = box
    left = min(x0, size[0] - width)
    right = max(0, x1 + 1 - width)
    corners = [(left, y0 - height), (right, y0 - height), (left, y1 + 1), (right, y1 + 1)]
    corners += [(left, y0), (right, y1 + 1 - height)]
    fitting = [
        (x, y, x + width, y + height) for x, y in corners if y >= 0 and y + height <= size[1]
    ]
    for place in fitting:
        if not any(_overlap(place, other) for other in taken):
            return place
    return fitting[0] if fitting else (left, 0, left + width, height)


def _overlap(first: Rectangle, second: Rectangle) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )


def _label(
    pen: ImageDraw.ImageDraw, place: Rectangle, text: str, font: _Font, colour: Colour
) -> None:
    x0, y0, x1, y1 = place
    pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)
    left, _, _, _ = font.getbbox(text)
    _, top, _, _ = font.getbbox("Ag")
    corner = (x0 + _padding(font) - left, y0 + _padding(font) - top)
    pen.text(corner, text, fill=text_colour(colour), font=font)
