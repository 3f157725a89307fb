"""`Detector`: a model file that finds objects in images."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet import ops
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.runtime.detections import Detections
from edgedet.runtime.engines import Engine, open_engine
from edgedet.runtime.sources import ImageArray, as_rgb, is_single, read_source
from edgedet.spec import ModelSpec

_MOST_DETECTIONS = 1_000_000


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
    ) -> Iterator[Detections]: ...

    @overload
    def detect(
        self,
        source: npt.NDArray[Any] | Image.Image,
        conf: float = ...,
        iou: float = ...,
        max_det: int = ...,
        stream: Literal[False] = ...,
    ) -> Detections: ...

    @overload
    def detect(
        self,
        source: str | os.PathLike[str],
        conf: float = ...,
        iou: float = ...,
        max_det: int = ...,
        stream: Literal[False] = ...,
    ) -> Any: ...

    @overload
    def detect(
        self,
        source: list[Any] | tuple[Any, ...] | Iterator[Any],
        conf: float = ...,
        iou: float = ...,
        max_det: int = ...,
        stream: Literal[False] = ...,
    ) -> list[Detections]: ...

    def detect(
        self,
        source: Any,
        conf: float = 0.25,
        iou: float = 0.5,
        max_det: int = 100,
        stream: bool = False,
    ) -> Any:
        """Find objects in one image or in many.

        Args:
            source: a picture file, a PIL image or an RGB uint8 array [H, W, 3] (grey [H, W] too);
                or many: a directory, a glob pattern, or a list, tuple or generator of any of these.
            conf: least confidence, 0 to 1.
            iou: overlap beyond which the less confident of two boxes of a class goes, 0 to 1.
            max_det: most detections per image.
            stream: give the results one by one instead of a list; for more images than fit in
                memory.

        Returns:
            `Detections` for one image, a list of them for many; with `stream` an iterator.

        Raises:
            InvalidInputError: an argument out of range, or an image that can't be read.
            MissingFileError: a path that does not exist, or a directory without pictures.
        """
        check_thresholds(conf, iou, max_det)
        if stream:
            return self._detect_each(source, conf, iou, max_det)
        if type(source) is np.ndarray:
            return self._detect_array(as_rgb(source), None, conf, iou, max_det)
        results = self._detect_each(source, conf, iou, max_det)
        return next(results) if is_single(source) else list(results)

    def warmup(self, runs: int = 3) -> None:
        """Run the network `runs` times on an empty image, so that the first real one is fast."""
        image = np.zeros((*self._size, 3), np.uint8)
        for _ in range(runs):
            self._detect_array(image, None, 1.0, 0.5, 1)

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

    def _detect_each(
        self, source: Any, conf: float, iou: float, max_det: int
    ) -> Iterator[Detections]:
        for image, path in read_source(source):
            yield self._detect_array(image, path, conf, iou, max_det)

    def _detect_array(
        self, image: ImageArray, path: str | None, conf: float, iou: float, max_det: int
    ) -> Detections:
        orig_shape = (image.shape[0], image.shape[1])
        with self._lock:
            engine = self._engine
            if engine is None:
                raise EdgeDetError(f"The detector of {self.path} is closed; open a new one.")
            started = perf_counter()
            # The view dies with this statement: LiteRT refuses to run while one is alive.
            ratio = ops.letterbox(image, self._size, out=engine.input(), **self._letterbox)[1]
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
            path,
            {
                "preprocess": (prepared - started) * 1e3,
                "inference": (inferred - prepared) * 1e3,
                "postprocess": (finished - inferred) * 1e3,
            },
            # Kept only when it can't be read again: a directory may hold more than memory does.
            image if path is None else None,
        )


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
