"""Where images come from: files, addresses, cameras, pipes, memory, and lists of these."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import images, ops
from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.runtime import addresses, video
from edgedet.runtime.listing import Files, list_pictures, match_files
from edgedet.runtime.pipeline import read_ahead
from edgedet.runtime.reading import (
    Reading,
    SourceImage,
    Unreadable,
    is_video,
    read_address,
    read_file,
    read_standard_input,
    read_video,
)
from edgedet.runtime.video import VideoPlace

ImageArray: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Address:
    """A picture or a video on a server."""

    text: str


@dataclass(frozen=True)
class Camera:
    """A camera of this machine, by its number."""

    number: int


@dataclass(frozen=True)
class StandardInput:
    """What is piped to the program: one picture or one video."""


def resolve(source: str | os.PathLike[str]) -> Files | Address | Camera | StandardInput:
    """What a text names; files are looked for, everything else is taken by its form.

    Raises:
        MissingFileError: there is no such file, or no picture in the directory or pattern.
        InvalidInputError: an empty text, an address that is not read, a directory of too much.
    """
    text = os.fspath(source)
    if not isinstance(text, str):
        raise InvalidInputError("The source must be text, not bytes; decode the path.")
    if not text:
        raise InvalidInputError("The source is empty; name a picture, a directory or a pattern.")
    if text == "-":
        return StandardInput()
    if addresses.is_address(text):
        addresses.check_address(text)
        return Address(text)
    path = Path(text)
    if _exists(path):
        return list_pictures(path) if path.is_dir() else Files("", [text], named=True)
    if text.isdecimal() and text.isascii() and len(text) <= 3:
        return Camera(int(text))
    if glob.has_magic(text):
        return match_files(text)
    what = "video" if path.suffix.lower() in video.VIDEO_SUFFIXES else "picture"
    raise MissingFileError(f"There is no {what} {path}; check the path.")


def find_images(source: str | os.PathLike[str]) -> list[Path]:
    """The picture files that a path, a directory or a glob pattern names.

    A directory gives the pictures directly inside it, a pattern every match that is a file (`**`
    crosses directories); both in natural order (`2.jpg` before `10.jpg`), without hidden files.

    Raises:
        MissingFileError: there is no such file, or no picture in the directory or pattern.
        InvalidInputError: a video, an address or a camera: they have no files to name.
    """
    found = resolve(source)
    if not isinstance(found, Files):
        raise InvalidInputError(f"{os.fspath(source)} is no file; name a picture or a directory.")
    if found.named and is_video(found[0]):
        raise InvalidInputError(
            f"{found[0]} is a video; extract its frames and name their directory."
        )
    return [Path(path) for path in found]


def is_single(source: object) -> bool:
    """Whether `source` is one image or one video, and not a collection of them."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return not path.is_dir() if _exists(path) else not glob.has_magic(str(path))
    if isinstance(source, Files):
        return source.named
    return isinstance(source, (np.ndarray, Image.Image, Address, Camera, StandardInput)) or (
        _is_encoded(source) or _is_number(source)
    )


def read_source(source: object, reading: Reading) -> Iterator[SourceImage | Unreadable]:
    """Every image of a source, one at a time; files, videos and the like in a thread, ahead.

    What the caller's own iterator gives is asked for when it is needed, in the caller's thread.

    Raises:
        InvalidInputError: an image that can't be read, or a value that is no image.
        MissingFileError: a path that does not exist.
        MissingDependencyError: a video without a package that reads videos.
    """
    if isinstance(source, (str, os.PathLike)):
        source = resolve(source)
    if reading.skip and is_single(source):
        reading = replace(reading, skip=False)
    if _is_read_ahead(source):
        yield from read_ahead(
            _prepared(_read(source, reading), reading),
            size=_bytes,
            replaceable=lambda item: not reading.stream_buffer and _is_live(item),
        )
    else:
        yield from _read(source, reading)


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


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for the system, or with a NUL byte
        return False


def _is_encoded(source: object) -> bool:
    return isinstance(source, (bytes, bytearray, memoryview))


def _is_number(source: object) -> bool:
    return isinstance(source, (int, np.integer)) and not isinstance(source, bool)


def _is_read_ahead(source: object) -> bool:
    """Whether a thread may read all of the source; one picture is not worth it."""
    if isinstance(source, Files):
        return not (source.named and not is_video(source[0]))
    if isinstance(source, (list, tuple)):
        return bool(source) and all(isinstance(entry, (str, os.PathLike)) for entry in source)
    return isinstance(source, (Address, Camera, StandardInput)) or _is_number(source)


def _is_live(item: SourceImage | Unreadable) -> bool:
    return isinstance(item, SourceImage) and item.video is not None and item.video.live


def _bytes(item: SourceImage | Unreadable) -> int:
    return item.image.nbytes if isinstance(item, SourceImage) else 0


def _prepared(
    items: Iterator[SourceImage | Unreadable], reading: Reading
) -> Iterator[SourceImage | Unreadable]:
    with closing(items):  # type: ignore[type-var]
        for item in items:
            if reading.prepare is not None and isinstance(item, SourceImage):
                started = perf_counter()
                prepared = reading.prepare(item.image)
                spent = (perf_counter() - started) * 1e3
                yield replace(item, prepared=prepared, milliseconds=spent)
            else:
                yield item


def _read(source: object, reading: Reading) -> Iterator[SourceImage | Unreadable]:
    """The images of a source, read in this thread; what the caller's iterator gives may be not."""
    if isinstance(source, Files):
        for path in source:
            yield from _member(path, read_file(path, reading), reading)
    elif isinstance(source, Address):
        yield from read_address(source.text, reading)
    elif isinstance(source, Camera):
        yield from read_video(VideoPlace.camera(source.number), reading)
    elif isinstance(source, StandardInput):
        yield from read_standard_input(reading)
    elif _is_number(source):
        yield from read_video(VideoPlace.camera(int(source)), reading)  # type: ignore[call-overload]
    elif isinstance(source, np.ndarray):
        yield SourceImage(as_rgb(source))
    elif isinstance(source, Image.Image):
        if not (source.width and source.height):
            raise InvalidInputError("The PIL image has no pixels.")
        if source.width * source.height > images.MAX_PIXELS:
            raise InvalidInputError(
                f"The PIL image has more than {images.MAX_PIXELS // 10**6} million pixels; "
                "scale it down."
            )
        yield SourceImage(images.to_rgb(source, "The PIL image"))
    elif _is_encoded(source):
        data = bytes(source)  # type: ignore[call-overload]
        yield SourceImage(images.read_image_bytes(data, "The encoded picture"))
    elif isinstance(source, Iterable) and not isinstance(source, dict) and not _is_file(source):
        members = _read if _is_read_ahead(source) else read_source
        for entry in source:
            if isinstance(entry, (str, os.PathLike)):
                name: str | None = os.fspath(entry)
                # What a text means may be an error too, which is the member's.
                inner = _resolved(entry, reading, members)
            else:
                name, inner = None, members(entry, reading)
            yield from _member(name, inner, reading)
    else:
        hint = "its bytes, as in `file.read()`" if _is_file(source) else "a path, a PIL image"
        raise InvalidInputError(
            f"A source of type {type(source).__name__} is no image: pass {hint}, an RGB uint8 "
            "array, or a list of these."
        )


def _resolved(
    text: str | os.PathLike[str],
    reading: Reading,
    members: Callable[[object, Reading], Iterator[SourceImage | Unreadable]],
) -> Iterator[SourceImage | Unreadable]:
    yield from members(resolve(text), reading)


def _is_file(source: object) -> bool:
    return callable(getattr(source, "read", None))


def _member(
    name: str | None, items: Iterator[SourceImage | Unreadable], reading: Reading
) -> Iterator[SourceImage | Unreadable]:
    """The images of one of many sources; with `skip`, its error instead of the others' end."""
    if not reading.skip:
        yield from items
        return
    begun = False
    try:
        for item in items:
            yield item
            begun = True
    except (InvalidInputError, MissingFileError) as error:
        yield Unreadable(name, error, begun)
