"""Pictures for training: opened at once, and decoded no larger than they are needed."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet.images import MAX_PIXELS, read_image

_MAX_BYTES = 2**31
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Picture:
    """A picture that has not been decoded yet.

    Attributes:
        width: in pixels, upright.
        height: in pixels, upright.
        decode: gives the RGB picture made smaller at most by a factor (1, 2, 4 or 8), and the
            factor. It can be called once.
    """

    width: int
    height: int
    decode: Callable[[int], tuple[Image.Image, int]]


def open_picture(path: str | os.PathLike[str]) -> Picture:
    """Open a picture file; what it looks like is what `edgedet.images.read_image` gives.

    Upright JPEG is decoded on demand, where libjpeg leaves out frequencies that a smaller picture
    does not show. Every other kind is decoded at once.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: as `read_image`, here or on decoding.
    """
    jpeg = _upright_jpeg(Path(path))
    if jpeg is None:
        return picture_of(read_image(path))
    return Picture(jpeg.width, jpeg.height, partial(_decode_jpeg, jpeg, path))


def picture_of(image: npt.NDArray[np.uint8]) -> Picture:
    """A picture whose pixels are at hand, [H, W, 3] RGB."""
    return Picture(image.shape[1], image.shape[0], lambda most: (Image.fromarray(image), 1))


def _upright_jpeg(path: Path) -> Image.Image | None:
    """The opened file; None for everything that `read_image` reads or refuses in its own words."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            return None
        picture = Image.open(io.BytesIO(path.read_bytes()), formats=("JPEG",))
        plain = picture.mode in ("RGB", "L") and picture.width * picture.height <= MAX_PIXELS
        upright = picture.getexif().get(_ORIENTATION_TAG, 1) == 1
    except MemoryError:
        raise
    except Exception:
        return None
    return picture if plain and upright else None


def _decode_jpeg(
    jpeg: Image.Image, path: str | os.PathLike[str], most: int
) -> tuple[Image.Image, int]:
    reduction = 1
    try:
        if most > 1:
            wanted = max(1, jpeg.width // most), max(1, jpeg.height // most)
            width = jpeg.width
            drafted = jpeg.draft(None, wanted)  # type: ignore[no-untyped-call, unused-ignore]
            if drafted is not None:
                reduction = round(width / drafted[1][2])
        jpeg.load()
        return jpeg if jpeg.mode == "RGB" else jpeg.convert("RGB"), reduction
    except MemoryError:
        raise
    except Exception:
        # Damaged: the reader of whole pictures has the words for it.
        return Image.fromarray(read_image(path)), 1
