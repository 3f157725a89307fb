"""INT8 in OpenVINO: NNCF's quantizers, layers of Keras's by name, heads of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgedet
from edgedet.converters import openvino_int8
from edgedet.converters.conversion import Conversion
from edgedet.converters.formats import convert
from edgedet.packages import import_openvino
from edgedet.quantization.calibration import choose_images
from edgedet.quantization.settings import QuantizationSettings
from edgedet.spec import ModelSpec

pytest.importorskip("nncf")


@pytest.fixture(scope="module")
def int8(model_file: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    out = tmp_path_factory.mktemp("openvino")
    (conversion,) = convert(
        model_file, ["openvino"], precision="int8", data=data, calibration_images=4, out=out
    )
    return conversion


def test_every_head_follows_float32(int8: Conversion, spec: ModelSpec) -> None:
    assert [head.name for head in int8.heads] == [*spec.class_outputs, *spec.box_outputs]
    for head in int8.heads:
        assert 10 < head.sqnr < 100, head
        assert head.correlation > 0.95, head


def test_detector_runs_it_in_int8(int8: Conversion, data: Path, spec: ModelSpec) -> None:
    picture = choose_images(data, spec, 1).paths[0]
    with edgedet.Detector(int8.path, threads=1) as detector:
        assert detector.precision == "int8"
        assert detector.spec == int8.spec
        assert len(detector.detect(picture, conf=0.005, max_det=7)) == 7


def test_convolutions_are_quantized_and_heads_are_float(int8: Conversion, spec: ModelSpec) -> None:
    model = import_openvino().Core().read_model(int8.path)
    assert {port.get_element_type().to_string() for port in model.outputs} == {"f32"}
    names = {name for port in model.outputs for name in port.get_names()}
    assert names >= {*spec.class_outputs, *spec.box_outputs}
    assert int8.operators["FakeQuantize"] > 100
    weights = int8.path.with_suffix(".bin").stat().st_size
    assert weights < 0.6 * 4 * 560_000
    assert int8.spec.provenance["nncf_version"][0].isdigit()
    assert int8.spec.provenance["calibration"]["images"] == 4
    # Where and how it was made is in the spec, and nowhere else.
    assert "nncf" not in model.get_rt_info()
    assert b"/tmp" not in int8.path.read_bytes()


def small_model(kernels: dict[str, Any]) -> Any:
    """A convolution, one by channel, and another, their channels scaled."""
    openvino = import_openvino()
    ops = openvino.opset13
    image = ops.parameter([1, 4, 8, 8], np.float32, name="image")
    rng = np.random.default_rng(3)

    def scaled(rows: Any, *shape: int) -> Any:
        factors = rng.uniform(-2, 2, (len(rows), 1)).astype(np.float32)
        return ops.constant((rows * factors).reshape(shape))

    def named(node: Any, name: str) -> Any:
        node.set_friendly_name(name)
        return node

    first = named(
        ops.convolution(
            image, scaled(kernels["stem"][0], 6, 4, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]
        ),
        "Convolution_1",
    )
    second = named(
        ops.group_convolution(
            first, scaled(kernels["mix"][0], 6, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]
        ),
        "GroupConvolution_2",
    )
    third = named(
        ops.convolution(
            second, scaled(kernels["mix"][1], 5, 6, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]
        ),
        "Convolution_3",
    )
    fourth = named(
        ops.convolution(
            second, scaled(kernels["mix"][1], 5, 6, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]
        ),
        "Convolution_4",
    )
    stranger = named(
        ops.convolution(
            second,
            ops.constant(rng.normal(size=(5, 6, 1, 1)).astype(np.float32)),
            [1, 1],
            [0, 0],
            [0, 0],
            [1, 1],
        ),
        "Convolution_5",
    )
    return openvino.Model([third, fourth, stranger], [image])


@pytest.fixture
def kernels() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    shapes = {"stem": [(6, 36)], "mix": [(6, 9), (5, 6)], "other": [(5, 6)]}
    return {
        layer: [rng.normal(size=shape).astype(np.float32) for shape in each]
        for layer, each in shapes.items()
    }


def test_convolutions_are_named_by_their_weights(kernels: dict[str, Any]) -> None:
    model = small_model(kernels)
    openvino_int8.name_convolutions(model, kernels)
    found = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if "Convolution" in node.get_type_name()
    ]
    assert sorted(found) == ["Convolution_5", "mix", "mix.2", "mix.3", "stem"]


class Pictures:
    """Inputs of a few random pictures."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Any:
        rng = np.random.default_rng(0)
        return (rng.normal(size=(1, 4, 8, 8)).astype(np.float32) for _ in range(3))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (QuantizationSettings(), {"stem": True, "mix": True}),
        (QuantizationSettings("percentile", keep=("mix",)), {"stem": True, "mix": False}),
        (QuantizationSettings("mse", bias_correction=True, equalization=True, keep=("stem",)),
         {"stem": False, "mix": True}),
    ],
)  # fmt: skip
def test_kept_layers_stay_in_float(
    settings: QuantizationSettings, expected: dict[str, bool], kernels: dict[str, Any]
) -> None:
    model = small_model(kernels)
    openvino_int8.name_convolutions(model, kernels)
    result = openvino_int8.quantized(model, Pictures(), settings)
    found = {}
    for node in result.get_ordered_ops():
        if "Convolution" in node.get_type_name():
            weights = node.input_value(1).get_node().get_type_name()
            found[node.get_friendly_name()] = weights != "Constant"
    assert {layer: found[layer] for layer in expected} == expected
    assert found["mix.2"] is expected["mix"]
