"""Converted to OpenVINO and ONNX, a network computes what it did and finds what it found."""

from __future__ import annotations

import errno
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import edgedet
from edgedet import archive
from edgedet.cli import main
from edgedet.converters import formats, onnx, openvino, saved_model
from edgedet.converters.conversion import Conversion
from edgedet.converters.formats import convert
from edgedet.errors import EdgeDetError, InvalidInputError, MissingDependencyError
from edgedet.quantization.calibration import choose_images, network_input
from edgedet.spec import ModelSpec

SUFFIXES = {"tflite": (".tflite",), "openvino": (".bin", ".xml"), "onnx": (".onnx",)}

# What dynamic shapes, control flow or unfolded constants would leave.
LEFTOVERS = {
    "Shape", "ShapeOf", "StridedSlice", "Slice", "Gather", "Tile", "Loop", "If", "Concat", "Cast",
    "Convert", "BatchNormalization", "BatchNormInference", "DepthToSpace", "Pad",
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module")
def converted(model_file: Path, out: Path) -> dict[str, Conversion]:
    """The network in all formats at once."""
    return {one.format: one for one in convert(model_file, list(SUFFIXES), out=out)}


def run_openvino(path: Path, tensor: npt.NDArray[np.float32]) -> dict[str, Any]:
    from edgedet.packages import import_openvino

    core = import_openvino().Core()
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {port.get_any_name(): value for port, value in compiled(tensor).items()}


def run_onnx(path: Path, tensor: npt.NDArray[np.float32]) -> dict[str, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": tensor}), strict=True))


@pytest.mark.parametrize(("form", "run"), [("openvino", run_openvino), ("onnx", run_onnx)])
def test_float32_computes_what_keras_does(
    form: str,
    run: Any,
    converted: dict[str, Conversion],
    model_file: Path,
    data: Path,
    spec: ModelSpec,
) -> None:
    from edgedet.models.saving import load_model

    model, _ = load_model(model_file)
    for path in choose_images(data, spec, 2).paths:
        tensor = network_input(path, spec)
        found = run(converted[form].path, tensor)
        expected = model(tensor, training=False)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], np.asarray(value), atol=1e-4, err_msg=name)


def test_all_formats_find_the_same(
    converted: dict[str, Conversion], data: Path, spec: ModelSpec
) -> None:
    detectors = [edgedet.Detector(one.path, threads=1) for one in converted.values()]
    assert [detector.engine_name for detector in detectors] == ["litert", "openvino", "onnxruntime"]
    assert {detector.precision for detector in detectors} == {"float32"}
    for path in choose_images(data, spec, 3).paths:
        first, *others = (detector.detect(path, conf=0.005, max_det=20) for detector in detectors)
        assert len(first) == 20
        for other in others:
            np.testing.assert_allclose(other.confidence, first.confidence, atol=1e-5)
            assert sorted(other.class_id) == sorted(first.class_id)
            np.testing.assert_allclose(np.sort(other.xyxy, 0), np.sort(first.xyxy, 0), atol=0.02)


def test_float16_weights_halve_the_file_and_find_about_the_same(
    converted: dict[str, Conversion], model_file: Path, data: Path, spec: ModelSpec, out: Path
) -> None:
    (half,) = convert(model_file, ["openvino"], precision="float16", out=out)
    whole = converted["openvino"].path
    assert half.path == out / "tiny-float16.xml"
    sizes = [path.with_suffix(".bin").stat().st_size for path in (half.path, whole)]
    assert sizes[0] < 0.55 * sizes[1]
    tensor = network_input(choose_images(data, spec, 1).paths[0], spec)
    exact = run_openvino(whole, tensor)
    for name, value in run_openvino(half.path, tensor).items():
        assert 0 < np.abs(value - exact[name]).max() < 0.01 * np.abs(exact[name]).max()


@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_the_graph_has_no_leftovers(form: str, converted: dict[str, Conversion]) -> None:
    counts = converted[form].operators
    assert not counts.keys() & LEFTOVERS
    convolutions = {"openvino": ("Convolution", "GroupConvolution"), "onnx": ("Conv",)}[form]
    assert sum(counts[name] for name in convolutions) == 147 + 56
    assert counts["Sigmoid"] == 18
    # One at the image, one at each of the ten heads, less those of a map of one pixel; OpenVINO
    # has two at each up-sampling too.
    assert counts["Transpose"] <= (21 if form == "openvino" else 11)


@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_the_file_carries_the_spec_and_its_origin(
    form: str, converted: dict[str, Conversion], model_file: Path, spec: ModelSpec
) -> None:
    conversion = converted[form]
    found = archive.read_spec(conversion.path)
    assert found == conversion.spec
    assert (found.labels, found.input, found.anchors) == (spec.labels, spec.input, spec.anchors)
    package = {"openvino": "openvino", "onnx": "tf2onnx"}[form]
    provenance = found.provenance
    assert provenance["epochs"] == 3
    assert provenance["quantization"] == "float32"
    assert provenance["source_sha256"] == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert provenance[f"{package}_version"][0].isdigit()
    parts = [conversion.path.with_suffix(suffix) for suffix in SUFFIXES[form]]
    assert conversion.file_bytes == sum(part.stat().st_size for part in parts)
    # Where it was made is nobody's business, and would make equal models unequal files.
    assert b"/tmp" not in b"".join(part.read_bytes() for part in parts)


@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_the_same_network_gives_the_same_bytes(form: str, spec: ModelSpec, tmp_path: Path) -> None:
    contents = []
    for number in range(2):
        exported = small_network(tmp_path / str(number), spec)
        if form == "onnx":
            contents.append(onnx.to_model(exported).SerializeToString(deterministic=True))
        else:
            contents.append(openvino._written(openvino.to_model(exported), half=False))
    assert contents[0] == contents[1]


def small_network(directory: Path, spec: ModelSpec) -> saved_model.Exported:
    """A few layers of the kinds that the networks have."""
    import keras

    keras.utils.set_random_seed(0)
    keras.utils.clear_session()
    image = keras.Input((16, 16, 3), batch_size=1, name="image")
    first = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(image)
    first = keras.layers.ReLU(6)(keras.layers.BatchNormalization()(first))
    down = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(first)
    up = keras.layers.UpSampling2D(2, interpolation="nearest")(down)
    model = keras.Model(image, {"class_3": keras.layers.Add()([first, up])})
    signature = keras.InputSpec(shape=(1, 16, 16, 3), dtype="float32", name="image")
    model.export(directory, verbose=False, input_signature=[signature])
    probe = np.zeros((1, 16, 16, 3), np.float32)
    return saved_model.Exported(directory, spec, frozenset(), probe, {})


def test_several_formats_are_reported_together(
    model_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["convert", str(model_file), "--to", "openvino,onnx", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--json"])
    assert not exit_.value.code
    reports = json.loads(capfd.readouterr().out)["conversions"]
    assert [report["format"] for report in reports] == ["openvino", "onnx"]
    assert [Path(report["file"]).name for report in reports] == [
        "tiny-float32.xml",
        "tiny-float32.onnx",
    ]
    with pytest.raises(SystemExit):
        main(arguments)
    printed = capfd.readouterr().out.splitlines()
    files = f"{tmp_path}/tiny-float32.xml {tmp_path}/tiny-float32.onnx"
    assert printed[-1] == f"next: edgedet benchmark {files}"


class TestFailures:
    def test_nothing_is_kept_unless_all_formats_succeed(
        self, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        earlier = tmp_path / "tiny-float32.xml"
        earlier.write_bytes(b"earlier")

        def fails(exported: object) -> None:
            raise ValueError("first line\nsecond line")

        monkeypatch.setattr(onnx, "to_model", fails)
        with pytest.raises(EdgeDetError, match=r"tf2onnx can't convert it \(ValueError: first"):
            convert(model_file, ["tflite", "openvino", "onnx"], out=tmp_path)
        assert list(tmp_path.iterdir()) == [earlier]
        assert earlier.read_bytes() == b"earlier"

    @pytest.mark.parametrize("full", [".bin", ".xml"])
    def test_a_full_disk_leaves_both_files_or_none(
        self, full: str, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out"
        write_bytes = Path.write_bytes

        def fills_up(path: Path, data: bytes) -> int:
            if path.parent == out and path.suffix == full:
                write_bytes(path, data[:100])
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return write_bytes(path, data)

        monkeypatch.setattr(Path, "write_bytes", fills_up)
        with pytest.raises(EdgeDetError, match="the disk is full"):
            convert(model_file, ["openvino"], out=out)
        assert not out.exists()

    @pytest.mark.parametrize("form", ["openvino", "onnx"])
    def test_a_network_that_computes_something_else_is_not_kept(
        self, form: str, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        export = formats.export

        def spoiled(*arguments: Any) -> saved_model.Exported:
            exported = export(*arguments)
            wrong = {**exported.expected, "box_5": exported.expected["box_5"] + 1}
            return replace(exported, expected=wrong)

        monkeypatch.setattr(formats, "export", spoiled)
        with pytest.raises(EdgeDetError, match="output box_5 differs from Keras's by 1"):
            convert(model_file, [form], out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("form", "package"), [("openvino", "openvino"), ("onnx", "tf2onnx"), ("onnx", "onnx")]
    )
    def test_a_missing_package_is_named(
        self,
        form: str,
        package: str,
        model_file: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingDependencyError, match=r'pip install "edgedet\[convert\]"'):
            convert(model_file, [form], out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("chosen", "precision", "said"),
        [
            ([], "float32", "no format to convert to"),
            (["onnx"], "int16x8", "does not write onnx in int16x8, only in float32"),
            (["openvino"], "dynamic", "only in float32, float16, int8"),
            (["onnx"], "int4", "There is no precision 'int4'"),
            (["coreml"], "float32", "There is no format 'coreml'"),
        ],
    )
    def test_what_is_not_written_is_said(
        self, chosen: list[str], precision: str, said: str, model_file: Path
    ) -> None:
        with pytest.raises(InvalidInputError, match=said):
            convert(model_file, chosen, precision=precision)
