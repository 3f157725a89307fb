"""ONNX Runtime: runs `.onnx` files on the CPU."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.errors import EdgeDetError, InvalidInputError, MissingDependencyError
from edgedet.runtime.engines import TensorInfo, first_line
from edgedet.runtime.engines.stored import StoredModel, read_onnx

_PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3


class OnnxRuntimeEngine:
    """One session bound to arrays of ours for its input and outputs."""

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        # Before ONNX Runtime is imported, and before it allocates anything.
        stored, model = read_onnx(path)
        try:
            package: Any = importlib.import_module("onnxruntime")
        except ImportError:
            raise MissingDependencyError(
                f'Running {path} needs ONNX Runtime; install it with `pip install "edgedet[onnx]"`.'
            ) from None
        self.path = path
        self.threads: int | None = threads
        self.spec = stored.spec
        self.input_info = stored.input_info
        self.class_info, self.box_info = stored.class_info, stored.box_info
        options = package.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = package.InferenceSession(model, options, providers=[_PROVIDER])
            self._bind(stored)
        except Exception as error:  # its errors have no base class of their own
            raise InvalidInputError(
                f"{path} can't be loaded by ONNX Runtime ({first_line(error)}); "
                "convert or copy it again."
            ) from None

    @property
    def precision(self) -> str | None:
        """What most convolutions run in: on CPUs ONNX Runtime follows the file."""
        return self._precision

    def input(self) -> npt.NDArray[Any]:
        """The input array, which ONNX Runtime reads in place."""
        return self._input

    def run(self) -> None:
        """Run the network on what the input array holds."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise EdgeDetError(
                f"{self.path}: ONNX Runtime failed to run it ({first_line(error)})."
            ) from error

    def outputs(self) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
        """The class and box arrays, which ONNX Runtime writes in place."""
        return self._classes, self._boxes

    def _bind(self, stored: StoredModel) -> None:
        binding = self._binding = self._session.io_binding()
        self._precision = stored.precision

        def array(info: TensorInfo) -> npt.NDArray[Any]:
            return np.zeros(info.shape, info.dtype)

        def place(info: TensorInfo, values: npt.NDArray[Any]) -> tuple[Any, ...]:
            return info.name, "cpu", 0, info.dtype.type, list(info.shape), values.ctypes.data

        self._input = array(self.input_info)
        binding.bind_input(*place(self.input_info, self._input))
        self._classes = [array(info) for info in self.class_info]
        self._boxes = [array(info) for info in self.box_info]
        infos = (*self.class_info, *self.box_info)
        for info, values in zip(infos, (*self._classes, *self._boxes), strict=True):
            binding.bind_output(*place(info, values))


def load(path: Path, threads: int) -> OnnxRuntimeEngine:
    """Load an `.onnx` file that `edgedet convert` wrote (see `open_engine`)."""
    return OnnxRuntimeEngine(path, threads)
