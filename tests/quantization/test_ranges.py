"""Ranges: measured exactly, then without what makes no difference, and always runnable."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgedet.quantization.interpreters import observing_interpreter, running_interpreter
from edgedet.quantization.ranges import (
    CLASS_FLOOR,
    CLASS_MARGIN,
    Observation,
    fit_ranges,
    likely_anchors,
    observe,
)
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.quantization.tflite_int8 import quantize_ranged
from edgedet.spec import ModelSpec

Inputs = list[npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def observation(model: bytes, inputs: Inputs, spec: ModelSpec) -> Observation:
    return observe(model, inputs, spec)


def tensor(model: bytes, kind: str, layer: str) -> int:
    """The output of the only operator of a kind whose tensor name starts with `layer`."""
    graph = TfliteGraph(model)
    (found,) = (
        operator.outputs[0]
        for operator in graph.operators
        if operator.kind == kind and graph.name(operator.outputs[0]).startswith(layer)
    )
    return found


def test_ranges_are_the_extremes_over_all_pictures(
    model: bytes, inputs: Inputs, observation: Observation
) -> None:
    assert observation.images == len(inputs)
    interpreter = observing_interpreter(model)
    seen: dict[int, list[float]] = {}
    for value in inputs:
        interpreter.set_tensor(TfliteGraph(model).inputs[0], value)
        interpreter.invoke()
        for index in observation.ranges:
            result = interpreter.get_tensor(index)
            seen.setdefault(index, [0.0]).extend([float(result.min()), float(result.max())])
    assert observation.ranges == {index: (min(v), max(v)) for index, v in seen.items()}


def test_swish_needs_no_values_where_it_is_zero(
    model: bytes, observation: Observation, spec: ModelSpec
) -> None:
    before, after = observation.ranges, fit_ranges(model, observation, spec)
    source = tensor(model, "CONV_2D", "first")
    product = tensor(model, "MUL", "swish")
    low, high = after[source]
    step = (after[product][1] - after[product][0]) / 255
    assert before[source][0] < low < -2
    assert high == before[source][1]
    assert abs(low / (1 + np.exp(-low))) <= step / 2


def test_hard_swish_needs_nothing_below_minus_three(
    model: bytes, observation: Observation, spec: ModelSpec
) -> None:
    source = tensor(model, "CONV_2D", "second")
    assert observation.ranges[source][0] < -3
    assert fit_ranges(model, observation, spec)[source][0] == -3


def test_sigmoid_needs_nothing_where_it_is_saturated(
    model: bytes, observation: Observation, spec: ModelSpec
) -> None:
    source = next(
        operator.inputs[0]
        for operator in TfliteGraph(model).operators
        if operator.kind == "LOGISTIC" and "gate" in TfliteGraph(model).name(operator.outputs[0])
    )
    low, high = observation.ranges[source]
    assert min(-low, high) > 7
    assert fit_ranges(model, observation, spec)[source] == (-6.25, 6.25)


def test_class_logits_end_where_detections_do(
    model: bytes, observation: Observation, spec: ModelSpec
) -> None:
    source = TfliteGraph(model).outputs["class_3"]
    low, high = observation.ranges[source]
    assert low < CLASS_FLOOR
    assert fit_ranges(model, observation, spec)[source] == (CLASS_FLOOR, high + CLASS_MARGIN)


def test_box_codes_count_where_an_object_may_be(
    model: bytes, observation: Observation, spec: ModelSpec
) -> None:
    source = TfliteGraph(model).outputs["box_3"]
    low, high = observation.ranges[source]
    least, greatest = observation.likely_boxes[source]
    assert low <= least
    assert greatest <= high
    fitted = fit_ranges(model, observation, spec)[source]
    assert fitted == (max(low, 1.25 * least), min(high, 1.25 * greatest))


def test_likely_anchors_are_those_above_five_percent_or_the_best_eight() -> None:
    logits = np.full((100, 2), -6.0, np.float32)
    logits[::10, 1] = np.arange(10) / 10 - 5  # -5.0 ... -4.1
    assert np.flatnonzero(likely_anchors(logits)).tolist() == list(range(20, 100, 10))
    logits[3:33, 0] = -2.9
    assert np.flatnonzero(likely_anchors(logits)).tolist() == list(range(3, 33))


def test_dead_units_get_a_step_that_kernels_accept(
    model: bytes, observation: Observation, spec: ModelSpec
) -> None:
    dead = tensor(model, "HARD_SWISH", "dead")
    assert observation.ranges[dead] == (0.0, 0.0)

    def quantized(ranges: dict[int, tuple[float, float]]) -> bytes:
        graph = TfliteGraph(model)
        graph.set_ranges(ranges)
        return quantize_ranged(graph.to_bytes())

    # LiteRT refuses the ranges as they were measured ...
    with pytest.raises(RuntimeError):
        running_interpreter(quantized(observation.ranges))
    # ... and runs the fitted ones.
    running_interpreter(quantized(fit_ranges(model, observation, spec))).invoke()


def test_no_pictures(model: bytes, spec: ModelSpec) -> None:
    with pytest.raises(ValueError, match="no calibration input"):
        observe(model, [], spec)
