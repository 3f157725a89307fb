"""OpenVINO: runs its own `.xml` files, with the `.bin` beside them, on the CPU."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import archive
from edgedet.errors import EdgeDetError, InvalidInputError, MissingDependencyError
from edgedet.packages import import_openvino
from edgedet.runtime.engines import (
    MAX_TENSOR_BYTES,
    TensorInfo,
    check_input,
    check_names,
    check_outputs,
    first_line,
)

_DEVICE = "CPU"

_PRECISIONS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}
_WEIGHTED = ("Convolution", "FullyConnected", "MatMul", "Deconvolution")


class OpenVinoEngine:
    """One compiled model whose input and outputs are arrays of ours."""

    name = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        # Before OpenVINO is imported: most bad files are found here.
        spec, xml, weights = archive.openvino.read_model(path)
        try:
            openvino = import_openvino()
        except ImportError:
            raise MissingDependencyError(
                f'Running {path} needs OpenVINO; install it with `pip install "edgedet[openvino]"`.'
            ) from None
        self.path = path
        self.threads: int | None = threads
        self.spec = spec
        core = openvino.Core()
        try:
            model = core.read_model(xml, weights)
            self._describe(model)
            # Checked before compiling, which allocates all of them.
            _check_sizes(path, model)
            self._compiled = core.compile_model(model, _DEVICE, _settings(threads))
            self._request = self._compiled.create_infer_request()
            self._share(openvino)
        except EdgeDetError:
            raise
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise InvalidInputError(
                f"{path} can't be loaded by OpenVINO ({_reason(error)}); convert or copy it again."
            ) from None

    @property
    def precision(self) -> str | None:
        """What most convolutions run in, as OpenVINO tells of the compiled model."""
        found: Counter[str] = Counter()
        for node in self._compiled.get_runtime_model().get_ops():
            facts = node.get_rt_info()
            if "layerType" in facts and facts["layerType"].astype(str) in _WEIGHTED:
                # The kernel's name tells what it multiplies, `brgconv_avx512_f32` for example; the
                # node's own precision may be that in which its weights are stored.
                # Releases differ in i8 and I8.
                kernel = facts["primitiveType"].astype(str).rpartition("_")[2].lower()
                found[kernel] += 1
        if not found:
            return None
        most = found.most_common(1)[0][0]
        return _PRECISIONS.get(most, most)

    def input(self) -> npt.NDArray[Any]:
        """The input array, which OpenVINO reads in place."""
        return self._input

    def run(self) -> None:
        """Run the network on what the input array holds."""
        try:
            self._request.infer(share_outputs=True)
        except (RuntimeError, ValueError) as error:
            raise EdgeDetError(
                f"{self.path}: OpenVINO failed to run it ({_reason(error)})."
            ) from error

    def outputs(self) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
        """The class and box arrays, which OpenVINO writes in place."""
        return self._classes, self._boxes

    def _describe(self, model: Any) -> None:
        """Take the tensors' names, shapes and types, and check them against the spec."""
        if len(model.inputs) != 1:
            raise InvalidInputError(
                f"{self.path} has {len(model.inputs)} inputs instead of one image; "
                "convert the model again."
            )
        image = model.inputs[0]
        name = min(image.get_names(), default="image")
        self.input_info = _info(name, image)
        check_input(self.path, self.spec, self.input_info)
        found = {name: output for output in model.outputs for name in output.get_names()}
        check_names(self.path, self.spec, found)
        self.class_info = tuple(_info(name, found[name]) for name in self.spec.class_outputs)
        self.box_info = tuple(_info(name, found[name]) for name in self.spec.box_outputs)
        check_outputs(self.path, self.spec, self.class_info, self.box_info)

    def _share(self, openvino: Any) -> None:
        """Give the request arrays of ours for all its tensors."""

        def shared(info: TensorInfo) -> tuple[Any, npt.NDArray[Any]]:
            array = np.zeros(info.shape, info.dtype)
            return openvino.Tensor(array, shared_memory=True), array

        tensor, self._input = shared(self.input_info)
        self._request.set_input_tensor(tensor)
        outputs = {name: out for out in self._compiled.outputs for name in out.get_names()}
        heads: tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]] = ([], [])
        for arrays, infos in zip(heads, (self.class_info, self.box_info), strict=True):
            for info in infos:
                tensor, array = shared(info)
                self._request.set_tensor(outputs[info.name], tensor)
                arrays.append(array)
        self._classes, self._boxes = heads


def load(path: Path, threads: int) -> OpenVinoEngine:
    """Load an `.xml` file that `edgedet convert` wrote (see `open_engine`)."""
    return OpenVinoEngine(path, threads)


def _settings(threads: int) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        # Where the CPU has bfloat16, OpenVINO would round a float32 network to it unasked.
        "INFERENCE_PRECISION_HINT": "f32",
        # Several detectors would all be pinned to the same first cores.
        "ENABLE_CPU_PINNING": False,
    }


def _info(name: str, port: Any) -> TensorInfo:
    shape = port.get_partial_shape()
    sides = (
        tuple(-1 if side.is_dynamic else side.get_length() for side in shape)
        if shape.rank.is_static
        else ()
    )
    element = port.get_element_type()
    try:
        dtype = np.dtype(element.to_dtype())
    except (RuntimeError, TypeError, ValueError):
        dtype = np.dtype(object)  # of no type that NumPy has
    return TensorInfo(name, sides, dtype)


def _check_sizes(path: Path, model: Any) -> None:
    for node in model.get_ops():
        for output in node.outputs():
            shape = output.get_partial_shape()
            if shape.is_dynamic:
                continue
            size = math.prod(shape.to_shape()) * output.get_element_type().size
            if size > MAX_TENSOR_BYTES:
                raise InvalidInputError(
                    f"{path}: {node.get_friendly_name()} computes {size} bytes, edgedet runs at "
                    f"most {MAX_TENSOR_BYTES}; convert the model again."
                )


def _reason(error: Exception) -> str:
    """The line of OpenVINO's message that says something: the first ones name its sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [
        line for line in lines if line and not line.startswith(("Exception from", "Check '"))
    ]
    return telling[-1].rstrip(".") if telling else first_line(error)
