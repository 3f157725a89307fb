"""Which blocks of a network suffer most from INT8: each is rounded alone, all others stay float.

A block is a convolution with what follows it up to the next one: rounded are its weights, as the
quantizer would, and the results of its operators. What counts is the noise that arrives at the
heads where detections are made: class logits above `CLASS_FLOOR`, box codes of anchors that may
hold an object. This stands in for the AP that the block costs, which would take an evaluation each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.quantization.interpreters import running_interpreter
from edgedet.quantization.ranges import CLASS_FLOOR, Ranges, likely_anchors
from edgedet.quantization.tflite_graph import Operator, TfliteGraph
from edgedet.quantization.tflite_int8 import operator_layers
from edgedet.spec import ModelSpec

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_STEPS = 127


@dataclass(frozen=True)
class BlockSensitivity:
    """What a block costs when it alone is in INT8.

    Attributes:
        layers: the Keras layers it is made of; `QuantizationSettings.keep` takes them.
        loss: noise at the heads in percent of their signal's variance, the mean of the class and
            the box outputs.
    """

    layers: tuple[str, ...]
    loss: float

    @property
    def name(self) -> str:
        """The layer that gives the block its name."""
        return self.layers[0]


def blocks(graph: TfliteGraph) -> list[tuple[int, ...]]:
    """Operator indices of each block, in the order of execution."""
    members: list[list[int]] = []
    block_of: dict[int, int] = {}
    for index, operator in enumerate(graph.operators):
        before = [block_of[tensor] for tensor in operator.inputs if tensor in block_of]
        if operator.kind in _WEIGHTED or not before:
            members.append([])
            before = [len(members) - 1]
        block = max(before)
        members[block].append(index)
        block_of.update(dict.fromkeys(operator.outputs, block))
    return [tuple(block) for block in members]


def rank_blocks(
    model: bytes,
    ranges: Ranges,
    inputs: Iterable[npt.NDArray[np.float32]],
    spec: ModelSpec,
    report: Callable[[int, int], None] | None = None,
) -> list[BlockSensitivity]:
    """Measure every block, the most sensitive first.

    Args:
        model: float `.tflite` flatbuffer.
        ranges: of its activations, as the quantizer gets them.
        inputs: some network inputs [1, height, width, 3].
        spec: the model's spec.
        report: called with (blocks done, blocks in all).
    """
    pictures = list(inputs)
    graph = TfliteGraph(model)
    expected = _heads(graph, model, pictures)
    found = []
    members = blocks(graph)
    for done, block in enumerate(members, start=1):
        rounded = _rounded(model, block, ranges)
        loss = _noise(expected, _heads(graph, rounded, pictures), spec)
        layers = dict.fromkeys(layer for index in block for layer in operator_layers(graph, index))
        found.append(BlockSensitivity(tuple(layers), loss))
        if report is not None:
            report(done, len(members))
    return sorted(found, key=lambda block: -block.loss)


def most_sensitive(ranked: Sequence[BlockSensitivity], share: float) -> tuple[str, ...]:
    """Layers of the fewest blocks that together cause `share` of all blocks' noise."""
    total = sum(block.loss for block in ranked)
    layers: dict[str, None] = {}
    reached = 0.0
    for block in ranked:
        if reached >= share * total:
            break
        reached += block.loss
        layers.update(dict.fromkeys(block.layers))
    return tuple(layers)


def _rounded(model: bytes, block: Sequence[int], ranges: Ranges) -> bytes:
    """The model with the weights and results of some operators rounded as in INT8."""
    graph = TfliteGraph(model)
    results = [out for index in block for out in graph.operators[index].outputs]
    for index in block:
        operator = graph.operators[index]
        weights = _weights(graph, operator)
        if weights is not None:
            # A step for each output channel: the last axis of depthwise filters, else the first.
            own = weights.ndim - 1 if operator.kind == "DEPTHWISE_CONV_2D" else 0
            axes = tuple(axis for axis in range(weights.ndim) if axis != own)
            steps = np.abs(weights).max(axis=axes, keepdims=True) / _STEPS
            steps = np.where(steps == 0, 1, steps)
            graph.set_constant(index, 1, (np.rint(weights / steps) * steps).astype(np.float32))
    graph.insert_rounding({tensor: ranges[tensor] for tensor in results})
    return graph.to_bytes()


def _weights(graph: TfliteGraph, operator: Operator) -> npt.NDArray[np.float32] | None:
    return graph.constant(operator.inputs[1]) if operator.kind in _WEIGHTED else None


def _heads(
    graph: TfliteGraph, model: bytes, pictures: Sequence[npt.NDArray[np.float32]]
) -> list[dict[str, npt.NDArray[np.float32]]]:
    """The outputs of a model for each picture, by name; its tensors have the graph's indices."""
    interpreter: Any = running_interpreter(model)
    outputs = graph.outputs
    results = []
    for tensor in pictures:
        interpreter.set_tensor(graph.inputs[0], tensor)
        interpreter.invoke()
        results.append({name: interpreter.get_tensor(index) for name, index in outputs.items()})
    return results


def _noise(
    expected: Sequence[dict[str, npt.NDArray[np.float32]]],
    found: Sequence[dict[str, npt.NDArray[np.float32]]],
    spec: ModelSpec,
) -> float:
    """Mean of the noise-to-signal ratios of all class and of all box outputs, in percent."""
    classes: list[tuple[Any, Any]] = []
    boxes: list[tuple[Any, Any]] = []
    for exact, rounded in zip(expected, found, strict=True):
        for class_name, box_name in zip(spec.class_outputs, spec.box_outputs, strict=True):
            logits = exact[class_name].reshape(-1, spec.num_classes)
            twin = rounded[class_name].reshape(-1, spec.num_classes)
            classes.append((np.maximum(logits, CLASS_FLOOR), np.maximum(twin, CLASS_FLOOR)))
            likely = likely_anchors(logits)
            boxes.append(
                (exact[box_name].reshape(-1, 4)[likely], rounded[box_name].reshape(-1, 4)[likely])
            )
    ratios = []
    for pairs in (classes, boxes):
        first = np.concatenate([pair[0].ravel() for pair in pairs]).astype(np.float64)
        second = np.concatenate([pair[1].ravel() for pair in pairs]).astype(np.float64)
        ratios.append(float(((first - second) ** 2).mean()) / max(float(first.var()), 1e-30))
    return 100 * sum(ratios) / 2
