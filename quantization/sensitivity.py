"""Where an INT8 model departs from its float original, per output head and per layer.

The measure is the signal-to-quantization-noise ratio, SQNR = 10 log10(mean x^2 / mean (x - q)^2) in
decibels, for heads with the mean of x taken off: 20 dB is an error of a tenth of the signal, 6 dB
more is one bit more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.quantization.interpreters import observing_interpreter, running_interpreter
from edgedet.quantization.ranges import CLASS_FLOOR, likely_anchors
from edgedet.quantization.tflite_graph import TfliteGraph, paired_operators
from edgedet.spec import ModelSpec

LOW_SQNR = 10.0
"""Decibels; below it a head's error is a third of its signal, and detections are lost."""
PERFECT_SQNR = 200.0
"""Reported where there is no error at all."""

_COARSE_SQNR = 25.0

Running = Callable[[npt.NDArray[np.float32]], Mapping[str, npt.NDArray[np.float32]]]
"""Computes a network's float outputs, by name, for its input."""

Details = Mapping[str, Any]
"""What an interpreter tells about a tensor."""


@dataclass(frozen=True)
class HeadFidelity:
    """How well one output of the INT8 model follows the float model.

    Attributes:
        name: `class_3`, `box_3`, ...
        scale: step of the INT8 output; None for float outputs.
        zero_point: its zero point; None for float outputs.
        sqnr: in decibels, as the runtime's kernels compute it: class logits from `CLASS_FLOOR` up,
            box codes of anchors that may hold an object. INT8 has its range there and nowhere else.
        correlation: Pearson's correlation.
    """

    name: str
    scale: float | None
    zero_point: int | None
    sqnr: float
    correlation: float


@dataclass(frozen=True)
class LayerFidelity:
    """How well one activation of the INT8 model follows the float model.

    Attributes:
        name: layer and operation.
        kind: TFLite operator.
        low: least float value seen.
        high: greatest float value seen.
        scale: step of the INT8 tensor; 0 for layers kept in float.
        sqnr: in decibels, with all error that earlier layers brought in.
        rounding: SQNR of rounding this tensor alone; low where the range is too wide.
        loss: decibels lost against the worst of the operator's inputs.
    """

    name: str
    kind: str
    low: float
    high: float
    scale: float
    sqnr: float
    rounding: float
    loss: float

    def explain(self) -> str:
        """One sentence on what is wrong with the layer."""
        if self.rounding < _COARSE_SQNR:
            return (
                f"{self.name} ({self.kind}): its range {self.low:.3g} to {self.high:.3g} is set by "
                f"few large values, most others fall into few of its steps of {self.scale:.3g} "
                f"(rounding alone leaves {self.rounding:.0f} dB)."
            )
        return (
            f"{self.name} ({self.kind}): {self.loss:.1f} dB are lost here, {self.sqnr:.0f} dB "
            f"are left; its range is {self.low:.3g} to {self.high:.3g}."
        )


def compare_running(
    original: Running,
    converted: Running,
    inputs: Iterable[npt.NDArray[np.float32]],
    spec: ModelSpec,
) -> list[HeadFidelity]:
    """Run two networks on the same inputs, whatever engines run them, and compare their heads.

    Args:
        original: the float network.
        converted: the network to judge.
        inputs: network inputs [batch, height, width, 3].
        spec: their spec.
    """
    names = (*spec.class_outputs, *spec.box_outputs)
    # Without the mean: a constant such as the class bias of -4.6 is no signal.
    sums = {name: _Sums(centred=True) for name in names}
    for tensor in inputs:
        expected, found = original(tensor), converted(tensor)
        for class_name, box_name in zip(spec.class_outputs, spec.box_outputs, strict=True):
            logits = expected[class_name]
            sums[class_name].add(
                np.maximum(logits, CLASS_FLOOR), np.maximum(found[class_name], CLASS_FLOOR)
            )
            likely = likely_anchors(logits.reshape(-1, spec.num_classes))
            sums[box_name].add(
                expected[box_name].reshape(-1, 4)[likely], found[box_name].reshape(-1, 4)[likely]
            )
    return [HeadFidelity(n, None, None, sums[n].sqnr, sums[n].correlation) for n in names]


def compare_heads(
    original: bytes,
    quantized: bytes,
    inputs: Iterable[npt.NDArray[np.float32]],
    spec: ModelSpec,
) -> list[HeadFidelity]:
    """Run two `.tflite` models on the same inputs and compare their outputs.

    Args:
        original: float model.
        quantized: the model to judge: int8 or float inputs and outputs.
        inputs: float32 network inputs [1, height, width, 3].
        spec: their spec.
    """
    graph = TfliteGraph(quantized)
    heads = []
    for head in compare_running(_running(original), _running(quantized), inputs, spec):
        scales, zero_points = graph.quantization(graph.outputs[head.name])
        if scales.size:
            head = replace(head, scale=float(scales[0]), zero_point=int(zero_points[0]))
        heads.append(head)
    return heads


def _running(model: bytes) -> Running:
    """A `.tflite` model as a function of real numbers."""
    interpreter, graph = running_interpreter(model), TfliteGraph(model)
    details = {entry["index"]: entry for entry in interpreter.get_output_details()}
    entry = interpreter.get_input_details()[0]

    def run(tensor: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        interpreter.set_tensor(entry["index"], _quantize(tensor, entry))
        interpreter.invoke()
        return {
            name: _dequantize(interpreter.get_tensor(index), details[index])
            for name, index in graph.outputs.items()
        }

    return run


def compare_layers(
    original: bytes, quantized: bytes, inputs: Iterable[npt.NDArray[np.float32]]
) -> list[LayerFidelity]:
    """Compare every activation of an INT8 model with the float model it was made from.

    Layers come in the order of execution. Both models must have the same operators, as the
    quantizer leaves them, but for conversions around layers kept in float; it raises ValueError
    otherwise.
    """
    graphs = TfliteGraph(original), TfliteGraph(quantized)
    pairs = _matched(*graphs)
    first, second = observing_interpreter(original), observing_interpreter(quantized)
    details = {entry["index"]: entry for entry in second.get_tensor_details()}
    measured = {source: _Sums(centred=False) for source in pairs}
    rounded = {source: _Sums(centred=False) for source in pairs}
    ranges: dict[int, tuple[float, float]] = {}
    for tensor in inputs:
        first.set_tensor(graphs[0].inputs[0], tensor)
        entry = details[graphs[1].inputs[0]]
        second.set_tensor(graphs[1].inputs[0], _quantize(tensor, entry))
        first.invoke()
        second.invoke()
        for source, target in pairs.items():
            expected = first.get_tensor(source)
            low, high = ranges.get(source, (math.inf, -math.inf))
            ranges[source] = (min(low, float(expected.min())), max(high, float(expected.max())))
            # What lies outside the range was left out because it changes nothing.
            expected = _clipped(expected, details[target])
            found = _dequantize(second.get_tensor(target), details[target])
            measured[source].add(expected, found)
            nearest = _dequantize(_quantize(expected, details[target]), details[target])
            rounded[source].add(expected, nearest)
    layers = []
    for operator in graphs[0].operators:
        source = operator.outputs[0]
        before = [measured[index].sqnr for index in operator.inputs if index in measured]
        sqnr = measured[source].sqnr
        layers.append(
            LayerFidelity(
                name=graphs[0].name(source),
                kind=operator.kind,
                low=ranges[source][0],
                high=ranges[source][1],
                scale=float(details[pairs[source]]["quantization"][0]),
                sqnr=sqnr,
                rounding=rounded[source].sqnr,
                loss=max(0.0, min(before, default=PERFECT_SQNR) - sqnr),
            )
        )
    return layers


def worst_layers(layers: Sequence[LayerFidelity], count: int = 5) -> list[LayerFidelity]:
    """The layers that do most harm: coarsest rounding first, then the greatest loss.

    The first operators lose the most decibels because their input is nearly exact; a loss counts
    only where less than `_COARSE_SQNR` are left.
    """
    coarse = sorted(
        (layer for layer in layers if layer.rounding < _COARSE_SQNR),
        key=lambda layer: layer.rounding,
    )
    lossy = sorted(
        (layer for layer in layers if layer not in coarse and layer.sqnr < _COARSE_SQNR),
        key=lambda layer: -layer.loss,
    )
    return (coarse + lossy)[:count]


def _matched(original: TfliteGraph, quantized: TfliteGraph) -> dict[int, int]:
    """Tensor indices of the quantized model by those of the original, input and activations."""
    pairs = dict(zip(original.inputs, quantized.inputs, strict=True))
    for index, twin in paired_operators(original, quantized).items():
        before, after = original.operators[index], quantized.operators[twin]
        pairs.update(zip(before.outputs, after.outputs, strict=True))
    return pairs


class _Sums:
    """Running sums behind SQNR and correlation, so that no picture has to be kept."""

    def __init__(self, *, centred: bool) -> None:
        self.centred = centred
        self.count = 0
        self.expected = self.found = self.error = 0.0
        self.expected_square = self.found_square = self.product = 0.0

    def add(self, expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> None:
        x, q = expected.astype(np.float64).ravel(), found.astype(np.float64).ravel()
        self.count += x.size
        self.expected += float(x.sum())
        self.found += float(q.sum())
        self.expected_square += float(x @ x)
        self.found_square += float(q @ q)
        self.product += float(x @ q)
        self.error += float(((x - q) ** 2).sum())

    @property
    def signal(self) -> float:
        if not self.centred:
            return self.expected_square
        return max(0.0, self.expected_square - self.expected**2 / self.count)

    @property
    def sqnr(self) -> float:
        if self.error == 0:
            return PERFECT_SQNR
        if self.signal == 0:
            return -PERFECT_SQNR
        ratio = 10 * math.log10(self.signal / self.error)
        return max(-PERFECT_SQNR, min(PERFECT_SQNR, ratio))

    @property
    def correlation(self) -> float:
        found = max(0.0, self.found_square - self.found**2 / self.count)
        expected = max(0.0, self.expected_square - self.expected**2 / self.count)
        spread = math.sqrt(expected * found)
        common = self.product - self.expected * self.found / self.count
        return common / spread if spread else float(self.error == 0)


def _clipped(tensor: npt.NDArray[np.float32], details: Details) -> npt.NDArray[np.float32]:
    """Values limited to what an INT8 tensor can represent; all of them for a float one."""
    if np.dtype(details["dtype"]) == np.float32:
        return tensor
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    low, high = ((limit - zero_point) * scale for limit in (limits.min, limits.max))
    return np.asarray(np.clip(tensor, low, high), np.float32)


def _quantize(tensor: npt.NDArray[np.float32], details: Details) -> npt.NDArray[np.generic]:
    dtype = np.dtype(details["dtype"])
    if dtype == np.float32:
        return tensor
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    steps = np.rint(tensor / np.float32(scale)) + zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max).astype(dtype))


def _dequantize(tensor: npt.NDArray[np.generic], details: Details) -> npt.NDArray[np.float32]:
    if tensor.dtype == np.float32:
        return np.asarray(tensor, np.float32)
    scale, zero_point = details["quantization"]
    return np.asarray((tensor.astype(np.float32) - zero_point) * np.float32(scale), np.float32)
