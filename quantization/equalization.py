"""Cross-layer equalization: channels of one tensor get like ranges, and the function stays.

A tensor has one INT8 step for all its channels. Where only linear operators lie between the
convolutions that write it and those that read it, channel c can be divided by a factor in the
former and multiplied by it in the latter (Nagel et al., Data-Free Quantization Through Weight
Equalization and Bias Correction, 2019, section 4.1). Weights of the writers have a step for each
output channel and lose nothing by it; those of the readers have one step for all input channels,
so the factor is the geometric mean of what the tensor and the readers' weights would like.

Only factors of a ReLU can be moved through it. Swish, hard swish, sigmoid and ReLU6 forbid it:
swish(a x) is not a swish(x). In their networks it reaches the linear ends of inverted bottlenecks
and the depthwise half of separable convolutions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgedet.quantization.interpreters import observing_interpreter
from edgedet.quantization.tflite_graph import Operator, TfliteGraph

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
# They treat every channel alike and keep factors as they are.
_TRANSPARENT = ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "MAX_POOL_2D", "AVERAGE_POOL_2D")
_HOMOGENEOUS = ("NONE", "RELU")
_GREATEST_FACTOR = 16.0


def equalized(model: bytes, inputs: Iterable[npt.NDArray[np.float32]]) -> bytes:
    """A float `.tflite` model that computes the same, with like ranges of channels.

    Args:
        model: float flatbuffer.
        inputs: network inputs [1, height, width, 3] to measure the channels' ranges on.
    """
    graph = TfliteGraph(model)
    groups = channel_groups(graph)
    if not groups:
        return model
    peaks = _peaks(model, graph, {tensor for group in groups for tensor in group}, inputs)
    for group in groups:
        factors = _factors(graph, group, peaks)
        for index, operator in enumerate(graph.operators):
            if operator.kind not in _CONVOLUTIONS:
                continue
            if operator.outputs[0] in group:
                _scale(graph, index, operator, np.reciprocal(factors), output=True)
            if operator.inputs[0] in group:
                _scale(graph, index, operator, factors, output=False)
    return graph.to_bytes()


def channel_groups(graph: TfliteGraph) -> list[frozenset[int]]:
    """Sets of tensors whose channels can be scaled together without changing the function."""
    parents: dict[int, int] = {}

    def root(tensor: int) -> int:
        parents.setdefault(tensor, tensor)
        while parents[tensor] != tensor:
            tensor = parents[tensor]
        return tensor

    # Heads share their weights between levels: what divides one divides all.
    sharing: dict[int, tuple[int, int]] = {}
    fixed = {*graph.inputs, *graph.outputs.values()}
    activations = set(graph.activations)
    for index, operator in enumerate(graph.operators):
        given = [tensor for tensor in operator.inputs if tensor in activations]
        homogeneous = graph.fused_activation(index) in _HOMOGENEOUS
        if operator.kind in _CONVOLUTIONS:
            if not homogeneous or not _plain(graph, operator):
                fixed.update(operator.outputs)
            if not _plain(graph, operator):
                fixed.update(given)
            read, written = sharing.setdefault(
                operator.inputs[1], (operator.inputs[0], operator.outputs[0])
            )
            parents[root(operator.inputs[0])] = root(read)
            parents[root(operator.outputs[0])] = root(written)
        elif homogeneous and _keeps_channels(graph, operator, given):
            for tensor in given:
                parents[root(tensor)] = root(operator.outputs[0])
        else:
            fixed.update((*given, *operator.outputs))
    members: dict[int, set[int]] = defaultdict(set)
    for tensor in activations:
        members[root(tensor)].add(tensor)
    # Sorted: the same model must always give the same file.
    return [frozenset(members[key]) for key in sorted(members) if not members[key] & fixed]


def _plain(graph: TfliteGraph, operator: Operator) -> bool:
    """Whether a convolution has constant weights and, if depthwise, one filter for each channel."""
    weights = graph.constant(operator.inputs[1])
    if weights is None or (len(operator.inputs) > 2 and graph.constant(operator.inputs[2]) is None):
        return False
    channels = graph.shape(operator.inputs[0])[-1]
    # Grouped convolutions have fewer input channels in their weights than in their input.
    return weights.shape[3] == channels


def _keeps_channels(graph: TfliteGraph, operator: Operator, given: list[int]) -> bool:
    shape = graph.shape(operator.outputs[0])
    if operator.kind in _TRANSPARENT:
        return True
    if operator.kind == "ADD":
        return len(given) == 2 and all(graph.shape(tensor) == shape for tensor in given)
    if operator.kind == "MUL":
        other = next((tensor for tensor in operator.inputs if tensor not in given), None)
        constant = None if other is None else graph.constant(other)
        return constant is not None and constant.size == 1
    if operator.kind == "MEAN":
        return len(shape) == 4 and shape[1:3] == (1, 1)
    return False


def _peaks(
    model: bytes, graph: TfliteGraph, tensors: set[int], inputs: Iterable[npt.NDArray[np.float32]]
) -> dict[int, npt.NDArray[np.float64]]:
    """Greatest magnitude of each channel of the tensors."""
    interpreter = observing_interpreter(model)
    peaks = {tensor: np.zeros(graph.shape(tensor)[-1]) for tensor in tensors}
    for value in inputs:
        interpreter.set_tensor(graph.inputs[0], value)
        interpreter.invoke()
        for tensor in tensors:
            found = np.abs(interpreter.get_tensor(tensor)).reshape(-1, len(peaks[tensor]))
            np.maximum(peaks[tensor], found.max(axis=0), out=peaks[tensor])
    return peaks


def _factors(
    graph: TfliteGraph, group: frozenset[int], peaks: dict[int, npt.NDArray[np.float64]]
) -> npt.NDArray[np.float32]:
    """What to divide the group's channels by, [channels]."""
    sides = [peaks[tensor] / max(float(peaks[tensor].max()), 1e-30) for tensor in sorted(group)]
    ranges = np.max(sides, axis=0)
    readers = []
    for operator in graph.operators:
        if operator.kind == "CONV_2D" and operator.inputs[0] in group:
            weights = graph.constant(operator.inputs[1])
            assert weights is not None
            columns = np.abs(weights).max(axis=(0, 1, 2)).astype(np.float64)
            readers.append(columns / max(float(columns.max()), 1e-30))
    live = ranges > 0
    factors = np.ones(len(ranges))
    if readers:
        wanted = np.max(readers, axis=0)
        live &= wanted > 0
        factors[live] = np.sqrt(ranges[live] / wanted[live])
    else:
        factors[live] = ranges[live]
    if not live.any():
        return np.ones(len(ranges), np.float32)
    factors[live] /= np.exp(np.log(factors[live]).mean())
    return np.clip(factors, 1 / _GREATEST_FACTOR, _GREATEST_FACTOR).astype(np.float32)


def _scale(
    graph: TfliteGraph,
    index: int,
    operator: Operator,
    factors: npt.NDArray[np.float32],
    *,
    output: bool,
) -> None:
    """Multiply a convolution's output or input channels by factors."""
    # Another group may have changed the same convolution's other side.
    operator = graph.operators[index]
    weights = graph.constant(operator.inputs[1])
    assert weights is not None
    across = output and operator.kind == "CONV_2D"
    shape = (-1, 1, 1, 1) if across else (1, 1, 1, -1)
    graph.set_constant(index, 1, weights * factors.reshape(shape))
    if output and len(operator.inputs) > 2:
        bias = graph.constant(operator.inputs[2])
        assert bias is not None
        graph.set_constant(index, 2, bias * factors)
