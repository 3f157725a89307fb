"""What `edgedet detect` writes: annotated pictures and videos, YOLO's text, JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet import files

if TYPE_CHECKING:
    from edgedet.cli.run_directory import RunDirectory
    from edgedet.runtime import Detections
    from edgedet.runtime.reading import SourceImage
    from edgedet.runtime.video import VideoInfo, VideoWriter

# Annotated pictures keep these formats; others become .png.
_KEPT_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp"))
# Of videos that don't tell theirs.
_USUAL_RATE = 30.0
# Results beyond these go to the disk until they are printed.
_SPOOLED_BYTES = 16 * 2**20


class DetectionFiles:
    """Writes what was found in each image, under names that never meet.

    Args:
        run: where to write.
        save: annotated pictures and videos.
        save_json: `detections.json`.
        save_txt: YOLO's text, in `labels/`.
        keep_json: keep the objects for `json_objects` also without `save_json`.
        vid_stride: every so many frames of a video come.
    """

    def __init__(
        self,
        run: RunDirectory,
        *,
        save: bool,
        save_json: bool,
        save_txt: bool,
        keep_json: bool,
        vid_stride: int,
    ) -> None:
        self._run = run
        self._save, self._save_json, self._save_txt = save, save_json, save_txt
        self._stride = vid_stride
        self._stems: set[str] = set()
        self._video: VideoInfo | None = None
        self._stem = ""
        self._file: _VideoFile | None = None
        self._objects: tempfile.SpooledTemporaryFile[str] | None = None
        if save_json or keep_json:
            # Closed with the process: it has no name.
            self._objects = tempfile.SpooledTemporaryFile(  # noqa: SIM115
                _SPOOLED_BYTES, "w+", encoding="utf-8"
            )
        self.directory: Path | None = None

    def add(self, found: tuple[SourceImage, Detections]) -> None:
        """Write what was found in one image."""
        read, result = found
        if self._objects is not None:
            self._objects.write(json.dumps(result.to_dict()) + "\n")
        if self._video is not None and read.video is not self._video:
            self._end_video()
        if not (self._save or self._save_json or self._save_txt):
            return
        self.directory = self._run.path()
        if read.video is None or read.video is not self._video:
            self._stem = self._free_stem(_stem(read))
        if self._save:
            annotated = replace(result, image=read.image)
            if read.video is None:
                suffix = Path(read.path or "").suffix.lower()
                suffix = suffix if suffix in _KEPT_SUFFIXES else ".png"
                annotated.save(self.directory / f"{self._stem}{suffix}")
            else:
                if self._file is None:
                    self._file = _VideoFile(self.directory, self._stem, read, self._stride)
                self._file.writer.write(annotated.plot(), read.time)
        if self._save_txt:
            number = "" if read.frame is None else f"_{read.frame}"
            result.save_txt(self.directory / "labels" / f"{self._stem}{number}.txt")
        self._video = read.video

    def finish(self) -> None:
        """Complete the files; nothing follows."""
        self._end_video()
        if self._save_json and self.directory is not None:
            with (
                files.replacing(self.directory / "detections.json") as aside,
                aside.open("w", encoding="utf-8") as out,
            ):
                out.write("[\n")
                out.writelines(self.json_objects(",\n"))
                out.write("\n]\n")

    def discard(self, error: BaseException) -> None:
        """Remove the video that is half written."""
        if self._file is not None:
            self._file.discard(error)
            self._file = None

    def json_objects(self, separator: str) -> Iterator[str]:
        """The object of each image, in order, with the separator between them."""
        if self._objects is not None:
            self._objects.seek(0)
            for number, line in enumerate(self._objects):
                yield (separator if number else "") + line.rstrip("\n")

    def _end_video(self) -> None:
        self._video = None
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _free_stem(self, stem: str) -> str:
        free, number = stem, 1
        while free in self._stems:
            number += 1
            free = f"{stem}_{number}"
        self._stems.add(free)
        return free


class _VideoFile:
    """An annotated video, under its final name once it is complete."""

    def __init__(self, directory: Path, stem: str, read: SourceImage, stride: int) -> None:
        from edgedet.runtime import video

        suffix = video.written_suffix(Path(read.path or "").suffix.lower())
        rate = (read.video.rate if read.video is not None else None) or _USUAL_RATE
        height, width = read.image.shape[:2]
        self._stack = ExitStack()
        aside = self._stack.enter_context(files.replacing(directory / f"{stem}{suffix}"))
        self.writer: VideoWriter
        try:
            self.writer = video.create_video(aside, suffix, rate / stride, (height, width))
        except BaseException as error:
            self._leave(error)
            raise

    def close(self) -> None:
        try:
            self.writer.close()
        except BaseException as error:
            self._leave(error)
            raise
        self._stack.close()

    def discard(self, error: BaseException) -> None:
        with suppress(Exception):
            self.writer.close()
        self._leave(error)

    def _leave(self, error: BaseException) -> None:
        """Remove the file; raises the sentence for the error where there is one."""
        self._stack.__exit__(type(error), error, error.__traceback__)


def _stem(read: SourceImage) -> str:
    from edgedet.runtime import addresses

    name = read.path or ""
    if addresses.is_address(name):
        return addresses.stem(name)
    # `camera 0` is no file, nor is `standard input`.
    if read.video is not None and read.video.live:
        return name.replace(" ", "")
    return "stdin" if name == "standard input" else Path(name).stem


def print_json(head: dict[str, Any], images: Iterator[str], tail: dict[str, Any]) -> None:
    """Print one JSON object: the entries of `head`, `images` one by one, the entries of `tail`."""
    print(json.dumps(head)[:-1], end=', "images": [')
    for text in images:
        print(text, end="")
    print("], " + json.dumps(tail)[1:])
