"""`Detector`: a model file that finds objects in images."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import ops
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.runtime.detections import Detections
from edgedet.runtime.engines import Engine, open_engine
from edgedet.runtime.reading import Reading, SourceImage, Unreadable
from edgedet.runtime.sources import ImageArray, as_rgb, is_single, read_source
from edgedet.runtime.tiling import Tiling, detect_tiles
from edgedet.spec import ModelSpec

_MOST_DETECTIONS = 1_000_000

# Called with the name of what can't be read (None for an image from memory), and why.
ErrorHandler: TypeAlias = Callable[[str | None, EdgeDetError], None]


class Detector:
    """Run a detection model on images; any number of threads may share one detector.

    Args:
        model: a `.tflite`, `.xml` or `.onnx` file that `edgedet convert` wrote, or a `.keras`
            file that `edgedet train` wrote.
        threads: threads for inference; by default the physical cores, at most 4.
        engine: `litert`, `openvino`, `onnxruntime` or `keras`; follows the file by default.

    Raises:
        MissingFileError: there is no such file, or the `.bin` of an `.xml` is missing.
        InvalidInputError: a damaged file, one without a model spec, or one that doesn't fit it.
        MissingDependencyError: the engine is not installed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        threads: int | None = None,
        engine: str | None = None,
    ) -> None:
        if not isinstance(model, (str, os.PathLike)):
            raise InvalidInputError(
                f"The model must be the path of a file, not a {type(model).__name__}."
            )
        self.path = Path(model)
        opened = open_engine(self.path, threads=threads, engine=engine)
        self._engine: Engine | None = opened
        self._lock = threading.Lock()
        self.spec: ModelSpec = opened.spec
        self.engine_name: str = opened.name
        self.threads: int | None = opened.threads
        # What every call needs, worked out once.
        self._names = self.spec.labels
        self._category_ids = self.spec.category_ids
        self._size = (self.spec.input.height, self.spec.input.width)
        scale, zero_point = opened.input_info.quantization or (1.0, 0)
        self._letterbox: dict[str, Any] = {
            "mean": self.spec.input.mean,
            "std": self.spec.input.std,
            "dtype": opened.input_info.dtype.type,
            "scale": scale,
            "zero_point": zero_point,
        }
        self._quantization: dict[str, Any] = {
            "class_quantization": _per_level(opened.class_info),
            "box_quantization": _per_level(opened.box_info),
        }

    @overload
    def detect(
        self,
        source: Any,
        conf: float = ...,
        iou: float = ...,
        max_det: int = ...,
        *,
        stream: Literal[True],
        vid_stride: int = ...,
        stream_buffer: bool = ...,
        on_error: ErrorHandler | None = ...,
        tile: int | None = ...,
        overlap: float = ...,
    ) -> Iterator[Detections]: ...

    @overload
    def detect(
        self,
        source: npt.NDArray[Any] | Image.Image | bytes | bytearray | memoryview,
        conf: float = ...,
        iou: float = ...,
        max_det: int = ...,
        stream: Literal[False] = ...,
        *,
        vid_stride: int = ...,
        stream_buffer: bool = ...,
        on_error: ErrorHandler | None = ...,
        tile: int | None = ...,
        overlap: float = ...,
    ) -> Detections: ...

    @overload
    def detect(
        self,
        source: str | os.PathLike[str],
        conf: float = ...,
        iou: float = ...,
        max_det: int = ...,
        stream: Literal[False] = ...,
        *,
        vid_stride: int = ...,
        stream_buffer: bool = ...,
        on_error: ErrorHandler | None = ...,
        tile: int | None = ...,
        overlap: float = ...,
    ) -> Any: ...

    @overload
    def detect(
        self,
        source: list[Any] | tuple[Any, ...] | Iterator[Any],
        conf: float = ...,
        iou: float = ...,
        max_det: int = ...,
        stream: Literal[False] = ...,
        *,
        vid_stride: int = ...,
        stream_buffer: bool = ...,
        on_error: ErrorHandler | None = ...,
        tile: int | None = ...,
        overlap: float = ...,
    ) -> list[Detections]: ...

    def detect(
        self,
        source: Any,
        conf: float = 0.25,
        iou: float = 0.5,
        max_det: int = 100,
        stream: bool = False,
        *,
        vid_stride: int = 1,
        stream_buffer: bool = False,
        on_error: ErrorHandler | None = None,
        tile: int | None = None,
        overlap: float = 0.2,
    ) -> Any:
        """Find objects in one image or in many.

        Args:
            source: a picture: its path, http or https address, encoded bytes, PIL image or RGB
                uint8 array [H, W, 3] (grey [H, W] too); a video: its path or address, the number
                of a camera; `-` for a picture or video on standard input; or many: a directory, a
                glob pattern, or a list, tuple or generator of any of these.
            conf: least confidence, 0 to 1.
            iou: overlap beyond which the less confident of two boxes of a class goes, 0 to 1.
            max_det: most detections per image.
            stream: give the results one by one instead of a list; for more images than fit in
                memory, and for sources that may never end, which need it.
            vid_stride: of a video, use every so many frames.
            stream_buffer: of a camera or another live stream, use every frame in order, and fall
                behind where the detector is slower; by default the newest one.
            on_error: called with the name and the error of each of many images that can't be read,
                and of a video that breaks off; the others follow. By default the error of an image
                is raised, and a video that breaks off gives a warning.
            tile: side of the tiles in which to look for small objects too, in pixels of the image;
                by default the image is looked at as a whole only (see `edgedet.runtime.tiling`).
            overlap: least share of a tile that it has in common with the next one, 0 to 0.9.

        Returns:
            `Detections` for one image, a list of them for many and for a video; with `stream` an
            iterator, which stops reading when it is closed.

        Raises:
            InvalidInputError: an argument out of range, an image that can't be read, or a source
                that may never end without `stream`.
            MissingFileError: a path that does not exist, or a directory without pictures.
            MissingDependencyError: a video without PyAV or OpenCV.
        """
        check_thresholds(conf, iou, max_det)
        tiling = None if tile is None else Tiling(tile, overlap)
        if type(source) is np.ndarray and not stream:
            return self._detect_image(as_rgb(source), conf, iou, max_det, None, tiling)
        check_stride(vid_stride)
        reading = Reading(
            vid_stride=vid_stride,
            stream_buffer=stream_buffer,
            endless=stream,
            skip=on_error is not None,
            prepare=self.prepare,
        )
        reads = read_source(source, reading)
        found = self.detect_each(reads, conf, iou, max_det, on_error, tiling)
        results = _results_only(found)
        if stream:
            return results
        if not is_single(source):
            return list(results)
        first = next(results)
        return first if first.frame is None else [first, *results]

    def prepare(self, image: ImageArray) -> tuple[npt.NDArray[Any], float]:
        """The input tensor [height, width, 3] for an image, and its ratio (see `ops.letterbox`)."""
        return ops.letterbox(image, self._size, **self._letterbox)

    def detect_each(
        self,
        reads: Iterator[SourceImage | Unreadable],
        conf: float,
        iou: float,
        max_det: int,
        on_error: ErrorHandler | None = None,
        tiling: Tiling | None = None,
    ) -> Iterator[tuple[SourceImage, Detections]]:
        """The results of images that `read_source` gives, each with its image.

        Args:
            reads: what to detect on; closed at the end.
            conf: as for `detect`, like the following.
            iou: see `detect`.
            max_det: see `detect`.
            on_error: see `detect`.
            tiling: how to cut the images into tiles, if at all.
        """
        with closing(reads):  # type: ignore[type-var]
            for read in reads:
                if isinstance(read, Unreadable):
                    if on_error is not None:
                        on_error(read.name, read.error)
                    else:
                        warnings.warn(str(read.error), stacklevel=3)
                    continue
                yield read, self._detect_image(read.image, conf, iou, max_det, read, tiling)

    def warmup(self, runs: int = 3) -> None:
        """Run the network `runs` times on an empty image, so that the first real one is fast."""
        image = np.zeros((*self._size, 3), np.uint8)
        for _ in range(runs):
            self._detect_array(image, 1.0, 0.5, 1)

    def close(self) -> None:
        """Free the model; the detector can't be used afterwards."""
        with self._lock:
            self._engine = None

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def precision(self) -> str | None:
        """Type in which most convolutions multiply, `float32` or `int8` for example.

        None where the engine doesn't tell, and once the detector is closed.
        """
        with self._lock:
            return None if self._engine is None else self._engine.precision

    def __repr__(self) -> str:
        return f"Detector({str(self.path)!r}, threads={self.threads}, engine={self.engine_name!r})"

    def _detect_image(
        self,
        image: ImageArray,
        conf: float,
        iou: float,
        max_det: int,
        read: SourceImage | None,
        tiling: Tiling | None,
    ) -> Detections:
        whole = self._detect_array(image, conf, iou, max_det, read)
        if tiling is None:
            return whole
        return detect_tiles(
            image,
            tiling,
            whole,
            lambda view: self._detect_array(view, conf, iou, max_det),
            iou=iou,
            max_det=max_det,
        )

    def _detect_array(
        self,
        image: ImageArray,
        conf: float,
        iou: float,
        max_det: int,
        read: SourceImage | None = None,
    ) -> Detections:
        orig_shape = (image.shape[0], image.shape[1])
        with self._lock:
            engine = self._engine
            if engine is None:
                raise EdgeDetError(f"The detector of {self.path} is closed; open a new one.")
            started = perf_counter()
            if read is None or read.prepared is None:
                # The view dies with this statement: LiteRT refuses to run while one is alive.
                ratio = ops.letterbox(image, self._size, out=engine.input(), **self._letterbox)[1]
                beforehand = 0.0
            else:
                tensor, ratio = read.prepared
                engine.input()[...] = tensor
                beforehand = read.milliseconds
            prepared = perf_counter()
            engine.run()
            inferred = perf_counter()
            xyxy, confidence, class_id = ops.postprocess(
                *engine.outputs(),
                self.spec,
                conf=conf,
                iou=iou,
                max_det=max_det,
                ratio=ratio,
                image_size=orig_shape,
                **self._quantization,
            )
            finished = perf_counter()
        return Detections(
            xyxy,
            confidence,
            class_id,
            self._names,
            self._category_ids,
            orig_shape,
            None if read is None else read.path,
            {
                "preprocess": beforehand + (prepared - started) * 1e3,
                "inference": (inferred - prepared) * 1e3,
                "postprocess": (finished - inferred) * 1e3,
            },
            image if read is None or read.kept else None,
            None if read is None else read.frame,
            None if read is None else read.time,
        )


def _results_only(found: Iterator[tuple[SourceImage, Detections]]) -> Iterator[Detections]:
    with closing(found):  # type: ignore[type-var]
        for _, result in found:
            yield result


def _per_level(tensors: Iterable[Any]) -> list[tuple[float, int]] | None:
    """(scale, zero point) of each level, or None for float tensors."""
    pairs = [tensor.quantization for tensor in tensors]
    return None if None in pairs else pairs


def check_thresholds(conf: float, iou: float, max_det: int) -> None:
    """Raise `InvalidInputError` for an argument of `Detector.detect` that is out of range."""
    for name, value in (("conf", conf), ("iou", iou)):
        if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
            raise InvalidInputError(f"{name} must be a number from 0 to 1, not {value!r}.")
    if (
        isinstance(max_det, bool)
        or not isinstance(max_det, (int, np.integer))
        or not 1 <= max_det <= _MOST_DETECTIONS
    ):
        raise InvalidInputError(
            f"max_det must be a whole number from 1 to {_MOST_DETECTIONS}, not {max_det!r}."
        )


def check_stride(vid_stride: int) -> None:
    """Raise `InvalidInputError` unless `vid_stride` is a whole number from 1."""
    if (
        isinstance(vid_stride, bool)
        or not isinstance(vid_stride, (int, np.integer))
        or vid_stride < 1
    ):
        raise InvalidInputError(f"vid_stride must be a whole number from 1, not {vid_stride!r}.")
