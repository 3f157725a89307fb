"""Reading one source: a picture file, an address, a video, or what is piped to the program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import images
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.runtime import addresses, signatures, video
from edgedet.runtime.video import VideoInfo, VideoPlace


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image that was read.

    Attributes:
        image: RGB uint8 [H, W, 3].
        path: the file or the address, None for an image from memory.
        video: what its video is, None for a picture.
        frame: number of the frame in the video, from 0.
        time: seconds from the beginning of the video, None where that is not known.
        kept: whether the pixels belong in the result: they can't be read again.
        prepared: what `Reading.prepare` made of the image.
        milliseconds: how long that took.
    """

    image: npt.NDArray[np.uint8]
    path: str | None = None
    video: VideoInfo | None = None
    frame: int | None = None
    time: float | None = None
    kept: bool = True
    prepared: Any = None
    milliseconds: float = 0.0


@dataclass(frozen=True)
class Unreadable:
    """Something that could not be read.

    Attributes:
        name: what it is called, None for an image from memory.
        error: the sentence for it.
        partly: whether its first frames were read.
    """

    name: str | None
    error: EdgeDetError
    partly: bool = False


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
        vid_stride: every so many frames of a video are used.
        stream_buffer: whether all frames of a live source are used, instead of the newest ones.
        endless: whether the source may never end.
        skip: whether those of many images that can't be read are passed over as `Unreadable`;
            otherwise their errors are raised.
        prepare: what the reading thread does with each image, so that it is done beforehand.
    """

    vid_stride: int = 1
    stream_buffer: bool = False
    endless: bool = False
    skip: bool = False
    prepare: Callable[[npt.NDArray[np.uint8]], Any] | None = None


def is_video(path: str) -> bool:
    """Whether the file is one by its suffix."""
    return Path(path).suffix.lower() in video.VIDEO_SUFFIXES


def read_file(path: str, reading: Reading) -> Iterator[SourceImage | Unreadable]:
    """A picture or a video, by its suffix."""
    if is_video(path):
        yield from read_video(VideoPlace.file(Path(path)), reading)
    else:
        yield SourceImage(images.read_image(path), path, kept=False)


def read_address(address: str, reading: Reading) -> Iterator[SourceImage | Unreadable]:
    """A picture or a video, by what the server sends."""
    # urllib is slow to import, and most programs read files.
    from edgedet.runtime import fetching

    data = fetching.fetch_picture(address)
    if data is None:
        yield from read_video(VideoPlace.address(address), reading)
    else:
        name = addresses.shown(address)
        yield SourceImage(images.read_image_bytes(data, name), name)


def read_video(place: VideoPlace, reading: Reading) -> Iterator[SourceImage | Unreadable]:
    """The frames of a video, and what was wrong with them at last."""
    if place.live:
        _check_end(place.name, reading)
    with closing(video.open_video(place)) as reader:
        info = reader.info
        if info.live:
            _check_end(info.name, reading)
        for number, time, image in reader.frames(reading.vid_stride):
            # Without `stream`, the results of a long video would fill the memory.
            yield SourceImage(image, info.name, info, number, time, kept=reading.endless)
        if reader.damage is not None:
            yield Unreadable(info.name, InvalidInputError(reader.damage), partly=True)


def _check_end(name: str, reading: Reading) -> None:
    if not reading.endless:
        raise InvalidInputError(
            f"{name[0].upper()}{name[1:]} may never end; pass stream=True and take its results one "
            "by one."
        )


class _Pipe:
    """Standard input whose first bytes are read already."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int) -> bytes:
        given, self._head = self._head[:size], self._head[size:]
        return given or self._rest.read(size) or b""


def read_standard_input(reading: Reading) -> Iterator[SourceImage | Unreadable]:
    """A picture or a video, by its first bytes."""
    name = "standard input"
    pipe: Any = getattr(sys.stdin, "buffer", None)
    if pipe is not None and sys.stdin.isatty():
        raise InvalidInputError(
            "Nothing is piped to standard input; pipe a picture or a video, or name a file."
        )
    # A thread that waits in the buffer would hold its lock when the program ends.
    pipe = getattr(pipe, "raw", pipe)
    data = bytearray()
    while pipe is not None and len(data) < signatures.HEAD_BYTES:
        if not (chunk := pipe.read(signatures.HEAD_BYTES - len(data))):
            break
        data += chunk
    if not data:
        raise InvalidInputError("Standard input is empty; pipe a picture or a video to it.")
    if not signatures.is_picture(data):
        yield from read_video(VideoPlace.pipe(name, _Pipe(bytes(data), pipe)), reading)
        return
    while chunk := pipe.read(2**20):
        data += chunk
        if len(data) > signatures.MOST_BYTES:
            raise InvalidInputError(
                f"The picture on standard input is larger than {signatures.MOST_BYTES // 2**20} "
                "MiB; save it and name the file."
            )
    yield SourceImage(images.read_image_bytes(bytes(data), "The picture on standard input"), name)
