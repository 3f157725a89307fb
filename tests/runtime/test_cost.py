from __future__ import annotations

import sys

import pytest

from edgedet.archive import read_model
from edgedet.runtime.cost import Cost, count_cost


def test_convolutions_are_counted(float_file):
    """A 1x1 convolution to 3 classes and one to 4 codes at each of 64 + 16 + 4 + 1 + 1 cells.

    The levels share their kernels (3 * 3 and 3 * 4 numbers) and biases (3 and 4).
    """
    cost = count_cost(read_model(float_file)[1])
    assert cost == Cost(parameters=9 + 12 + 3 + 4, multiply_adds=86 * (9 + 12))


def test_quantized_convolutions_count_the_same(model_bytes):
    cost = count_cost(model_bytes)
    assert cost is not None
    assert cost.multiply_adds == 86 * (9 + 12)


@pytest.mark.parametrize("model", [b"", b"short", bytes(100), b"\xff" * 100])
def test_bytes_that_are_no_model_give_none(model):
    assert count_cost(model) is None


def test_without_the_schema_there_is_no_cost(model_bytes, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    assert count_cost(model_bytes) is None
