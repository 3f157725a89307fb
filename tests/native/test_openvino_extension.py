"""The OpenVINO extension against the plain graph, and what it takes over.

    EDGEDET_OPENVINO_EXTENSION=build/openvino/native/openvino_extension/libedgedet_openvino.so

names the library, and so does the build in that place; these tests are skipped without one, and
without OpenVINO.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.runtime.engines.openvino_fusion import insert_fusions

openvino: Any = pytest.importorskip("openvino")
ov: Any = pytest.importorskip("openvino.opset13")

VARIABLE = "EDGEDET_OPENVINO_EXTENSION"
BUILT = (
    Path(__file__).parents[2]
    / "build/openvino/native/openvino_extension"
    / "libedgedet_openvino.so"
)
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


@pytest.fixture(scope="module")
def library() -> str:
    path = os.environ.get(VARIABLE) or str(BUILT)
    if not Path(path).is_file():
        pytest.skip("libedgedet_openvino is not built")
    return path


def given(channels: int, rows: int, columns: int) -> Any:
    return ov.parameter([1, channels, rows, columns], np.float32)


def enlarged(source: Any, rows: int, columns: int, centres: str = "asymmetric") -> Any:
    """As OpenVINO's reader of TFLite files has it: resized with its channels last."""
    last = ov.transpose(source, [0, 2, 3, 1])
    sizes = np.array([rows, columns], np.int64)
    resized = ov.interpolate(
        last,
        sizes,
        "nearest",
        "sizes",
        axes=np.array([1, 2], np.int64),
        coordinate_transformation_mode=centres,
        nearest_mode="floor",
    )
    return ov.transpose(resized, [0, 3, 1, 2])


def pooled(source: Any, side: int = 3) -> Any:
    return ov.max_pool(
        source, [2, 2], [1, 1], [0, 0], [0, 0], [side, side], auto_pad="same_upper"
    ).output(0)


def weighted(channels: int = 20) -> Any:
    first = ov.multiply(given(channels, 8, 6), np.float32(0.3))
    coarse = ov.multiply(enlarged(given(channels, 4, 3), 8, 6), np.full((1, 1, 1, 1), 0.6, "f4"))
    fine = ov.multiply(np.float32(0.1), pooled(given(channels, 15, 12)))
    return ov.add(ov.add(first, coarse), fine)


def coarser() -> Any:
    return ov.add(given(24, 8, 6), enlarged(given(24, 4, 3), 8, 6))


def swish(source: Any) -> Any:
    return ov.multiply(source, ov.sigmoid(source))


FUSIONS: dict[str, Callable[[], Any]] = {
    "sum": coarser,
    "relu": lambda: ov.relu(coarser()),
    "relu6": lambda: ov.clamp(coarser(), 0.0, 6.0),
    "weighted": weighted,
    "weighted swish": lambda: swish(weighted()),
    "weighted hard_swish": lambda: ov.hswish(weighted()),
    "odd channels": lambda: swish(weighted(3)),
    "pooled twice": lambda: ov.add(pooled(pooled(given(8, 13, 12))), given(8, 4, 3)),
}


def model_of(*ends: Any) -> Any:
    inputs: dict[str, Any] = {}

    def gather(node: Any) -> None:
        if node.get_type_name() == "Parameter":
            inputs[node.get_friendly_name()] = node
        for entry in node.inputs():
            gather(entry.get_source_output().get_node())

    for end in ends:
        gather(end)
    return openvino.Model([ov.result(end) for end in ends], list(inputs.values()))


def results(model: Any) -> list[np.ndarray]:
    compiled = openvino.Core().compile_model(model, "CPU", EXACT)
    random = np.random.default_rng(0)
    inputs = [random.normal(0, 3, entry.shape).astype(np.float32) for entry in compiled.inputs]
    found = compiled(inputs)
    return [found[output].copy() for output in compiled.outputs]


@pytest.mark.parametrize("name", FUSIONS)
def test_a_fusion_becomes_one_node_and_stays_the_same(name: str, library: str) -> None:
    model = model_of(FUSIONS[name]())
    (expected,) = results(model)
    assert insert_fusions(model, library) == 1
    kinds = {node.get_type_name() for node in model.get_ordered_ops()}
    assert kinds == {"Parameter", "Constant", "Transpose", "EdgeDetFusion", "Result"}
    (found,) = results(model)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def read_twice() -> list[Any]:
    coarse = enlarged(given(8, 4, 4), 8, 8)
    return [ov.add(given(8, 8, 8), coarse), ov.relu(coarse)]


def pooling_with_places() -> list[Any]:
    pool = ov.max_pool(
        given(8, 8, 8), [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], auto_pad="same_upper"
    )
    return [ov.add(given(8, 4, 4), pool.output(0)), ov.convert(pool.output(1), "f32")]


LEFT_ALONE: dict[str, Callable[[], list[Any]]] = {
    "plain sum": lambda: [ov.add(given(8, 4, 4), given(8, 4, 4))],
    "bias": lambda: [ov.add(enlarged(given(8, 4, 4), 8, 8), np.ones((1, 8, 1, 1), np.float32))],
    "broadcast": lambda: [ov.add(enlarged(given(8, 2, 2), 4, 4), given(8, 1, 1))],
    "pooling of 2x2": lambda: [ov.add(given(8, 4, 4), pooled(given(8, 8, 8), 2))],
    "corners aligned": lambda: [
        ov.add(given(8, 8, 8), enlarged(given(8, 4, 4), 8, 8, "align_corners"))
    ],
    "half-pixel centres": lambda: [
        ov.add(given(8, 8, 8), enlarged(given(8, 4, 4), 8, 8, "half_pixel"))
    ],
    "no whole factor": lambda: [ov.add(given(8, 6, 6), enlarged(given(8, 4, 4), 6, 6))],
    "resampled map read twice": read_twice,
    "places of the pooling read": pooling_with_places,
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_no_fusion_is_left_alone(name: str, library: str) -> None:
    assert insert_fusions(model_of(*LEFT_ALONE[name]()), library) == 0


def test_a_sum_that_is_read_elsewhere_too_keeps_its_own_value(library: str) -> None:
    total = weighted()
    model = model_of(swish(total), ov.negative(total))
    expected = results(model)
    assert insert_fusions(model, library) == 1
    for found, wanted in zip(results(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_attributes_that_do_not_fit_are_refused(library: str) -> None:
    factory_type = pytest.importorskip("openvino.utils.node_factory").NodeFactory
    factory = factory_type()
    factory.add_extension(library)
    good = {"factors": [1.0], "repeats": [1], "halvings": [0], "activation": "relu"}
    source = ov.parameter([1, 4, 4, 3], np.float32)
    assert list(factory.create("EdgeDetFusion", [source], good).shape) == [1, 4, 4, 3]
    for change in (
        {"factors": [1.0, 2.0]},
        {"repeats": [0]},
        {"halvings": [-1]},
        {"activation": "gelu"},
    ):
        with pytest.raises(RuntimeError):
            factory.create("EdgeDetFusion", [source], {**good, **change})
