"""OpenCV, where PyAV is not installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.runtime import video
from edgedet.runtime.video import Frame, VideoInfo, VideoPlace

# FFmpeg inside OpenCV would write its complaints to standard error, beside our sentences.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}

_MOST_FRAMES = 10**9
_LOG_ERRORS = 2
_TEXT = bytes([*range(32, 127), *b"\t\r\n"])


class OpenCvReader:
    """A video opened with OpenCV, which turns frames upright by itself."""

    def __init__(self, place: VideoPlace, capture: Any) -> None:
        self._capture = capture
        rate, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        live = place.live or (place.kind == "address" and not 0 < frames < _MOST_FRAMES)
        stated = int(frames) if not live and 0 < frames < _MOST_FRAMES else None
        self.info = VideoInfo(place.name, rate if rate > 0 else None, stated, live)
        self.damage: str | None = None
        height, width = (
            capture.get(cv2.CAP_PROP_FRAME_HEIGHT),
            capture.get(cv2.CAP_PROP_FRAME_WIDTH),
        )
        video.check_size(place.name, int(height), int(width))

    def frames(self, stride: int) -> Iterator[Frame]:
        """Every frame whose number is a multiple of `stride`, in order of time."""
        found, info, begin = 0, self.info, None
        while self._capture.grab():
            number, found = found, found + 1
            if begin is None:
                begin = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            if number % stride:
                continue
            decoded, image = self._capture.retrieve()
            if not decoded:
                break
            time = (self._capture.get(cv2.CAP_PROP_POS_MSEC) - begin) / 1e3
            rgb: Any = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            yield Frame(number, time, rgb)
        if info.live:
            self.damage = f"{info.name} sends no more; check the source."
        elif not found:
            raise video.no_video(info.name, "none of its frames can be decoded")
        elif info.frames is not None and info.frames - found > max(2, info.frames // 20):
            self.damage = video.too_few(info.name, found, info.frames, None)

    def close(self) -> None:
        """Let go of the file, the connection or the camera."""
        self._capture.release()


class OpenCvWriter:
    """A video written with OpenCV."""

    def __init__(self, path: Path, suffix: str, rate: float, size: tuple[int, int]) -> None:
        self._size = size
        code = cv2.VideoWriter.fourcc(*CODECS[suffix])
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, size[::-1])
        if not self._writer.isOpened():
            raise EdgeDetError(
                f"OpenCV can't write {path.suffix} videos here; install PyAV with "
                '`pip install "edgedet[video]"`.'
            )

    def write(self, image: npt.NDArray[np.uint8], time: float | None) -> None:
        """Append a frame, RGB uint8 [H, W, 3]; OpenCV writes all of them at equal distances."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if image.shape[:2] != self._size:
            bgr = cv2.resize(bgr, self._size[::-1])
        self._writer.write(bgr)

    def close(self) -> None:
        """Write what is left, so that players can open the file."""
        self._writer.release()


def open_reader(place: VideoPlace) -> OpenCvReader:
    """Open a video (see `open_video`)."""
    if place.kind == "pipe":
        raise InvalidInputError(
            "OpenCV reads no videos from a pipe; install PyAV with `pip install "
            '"edgedet[video]"`, or name a file.'
        )
    if place.kind == "file" and _is_text(place.target):
        raise video.no_video(place.name, "it is a text")
    patience = round(video.PATIENCE * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, patience, cv2.CAP_PROP_READ_TIMEOUT_MSEC, patience]
    # Warnings would stand beside our sentence.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(min(level, _LOG_ERRORS))
    try:
        if place.kind == "camera":
            capture = cv2.VideoCapture(place.target)
        elif place.kind == "file":
            capture = cv2.VideoCapture(str(place.target.absolute()), cv2.CAP_FFMPEG)
        else:
            capture = cv2.VideoCapture(place.target, cv2.CAP_FFMPEG, limits)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        if place.kind == "file":
            raise video.no_video(place.name, "OpenCV can't open it")
        raise InvalidInputError(f"{place.name} can't be opened; check that it answers.")
    return OpenCvReader(place, capture)


def create_writer(path: Path, suffix: str, rate: float, size: tuple[int, int]) -> OpenCvWriter:
    """Begin a video file (see `create_video`)."""
    return OpenCvWriter(path, suffix, rate, size)


def _is_text(path: Path) -> bool:
    """Whether the file begins like a text: a playlist would have OpenCV open other files."""
    with path.open("rb") as file:
        return not file.read(16).strip(_TEXT)
