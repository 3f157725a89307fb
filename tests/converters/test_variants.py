"""Other batches, input sizes and precisions than the plain ones of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import edgedet
from edgedet import archive
from edgedet.converters import formats
from edgedet.converters.conversion import ReportedInputs
from edgedet.converters.formats import convert, exported_network
from edgedet.converters.saved_model import Exported, Variant
from edgedet.errors import InvalidInputError
from edgedet.quantization.calibration import choose_images, network_input
from edgedet.spec import ModelSpec

pytest.importorskip("tensorflow")


def run_tflite(path: Path, tensor: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=archive.read_model(path)[1], num_threads=1)
    found: dict[str, Any] = interpreter.get_signature_runner()(image=tensor)
    return found


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("variants")


def test_labels_tell_variants_apart() -> None:
    assert Variant().label == ""
    assert Variant(stack=2, batch=4, size=320).label == "exit2-batch4-320px-"


def test_a_batch_computes_what_single_images_do(
    model_file: Path, data: Path, spec: ModelSpec, out: Path
) -> None:
    (batched,) = convert(model_file, batch=2, out=out)
    (single,) = convert(model_file, out=out)
    assert batched.path == out / "tiny-batch2-float32.tflite"
    assert batched.spec.provenance["batch"] == 2
    assert "batch" not in single.spec.provenance
    pictures = [network_input(path, spec) for path in choose_images(data, spec, 2).paths]
    found = run_tflite(batched.path, np.concatenate(pictures))
    for number, picture in enumerate(pictures):
        for name, expected in run_tflite(single.path, picture).items():
            np.testing.assert_allclose(found[name][number], expected[0], atol=1e-4, err_msg=name)


def test_detector_refuses_a_batch(model_file: Path, out: Path) -> None:
    (batched,) = convert(model_file, batch=2, out=out)
    with pytest.raises(InvalidInputError, match=r"takes 2 images at a time.*without --batch"):
        edgedet.Detector(batched.path)


def test_another_size_moves_the_anchors_and_finds_the_same_weights(
    model_file: Path, data: Path, out: Path, spec: ModelSpec
) -> None:
    from edgedet.models.saving import load_model

    (resized,) = convert(model_file, size=256, out=out)
    assert resized.path == out / "tiny-256px-float32.tflite"
    assert (resized.spec.input.height, resized.spec.input.width) == (256, 256)
    assert resized.spec.level_size(3) == (32, 32)
    assert resized.spec.anchors == spec.anchors
    model, loaded = load_model(model_file, size=256)
    assert loaded.input == resized.spec.input
    picture = choose_images(data, spec, 1).paths[0]
    tensor = network_input(picture, resized.spec)
    expected = model(tensor, training=False)
    for name, value in run_tflite(resized.path, tensor).items():
        np.testing.assert_allclose(value, np.asarray(expected[name]), atol=1e-4, err_msg=name)
    with edgedet.Detector(resized.path, threads=1) as detector:
        assert len(detector.detect(picture, conf=0.005, max_det=7)) == 7


def test_int16_activations_follow_float32_closely(
    model_file: Path, data: Path, spec: ModelSpec, out: Path
) -> None:
    options: dict[str, Any] = {"data": data, "calibration_images": 2, "out": out}
    (conversion,) = convert(model_file, precision="int16x8", **options)
    assert conversion.path == out / "tiny-int16x8.tflite"
    # Weights of 8 bits are all that is lost.
    assert min(head.sqnr for head in conversion.heads) > 20
    assert conversion.spec.provenance["calibration"]["images"] == 2
    with edgedet.Detector(conversion.path, threads=1) as detector:
        assert detector.precision == "int16x8"
        picture = choose_images(data, spec, 1).paths[0]
        assert len(detector.detect(picture, conf=0.005, max_det=7)) == 7


def test_onnx_float16_halves_the_file_and_computes_in_float32(
    model_file: Path, data: Path, spec: ModelSpec, out: Path
) -> None:
    pytest.importorskip("tf2onnx")
    (whole,) = convert(model_file, ["onnx"], out=out)
    (half,) = convert(model_file, ["onnx"], precision="float16", data=data, out=out)
    assert half.file_bytes < 0.65 * whole.file_bytes
    assert 30 < min(head.sqnr for head in half.heads) < 100
    with edgedet.Detector(half.path, threads=1) as detector:
        assert detector.precision == "float32"
        assert {info.dtype.name for info in detector._engine.class_info} == {"float32"}


def test_one_export_serves_several_conversions(
    model_file: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports: list[Exported] = []
    export = formats.export

    def counted(*arguments: Any) -> Exported:
        exports.append(export(*arguments))
        return exports[-1]

    monkeypatch.setattr(formats, "export", counted)
    with exported_network(model_file, batch=2) as network:
        first, second = (
            convert(model_file, precision=precision, network=network, out=out)[0]
            for precision in ("float32", "float16")
        )
    assert len(exports) == 1
    assert list(network.made) == ["tflite"]
    # The network's own variant counts.
    names = [first.path.name, second.path.name]
    assert names == ["tiny-batch2-float32.tflite", "tiny-batch2-float16.tflite"]


def test_inputs_are_read_in_batches_each_time_anew(data: Path, spec: ModelSpec) -> None:
    pictures = choose_images(data, spec, 5)
    told: list[tuple[str, int, int]] = []
    inputs = ReportedInputs(pictures, spec, "Reading", lambda *step: told.append(step), batch=2)
    assert len(inputs) == 3
    for _ in range(2):
        found = list(inputs)
        assert [len(tensor) for tensor in found] == [2, 2, 2]
        single = list(pictures.inputs(spec))
        np.testing.assert_array_equal(np.concatenate(found)[:5], np.concatenate(single))
        np.testing.assert_array_equal(found[-1][1], found[-1][0])
    assert told[:6] == [("Reading", done, 5) for done in range(6)]
