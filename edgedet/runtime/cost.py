"""What a network holds and computes, counted from its file."""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet import archive
from edgedet.archive.onnx import Graph
from edgedet.archive.openvino import Network

OPENVINO_KINDS = ("Convolution", "GroupConvolution", "MatMul")
"""OpenVINO's layers that multiply."""

_TFLITE_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Cost:
    """Size of a network.

    Attributes:
        parameters: weights and biases of its convolutions and dense layers; batch normalization
            is folded into them.
        multiply_adds: of the same layers, for one image.
    """

    parameters: int
    multiply_adds: int


def count_file(path: Path) -> Cost | None:
    """Count the convolutions and dense layers of a `.tflite`, `.xml` or `.onnx` file.

    Returns:
        The cost; None where it can't be told.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: a damaged file, or one without a model spec.
    """
    if path.suffix.lower() == ".xml":
        return count_openvino(
            archive.openvino.read_network(path, archive.openvino.read_model(path)[1])
        )
    if path.suffix.lower() == ".onnx":
        return count_onnx(archive.onnx.read_graph(path, archive.onnx.read_model(path)[1]))
    return count_cost(archive.read_model(path)[1])


def count_openvino(network: Network) -> Cost:
    """Count the convolutions and dense layers of an OpenVINO network.

    A bias is an addition of one number for each channel, to what the layer computes.
    """
    # By the layer that holds them: several layers may share one.
    weights: dict[str, int] = {}
    multiply_adds = 0
    weighted = set()
    for number, layer in network.layers.items():
        if len(layer.inputs) != 2 or len(layer.sources) != 2:
            continue
        if layer.kind in OPENVINO_KINDS:
            kernel = layer.inputs[1]
            multiply_adds += openvino_multiply_adds(layer.kind, kernel, layer.outputs[0].shape)
            weights[layer.sources[1][0]] = math.prod(kernel)
            weighted.add(number)
        elif layer.kind == "Add" and len(layer.outputs[0].shape) == 4:
            channels = layer.outputs[0].shape[1]
            for place, other in ((0, 1), (1, 0)):
                if (
                    layer.sources[place][0] in weighted
                    and math.prod(layer.inputs[other]) == channels
                ):
                    weights[layer.sources[other][0]] = channels
    return Cost(sum(weights.values()), multiply_adds)


def openvino_multiply_adds(kind: str, kernel: Sequence[int], result: Sequence[int]) -> int:
    """Multiply-adds of an OpenVINO layer, from the shapes of its kernel and of its result.

    Args:
        kind: one of `OPENVINO_KINDS`.
        kernel: [out, in, rows, columns]; with groups [groups, out, in, rows, columns]; a dense
            layer's either way round.
        result: a dense layer's ends in its outputs.
    """
    if kind == "MatMul":
        outputs = result[-1]
    else:
        outputs = kernel[0] * kernel[1] if kind == "GroupConvolution" else kernel[0]
    return math.prod(result) * math.prod(kernel) // outputs


def count_onnx(graph: Graph) -> Cost | None:
    """Count the convolutions and dense layers of an ONNX graph; None where shapes are missing."""
    weights: dict[str, int] = {}
    multiply_adds = 0
    for node in graph.nodes:
        if node.kind not in ("Conv", "Gemm", "MatMul"):
            continue
        names = (*node.inputs[1:], node.outputs[0])
        if any(name not in graph.tensors for name in names):
            return None
        for name in node.inputs[1:]:
            weights[name] = math.prod(graph.tensors[name].shape)
        kernel = graph.tensors[node.inputs[1]].shape
        # [out, in, rows, columns], of which `in` is one group's.
        outputs = kernel[0] if node.kind == "Conv" else kernel[-1]
        positions = math.prod(graph.tensors[node.outputs[0]].shape)
        multiply_adds += positions * math.prod(kernel) // outputs
    return Cost(sum(weights.values()), multiply_adds)


def count_cost(model: bytes) -> Cost | None:
    """Count the convolutions and dense layers of a TensorFlow Lite model.

    Returns:
        The cost; None where the file can't be walked or LiteRT's schema module is not installed.
    """
    try:
        schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError:
        return None
    try:
        return _walk(schema, model)
    # The generated readers check no bounds: a damaged table shows as any of these.
    except (AttributeError, LookupError, TypeError, ValueError, struct.error):
        return None


def _walk(schema: Any, model: bytes) -> Cost:
    root = schema.Model.GetRootAs(model, 0)
    graph = root.Subgraphs(0)
    kinds = tflite_kinds(schema)
    weights: dict[int, int] = {}
    multiply_adds = 0
    for index in range(graph.OperatorsLength()):
        node = graph.Operators(index)
        kind = tflite_kind(kinds, root, node)
        if kind not in _TFLITE_KINDS:
            continue
        for place in range(1, node.InputsLength()):
            if node.Inputs(place) >= 0:
                weights[node.Inputs(place)] = math.prod(_shape(graph, node.Inputs(place)))
        multiply_adds += tflite_multiply_adds(graph, node, kind)
    return Cost(parameters=sum(weights.values()), multiply_adds=multiply_adds)


def tflite_kinds(schema: Any) -> dict[int, str]:
    """Names of TensorFlow Lite's builtin operators by their codes.

    Args:
        schema: LiteRT's module of generated readers.
    """
    codes = vars(schema.BuiltinOperator)
    return {code: name for name, code in codes.items() if type(code) is int}


def tflite_kind(kinds: Mapping[int, str], model: Any, operator: Any) -> str:
    """Name of an operator's kind, `CONV_2D` for example; "" of one that the schema doesn't know.

    Args:
        kinds: of `tflite_kinds`.
        model: generated reader of the whole model.
        operator: generated reader of the operator.
    """
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Codes below 127 live in the older field, of one byte.
    return kinds.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "")


def tflite_multiply_adds(graph: Any, operator: Any, kind: str) -> int:
    """Multiply-adds of an operator of a TensorFlow Lite graph; 0 if it has no kernel.

    Args:
        graph: generated reader of the subgraph.
        operator: generated reader of the operator.
        kind: its name.
    """
    if kind not in _TFLITE_KINDS:
        return 0
    kernel = _shape(graph, operator.Inputs(1))
    # Kernels are [out, rows, columns, in], depthwise ones [1, rows, columns, out].
    per_output = math.prod(kernel[1:3] if kind == "DEPTHWISE_CONV_2D" else kernel[1:])
    return math.prod(_shape(graph, operator.Outputs(0))) * per_output


def _shape(graph: Any, index: int) -> list[int]:
    tensor = graph.Tensors(index)
    return [int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength())]
