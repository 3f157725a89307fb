"""INT8 in ONNX: each head follows its float network, and each setting does what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import edgedet
from edgedet.converters import onnx_int8
from edgedet.converters.conversion import Conversion
from edgedet.converters.formats import convert
from edgedet.quantization.calibration import choose_images
from edgedet.quantization.settings import QuantizationSettings
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SPEC = ModelSpec("m", InputSpec(8, 8), AnchorSpec(min_level=3, max_level=3), ("cat",), (1,))


@pytest.fixture(scope="module")
def int8(model_file: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    out = tmp_path_factory.mktemp("onnx")
    (conversion,) = convert(model_file, ["onnx"], precision="int8", data=data, out=out)
    return conversion


def test_every_head_follows_float32(int8: Conversion, spec: ModelSpec) -> None:
    assert [head.name for head in int8.heads] == [*spec.class_outputs, *spec.box_outputs]
    for head in int8.heads:
        assert head.sqnr > 8, head
        assert head.correlation > 0.95, head


def test_detector_runs_it_in_int8(int8: Conversion, data: Path, spec: ModelSpec) -> None:
    picture = choose_images(data, spec, 1).paths[0]
    with edgedet.Detector(int8.path, threads=1) as detector:
        assert detector.precision == "int8"
        assert detector.spec == int8.spec
        assert len(detector.detect(picture, conf=0.005, max_det=7)) == 7


def test_weights_are_int8_per_channel(int8: Conversion) -> None:
    import onnx

    graph = onnx.load(int8.path).graph
    constants = {constant.name: constant for constant in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 150
    for node in convolutions:
        stored, scale = made_by[node.input[1]].input[:2]
        assert constants[stored].data_type == onnx.TensorProto.INT8
        assert list(constants[scale].dims) == [constants[stored].dims[0]]
    assert int8.spec.provenance["calibration"]["images"] == 12
    assert int8.spec.provenance["settings"] == "fitted ranges"
    assert json.loads(int8.spec.to_json())["provenance"]["quantization"] == "int8"


class Pictures:
    """Inputs of the same few random pictures, as often as they are asked for."""

    def __init__(self, scale: float = 1.0) -> None:
        rng = np.random.default_rng(0)
        self.arrays = rng.normal(0, scale, (6, 1, 8, 8, 3)).astype(np.float32)

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        return iter(self.arrays)


def small_model() -> Any:
    """Two convolutions with a swish between them, and the two heads of one location."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)

    def constant(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(rng.normal(0, 0.5, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Transpose", ["image"], ["first"], name="Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "w1", "b1"], ["x"], name="stem/conv"),
        helper.make_node("Sigmoid", ["x"], ["gate"], name="stem_swish/Sigmoid"),
        helper.make_node("Mul", ["x", "gate"], ["y"], name="stem_swish/mul"),
        helper.make_node("Conv", ["y", "w2", "b2"], ["c"], name="class/conv", strides=[8, 8]),
        helper.make_node("Conv", ["y", "w3", "b3"], ["b"], name="box/conv", strides=[8, 8]),
        helper.make_node("Transpose", ["c"], ["class_3"], name="class/t", perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["b"], ["box_3"], name="box/t", perm=[0, 2, 3, 1]),
    ]
    constants = [constant("w1", 8, 3, 1, 1), constant("b1", 8), constant("w2", 9, 8, 1, 1)]
    constants += [constant("b2", 9), constant("w3", 36, 8, 1, 1), constant("b3", 36)]
    real = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", real, [1, 8, 8, 3])],
        [
            helper.make_tensor_value_info("class_3", real, [1, 1, 1, 9]),
            helper.make_tensor_value_info("box_3", real, [1, 1, 1, 36]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def quantized(settings: QuantizationSettings, pictures: Pictures | None = None) -> Any:
    return onnx_int8.quantized(small_model(), pictures or Pictures(), SPEC, settings)


def convolution(model: Any, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def is_quantized(model: Any, name: str) -> bool:
    made_by = {out: node.op_type for node in model.graph.node for out in node.output}
    return made_by.get(convolution(model, name).input[1]) == "DequantizeLinear"


def test_kept_layers_stay_in_float() -> None:
    whole = quantized(QuantizationSettings())
    part = quantized(QuantizationSettings(keep=("class",)))
    assert [is_quantized(whole, name) for name in ("class/conv", "box/conv")] == [True, True]
    assert [is_quantized(part, name) for name in ("class/conv", "box/conv")] == [False, True]


def test_bias_correction_takes_the_mean_error_off() -> None:
    pictures = Pictures()
    exact = onnx_int8._watching(small_model(), ["c", "b"])
    errors = {}
    for corrected in (False, True):
        model = quantized(QuantizationSettings(bias_correction=corrected), pictures)
        found = onnx_int8._watching(model, ["class_3", "box_3"])
        difference = [found(one)["box_3"] - exact(one)["box_3"] for one in pictures]
        errors[corrected] = float(np.abs(np.mean(difference, axis=0)).mean())
    assert errors[True] < 0.7 * errors[False]


def ranges(method: str, pictures: Pictures) -> dict[str, tuple[float, float]]:
    return onnx_int8._ranges(small_model(), pictures, SPEC, method)


def test_ranges_leave_out_what_makes_no_difference() -> None:
    wide = ranges("fitted", Pictures(scale=20))
    assert wide["x"][0] == -6
    for names in (("c", "class_3"), ("b", "box_3")):
        assert wide[names[0]] == wide[names[1]]
    assert wide["class_3"][0] == -8
    run = onnx_int8._watching(small_model())
    highest = max(float(run(one)["class_3"].max()) for one in Pictures(scale=20))
    assert wide["class_3"][1] == pytest.approx(highest + 1)


def test_other_ranges_are_the_histograms_but_for_input_and_heads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnx_int8.Histogram, "percentile", lambda self, share: (-1.0, 3.0))
    monkeypatch.setattr(onnx_int8.Histogram, "least_squares", lambda self: (-2.0, 4.0))
    whole = ranges("fitted", Pictures())
    for method, expected in (("percentile", (-1.0, 3.0)), ("mse", (-2.0, 4.0))):
        found = ranges(method, Pictures())
        assert {name: found[name] for name in ("first", "x", "y", "gate")} == dict.fromkeys(
            ("first", "x", "y", "gate"), expected
        )
        for name in ("image", "class_3", "box_3", "c", "b"):
            assert found[name] == whole[name]


def watch(calls: list[str]) -> Callable[..., None]:
    return lambda text, done, total: calls.append(f"{text} {done}/{total}")


def test_progress_is_told(model_file: Path, data: Path, tmp_path: Path) -> None:
    calls: list[str] = []
    convert(
        model_file,
        ["onnx"],
        precision="int8",
        data=data,
        calibration_images=3,
        out=tmp_path,
        progress=watch(calls),
    )
    assert "Converting to onnx 0/0" in calls
    assert "Calibrating 3/3" in calls
    assert "Comparing with float 3/3" in calls or "Comparing with float 8/8" in calls
