"""Small .tflite files of single operations, written without TensorFlow."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class Graph:
    """A .tflite file in the making: tensors first, then the operators on them."""

    def __init__(self) -> None:
        self._schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
        self._graph = self._schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        # By convention the first buffer is the empty one, which tensors without data refer to.
        self._buffers = [self._schema.BufferT()]
        self._codes: list[Any] = []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike = np.float32,
        quantization: tuple[float, int] | None = None,
    ) -> int:
        """Add a tensor that the graph is given or computes; returns its index."""
        return self._add(shape, np.dtype(dtype), 0, quantization)

    def constant(
        self, values: npt.NDArray[Any], quantization: tuple[float, int] | None = None
    ) -> int:
        """Add a tensor with values; returns its index."""
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._buffers.append(buffer)
        return self._add(values.shape, values.dtype, len(self._buffers) - 1, quantization)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str | None = None,
        **values: Any,
    ) -> None:
        """Add a builtin operator.

        Args:
            name: as in the schema's `BuiltinOperator`, `ADD` for example.
            inputs: indices of tensors.
            outputs: indices of tensors.
            options: name of the schema's table of options.
            values: entries of that table.
        """
        code = self._schema.OperatorCodeT()
        code.builtinCode = getattr(self._schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        operator = self._operator(code, inputs, outputs)
        if options is not None:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self._schema, f"{options}T")()
            for key, value in values.items():
                setattr(operator.builtinOptions, key, value)

    def custom_operator(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Mapping[str, Any]
    ) -> None:
        """Add a custom operator, whose options are stored as a FlexBuffer map."""
        flexbuffers = importlib.import_module("flatbuffers.flexbuffers")
        code = self._schema.OperatorCodeT()
        code.builtinCode = self._schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode = code.builtinCode
        code.customCode = name
        builder = flexbuffers.Builder()
        builder.MapFromElements(dict(options))
        operator = self._operator(code, inputs, outputs)
        operator.customOptions = np.frombuffer(bytes(builder.Finish()), np.uint8)

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file's bytes, for a graph with these inputs and outputs."""
        flatbuffers = importlib.import_module("flatbuffers")
        self._graph.inputs, self._graph.outputs = list(inputs), list(outputs)
        model = self._schema.ModelT()
        model.version = 3
        model.subgraphs = [self._graph]
        model.buffers = self._buffers
        model.operatorCodes = self._codes
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _add(
        self,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        buffer: int,
        quantization: tuple[float, int] | None,
    ) -> int:
        tensor = self._schema.TensorT()
        tensor.shape = list(shape)
        tensor.type = getattr(self._schema.TensorType, dtype.name.upper())
        tensor.buffer = buffer
        tensor.name = f"tensor{len(self._graph.tensors)}"
        if quantization is not None:
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale = [quantization[0]]
            tensor.quantization.zeroPoint = [quantization[1]]
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, code: Any, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        self._codes.append(code)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = len(self._codes) - 1
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        self._graph.operators.append(operator)
        return operator


def one_thread(interpreter: Any, file: bytes, inputs: Sequence[npt.NDArray[Any]]) -> Any:
    """A LiteRT interpreter of `file` on one thread, its inputs set, ready for `invoke`.

    Args:
        interpreter: LiteRT's `Interpreter`.
        file: what `Graph.finish` returned.
        inputs: values of its inputs, in their order.
    """
    ready = interpreter(model_content=file, num_threads=1)
    ready.allocate_tensors()
    for entry, values in zip(ready.get_input_details(), inputs, strict=True):
        ready.set_tensor(entry["index"], values)
    return ready
