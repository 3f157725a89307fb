"""Sensitivity: figures that follow from the error, and the layer that is to blame by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgedet.quantization.ranges import Ranges, fit_ranges, observe
from edgedet.quantization.sensitivity import (
    PERFECT_SQNR,
    compare_heads,
    compare_layers,
    worst_layers,
)
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.quantization.tflite_int8 import quantize_ranged
from edgedet.spec import ModelSpec

Inputs = list[npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def ranges(model: bytes, inputs: Inputs, spec: ModelSpec) -> Ranges:
    return fit_ranges(model, observe(model, inputs, spec), spec)


def quantized(model: bytes, ranges: Ranges) -> bytes:
    graph = TfliteGraph(model)
    graph.set_ranges(ranges)
    return quantize_ranged(graph.to_bytes())


def test_a_model_equals_itself(model: bytes, inputs: Inputs, spec: ModelSpec) -> None:
    for head in compare_heads(model, model, inputs, spec):
        assert (head.sqnr, head.scale, head.zero_point) == (PERFECT_SQNR, None, None)
        assert head.correlation == pytest.approx(1)


def test_int8_is_close(model: bytes, inputs: Inputs, spec: ModelSpec, ranges: Ranges) -> None:
    int8 = quantized(model, ranges)
    for head in compare_heads(model, int8, inputs, spec):
        low, high = ranges[TfliteGraph(model).outputs[head.name]]
        assert head.scale == pytest.approx((high - low) / 255, rel=1e-3)
        assert head.sqnr > 20
        assert head.correlation > 0.99


def test_sqnr_is_the_ratio_of_signal_to_error(
    model: bytes, inputs: Inputs, spec: ModelSpec, ranges: Ranges
) -> None:
    # A step much coarser than everything else: uniform rounding noise of step^2 / 12.
    output = TfliteGraph(model).outputs["box_3"]
    low, high = ranges[output]
    coarse = quantized(model, {**ranges, output: (4 * low, 4 * high)})
    fine, rough = (
        next(head for head in compare_heads(model, m, inputs, spec) if head.name == "box_3")
        for m in (quantized(model, ranges), coarse)
    )
    assert rough.scale == pytest.approx(4 * fine.scale, rel=1e-3)
    assert fine.sqnr > rough.sqnr


def test_the_layer_with_the_wide_range_is_named(
    model: bytes, inputs: Inputs, ranges: Ranges
) -> None:
    graph = TfliteGraph(model)
    gated = next(
        operator.outputs[0]
        for operator in graph.operators
        if graph.name(operator.outputs[0]).startswith("gated")
    )
    low, high = ranges[gated]
    spoiled = quantized(model, {**ranges, gated: (60 * low, 60 * high)})
    worst = worst_layers(compare_layers(model, spoiled, inputs), 1)
    assert [layer.name for layer in worst] == [graph.name(gated)]
    assert "few of its steps" in worst[0].explain()
    assert graph.name(gated) in worst[0].explain()


def test_layers_come_in_order_and_are_complete(
    model: bytes, inputs: Inputs, ranges: Ranges
) -> None:
    layers = compare_layers(model, quantized(model, ranges), inputs)
    graph = TfliteGraph(model)
    assert [layer.kind for layer in layers] == [operator.kind for operator in graph.operators]
    assert [layer.name for layer in layers] == [
        graph.name(operator.outputs[0]) for operator in graph.operators
    ]
    assert all(layer.rounding >= layer.sqnr - 3 for layer in layers)


def test_models_of_other_structure(model: bytes, inputs: Inputs, tmp_path: Path) -> None:
    graph = TfliteGraph(model)
    graph._subgraph.operators.pop(1)
    with pytest.raises(ValueError, match="other operators"):
        compare_layers(model, graph.to_bytes(), inputs)
