"""What a `.tflite` network holds and computes, counted from the file."""

from __future__ import annotations

import importlib
import math
import struct
from dataclasses import dataclass
from typing import Any


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
    operator = schema.BuiltinOperator
    depthwise = operator.DEPTHWISE_CONV_2D
    weighted = (operator.CONV_2D, depthwise, operator.FULLY_CONNECTED)
    weights: dict[int, int] = {}
    multiply_adds = 0
    for index in range(graph.OperatorsLength()):
        node = graph.Operators(index)
        code = root.OperatorCodes(node.OpcodeIndex())
        # Codes below 127 live in the older field, of one byte.
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in weighted:
            continue
        kernel = _shape(graph, node.Inputs(1))
        for place in range(1, node.InputsLength()):
            if node.Inputs(place) >= 0:
                weights[node.Inputs(place)] = math.prod(_shape(graph, node.Inputs(place)))
        # Kernels are [out, rows, columns, in], depthwise ones [1, rows, columns, out].
        per_output = math.prod(kernel[1:3] if kind == depthwise else kernel[1:])
        multiply_adds += math.prod(_shape(graph, node.Outputs(0))) * per_output
    return Cost(parameters=sum(weights.values()), multiply_adds=multiply_adds)


def _shape(graph: Any, index: int) -> list[int]:
    tensor = graph.Tensors(index)
    return [int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength())]
