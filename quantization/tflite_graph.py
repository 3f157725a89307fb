"""A `.tflite` flatbuffer as Python objects: read, change tensors and constants, write again."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Operator:
    """One operator of the graph, in the order of execution.

    Attributes:
        kind: its builtin name, `CONV_2D` for example; `FLEX` or `CUSTOM` if it is none.
        inputs: indices of its input tensors, without the optional ones that are absent.
        outputs: indices of its output tensors.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class TfliteGraph:
    """The only subgraph of a TFLite model made by a converter on this machine.

    The schema classes trust the bytes: this is for models just converted, never for files of
    unknown origin.
    """

    def __init__(self, model: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model: Any = schema.ModelT.InitFromPackedBuf(model, 0)
        if len(self._model.subgraphs) != 1:
            raise ValueError(f"the model has {len(self._model.subgraphs)} subgraphs instead of one")
        self._subgraph: Any = self._model.subgraphs[0]
        self.operators = tuple(self._operator(entry) for entry in self._subgraph.operators)

    def _operator(self, entry: Any) -> Operator:
        code = self._model.operatorCodes[entry.opcodeIndex]
        kind = _builtin_names(self._schema)[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if kind == "CUSTOM" and (code.customCode or b"").startswith(b"Flex"):
            kind = "FLEX"
        inputs = tuple(int(index) for index in entry.inputs if index >= 0)
        return Operator(kind, inputs, tuple(int(index) for index in entry.outputs))

    @property
    def inputs(self) -> tuple[int, ...]:
        """Indices of the graph's input tensors."""
        return tuple(int(index) for index in self._subgraph.inputs)

    @property
    def tensors(self) -> range:
        """Indices of all tensors, constants included."""
        return range(len(self._subgraph.tensors))

    @property
    def activations(self) -> tuple[int, ...]:
        """Indices of the tensors computed or given at run time, inputs first."""
        return self.inputs + tuple(out for operator in self.operators for out in operator.outputs)

    @property
    def outputs(self) -> dict[str, int]:
        """Tensor index by output name, as the model's signature names them."""
        signature = self._model.signatureDefs[0]
        return {entry.name.decode(): int(entry.tensorIndex) for entry in signature.outputs}

    def operator_counts(self) -> dict[str, int]:
        """How many operators of each kind, the most frequent first."""
        return dict(Counter(operator.kind for operator in self.operators).most_common())

    def consumers(self, tensor: int) -> list[Operator]:
        """Operators that read a tensor."""
        return [operator for operator in self.operators if tensor in operator.inputs]

    def name(self, tensor: int) -> str:
        """The tensor's name."""
        return str(self._subgraph.tensors[tensor].name.decode("utf-8", "replace"))

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The tensor's shape; () for a scalar."""
        shape = self._subgraph.tensors[tensor].shape
        return () if shape is None else tuple(int(side) for side in shape)

    def quantization(self, tensor: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """(scales, zero points) of a tensor, empty if it is not quantized."""
        entry = self._subgraph.tensors[tensor].quantization
        scales = entry.scale if entry is not None and entry.scale is not None else []
        points = entry.zeroPoint if entry is not None and entry.zeroPoint is not None else []
        return np.asarray(scales, np.float32), np.asarray(points, np.int64)

    def constant(self, tensor: int) -> npt.NDArray[np.float32] | None:
        """Value of a float32 constant; None for other tensors."""
        entry = self._subgraph.tensors[tensor]
        data = self._model.buffers[entry.buffer].data
        if data is None or not len(data) or entry.type != self._schema.TensorType.FLOAT32:
            return None
        return np.frombuffer(bytes(data), "<f4").reshape(self.shape(tensor))

    def weights(self, tensor: int) -> npt.NDArray[np.float32] | None:
        """Value of a float32 or int8 constant in real numbers; None for other tensors."""
        entry = self._subgraph.tensors[tensor]
        data = self._model.buffers[entry.buffer].data
        if data is None or not len(data) or entry.type != self._schema.TensorType.INT8:
            return self.constant(tensor)
        steps = np.frombuffer(bytes(data), np.int8).reshape(self.shape(tensor)).astype(np.float32)
        scales, points = self.quantization(tensor)
        axis = int(entry.quantization.quantizedDimension)
        shape = [-1 if side == axis else 1 for side in range(steps.ndim)]
        if scales.size == 1:
            shape = [1] * steps.ndim
        real = (steps - points.reshape(shape)) * scales.reshape(shape)
        return np.asarray(real, np.float32)

    def fused_activation(self, operator: int) -> str:
        """What the operator of an index applies to its result: `NONE`, `RELU`, `RELU6`, ..."""
        options = self._subgraph.operators[operator].builtinOptions
        code = getattr(options, "fusedActivationFunction", 0)
        kinds = vars(self._schema.ActivationFunctionType)
        return next(name for name, value in kinds.items() if value == code and name.isupper())

    def window(self, operator: int) -> tuple[tuple[int, int], tuple[int, int], bool]:
        """(strides, dilations, whether padded to the same size) of a convolution, y before x."""
        options = self._subgraph.operators[operator].builtinOptions
        same = options.padding == self._schema.Padding.SAME
        strides = int(options.strideH), int(options.strideW)
        return strides, (int(options.dilationHFactor), int(options.dilationWFactor)), same

    def set_constant(self, operator: int, position: int, value: npt.NDArray[np.float32]) -> None:
        """Give the operator of an index another float32 constant as its input at `position`.

        Other operators that read the same constant keep the old one.
        """
        entry = self._subgraph.operators[operator]
        tensor = int(entry.inputs[position])
        if len(self.consumers(tensor)) > 1:
            twin = copy.copy(self._subgraph.tensors[tensor])
            twin.name = f"{self.name(tensor)}.{operator}".encode()
            self._subgraph.tensors.append(twin)
            tensor = len(self._subgraph.tensors) - 1
            inputs = [int(index) for index in entry.inputs]
            inputs[position] = tensor
            entry.inputs = inputs
            self.operators = tuple(self._operator(each) for each in self._subgraph.operators)
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value, "<f4").tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        self._subgraph.tensors[tensor].buffer = len(self._model.buffers) - 1
        self._subgraph.tensors[tensor].shape = list(value.shape)

    def insert_rounding(self, ranges: Mapping[int, tuple[float, float]]) -> None:
        """Let float activations be rounded to the 256 steps of (low, high) as INT8 would."""
        schema = self._schema
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FAKE_QUANT
        code.version = 1
        self._model.operatorCodes.append(code)
        operators = []
        for entry in self._subgraph.operators:
            operators.append(entry)
            for tensor in [int(out) for out in entry.outputs if int(out) in ranges]:
                exact = copy.copy(self._subgraph.tensors[tensor])
                exact.name = self.name(tensor).encode() + b".exact"
                self._subgraph.tensors.append(exact)
                source = len(self._subgraph.tensors) - 1
                entry.outputs = [
                    source if int(out) == tensor else int(out) for out in entry.outputs
                ]
                rounding = schema.OperatorT()
                rounding.opcodeIndex = len(self._model.operatorCodes) - 1
                rounding.inputs, rounding.outputs = [source], [tensor]
                rounding.builtinOptionsType = schema.BuiltinOptions.FakeQuantOptions
                rounding.builtinOptions = schema.FakeQuantOptionsT()
                rounding.builtinOptions.min, rounding.builtinOptions.max = ranges[tensor]
                rounding.builtinOptions.numBits = 8
                operators.append(rounding)
        self._subgraph.operators = operators
        self.operators = tuple(self._operator(each) for each in operators)

    def set_ranges(self, ranges: Mapping[int, tuple[float, float]]) -> None:
        """Give tensors the (low, high) ranges that a quantizer derives their scales from."""
        for tensor, (low, high) in ranges.items():
            entry = self._schema.QuantizationParametersT()
            entry.min, entry.max = [float(low)], [float(high)]
            self._subgraph.tensors[tensor].quantization = entry

    def rename(self, names: Mapping[int, str]) -> None:
        """Give tensors new names."""
        for tensor, name in names.items():
            self._subgraph.tensors[tensor].name = name.encode()

    def to_bytes(self) -> bytes:
        """The model as a flatbuffer in which equal vectors are stored once.

        Per-channel quantization keeps eight bytes of zero point for each channel of each constant,
        nearly all of them zero: a fifth of a small INT8 model.
        """
        builder = _sharing_builder()
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _sharing_builder() -> Any:
    """A flatbuffer builder that stores equal vectors of numbers once, bytes aligned to 16."""
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):
        def __init__(self) -> None:
            super().__init__(2**20)
            self.places: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: npt.NDArray[Any]) -> int:  # noqa: N802
            key = x.dtype.str, x.tobytes()
            if key not in self.places:
                if x.dtype == np.uint8:  # only constants are, and kernels load them in registers
                    self.Prep(16, len(key[1]))
                self.places[key] = int(super().CreateNumpyVector(x))
            return self.places[key]

    return SharingBuilder()


def paired_operators(original: TfliteGraph, quantized: TfliteGraph) -> dict[int, int]:
    """Operator indices of a quantized model by those of the float model it was made from.

    Between operators kept in float and the others the quantizer puts conversions, left out here.

    Raises:
        ValueError: the models have other operators than each other.
    """
    before = list(range(len(original.operators)))
    after = [
        index
        for index, operator in enumerate(quantized.operators)
        if operator.kind not in ("QUANTIZE", "DEQUANTIZE")
    ]
    kinds = [original.operators[index].kind for index in before]
    if kinds != [quantized.operators[index].kind for index in after]:
        raise ValueError("the quantized model has other operators than the float model")
    return dict(zip(before, after, strict=True))


_NAMES: dict[int, str] = {}


def _builtin_names(schema: Any) -> dict[int, str]:
    if not _NAMES:
        codes = vars(schema.BuiltinOperator)
        _NAMES.update({code: name for name, code in codes.items() if isinstance(code, int)})
    return _NAMES
