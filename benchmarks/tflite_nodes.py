"""The operators of a TensorFlow Lite graph, and which of them an XNNPACK operator stands for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from edgedet.runtime.cost import tflite_kind, tflite_kinds, tflite_multiply_adds

# How XNNPACK's name of an operator begins, and the TFLite operators that it computes.
_FAMILIES: dict[str, tuple[str, ...]] = {
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    # A convolution of 1x1.
    "Fully Connected": ("FULLY_CONNECTED", "CONV_2D"),
    "Batch Matrix Multiply": ("BATCH_MATMUL",),
    "Deconvolution": ("TRANSPOSE_CONV",),
    "Add": ("ADD",),
    "Subtract": ("SUB",),
    "Multiply": ("MUL",),
    "Divide": ("DIV",),
    "Maximum": ("MAXIMUM",),
    "Minimum": ("MINIMUM",),
    "Mean": ("MEAN",),
    "Global Average Pooling": ("MEAN", "AVERAGE_POOL_2D"),
    "Average Pooling": ("AVERAGE_POOL_2D",),
    "Max Pooling": ("MAX_POOL_2D",),
    "Sigmoid": ("LOGISTIC",),
    "HardSwish": ("HARD_SWISH",),
    "Tanh": ("TANH",),
    "Leaky ReLU": ("LEAKY_RELU",),
    "Clamp": ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"),
    "Resize Bilinear": ("RESIZE_BILINEAR",),
    "Concatenate": ("CONCATENATION",),
    "Constant Pad": ("PAD", "PADV2"),
    "Softmax": ("SOFTMAX",),
    "Slice": ("SLICE", "STRIDED_SLICE"),
    "Transpose": ("TRANSPOSE",),
    "Depth To Space": ("DEPTH_TO_SPACE",),
    "Convert": ("QUANTIZE", "DEQUANTIZE"),
    "Copy": ("RESHAPE", "EXPAND_DIMS", "SQUEEZE"),
}

# Each of these leaves exactly one operator in XNNPACK: no match without them is believed.
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")

_MOST_SKIPPED = 4


@dataclass(frozen=True)
class Node:
    """An operator of the graph.

    Attributes:
        index: its number.
        kind: TFLite's name of it, `CONV_2D` for example.
        name: of its first output, as the converter kept it.
        inputs: numbers of the tensors that it reads.
        outputs: numbers of those that it writes.
        multiply_adds: of a convolution or dense layer, else 0.
    """

    index: int
    kind: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    multiply_adds: int


@dataclass(frozen=True)
class Graph:
    """The first graph of a model, with operators in their order."""

    nodes: tuple[Node, ...]
    given: frozenset[int]


def read_graph(model: bytes) -> Graph:
    """Read the operators of a model.

    Args:
        model: the bytes of a `.tflite` file.

    Raises:
        ImportError: LiteRT's schema module is not installed.
    """
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    kinds = tflite_kinds(schema)
    root = schema.Model.GetRootAs(model, 0)
    graph = root.Subgraphs(0)
    nodes = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        kind = tflite_kind(kinds, root, operator)
        inputs = [int(operator.Inputs(place)) for place in range(operator.InputsLength())]
        outputs = [int(operator.Outputs(place)) for place in range(operator.OutputsLength())]
        name = (graph.Tensors(outputs[0]).Name() or b"").decode("utf-8", "replace")
        nodes.append(
            Node(
                index,
                kind,
                name,
                tuple(number for number in inputs if number >= 0),
                tuple(outputs),
                tflite_multiply_adds(graph, operator, kind),
            )
        )
    written = {number for node in nodes for number in node.outputs}
    read = {number for node in nodes for number in node.inputs}
    return Graph(tuple(nodes), frozenset(read - written))


def match(
    graph: Graph, operators: Sequence[tuple[str, int | None, float]]
) -> list[tuple[Node, str, float]] | None:
    """Give each measured operator to the operator of the graph that it belongs to.

    LiteRT names the operators that it runs itself by number; of those that XNNPACK runs only kind
    and order are known. XNNPACK gets the graph in stretches, each of all operators that can run
    without waiting for one of LiteRT's own, and keeps their order within a stretch.

    Args:
        graph: the operators.
        operators: name, number where it is known, and microseconds, in the order of execution.

    Returns:
        For each operator of the graph that was measured, in the order of execution: the operator,
        the engine's name of what ran, and microseconds; None where the two can't be matched.
    """
    own = {number for _, number, _ in operators if number is not None}
    rows = list(operators)
    matched: list[tuple[Node, str, float]] = []
    for delegated, nodes in _stretches(graph, own):
        if not delegated:
            for node in nodes:
                if not rows or rows[0][1] != node.index:
                    return None
                name, _, spent = rows.pop(0)
                matched.append((node, name, spent))
            continue
        count = next((at for at, row in enumerate(rows) if row[1] is not None), len(rows))
        found = _matched_stretch(nodes, [(name, spent) for name, _, spent in rows[:count]])
        if found is None:
            return None
        matched += found
        del rows[:count]
    return None if rows else matched


def _stretches(graph: Graph, own: Set[int]) -> list[tuple[bool, list[Node]]]:
    """The graph in turns of XNNPACK and of LiteRT itself, as LiteRT divides it."""
    ready = set(graph.given)
    waiting = list(graph.nodes)
    stretches: list[tuple[bool, list[Node]]] = []
    while waiting:
        first = next((node for node in waiting if ready.issuperset(node.inputs)), None)
        if first is None:
            break
        delegated = first.index not in own
        turn, later = [], []
        for node in waiting:
            if (node.index not in own) == delegated and ready.issuperset(node.inputs):
                turn.append(node)
                ready.update(node.outputs)
            else:
                later.append(node)
        stretches.append((delegated, turn))
        waiting = later
    return stretches


def _matched_stretch(
    nodes: Sequence[Node], rows: Sequence[tuple[str, float]]
) -> list[tuple[Node, str, float]] | None:
    matched: list[tuple[Node, str, float]] = []
    place = 0
    for name, spent in rows:
        ahead = nodes[place : place + 1 + _MOST_SKIPPED]
        fitting = next((at for at, node in enumerate(ahead) if _fits(name, node)), None)
        if fitting is not None and all(node.kind not in _WEIGHTED for node in ahead[:fitting]):
            # What is skipped left no operator of its own: XNNPACK merged or dropped it.
            matched.append((ahead[fitting], name, spent))
            place += fitting + 1
        elif matched:
            # What XNNPACK put in belongs to what stands before, as an activation does to its sum.
            node, before, already = matched[-1]
            matched[-1] = (node, before, already + spent)
        else:
            return None
    missed = {node.index for node in nodes} - {node.index for node, _, _ in matched}
    if any(node.kind in _WEIGHTED for node in nodes if node.index in missed):
        return None
    return matched


def _fits(name: str, node: Node) -> bool:
    if "DWConv" in name:
        return node.kind == "DEPTHWISE_CONV_2D"
    return any(node.kind in kinds for family, kinds in _FAMILIES.items() if name.startswith(family))
