"""Pictures small enough to lie inside an HTML page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edgedet.images import read_image


@dataclass(frozen=True)
class Thumbnail:
    """A picture for a page.

    Attributes:
        data: its address as `data:image/jpeg;base64,...`.
        width: of the original, in pixels.
        height: of the original, in pixels.
    """

    data: str
    width: int
    height: int


def thumbnail(path: Path, side: int = 480, quality: int = 78) -> Thumbnail:
    """A picture made to fit a square.

    Args:
        path: the picture.
        side: longest side of the small one in pixels.
        quality: JPEG's.

    Raises:
        InvalidInputError: it can't be read.
        MissingFileError: it isn't there.
    """
    picture = Image.fromarray(read_image(path))
    width, height = picture.size
    picture.thumbnail((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Thumbnail(f"data:image/jpeg;base64,{data}", width, height)
