"""Sensitivity of blocks: every operator counts once, and the spoiled block comes first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgedet.quantization.block_sensitivity import (
    BlockSensitivity,
    _rounded,
    blocks,
    most_sensitive,
    rank_blocks,
)
from edgedet.quantization.ranges import Ranges, fit_ranges, observe
from edgedet.quantization.tflite_graph import TfliteGraph, paired_operators
from edgedet.quantization.tflite_int8 import quantize_ranged
from edgedet.spec import ModelSpec

Inputs = list[npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def ranges(model: bytes, inputs: Inputs, spec: ModelSpec) -> Ranges:
    return fit_ranges(model, observe(model, inputs, spec), spec)


def test_blocks_hold_every_operator_once(model: bytes) -> None:
    graph = TfliteGraph(model)
    found = blocks(graph)
    members = [index for block in found for index in block]
    assert sorted(members) == list(range(len(graph.operators)))
    weighted = sum(op.kind == "CONV_2D" for op in graph.operators)
    assert len(found) == weighted
    assert all(graph.operators[block[0]].kind == "CONV_2D" for block in found)


def test_a_wide_range_is_found(
    model: bytes, inputs: Inputs, spec: ModelSpec, ranges: Ranges
) -> None:
    graph = TfliteGraph(model)
    calls: list[tuple[int, int]] = []
    fine = rank_blocks(model, ranges, inputs, spec, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(fine), len(fine))
    assert [block.loss for block in fine] == sorted((b.loss for b in fine), reverse=True)
    assert all(0 <= block.loss < 1 for block in fine)
    gated = next(
        op.outputs[0] for op in graph.operators if graph.name(op.outputs[0]).startswith("gated")
    )
    low, high = ranges[gated]
    spoiled = rank_blocks(model, {**ranges, gated: (60 * low, 60 * high)}, inputs, spec)
    assert "gated" in spoiled[0].layers
    before = next(block.loss for block in fine if "gated" in block.layers)
    assert spoiled[0].loss > 20 * before


def test_weights_are_rounded_as_the_quantizer_does(model: bytes, ranges: Ranges) -> None:
    graph = TfliteGraph(model)
    graph.set_ranges(ranges)
    int8 = TfliteGraph(quantize_ranged(graph.to_bytes()))
    for block in blocks(graph):
        rounded = TfliteGraph(_rounded(model, block, ranges))
        tensor = graph.operators[block[0]].inputs[1]
        twin = int8.operators[paired_operators(graph, int8)[block[0]]].inputs[1]
        expected, found = int8.weights(twin), rounded.weights(tensor)
        assert expected is not None
        assert found is not None
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_the_fewest_blocks_with_a_share_of_the_noise() -> None:
    ranked = [BlockSensitivity((name, f"{name}_bn"), loss) for name, loss in
              (("a", 5.0), ("b", 3.0), ("c", 2.0))]  # fmt: skip
    assert most_sensitive(ranked, 0.5) == ("a", "a_bn")
    assert most_sensitive(ranked, 0.51) == ("a", "a_bn", "b", "b_bn")
    assert len(most_sensitive(ranked, 1.0)) == 6
    assert most_sensitive(ranked, 0.0) == ()
