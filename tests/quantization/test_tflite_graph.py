"""Flatbuffers written again: the same function, equal vectors once, constants aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgedet.quantization.interpreters import running_interpreter
from edgedet.quantization.settings import QuantizationSettings
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.quantization.tflite_int8 import quantized
from edgedet.spec import ModelSpec

Inputs = list[npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def int8(model: bytes, inputs: Inputs, spec: ModelSpec) -> bytes:
    return quantized(Path("small.keras"), model, inputs, spec, QuantizationSettings())


def results(model: bytes, image: npt.NDArray[np.float32]) -> list[npt.NDArray[np.int8]]:
    interpreter = running_interpreter(model)
    (entry,) = interpreter.get_input_details()
    interpreter.set_tensor(entry["index"], (image * 100).astype(np.int8))
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def test_equal_vectors_are_stored_once(int8: bytes, inputs: Inputs) -> None:
    from ai_edge_litert import schema_py_generated as schema

    written = TfliteGraph(int8).to_bytes()
    channels = sum(points.size for points in points_of(TfliteGraph(int8)))
    # Eight bytes a channel before; now the few different lengths and values.
    assert len(written) < len(int8) - 8 * channels * 0.8
    for before, after in zip(
        points_of(TfliteGraph(int8)), points_of(TfliteGraph(written)), strict=True
    ):
        assert (before == after).all()
    for before, after in zip(results(int8, inputs[0]), results(written, inputs[0]), strict=True):
        assert (before == after).all()
    assert TfliteGraph(written).to_bytes() == written

    read = schema.Model.GetRootAs(written, 0)
    for place in range(read.BuffersLength()):
        buffer = read.Buffers(place)
        if buffer.DataLength():
            assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0


def points_of(graph: TfliteGraph) -> list[npt.NDArray[np.int64]]:
    return [graph.quantization(tensor)[1] for tensor in graph.tensors]
