"""Inference engines behind one small interface, each imported on demand.

`open_engine` is the only place that knows which engine runs which file.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgedet.errors import InvalidInputError
from edgedet.runtime.cores import default_threads
from edgedet.spec import ModelSpec

# The engine of each suffix; the module `edgedet.runtime.engines.<engine>` holds it.
_ENGINES = {".tflite": "litert", ".xml": "openvino", ".onnx": "onnxruntime", ".keras": "keras"}

_MAX_THREADS = 1024
_INPUT_TYPES = ("float32", "int8", "uint8")
_OUTPUT_TYPES = ("float32", "int8", "uint8", "int16")

# Larger than any of a network that has the largest input a spec may state.
MAX_TENSOR_BYTES = 2**32


@dataclass(frozen=True)
class TensorInfo:
    """One input or output tensor of a model.

    Attributes:
        name: `class_3` ... for outputs; the file's own name for the input.
        shape: NHWC, batch 1.
        dtype: element type.
        scale: step of a quantized tensor, `real = (stored - zero_point) * scale`; None for floats.
        zero_point: stored value of zero; None for floats.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float | None = None
    zero_point: int | None = None

    @property
    def quantization(self) -> tuple[float, int] | None:
        """(scale, zero point), or None for a float tensor."""
        if self.scale is None or self.zero_point is None:
            return None
        return self.scale, self.zero_point


class Engine(Protocol):
    """A model ready to run; used by one thread at a time.

    Attributes:
        name: `litert`, `openvino`, `onnxruntime` or `keras`.
        threads: threads the engine may use, None where the engine decides.
        spec: what the file says about itself.
        input_info: the image tensor.
        class_info: class logits, finest level first.
        box_info: box codes, finest level first.
    """

    name: str
    threads: int | None
    spec: ModelSpec
    input_info: TensorInfo
    class_info: tuple[TensorInfo, ...]
    box_info: tuple[TensorInfo, ...]

    @property
    def precision(self) -> str | None:
        """Type in which most convolutions multiply, `float32` or `int8` for example.

        None where the engine doesn't tell.
        """
        ...

    def input(self) -> npt.NDArray[Any]:
        """A writable view of the input tensor; drop it before `run`."""
        ...

    def run(self) -> None:
        """Run the network on what the input tensor holds."""
        ...

    def outputs(self) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
        """Views of the class and box tensors; drop them before the next `run`."""
        ...


def open_engine(
    path: str | os.PathLike[str], *, threads: int | None = None, engine: str | None = None
) -> Engine:
    """Load a model file into the engine that runs it.

    Args:
        path: a `.tflite`, `.xml`, `.onnx` or `.keras` file.
        threads: threads for inference; `default_threads()` by default.
        engine: its name, `litert` for example; follows the file's suffix by default.

    Raises:
        InvalidInputError: an argument out of range, or a file this engine can't run.
        MissingFileError: there is no such file.
        MissingDependencyError: the engine is not installed.
    """
    path = Path(path)
    if threads is None:
        threads = default_threads()
    elif isinstance(threads, bool) or not isinstance(threads, int):
        raise InvalidInputError(f"threads must be a whole number, not {threads!r}.")
    if not 1 <= threads <= _MAX_THREADS:
        raise InvalidInputError(f"threads must be from 1 to {_MAX_THREADS}, not {threads}.")
    known = sorted(set(_ENGINES.values()))
    if engine is not None and engine not in known:
        raise InvalidInputError(f"There is no engine {engine!r}; choose one of {', '.join(known)}.")
    fitting = _ENGINES.get(path.suffix.lower())
    if fitting is None:
        *suffixes, last = _ENGINES
        raise InvalidInputError(
            f"{path} is no model that edgedet runs: name a {', '.join(suffixes)} or {last} file."
        )
    if engine not in (None, fitting):
        raise InvalidInputError(
            f"{path}: the engine {engine} can't run {path.suffix} files; leave the engine out."
        )
    module = importlib.import_module(f"edgedet.runtime.engines.{fitting}")
    loaded: Engine = module.load(path, threads)
    return loaded


def check_input(path: Path, spec: ModelSpec, found: TensorInfo) -> None:
    """Raise `InvalidInputError` when the input tensor is not the one the spec describes."""
    if "nms" in spec.provenance:
        raise InvalidInputError(
            f"{path} ends in boxes for other programs; use {path.name.replace('-nms', '')}, "
            "converted without --nms."
        )
    batch = found.shape[0] if len(found.shape) == 4 else 1
    if batch > 1 and spec.provenance.get("batch") == batch:
        raise InvalidInputError(
            f"{path} takes {batch} images at a time, edgedet's detector one; convert the model "
            "without --batch for it."
        )
    _check_shape(path, "input", found, (1, spec.input.height, spec.input.width, 3))
    _check_type(path, "input", found, _INPUT_TYPES)


def check_names(path: Path, spec: ModelSpec, found: Container[str]) -> None:
    """Raise `InvalidInputError` when an output that the spec names is not among those found."""
    names = (*spec.class_outputs, *spec.box_outputs)
    if missing := [name for name in names if name not in found]:
        raise InvalidInputError(
            f"{path} has no output {', '.join(missing)}, which its spec names; "
            "convert the model again."
        )


def check_outputs(path: Path, spec: ModelSpec, classes: Sequence[TensorInfo], boxes: Any) -> None:
    """Raise `InvalidInputError` when the heads are not those the spec describes.

    Args:
        path: the model file, for the message.
        spec: the spec inside it.
        classes: class tensors, finest level first.
        boxes: box tensors, finest level first.
    """
    for tensors, width in ((classes, spec.num_classes), (boxes, 4)):
        for level, found in zip(spec.anchors.levels, tensors, strict=True):
            expected = (1, *spec.level_size(level), spec.anchors.per_location * width)
            _check_shape(path, f"output {found.name}", found, expected)
            _check_type(path, f"output {found.name}", found, _OUTPUT_TYPES)
        if len({found.dtype for found in tensors}) > 1:
            raise InvalidInputError(
                f"{path}: the outputs {tensors[0].name} to {tensors[-1].name} have different "
                "types; convert the model again."
            )


def first_line(error: Exception) -> str:
    """The first line of what an engine says went wrong, without a full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _check_shape(path: Path, what: str, found: TensorInfo, expected: tuple[int, ...]) -> None:
    if found.shape != expected:
        raise InvalidInputError(
            f"{path}: the {what} has shape {list(found.shape)}, its spec says {list(expected)}; "
            "convert the model again."
        )


def _check_type(path: Path, what: str, found: TensorInfo, allowed: tuple[str, ...]) -> None:
    if found.dtype.name not in allowed:
        raise InvalidInputError(
            f"{path}: the {what} has type {found.dtype.name}, edgedet runs "
            f"{', '.join(allowed)}; convert the model again."
        )
    if found.dtype.kind in "iu" and found.quantization is None:
        raise InvalidInputError(
            f"{path}: the {what} is {found.dtype.name} without one scale and zero point; "
            "convert the model again."
        )
