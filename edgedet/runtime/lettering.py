"""Fonts for labels: Pillow's own for ASCII, one of the system's for everything else."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from PIL import ImageDraw, ImageFont

Font: TypeAlias = Any

# Under these names Linux, macOS and Windows have letters that Pillow's own font lacks.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "AppleSDGothicNeo.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "Nirmala.ttf",
    "FreeSans.ttf",
)
_NO_CHARACTER = "\uffff"
_PROBE_SIZE = 16


def writable(text: str) -> tuple[str, str | None]:
    """The text as far as a font here can write it, and that font's name; None for Pillow's own.

    What no font has is spelled in ASCII where Unicode knows how (`é` as `e`), else as `?`.
    """
    # Line breaks and the like would leave the label.
    text = " ".join(text.split())
    return _writable("".join(letter for letter in text if letter.isprintable()))


@lru_cache(maxsize=4096)
def _writable(text: str) -> tuple[str, str | None]:
    if text.isascii():
        return text, None
    for name in _SYSTEM_FONTS:
        if all(_has(name, letter) for letter in set(text)):
            return text, name
    return "".join(_spelled(letter) for letter in text), None


def _spelled(letter: str) -> str:
    for spelling in (letter, unicodedata.normalize("NFKD", letter), letter.casefold()):
        ascii_letters = "".join(part for part in spelling if part.isascii())
        if ascii_letters:
            return ascii_letters
    return "" if unicodedata.combining(letter) else "?"


@lru_cache(maxsize=4096)
def _has(name: str, letter: str) -> bool:
    font = load(_PROBE_SIZE, name)
    # A font draws every letter that it lacks alike.
    return font is not None and (letter == " " or _shape(font, letter) != _shape(font))


def _shape(font: Font, letter: str = _NO_CHARACTER) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@lru_cache(maxsize=64)
def load(size: int, name: str | None = None) -> Font:
    """The font in this size, in pixels; None where the system has none of that name."""
    if name is not None:
        try:
            return ImageFont.truetype(name, size)
        except (ImportError, OSError):
            return None
    try:
        return ImageFont.load_default(size=size)
    except (ImportError, TypeError):
        # Without FreeType, or before Pillow 10.1, there is one bitmap font of one size.
        return ImageFont.load_default()


def label_size(texts: Sequence[str], size: int, name: str | None = None) -> tuple[int, int]:
    """Width and height of a label with these texts in a row, its margin included."""
    extents = [_extent(text, size, name) for text in texts if text]
    left, top, right, bottom = zip(*extents, strict=True)
    margin = 2 * _padding(size)
    return sum(right) - sum(left) + margin, max(bottom) - min(top) + margin


def write(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    size: int,
    name: str | None,
    colour: tuple[int, int, int],
) -> None:
    """Write the text of a label whose upper left corner, margin included, is `corner`."""
    left, top, _, _ = _extent(text, size, name)
    place = (corner[0] + _padding(size) - left, corner[1] + _padding(size) - top)
    pen.text(place, text, fill=colour, font=load(size, name))


@lru_cache(maxsize=4096)
def _extent(text: str, size: int, name: str | None) -> tuple[int, int, int, int]:
    """Pixels that the text reaches; as high for every text in ASCII."""
    font = load(size, name)
    left, top, right, bottom = font.getbbox(text)
    _, usual_top, _, usual_bottom = font.getbbox("Ag")
    return (
        math.floor(left),
        math.floor(min(top, usual_top)),
        math.ceil(right),
        math.ceil(max(bottom, usual_bottom)),
    )


def _padding(size: int) -> int:
    return max(1, round(size / 6))
