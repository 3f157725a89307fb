"""Reading and writing videos behind one small interface, each package imported on demand.

PyAV is asked first: it tells when a frame is to be shown, reads from pipes, gives up on a network
that doesn't answer, and writes H.264. Where only OpenCV is installed, OpenCV does the rest.
"""

from __future__ import annotations

import importlib
import importlib.util
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edgedet.errors import InvalidInputError, MissingDependencyError, MissingFileError
from edgedet.images import MAX_PIXELS
from edgedet.ops import MAX_IMAGE_SIDE
from edgedet.runtime.addresses import STREAM_SCHEMES, shown

# The package, and the module here that knows it.
_PACKAGES = {"av": "pyav", "cv2": "opencv"}

# Seconds without an answer or without a frame before an address or a pipe is given up.
PATIENCE = 10.0

# A directory that these lie in is a directory of pictures all the same.
VIDEO_SUFFIXES = frozenset(
    ".3gp .asf .avi .flv .ivf .m2ts .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts "
    ".webm .wmv".split()
)


class Frame(NamedTuple):
    """One picture of a video.

    Attributes:
        number: its place among all frames, from 0; frames that are passed over count.
        time: seconds from the first frame to this one, None where the video doesn't tell.
        image: RGB uint8 [H, W, 3], upright.
    """

    number: int
    time: float | None
    image: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames.

    Attributes:
        name: how the user called it, without a password.
        rate: frames per second, None where that is not stated.
        frames: how many there should be, None where that is not stated.
        live: whether it comes as it happens, and may never end.
    """

    name: str
    rate: float | None = None
    frames: int | None = None
    live: bool = False


@dataclass(frozen=True)
class VideoPlace:
    """Where a video comes from, checked.

    Attributes:
        name: how the user called it, without a password.
        target: the path of a file, an address, the number of a camera, or a readable pipe.
        kind: which of these.
    """

    name: str
    target: Any
    kind: str

    @classmethod
    def file(cls, path: Path) -> VideoPlace:
        """A video file.

        Raises:
            MissingFileError: there is none.
            InvalidInputError: it is empty, can't be read, or would never end.
        """
        try:
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                path.open("rb").close()
        except PermissionError:
            raise InvalidInputError(f"{path} can't be read; check its permissions.") from None
        except (OSError, ValueError):
            raise MissingFileError(f"There is no video {path}; check the path.") from None
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(f"{path} is no regular file; pipe it to '-' instead.")
        if not status.st_size:
            raise InvalidInputError(f"{path} is empty; replace it by a video.")
        return cls(str(path), path, "file")

    @classmethod
    def address(cls, address: str) -> VideoPlace:
        """A stream or a file on a server."""
        return cls(shown(address), address, "address")

    @classmethod
    def camera(cls, number: int) -> VideoPlace:
        """A camera of this machine.

        Raises:
            InvalidInputError: there is none.
        """
        name = f"camera {number}"
        if number < 0 or (sys.platform == "linux" and not camera_device(number).exists()):
            raise InvalidInputError(
                f"There is no {name} ({camera_device(number)} is missing); list yours with "
                "`ls /dev/video*`."
            )
        return cls(name, number, "camera")

    @classmethod
    def pipe(cls, name: str, pipe: Any) -> VideoPlace:
        """Anything with `read(size)`, read from front to back."""
        return cls(name, pipe, "pipe")

    @property
    def live(self) -> bool:
        """Whether it is certain to come as it happens."""
        if self.kind == "address":
            return str(self.target).partition(":")[0].lower() in STREAM_SCHEMES
        return self.kind == "camera"


class VideoReader(Protocol):
    """An opened video; used by one thread.

    Attributes:
        info: what is known before the frames.
        damage: once the frames are over, what was wrong with them; None if nothing.
    """

    info: VideoInfo
    damage: str | None

    def frames(self, stride: int) -> Iterator[Frame]:
        """Every frame whose number is a multiple of `stride`, in order of time."""
        ...

    def close(self) -> None:
        """Let go of the file, the connection or the camera."""
        ...


class VideoWriter(Protocol):
    """A video that is being written."""

    def write(self, image: npt.NDArray[np.uint8], time: float | None) -> None:
        """Append a frame, RGB uint8 [H, W, 3]; `time` in seconds from the first one."""
        ...

    def close(self) -> None:
        """Write what is left, so that players can open the file."""
        ...


def camera_device(number: int) -> Path:
    """Where Linux keeps the camera."""
    return Path(f"/dev/video{number}")


def open_video(place: VideoPlace) -> VideoReader:
    """Open a video for reading.

    Raises:
        InvalidInputError: it is no video, too large, doesn't answer, or the package that is
            installed can't read from there.
        MissingDependencyError: neither PyAV nor OpenCV is installed.
    """
    reader: VideoReader = _package(f"Reading {place.name}").open_reader(place)
    return reader


def create_video(path: Path, suffix: str, rate: float, size: tuple[int, int]) -> VideoWriter:
    """Begin a video file; `written_suffix` says which suffixes can be written.

    Args:
        path: the file to write.
        suffix: `.mp4` for example: the format.
        rate: frames per second.
        size: (height, width) of the first frame; others are scaled to it.

    Raises:
        MissingDependencyError: neither PyAV nor OpenCV is installed.
        OSError: the file can't be written.
    """
    writer: VideoWriter = _package(f"Writing {path}").create_writer(path, suffix, rate, size)
    return writer


def written_suffix(suffix: str) -> str:
    """The suffix of a video made from one with `suffix`: the same where it can be written."""
    known: dict[str, str] = _package("Writing a video").CODECS
    return suffix if suffix in known else ".mp4"


def check_size(name: str, height: int, width: int) -> None:
    """Raise `InvalidInputError` for frames that are larger than pictures may be."""
    if height * width > MAX_PIXELS or max(height, width) > MAX_IMAGE_SIDE:
        raise InvalidInputError(
            f"{name} has frames of {width}x{height}, more than {MAX_PIXELS // 10**6} million "
            "pixels; scale it down."
        )


def no_video(name: str, reason: str) -> InvalidInputError:
    """The error for something that can't be read as a video."""
    return InvalidInputError(
        f"{name} is no video that can be read ({reason}); use MP4, MKV, WebM, MOV or AVI."
    )


def too_few(name: str, found: int, stated: int | None, reason: str | None) -> str:
    """The sentence for a video that has fewer frames than it states."""
    frames = f"{found} frames" if stated is None else f"{found} of {stated} frames"
    detail = f" ({reason})" if reason else ""
    return f"{name} gives no more than {frames}: it is damaged or truncated{detail}; copy it again."


def _package(purpose: str) -> ModuleType:
    for package, module in _PACKAGES.items():
        try:
            importlib.import_module(package)
        except ImportError:
            continue
        return importlib.import_module(f"edgedet.runtime.video.{module}")
    raise MissingDependencyError(
        f'{purpose} needs PyAV; install it with `pip install "edgedet[video]"`.'
    )
