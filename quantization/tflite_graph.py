"""A `.tflite` flatbuffer as Python objects: read, give tensors ranges and names, write again."""

from __future__ import annotations

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
        """The model as a flatbuffer."""
        import flatbuffers

        builder = flatbuffers.Builder(2**20)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


_NAMES: dict[int, str] = {}


def _builtin_names(schema: Any) -> dict[int, str]:
    if not _NAMES:
        codes = vars(schema.BuiltinOperator)
        _NAMES.update({code: name for name, code in codes.items() if isinstance(code, int)})
    return _NAMES
