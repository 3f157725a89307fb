"""Where images come from: paths, directories, patterns, PIL images, arrays, and lists of these."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import images, ops
from edgedet.errors import InvalidInputError, MissingFileError

ImageArray: TypeAlias = npt.NDArray[np.uint8]

# Files that count as pictures when a directory is given; a file named outright is tried anyway.
IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pgm .png .pnm .ppm .qoi .tga .tif "
    ".tiff .webp".split()
)
_VIDEO_SUFFIXES = frozenset(".avi .m4v .mkv .mov .mp4 .mpeg .mpg .webm .wmv".split())


def is_single(source: object) -> bool:
    """Whether `source` is one image (path, PIL image, array) and not a collection of them."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return not path.is_dir() if _exists(path) else not glob.has_magic(str(path))
    return isinstance(source, (np.ndarray, Image.Image))


def find_images(source: str | os.PathLike[str]) -> list[Path]:
    """The picture files that a path, a directory or a glob pattern names.

    A directory gives the pictures directly inside it, a pattern every match that is a file (`**`
    crosses directories); both in natural order (`2.jpg` before `10.jpg`), without hidden files.

    Raises:
        MissingFileError: there is no such file, or no picture in the directory or pattern.
        InvalidInputError: a video, an address or a camera, which are not read.
    """
    text = os.fspath(source)
    if not text:
        raise InvalidInputError("The source is empty; name a picture, a directory or a pattern.")
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        raise InvalidInputError(
            f"{text} is an address; edgedet reads picture files: download it and name the file."
        )
    path = Path(text)
    if _exists(path) and path.is_dir():
        try:
            found = [entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES]
        except PermissionError:
            raise InvalidInputError(f"{path} can't be read; check its permissions.") from None
        found = [entry for entry in found if not entry.name.startswith(".") and entry.is_file()]
        if not found:
            raise MissingFileError(f"There is no picture in the directory {path}; check the path.")
        return sorted(found, key=natural_key)
    if path.suffix.lower() in _VIDEO_SUFFIXES:
        raise InvalidInputError(
            f"{path} is a video; edgedet reads pictures: extract its frames and name the directory."
        )
    if _exists(path):
        return [path]
    if text.isdecimal():
        raise InvalidInputError(
            f"There is no file {text}, and cameras are not read; name a picture or a directory."
        )
    if glob.has_magic(text):
        matches = [Path(match) for match in glob.glob(text, recursive=True)]
        matches = [match for match in matches if match.is_file()]
        if not matches:
            raise MissingFileError(f"No file matches {text}; check the pattern.")
        return sorted(matches, key=natural_key)
    raise MissingFileError(f"There is no picture {path}; check the path.")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the system
        return False


def natural_key(path: Path) -> tuple[object, ...]:
    """Sort key that puts `2.jpg` before `10.jpg`, part by part."""
    parts = []
    for part in path.parts:
        # Text and digits alternate, so that equal places compare equal kinds.
        pieces = re.split(r"([0-9]+)", part.lower())
        pieces[1::2] = (digits.lstrip("0") for digits in pieces[1::2])
        parts.append(
            [(len(piece) if place % 2 else 0, piece) for place, piece in enumerate(pieces)]
        )
    return parts, str(path)


def read_source(source: object) -> Iterator[tuple[ImageArray, str | None]]:
    """Every image of a source as (RGB uint8 [H, W, 3], path or None), read one at a time.

    Raises:
        InvalidInputError: an image that can't be read, or a value that is no image.
        MissingFileError: a path that does not exist.
    """
    if isinstance(source, (str, os.PathLike)):
        for path in find_images(source):
            yield images.read_image(path), str(path)
    elif isinstance(source, np.ndarray):
        yield as_rgb(source), None
    elif isinstance(source, Image.Image):
        if not (source.width and source.height):
            raise InvalidInputError("The PIL image has no pixels.")
        yield images.to_rgb(source, "The PIL image"), None
    elif isinstance(source, Iterable) and not isinstance(source, (bytes, dict)):
        for entry in source:
            yield from read_source(entry)
    else:
        raise InvalidInputError(
            f"A source of type {type(source).__name__} is no image: pass a path, a PIL image, an "
            "RGB uint8 array, or a list of these."
        )


def as_rgb(image: npt.NDArray[Any]) -> ImageArray:
    """An array as RGB uint8 [H, W, 3]; grey [H, W] or [H, W, 1] is repeated without a copy.

    Raises:
        InvalidInputError: another type or shape, or no pixels.
    """
    if image.dtype != np.uint8:
        raise InvalidInputError(
            f"The image array is {image.dtype}, edgedet needs uint8 in 0 to 255; convert it."
        )
    shape = image.shape
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim == 3 and image.shape[2] == 1:
        image = np.broadcast_to(image, (*image.shape[:2], 3))
    if image.ndim != 3 or image.shape[2] != 3:
        hint = {4: "drop the alpha channel"}.get(shape[-1] if len(shape) == 3 else 0)
        hint = hint or ("pass a list of images" if len(shape) == 4 else "check its axes")
        raise InvalidInputError(
            f"The image array has shape {list(shape)}, edgedet needs [height, width, 3] RGB or "
            f"[height, width] grey; {hint}."
        )
    if image.size == 0:
        raise InvalidInputError(f"The image array has shape {list(shape)}: there are no pixels.")
    if max(image.shape) > ops.MAX_IMAGE_SIDE:
        raise InvalidInputError(
            f"The image array has shape {list(shape)}: sides end at {ops.MAX_IMAGE_SIDE} pixels."
        )
    return image
