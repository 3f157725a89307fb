"""Sizes of pictures from their headers alone, many at once."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.images import MAX_PIXELS, formats, orientation

# EXIF orientations that turn a picture by a quarter (CIPA DC-008, section 4.6.4).
_QUARTER_TURNS = frozenset({5, 6, 7, 8})
# Most of the time goes into waiting for the disk.
_THREADS = 8
_CHUNK = 64


def read_sizes(paths: Sequence[str]) -> list[tuple[int, int] | EdgeDetError]:
    """Width and height of each picture, upright as its EXIF orientation says.

    No picture is decoded. What can't be read gives the error that `read_size` would raise.
    """
    if len(paths) <= _CHUNK:
        return [_size_or_error(path) for path in paths]
    with ThreadPoolExecutor(_THREADS) as pool:
        chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
        found = pool.map(lambda chunk: [_size_or_error(path) for path in chunk], chunks)
        return [size for sizes in found for size in sizes]


def read_size(path: str) -> tuple[int, int]:
    """Width and height of a picture, upright as its EXIF orientation says, without decoding it.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: a directory or a pipe, no picture, or above `MAX_PIXELS`.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        raise MissingFileError("does not exist") from None
    if not stat.S_ISREG(mode):
        kind = "is a directory" if stat.S_ISDIR(mode) else "is no regular file"
        raise InvalidInputError(kind)
    try:
        with Image.open(path, formats=formats()) as picture:
            width, height = picture.size
            turned = orientation(picture) in _QUARTER_TURNS
    except Image.DecompressionBombError:
        raise InvalidInputError(_TOO_LARGE) from None
    # Decoders raise whatever a damaged file leads them to: struct.error, SyntaxError, KeyError ...
    except Exception:
        raise InvalidInputError("is no picture that can be read") from None
    if width * height > MAX_PIXELS:
        raise InvalidInputError(_TOO_LARGE)
    return (height, width) if turned else (width, height)


_TOO_LARGE = f"has more than {MAX_PIXELS // 10**6} million pixels"


def _size_or_error(path: str) -> tuple[int, int] | EdgeDetError:
    try:
        return read_size(path)
    except EdgeDetError as error:
        return error
