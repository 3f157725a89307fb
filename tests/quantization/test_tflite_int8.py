"""INT8 by settings: each does what it says, and the model stays runnable."""

from __future__ import annotations

from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgedet.errors import InvalidInputError
from edgedet.quantization.interpreters import observing_interpreter, running_interpreter
from edgedet.quantization.ranges import fit_ranges, observe
from edgedet.quantization.sensitivity import compare_heads, compare_layers
from edgedet.quantization.settings import RANGES, QuantizationSettings
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.quantization.tflite_int8 import operator_layers, quantize_with, quantized
from edgedet.spec import ModelSpec

Inputs = list[npt.NDArray[np.float32]]
SOURCE = Path("small.keras")


def operator_of(model: bytes, layer: str, kind: str) -> int:
    graph = TfliteGraph(model)
    (found,) = (
        index
        for index, operator in enumerate(graph.operators)
        if layer in operator_layers(graph, index) and operator.kind == kind
    )
    return found


@pytest.mark.parametrize("ranges", RANGES)
def test_every_way_to_choose_ranges_runs(
    ranges: str, model: bytes, inputs: Inputs, spec: ModelSpec
) -> None:
    settings = QuantizationSettings(ranges=ranges, bias_correction=True)
    # Inputs may be a generator.
    int8 = quantized(SOURCE, model, iter(inputs), spec, settings)
    for head in compare_heads(model, int8, inputs, spec):
        assert head.sqnr > 15


class Narrow:
    """A histogram by which nearly all values may be cut off."""

    def percentile(self, share: float) -> tuple[float, float]:
        return -0.01, 0.01

    least_squares = partialmethod(percentile, 0.0)


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_ranges_of_inputs_and_outputs_are_not_cut(
    method: str, model: bytes, inputs: Inputs, spec: ModelSpec
) -> None:
    observation = observe(model, inputs, spec, histograms=True)
    graph = TfliteGraph(model)
    assert set(observation.histograms) == set(graph.activations)
    narrow = replace(observation, histograms=dict.fromkeys(graph.activations, Narrow()))
    fitted = fit_ranges(model, observation, spec)
    found = fit_ranges(model, narrow, spec, method)
    ends = {*graph.inputs, *graph.outputs.values()}
    assert {tensor for tensor in found if found[tensor] == fitted[tensor]} >= ends
    assert min(high - low for low, high in found.values()) <= 0.02


def test_kept_layers_stay_in_float(model: bytes, inputs: Inputs, spec: ModelSpec) -> None:
    kept = QuantizationSettings(keep=("second", "gate_conv"))
    int8 = quantized(SOURCE, model, inputs, spec, kept)
    graph = TfliteGraph(int8)
    interpreter = running_interpreter(int8)
    types = {entry["index"]: entry["dtype"] for entry in interpreter.get_tensor_details()}
    computed = {
        layer: types[operator.inputs[1]]
        for index, operator in enumerate(graph.operators)
        if operator.kind == "CONV_2D"
        for layer in operator_layers(graph, index)
    }
    assert {layer for layer, dtype in computed.items() if dtype == np.float32} >= {"second"}
    assert computed["first"] == computed["class_3"] == np.int8
    assert computed["gate_conv"] == np.float32
    assert interpreter.get_input_details()[0]["dtype"] == np.int8
    # Conversions around them do not stand in the way of the comparison.
    layers = compare_layers(model, int8, inputs)
    assert [layer.kind for layer in layers] == [
        operator.kind for operator in TfliteGraph(model).operators
    ]
    scales = {layer.name.split("/")[0]: layer.scale for layer in layers if layer.kind == "CONV_2D"}
    assert scales["second"] == 0
    assert scales["first"] > 0


def test_kept_layers_bring_no_noise(model: bytes, inputs: Inputs, spec: ModelSpec) -> None:
    graph = TfliteGraph(model)
    layers = {
        layer for index in range(len(graph.operators)) for layer in operator_layers(graph, index)
    }
    few = quantized(SOURCE, model, inputs, spec, QuantizationSettings())
    most = QuantizationSettings(keep=tuple(sorted(layers - {"class_3", "box_3"})))
    kept = quantized(SOURCE, model, inputs, spec, most)
    before, after = (compare_heads(model, each, inputs, spec) for each in (few, kept))
    for worse, better in zip(before, after, strict=True):
        assert better.sqnr > worse.sqnr + 3


def test_unknown_layer(model: bytes, inputs: Inputs, spec: ModelSpec) -> None:
    settings = QuantizationSettings(keep=("first", "absent"))
    with pytest.raises(InvalidInputError, match=r"small\.keras: there is no layer 'absent'"):
        quantized(SOURCE, model, inputs, spec, settings)


def test_bias_correction_takes_off_the_mean_error(
    model: bytes, inputs: Inputs, spec: ModelSpec
) -> None:
    def mean_errors(settings: QuantizationSettings) -> npt.NDArray[np.float64]:
        """Of the layer `second`'s channels, with exact inputs: what the weights alone do."""
        int8 = quantized(SOURCE, model, inputs, spec, settings)
        graph, rounded = TfliteGraph(model), TfliteGraph(int8)
        index = operator_of(model, "second", "CONV_2D")
        twin = rounded.operators[operator_of(int8, "second", "CONV_2D")]
        changed = TfliteGraph(model)
        for position in (1, 2):
            weights = rounded.weights(twin.inputs[position])
            if weights is None:  # int32
                steps = biases(rounded, int8, twin.inputs[2])
                weights = steps
            changed.set_constant(index, position, weights)
        results = []
        for each in (graph.to_bytes(), changed.to_bytes()):
            interpreter = observing_interpreter(each)
            total = 0.0
            for tensor in inputs:
                interpreter.set_tensor(graph.inputs[0], tensor)
                interpreter.invoke()
                total += interpreter.get_tensor(graph.operators[index].outputs[0]).mean((0, 1, 2))
            results.append(total / len(inputs))
        return np.abs(results[1] - results[0])

    plain = mean_errors(QuantizationSettings())
    corrected = mean_errors(QuantizationSettings(bias_correction=True))
    assert corrected.max() < plain.max() / 10


def biases(graph: TfliteGraph, model: bytes, tensor: int) -> npt.NDArray[np.float32]:
    steps = running_interpreter(model).get_tensor(tensor)
    return (steps * graph.quantization(tensor)[0]).astype(np.float32)


def test_the_float_model_behind_the_result(model: bytes, inputs: Inputs, spec: ModelSpec) -> None:
    assert quantize_with(SOURCE, model, inputs, spec, QuantizationSettings()).reference == model
    both = QuantizationSettings(equalization=True, bias_correction=True)
    result = quantize_with(SOURCE, model, inputs, spec, both)
    for head in compare_heads(result.reference, result.model, inputs, spec):
        assert head.sqnr > 15
