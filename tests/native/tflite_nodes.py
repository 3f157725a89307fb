"""Small TFLite graphs, made operator by operator, for tests of what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

schema: Any = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers: Any = pytest.importorskip("flatbuffers")

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
}


class Graph:
    """A model of one subgraph whose activations are of one type, batch 1."""

    def __init__(self, dtype: Any = np.float32) -> None:
        self._dtype = np.dtype(dtype)
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._graph.inputs = []
        self._model.subgraphs = [self._graph]

    def input(self, *shape: int, scale: float = 0.05, zero_point: int = 0) -> int:
        """An input [1, *shape]; scale and zero point where the graph is quantized."""
        tensor = self._tensor((1, *shape), self._dtype, scale, zero_point)
        self._graph.inputs.append(tensor)
        return tensor

    def shape(self, tensor: int) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self._graph.tensors[tensor].shape)

    def add(self, a: int, b: int, activation: str = "NONE", **quantization: Any) -> int:
        """ADD with its fused activation."""
        options = schema.AddOptionsT()
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
        return self._operator("ADD", [a, b], self.shape(a), options, **quantization)

    def scaled(self, a: int, factor: float, **quantization: Any) -> int:
        """MUL by a constant number."""
        if self._dtype == np.int8:
            constant = self._tensor((), self._dtype, factor / 127, 0, np.int8(127))
        else:
            constant = self._tensor((), self._dtype, 0.0, 0, np.float32(factor))
        return self._operator("MUL", [a, constant], self.shape(a), schema.MulOptionsT())

    def gated(self, a: int) -> int:
        """Swish: MUL of a tensor and its LOGISTIC."""
        gate = self._operator("LOGISTIC", [a], self.shape(a), None)
        return self._operator("MUL", [a, gate], self.shape(a), schema.MulOptionsT())

    def activated(self, kind: str, a: int) -> int:
        """RELU, RELU6 or HARD_SWISH as an operator of its own."""
        options = schema.HardSwishOptionsT() if kind == "HARD_SWISH" else None
        return self._operator(kind, [a], self.shape(a), options)

    def enlarged(self, a: int, rows: int, columns: int, *, align_corners: bool = False) -> int:
        """RESIZE_NEAREST_NEIGHBOR, with half-pixel centres as Keras has it."""
        options = schema.ResizeNearestNeighborOptionsT()
        options.alignCorners, options.halfPixelCenters = align_corners, not align_corners
        size = self._tensor((2,), np.dtype(np.int32), 0.0, 0, np.array([rows, columns], np.int32))
        shape = (1, rows, columns, self.shape(a)[3])
        return self._operator("RESIZE_NEAREST_NEIGHBOR", [a, size], shape, options, like=a)

    def pooled(self, a: int, height: int = 3, width: int = 3) -> int:
        """MAX_POOL_2D of height x width with stride 2 and padding "same"."""
        options = schema.Pool2DOptionsT()
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = 2
        options.filterHeight, options.filterWidth = height, width
        _, rows, columns, channels = self.shape(a)
        shape = (1, -(-rows // 2), -(-columns // 2), channels)
        return self._operator("MAX_POOL_2D", [a], shape, options, like=a)

    def to_bytes(self, *outputs: int) -> bytes:
        """The model with these outputs."""
        self._graph.outputs = list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(
        self,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        scale: float,
        zero_point: int,
        value: Any = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = f"tensor_{len(self._graph.tensors)}"
        tensor.shape, tensor.type = list(shape), _TYPES[dtype]
        if dtype == np.int8:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [scale]
            tensor.quantization.zeroPoint = [zero_point]
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = list(np.asarray(value).tobytes())
            tensor.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(
        self,
        kind: str,
        inputs: list[int],
        shape: Sequence[int],
        options: Any,
        *,
        scale: float = 0.07,
        zero_point: int = -3,
        like: int | None = None,
    ) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 2 if self._dtype == np.int8 else 1
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes)
        self._model.operatorCodes.append(code)
        if kind == "LOGISTIC":
            scale, zero_point = 1 / 256, -128
        elif like is not None and self._dtype == np.int8:
            quantization = self._graph.tensors[like].quantization
            scale, zero_point = quantization.scale[0], quantization.zeroPoint[0]
        output = self._tensor(shape, self._dtype, scale, zero_point)
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self._graph.operators.append(operator)
        return output
