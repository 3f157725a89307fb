from __future__ import annotations

import sys
import types

import pytest

from edgedet.archive import read_model
from edgedet.runtime.cost import Cost, count_cost, openvino_multiply_adds


def test_convolutions_are_counted(float_file):
    """A 1x1 convolution to 3 classes and one to 4 codes at each of 64 + 16 + 4 + 1 + 1 cells.

    The levels share their kernels (3 * 3 and 3 * 4 numbers) and biases (3 and 4).
    """
    cost = count_cost(read_model(float_file)[1])
    assert cost == Cost(parameters=9 + 12 + 3 + 4, multiply_adds=86 * (9 + 12))


def test_quantized_convolutions_count_the_same(model_bytes):
    cost = count_cost(model_bytes)
    assert cost is not None
    assert cost.multiply_adds == 86 * (9 + 12)


@pytest.mark.parametrize("model", [b"", b"short", bytes(100), b"\xff" * 100])
def test_bytes_that_are_no_model_give_none(model):
    assert count_cost(model) is None


def test_without_the_schema_there_is_no_cost(model_bytes, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    assert count_cost(model_bytes) is None


def test_kinds_of_layers_have_their_own_arithmetic(monkeypatch):
    """A small graph written out as LiteRT's schema module would show it."""
    add, conv, depthwise, dense = 0, 3, 4, 9
    tensors = [
        [1, 8, 8, 3],  # 0: input
        [16, 3, 3, 3],  # 1: kernel of a convolution to 16 channels
        [16],  # 2: its bias
        [1, 4, 4, 16],  # 3: its output
        [1, 5, 5, 16],  # 4: depthwise kernel
        [1, 4, 4, 16],  # 5: its output
        [10, 256],  # 6: dense kernel
        [1, 10],  # 7: its output
    ]
    nodes = [
        (conv, [0, 1, 2], [3]),
        (depthwise, [3, 4, -1], [5]),
        (depthwise, [5, 4, -1], [3]),  # the same kernel again
        (add, [3, 5], [3]),
        (dense, [5, 6, -1], [7]),
    ]
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", schema(nodes, tensors))
    assert count_cost(b"") == Cost(
        parameters=16 * 27 + 16 + 25 * 16 + 2560,
        multiply_adds=256 * 27 + 2 * 256 * 25 + 10 * 256,
    )


def schema(nodes, tensors):
    """The part of the schema module that `count_cost` uses."""

    def table(**methods):
        return types.SimpleNamespace(**methods)

    def listed(name, values):
        return {name: values.__getitem__, f"{name}Length": values.__len__}

    operators = [
        table(
            OpcodeIndex=lambda kind=kind: kind,
            **listed("Inputs", inputs),
            **listed("Outputs", outputs),
        )
        for kind, inputs, outputs in nodes
    ]
    graph = table(
        **listed("Operators", operators),
        **listed("Tensors", [table(**listed("Shape", shape)) for shape in tensors]),
    )
    # Operator codes below 127 stand in the older field.
    codes = [table(BuiltinCode=lambda: 0, DeprecatedBuiltinCode=lambda k=k: k) for k in range(10)]
    model = table(Subgraphs=[graph].__getitem__, OperatorCodes=codes.__getitem__)
    return types.SimpleNamespace(
        Model=types.SimpleNamespace(GetRootAs=lambda *_: model),
        BuiltinOperator=types.SimpleNamespace(CONV_2D=3, DEPTHWISE_CONV_2D=4, FULLY_CONNECTED=9),
    )


def test_openvino_kernels_are_laid_out_by_kind() -> None:
    assert openvino_multiply_adds("Convolution", (8, 3, 3, 3), (1, 8, 4, 4)) == 16 * 8 * 27
    assert openvino_multiply_adds("GroupConvolution", (8, 1, 1, 3, 3), (1, 8, 4, 4)) == 16 * 8 * 9
    for kernel in ((5, 3), (3, 5)):
        assert openvino_multiply_adds("MatMul", kernel, (2, 5)) == 2 * 5 * 3
