"""PyAV: FFmpeg's libraries."""

from __future__ import annotations

import fractions
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet.errors import InvalidInputError
from edgedet.runtime import video
from edgedet.runtime.cores import default_threads
from edgedet.runtime.video import Frame, VideoInfo, VideoPlace

# What is written into a file of each suffix, the best that this build has.
CODECS = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".avi": "mpeg4",
}
_FORMATS = {".mkv": "matroska", ".m4v": "mp4"}
_PLAIN_CODEC = "mpeg4"

# Containers of videos; the rest of FFmpeg's are sound, single pictures, and playlists that make it
# open other files.
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,flv,asf,ogg,mjpeg,ivf"
_NETWORK = "http,https,tcp,tls,udp,rtp,rtsp,srtp,rtmp,rtmps,rtmpt,srt,crypto,data,httpproxy"


class PyAvReader:
    """A video opened with PyAV."""

    def __init__(self, place: VideoPlace, container: Any) -> None:
        name = place.name
        if not container.streams.video:
            raise video.no_video(name, "it has no pictures")
        self._container = container
        self._stream = container.streams.video[0]
        context = self._stream.codec_context
        if context is None:
            raise video.no_video(name, "its codec is not known")
        video.check_size(name, context.height, context.width)
        rate = self._stream.average_rate
        live = place.live or (place.kind == "address" and container.duration is None)
        self.info = VideoInfo(
            name,
            rate=float(rate) if rate else None,
            frames=None if live or place.kind == "pipe" else self._stated_frames(),
            live=live,
        )
        self.damage: str | None = None
        # Threads that each take a frame hold frames back: good for files only.
        self._stream.thread_type = "SLICE" if live else "AUTO"
        context.thread_count = default_threads()

    def frames(self, stride: int) -> Iterator[Frame]:
        """Every frame whose number is a multiple of `stride`, in order of time."""
        found = 0
        self._faults = 0
        self._end: str | None = None
        begin: float | None = None
        for decoded in self._decode():
            number, found = found, found + 1
            self._faults += decoded.is_corrupt
            if begin is None:
                begin = decoded.time
            if number % stride:
                continue
            video.check_size(self.info.name, decoded.height, decoded.width)
            yield Frame(number, self._time(decoded.time, begin, number), _upright(decoded))
        self._judge(found)

    def close(self) -> None:
        """Let go of the file, the connection or the camera."""
        self._container.close()

    def _decode(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._end = _reason(error)
                packet = None
            if packet is not None and packet.is_corrupt:
                self._faults += 1
                # Cut short. At the end of a file it would take the frames before it with it.
                if not self.info.live:
                    continue
            try:
                # Nothing stands for the frames that the decoder still holds.
                decoded = self._stream.decode(packet) if packet is None else packet.decode()
            except av.FFmpegError:
                self._faults += 1
                decoded = []
            yield from decoded
            if packet is None or (packet.size == 0 and packet.dts is None):
                return

    def _stated_frames(self) -> int | None:
        """How many frames the container promises, as far as it can be told."""
        stream = self._stream
        counted = int(stream.frames) or None
        trimmed = counted is not None and "mov" in self._container.format.name
        if not stream.average_rate or (counted is not None and not trimmed):
            return counted
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif stated := _seconds(stream.metadata.get("DURATION", "")):
            seconds = stated
        elif self._container.duration is not None and len(self._container.streams) == 1:
            seconds = self._container.duration / av.time_base
        else:
            return counted
        lasting = round(seconds * float(stream.average_rate))
        # A trimmed MP4 counts the frames that are not shown any more.
        return lasting if counted is None else min(counted, lasting)

    def _time(self, time: float | None, begin: float | None, number: int) -> float | None:
        if time is not None and begin is not None:
            return float(time - begin)
        return number / self.info.rate if self.info.rate else None

    def _judge(self, found: int) -> None:
        info = self.info
        if not found and info.live:
            raise InvalidInputError(
                f"{info.name} sends no frames ({self._end or 'it ends at once'}); check the source."
            )
        if not found:
            raise video.no_video(info.name, self._end or "none of its frames can be decoded")
        stated = info.frames
        # Durations are rounded, and those of variable rates are estimates.
        short = stated is not None and stated - found > max(2, stated // 20)
        if info.live and self._end is not None:
            self.damage = f"{info.name} sends no more ({self._end}); check the source."
        elif short or self._end is not None:
            self.damage = video.too_few(info.name, found, stated, self._end)
        elif self._faults:
            self.damage = (
                f"{info.name} is damaged: {self._faults} of its frames could not be decoded "
                "or only in part; copy it again."
            )


class PyAvWriter:
    """A video written with PyAV."""

    def __init__(self, path: Path, suffix: str, rate: float, size: tuple[int, int]) -> None:
        self._path = path
        self._rate = fractions.Fraction(rate).limit_denominator(1001)
        # Colours are stored for 2 x 2 pixels together.
        self._height, self._width = size[0] + size[0] % 2, size[1] + size[1] % 2
        self._size = size
        self._last = -1
        self._container = av.open(str(path), "w", format=_FORMATS.get(suffix, suffix[1:]))
        codec = CODECS[suffix] if CODECS[suffix] in av.codecs_available else _PLAIN_CODEC
        stream: Any = self._container.add_stream(codec, rate=self._rate)
        stream.height, stream.width, stream.pix_fmt = self._height, self._width, "yuv420p"
        if codec == _PLAIN_CODEC:
            # Its default is 0.2 megabits a second whatever the size.
            stream.bit_rate = max(10**6, round(0.2 * self._height * self._width * rate))
        else:
            stream.codec_context.options = {"crf": "20", "preset": "veryfast"}
        self._stream = stream
        self._container.start_encoding()

    def write(self, image: npt.NDArray[np.uint8], time: float | None) -> None:
        """Append a frame, RGB uint8 [H, W, 3]; `time` in seconds from the first one."""
        if image.shape[:2] != self._size:
            scaled = Image.fromarray(image).resize(self._size[::-1], Image.Resampling.BILINEAR)
            image = np.asarray(scaled)
        height, width = image.shape[:2]
        if (height, width) != (self._height, self._width):
            margin = ((0, self._height - height), (0, self._width - width), (0, 0))
            image = np.pad(image, margin, mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        # Counted in frames, because AVI has no other clock.
        place = self._last + 1 if time is None else round(time * float(self._rate))
        self._last = max(self._last + 1, place)
        frame.pts, frame.time_base = self._last, 1 / self._rate
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left, so that players can open the file."""
        try:
            if self._last >= 0:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def open_reader(place: VideoPlace) -> PyAvReader:
    """Open a video (see `open_video`)."""
    try:
        container = _open(place)
    except (av.FFmpegError, OSError) as error:
        raise _refusal(place, error) from None
    try:
        return PyAvReader(place, container)
    except BaseException:
        container.close()
        raise


def create_writer(path: Path, suffix: str, rate: float, size: tuple[int, int]) -> PyAvWriter:
    """Begin a video file (see `create_video`)."""
    return PyAvWriter(path, suffix, rate, size)


def _open(place: VideoPlace) -> Any:
    if place.kind == "file":
        options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
        # With the protocol before it, no name can be taken for an address.
        return av.open(f"file:{place.target.absolute()}", options=options)
    if place.kind == "pipe":
        # One that may open nothing else.
        options = {"protocol_whitelist": "data", "format_whitelist": _CONTAINERS}
        return av.open(place.target, options=options)
    if place.kind == "address":
        options = {"protocol_whitelist": _NETWORK, "rtsp_transport": "tcp"}
        return av.open(place.target, options=options, timeout=video.PATIENCE)
    if sys.platform != "linux":
        raise InvalidInputError(
            "Cameras need OpenCV on this system; install it with `pip install opencv-python`."
        )
    return av.open(str(video.camera_device(place.target)), format="v4l2", timeout=video.PATIENCE)


def _refusal(place: VideoPlace, error: Exception) -> Exception:
    reason = _reason(error)
    if place.kind == "camera":
        return InvalidInputError(
            f"{place.name[0].upper()}{place.name[1:]} can't be opened ({reason}); check that no "
            "other program uses it."
        )
    if place.kind == "address" and not isinstance(error, av.InvalidDataError):
        return InvalidInputError(
            f"{place.name} can't be reached ({reason}); check the address and the network."
        )
    if place.kind == "address":
        return InvalidInputError(
            f"{place.name} gives no video that can be read ({reason}); check the address."
        )
    return video.no_video(place.name, reason)


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return f"no answer within {video.PATIENCE:g} seconds"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[0].lower() + text[1:]


def _upright(frame: Any) -> npt.NDArray[np.uint8]:
    image: npt.NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def _seconds(duration: str) -> float | None:
    """Seconds of `00:01:02.5`, as Matroska states them."""
    try:
        hours, minutes, seconds = duration.strip("\0 ").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
