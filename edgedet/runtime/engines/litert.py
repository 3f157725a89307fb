"""LiteRT (TensorFlow Lite): runs `.tflite` files."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import archive
from edgedet.errors import EdgeDetError, InvalidInputError, MissingDependencyError
from edgedet.runtime.engines import (
    TensorInfo,
    check_input,
    check_names,
    check_outputs,
    first_line,
)

# The same interpreter under its three names, the lightest package first.
_PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")

_IDENTIFIER = b"TFL3"

# Path of an external delegate, for example libedgedet_delegate (docs/fusion.md).
_DELEGATE_VARIABLE = "EDGEDET_LITERT_DELEGATE"


class LiteRtEngine:
    """One LiteRT interpreter with its tensors checked against the spec."""

    name = "litert"

    def __init__(self, path: Path, threads: int) -> None:
        spec, model = archive.read_model(path)
        if model[4:8] != _IDENTIFIER:
            raise InvalidInputError(
                f"{path} is no TensorFlow Lite model: its identifier is not TFL3; "
                "convert or copy it again."
            )
        package = _package()
        delegates = _delegates(package)
        try:
            interpreter = package.Interpreter(
                model_content=model, num_threads=threads, experimental_delegates=delegates
            )
        except (ValueError, RuntimeError) as error:
            raise _unloadable(path, error) from None
        self.path = path
        self.threads: int | None = threads
        self.spec = spec
        self._interpreter = interpreter
        inputs, outputs = interpreter.get_input_details(), _named_outputs(interpreter)
        if len(inputs) != 1:
            raise InvalidInputError(
                f"{path} has {len(inputs)} inputs instead of one image; convert the model again."
            )
        # Checked before allocating: a hostile file could ask for any amount of memory.
        self.input_info = _info(inputs[0]["name"], inputs[0])
        check_input(path, spec, self.input_info)
        check_names(path, spec, outputs)
        self.class_info = tuple(_info(name, outputs[name]) for name in spec.class_outputs)
        self.box_info = tuple(_info(name, outputs[name]) for name in spec.box_outputs)
        check_outputs(path, spec, self.class_info, self.box_info)
        try:
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _unloadable(path, error) from None
        self._invoke: Callable[[], None] = interpreter.invoke
        # Each of these makes a fresh view: LiteRT refuses to run while a view is alive.
        self._input: Callable[[], npt.NDArray[Any]] = interpreter.tensor(inputs[0]["index"])
        self._classes = _views(interpreter, spec.class_outputs, outputs)
        self._boxes = _views(interpreter, spec.box_outputs, outputs)

    @property
    def precision(self) -> str | None:
        """`int8` where activations are, also those that are only quantized on the fly.

        `int16x8` is for int16 activations and int8 weights. LiteRT's kernels expand float16 weights
        to float32 when they load.
        """
        if self.input_info.dtype.kind in "iu":
            return self.input_info.dtype.name
        stored = {np.dtype(one["dtype"]).name for one in self._interpreter.get_tensor_details()}
        if "int16" in stored:
            return "int16x8"
        return "int8" if "int8" in stored else "float32"

    def input(self) -> npt.NDArray[Any]:
        """A writable view of the input tensor; drop it before `run`."""
        return self._input()

    def run(self) -> None:
        """Run the network on what the input tensor holds."""
        try:
            self._invoke()
        except (ValueError, RuntimeError) as error:
            raise EdgeDetError(
                f"{self.path}: LiteRT failed to run it ({first_line(error)})."
            ) from error

    def outputs(self) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
        """Views of the class and box tensors; drop them before the next `run`."""
        return [view() for view in self._classes], [view() for view in self._boxes]


def load(path: Path, threads: int) -> LiteRtEngine:
    """Load a `.tflite` file that `edgedet convert` wrote (see `open_engine`)."""
    return LiteRtEngine(path, threads)


def _package() -> Any:
    for package in _PACKAGES:
        try:
            return importlib.import_module(package)
        except ImportError:
            continue
    raise MissingDependencyError(
        "Running a .tflite file needs LiteRT; install it with `pip install ai-edge-litert`."
    )


def _delegates(package: Any) -> list[Any]:
    """The delegate that the environment names, if it does."""
    path = os.environ.get(_DELEGATE_VARIABLE)
    if not path:
        return []
    if not Path(path).is_file():
        raise InvalidInputError(
            f"{_DELEGATE_VARIABLE} names {path}, which is no file; unset it or build the library."
        )
    # TensorFlow has it in another place than its two small packages.
    home = getattr(package, "experimental", package)
    try:
        return [home.load_delegate(path)]
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{_DELEGATE_VARIABLE} names {path}, which LiteRT can't load ({first_line(error)}); "
            "unset it or build the library again."
        ) from None


def _named_outputs(interpreter: Any) -> dict[str, Mapping[str, Any]]:
    """Output tensors by name: the signature's names, which converters keep, before tensor names."""
    details = interpreter.get_output_details()
    named = {str(detail["name"]).removesuffix(":0"): detail for detail in details}
    primary = {detail["index"] for detail in details}
    for signature in interpreter.get_signature_list():
        outputs = interpreter.get_signature_runner(signature).get_output_details()
        # Other signatures may run other subgraphs, whose tensors `tensor()` can't reach.
        if {detail["index"] for detail in outputs.values()} == primary:
            named |= outputs
    return named


def _views(
    interpreter: Any, names: tuple[str, ...], outputs: Mapping[str, Mapping[str, Any]]
) -> list[Callable[[], npt.NDArray[Any]]]:
    return [interpreter.tensor(outputs[name]["index"]) for name in names]


def _info(name: str, details: Mapping[str, Any]) -> TensorInfo:
    scales = details["quantization_parameters"]["scales"]
    zero_points = details["quantization_parameters"]["zero_points"]
    dtype = np.dtype(details["dtype"])
    quantized = dtype.kind in "iu" and len(scales) == len(zero_points) == 1
    return TensorInfo(
        name=name,
        shape=tuple(int(side) for side in details["shape"]),
        dtype=dtype,
        scale=float(scales[0]) if quantized else None,
        zero_point=int(zero_points[0]) if quantized else None,
    )


def _unloadable(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"{path} can't be loaded by LiteRT ({first_line(error)}); convert or copy it again."
    )
