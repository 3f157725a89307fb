"""A converted file computes what Keras does, says what it is, and runs in the runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgedet
from edgedet import archive
from edgedet.converters.conversion import Conversion
from edgedet.converters.formats import convert
from edgedet.quantization.calibration import choose_images, network_input
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.spec import ModelSpec

LEFTOVERS = {
    "SHAPE", "STRIDED_SLICE", "EXPAND_DIMS", "TILE", "PACK", "CONCATENATION", "TRANSPOSE",
    "QUANTIZE", "DEQUANTIZE", "FLEX", "CUSTOM",
}  # fmt: skip


def convert_one(source: Path, **options: Any) -> Conversion:
    (conversion,) = convert(source, **options)
    return conversion


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module")
def float32(model_file: Path, out: Path) -> Conversion:
    return convert_one(model_file, out=out)


@pytest.fixture(scope="module")
def int8(model_file: Path, data: Path, out: Path) -> Conversion:
    return convert_one(model_file, precision="int8", data=data, out=out)


def interpreter_of(path: Path) -> object:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=archive.read_model(path)[1], num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def test_float32_computes_what_keras_does(
    float32: Conversion, model_file: Path, data: Path, spec: ModelSpec
) -> None:
    from edgedet.models.saving import load_model

    model, _ = load_model(model_file)
    run = interpreter_of(float32.path).get_signature_runner()
    for path in choose_images(data, spec, 3).paths:
        tensor = network_input(path, spec)
        found = run(image=tensor)
        for name, expected in model(tensor, training=False).items():
            np.testing.assert_allclose(found[name], np.asarray(expected), atol=1e-4, err_msg=name)


def test_int8_follows_float32_in_every_head(int8: Conversion, spec: ModelSpec) -> None:
    assert [head.name for head in int8.heads] == [*spec.class_outputs, *spec.box_outputs]
    for head in int8.heads:
        assert head.sqnr > 10, head
        assert head.correlation > 0.96, head


@pytest.mark.parametrize("precision", ["float16", "dynamic"])
def test_smaller_weights_follow_float32(
    precision: str, float32: Conversion, model_file: Path, data: Path, out: Path
) -> None:
    conversion = convert_one(model_file, precision=precision, data=data, out=out)
    assert conversion.path == out / f"tiny-{precision}.tflite"
    assert conversion.file_bytes < 0.65 * float32.file_bytes
    assert min(head.sqnr for head in conversion.heads) > (30 if precision == "float16" else 12)
    interpreter = interpreter_of(conversion.path)
    assert {d["dtype"] for d in interpreter.get_output_details()} == {np.float32}


def test_outputs_are_the_raw_heads_by_signature_and_by_tensor_name(
    int8: Conversion, spec: ModelSpec
) -> None:
    interpreter = interpreter_of(int8.path)
    names = sorted((*spec.class_outputs, *spec.box_outputs))
    (signature,) = interpreter.get_signature_list().values()
    assert (signature["inputs"], sorted(signature["outputs"])) == (["image"], names)
    assert sorted(d["name"] for d in interpreter.get_output_details()) == names
    details = interpreter.get_signature_runner().get_output_details()
    for level in spec.anchors.levels:
        rows, columns = spec.level_size(level)
        assert details[f"class_{level}"]["shape"].tolist() == [1, rows, columns, 9 * 3]
        assert details[f"box_{level}"]["shape"].tolist() == [1, rows, columns, 9 * 4]


def test_int8_in_and_out_batch_one(int8: Conversion, spec: ModelSpec) -> None:
    interpreter = interpreter_of(int8.path)
    (image,) = interpreter.get_input_details()
    for details in (image, *interpreter.get_output_details()):
        assert details["dtype"] == np.int8
        assert len(details["quantization_parameters"]["scales"]) == 1
        assert details["shape"][0] == 1
        assert details["shape_signature"].tolist() == details["shape"].tolist()
    scale, zero_point = image["quantization"]
    ends = (np.array([-128, 127]) - zero_point) * scale
    np.testing.assert_allclose(ends, [-1, 1], atol=0.01)


def test_weights_have_one_scale_per_channel(int8: Conversion) -> None:
    graph = TfliteGraph(archive.read_model(int8.path)[1])
    for operator in graph.operators:
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            shape = graph.shape(operator.inputs[1])
            channels = shape[0] if operator.kind == "CONV_2D" else shape[3]
            assert len(graph.quantization(operator.inputs[1])[0]) == channels


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_graph_has_no_operators_that_do_nothing(
    precision: str, request: pytest.FixtureRequest
) -> None:
    counts = request.getfixturevalue(precision).operators
    assert not counts.keys() & LEFTOVERS
    # Activations are part of the convolutions and sums; what is left are the 18 gates, their
    # products, and the one fusion weight that follows no convolution.
    assert not counts.keys() & {"RELU6", "HARD_SWISH"}
    assert (counts["LOGISTIC"], counts["MUL"]) == (18, 18 + 1)
    # The mean over a map of one pixel is a reshape.
    assert counts["MEAN"] + counts.get("RESHAPE", 0) == 18
    assert (counts["CONV_2D"], counts["DEPTHWISE_CONV_2D"]) == (147, 56)
    assert counts["RESIZE_NEAREST_NEIGHBOR"] == 5


def test_file_carries_the_spec_and_its_origin(
    int8: Conversion, model_file: Path, data: Path, spec: ModelSpec
) -> None:
    found = archive.read_spec(int8.path)
    assert (found.labels, found.input, found.anchors, found.activation) == (
        spec.labels, spec.input, spec.anchors, spec.activation,
    )  # fmt: skip
    assert found.provenance == {
        "epochs": 3,
        "quantization": "int8",
        "source_sha256": hashlib.sha256(model_file.read_bytes()).hexdigest(),
        "edgedet_version": edgedet.__version__,
        "tensorflow_version": found.provenance["tensorflow_version"],
        "calibration": {
            "split": "train",
            "images": 12,
            "digest": choose_images(data, spec, 200).digest,
        },
        "settings": "fitted ranges",
    }
    assert found.provenance["tensorflow_version"][0].isdigit()


def test_same_input_gives_the_same_bytes(
    int8: Conversion, model_file: Path, data: Path, tmp_path: Path
) -> None:
    again = convert_one(model_file, precision="int8", data=data, out=tmp_path)
    assert again.path.read_bytes() == int8.path.read_bytes()


def test_runtime_runs_the_file(int8: Conversion, data: Path, spec: ModelSpec) -> None:
    picture = choose_images(data, spec, 1).paths[0]
    with edgedet.Detector(int8.path, threads=1) as detector:
        result = detector.detect(picture, conf=0.005, max_det=7)
    assert len(result) == 7
    assert set(result.class_id) <= {0, 1, 2}


def test_result_lies_beside_the_model_by_default(model_file: Path) -> None:
    conversion = convert_one(model_file)
    try:
        assert conversion.path == model_file.with_name("tiny-float32.tflite")
        assert conversion.path.stat().st_size == conversion.file_bytes
    finally:
        conversion.path.unlink()
