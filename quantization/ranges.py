"""Activation ranges of a float `.tflite` model: measured on pictures, then made fit for INT8.

A range becomes a scale: (high - low) / 255 per step. What matters is that steps are not spent on
values that change nothing, and that no scale is so small that an INT8 kernel refuses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgedet.quantization.histograms import Histogram
from edgedet.quantization.interpreters import observing_interpreter
from edgedet.quantization.tflite_graph import Operator, TfliteGraph
from edgedet.spec import ModelSpec

Ranges = dict[int, tuple[float, float]]
"""(low, high) by tensor index, low <= 0 <= high."""

# A logit of -8 is a probability of 0.0003: evaluation keeps candidates from 0.001 on.
CLASS_FLOOR = -8.0
# Pictures to come may hold clearer objects than those measured.
CLASS_MARGIN = 1.0
# sigmoid(6.25) is within half a step of 1 in INT8's fixed 1/256.
SIGMOID_SATURATION = 6.25
# hard_swish is 0 below -3.
HARD_SWISH_FLOOR = -3.0
# Box codes matter where there may be an object: this probability, or these best anchors.
_LIKELY_LOGIT = -3.0
_LIKELY_ANCHORS = 8
_BOX_MARGIN = 1.25
# Kernels refuse an output step that is more than 128 or 256 times finer than what they sum up;
# such a fine step carries no information.
_FINEST_STEP = 1 / 64
_LEVELS = 255
_LEAST_SPAN = 1e-6
# Left out on either side by "percentile" ranges.
_RARE = 1e-4


@dataclass(frozen=True)
class Observation:
    """What a float model did on the calibration pictures.

    Attributes:
        ranges: least and greatest value of every activation.
        likely_boxes: the same for box outputs, over anchors that may hold an object only.
        images: how many pictures.
        histograms: how often each activation took which value; empty unless asked for.
    """

    ranges: Ranges
    likely_boxes: Ranges
    images: int
    histograms: Mapping[int, Histogram] = field(default_factory=dict)


def observe(
    model: bytes,
    inputs: Iterable[npt.NDArray[np.float32]],
    spec: ModelSpec,
    *,
    histograms: bool = False,
) -> Observation:
    """Run a float model on network inputs and record the range of every activation.

    Args:
        model: float `.tflite` flatbuffer with the spec's outputs.
        inputs: network inputs [1, height, width, 3].
        spec: the model's spec.
        histograms: whether to count values too, which takes longer.
    """
    graph = TfliteGraph(model)
    interpreter = observing_interpreter(model)
    activations, outputs = graph.activations, graph.outputs
    ranges: Ranges = {}
    likely: Ranges = {}
    counted = {index: Histogram() for index in activations} if histograms else {}
    images = 0
    for tensor in inputs:
        interpreter.set_tensor(graph.inputs[0], tensor)
        interpreter.invoke()
        for index in activations:
            value = interpreter.get_tensor(index)
            _widen(ranges, index, float(value.min()), float(value.max()))
            if histograms:
                counted[index].add(value)
        for class_name, box_name in zip(spec.class_outputs, spec.box_outputs, strict=True):
            logits = interpreter.get_tensor(outputs[class_name]).reshape(-1, spec.num_classes)
            codes = interpreter.get_tensor(outputs[box_name]).reshape(-1, 4)
            kept = codes[likely_anchors(logits)]
            _widen(likely, outputs[box_name], float(kept.min()), float(kept.max()))
        images += 1
    if not images:
        raise ValueError("no calibration input")
    return Observation(ranges, likely, images, counted)


def likely_anchors(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Mask [anchors] of those that may hold an object, from their class logits [anchors, classes].

    They are the anchors of probability 0.05 or more, and in any case the few best ones.
    """
    best = logits.max(axis=1)
    threshold = np.sort(best)[-min(_LIKELY_ANCHORS, len(best))]
    return np.asarray(best >= min(threshold, _LIKELY_LOGIT))


def _widen(ranges: Ranges, tensor: int, low: float, high: float) -> None:
    least, greatest = ranges.get(tensor, (0.0, 0.0))
    ranges[tensor] = (min(least, low), max(greatest, high))


def fit_ranges(
    model: bytes, observation: Observation, spec: ModelSpec, method: str = "fitted"
) -> Ranges:
    """Ranges for the quantizer: measured ones without the parts that make no difference.

    - class logits below `CLASS_FLOOR` are no detections, and need room upwards;
    - box codes count where an object may be;
    - values that only a swish reads can't matter where the swish is zero within half a step of
      its output, those that only a sigmoid reads where it is saturated;
    - no step is finer than its kernel can produce.

    Args:
        model: the float model observed.
        observation: what it did; with histograms unless the method is "fitted".
        spec: its spec.
        method: "fitted" starts from the least and greatest values seen, "percentile" leaves out
            the rarest ones, "mse" takes the range of least squared error. Inputs and outputs are
            never cut: an object's logit is a rare value.
    """
    graph = TfliteGraph(model)
    ranges = dict(observation.ranges)
    outputs = graph.outputs
    if method != "fitted":
        for tensor in set(graph.activations) - {*graph.inputs, *outputs.values()}:
            histogram = observation.histograms[tensor]
            ranges[tensor] = (
                histogram.percentile(_RARE) if method == "percentile" else histogram.least_squares()
            )
    for name in spec.class_outputs:
        low, high = ranges[outputs[name]]
        ranges[outputs[name]] = (max(low, CLASS_FLOOR), high + CLASS_MARGIN)
    for name in spec.box_outputs:
        low, high = ranges[outputs[name]]
        least, greatest = observation.likely_boxes[outputs[name]]
        ranges[outputs[name]] = (
            max(low, least * _BOX_MARGIN),
            min(high, greatest * _BOX_MARGIN),
        )
    for tensor in graph.activations:
        ranges[tensor] = _without_saturation(graph, tensor, ranges)
    for operator in graph.operators:
        for tensor in operator.outputs:
            ranges[tensor] = _producible(graph, operator, ranges[tensor], ranges)
    return ranges


def _without_saturation(
    graph: TfliteGraph, tensor: int, ranges: Mapping[int, tuple[float, float]]
) -> tuple[float, float]:
    low, high = ranges[tensor]
    readers = graph.consumers(tensor)
    kinds = sorted(reader.kind for reader in readers)
    if kinds == ["HARD_SWISH"]:
        return max(low, HARD_SWISH_FLOOR), high
    if kinds == ["LOGISTIC"]:
        return max(low, -SIGMOID_SATURATION), min(high, SIGMOID_SATURATION)
    if kinds == ["LOGISTIC", "MUL"]:
        gate = next(reader for reader in readers if reader.kind == "LOGISTIC").outputs[0]
        product = next(reader for reader in readers if reader.kind == "MUL")
        if set(product.inputs) == {tensor, gate}:
            least, greatest = ranges[product.outputs[0]]
            return max(low, _swish_floor((greatest - least) / _LEVELS / 2)), high
    return low, high


def _swish_floor(tolerance: float) -> float:
    """The x <= -2 below which |swish| stays under `tolerance`."""
    x = np.arange(-2.0, -12.0, -0.05)
    within = np.abs(x / (1 + np.exp(-x))) <= tolerance
    return float(x[np.argmax(within)]) if within.any() else -12.0


def _producible(
    graph: TfliteGraph,
    operator: Operator,
    span: tuple[float, float],
    ranges: Mapping[int, tuple[float, float]],
) -> tuple[float, float]:
    """`span`, widened upwards if its step is finer than the operator's kernel can produce."""
    low, high = span
    needed = _LEAST_SPAN
    source = ranges.get(operator.inputs[0])
    if source is not None:
        step = (source[1] - source[0]) / _LEVELS
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weights = graph.constant(operator.inputs[1])
            if weights is not None:
                step *= float(np.abs(weights).max()) / 127
                needed = max(needed, step * _FINEST_STEP * _LEVELS)
        elif operator.kind == "HARD_SWISH":
            needed = max(needed, step * _FINEST_STEP * _LEVELS)
    return (low, high) if high - low >= needed else (low, low + needed)
