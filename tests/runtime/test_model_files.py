"""What `Detector` makes of model files: those it refuses, and the engines that run the others."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from edgedet import Detector
from edgedet.archive import add_spec, append_spec, read_model
from edgedet.errors import InvalidInputError, MissingDependencyError, MissingFileError
from edgedet.runtime.engines import TensorInfo, check_input, check_outputs, open_engine
from edgedet.runtime.engines.litert import LiteRtEngine
from edgedet.spec import AnchorSpec, InputSpec


@pytest.fixture
def write(tmp_path, model_bytes, blocks_model):
    """Writes a model file out of the network of the tests, with parts replaced."""

    def make(model=None, **changes):
        path = tmp_path / "model.tflite"
        spec = dataclasses.replace(blocks_model.SPEC, **changes)
        path.write_bytes(append_spec(model_bytes if model is None else model, spec))
        return path

    return make


@pytest.mark.parametrize(
    ("name", "data", "kind", "message"),
    [
        ("missing.tflite", None, MissingFileError, "There is no model file"),
        ("empty.tflite", b"", InvalidInputError, "is empty"),
        ("garbage.tflite", b"garbage" * 999, InvalidInputError, "carries no edgedet model spec"),
        ("zeros.tflite", bytes(9999), InvalidInputError, "carries no edgedet model spec"),
        ("model.pt", b"torch", InvalidInputError, "name a .tflite, .xml, .onnx or .keras file"),
        ("model", b"", InvalidInputError, "name a .tflite, .xml, .onnx or .keras file"),
        ("garbage.keras", b"garbage", InvalidInputError, "carries no edgedet model spec"),
        ("missing.keras", None, MissingFileError, "There is no model file"),
    ],
)
def test_files_that_are_no_models_are_refused(tmp_path, name, data, kind, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(kind, match=message) as refusal:
        Detector(tmp_path / name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_directory_is_no_model(tmp_path):
    (tmp_path / "models.tflite").mkdir()
    with pytest.raises(InvalidInputError, match="is a directory"):
        Detector(tmp_path / "models.tflite")


def test_a_name_too_long_for_the_system_is_missing():
    with pytest.raises(MissingFileError, match="There is no model file"):
        Detector("n" * 300 + ".tflite")


def test_a_model_without_permission_is_named(int8_file, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InvalidInputError, match="check its permissions"):
        Detector(int8_file)


@pytest.mark.parametrize("model", [None, 3, b"model.tflite"])
def test_only_paths_name_models(model):
    with pytest.raises(InvalidInputError, match="must be the path of a file"):
        Detector(model)


def test_a_model_without_spec_is_refused(tmp_path, model_bytes):
    (tmp_path / "bare.tflite").write_bytes(model_bytes)
    with pytest.raises(InvalidInputError, match=r"bare\.tflite carries no edgedet model spec"):
        Detector(tmp_path / "bare.tflite")


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_models_are_refused(tmp_path, int8_file, kept):
    data = int8_file.read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InvalidInputError, match=r"cut\.tflite carries no .* cut short"):
        Detector(path)


@pytest.mark.parametrize("place", [4, 100, 3000])
def test_damaged_models_are_refused(tmp_path, int8_file, place):
    data = bytearray(int8_file.read_bytes())
    data[place] ^= 0x40
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"damaged\.tflite is damaged"):
        Detector(path)


def test_an_archive_with_a_name_that_is_no_text_is_refused(tmp_path, int8_file):
    data = bytearray(int8_file.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 9] |= 0x08  # the flag for a name in UTF-8
    data[entry + 46] = 0xFF  # its first byte
    (tmp_path / "odd.tflite").write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"odd\.tflite carries no edgedet model spec"):
        Detector(tmp_path / "odd.tflite")


def test_any_damage_to_the_end_of_the_file_is_refused_or_harmless(tmp_path, int8_file):
    """The archive with the spec lies there: no damage to it shows as another kind of error."""
    whole = int8_file.read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "damaged.tflite"
    refusals = []
    for _ in range(150):
        data = bytearray(whole)
        for place in random.integers(len(data) - 400, len(data), random.integers(1, 5)):
            data[place] = random.choice([0, 255, int(random.integers(256))])
        path.write_bytes(data)
        try:
            read_model(path)
        except InvalidInputError as refusal:
            refusals.append(str(refusal))
    assert len(refusals) > 50
    assert all("damaged.tflite" in sentence for sentence in refusals)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"\x1c\0\0\0TFL3" + bytes(500), "can't be loaded by LiteRT"),
        (b"\x1c\0\0\0TFL2" + bytes(500), "no TensorFlow Lite model"),
        (b"TFL3", "no TensorFlow Lite model"),
        (b"", "no TensorFlow Lite model"),
    ],
)
def test_a_spec_around_something_else_is_refused(write, model, message):
    with pytest.raises(InvalidInputError, match=message):
        Detector(write(model))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"input": InputSpec(64, 32)},
            r"the input has shape \[1, 64, 64, 3\], its spec says \[1, 64, 32, 3\]",
        ),
        (
            {"labels": ("red", "green"), "category_ids": (1, 2)},
            r"the output class_3 has shape \[1, 8, 8, 3\], its spec says \[1, 8, 8, 2\]",
        ),
        (
            {"anchors": AnchorSpec(scale=1.0)},
            r"the output class_3 has shape .* its spec says \[1, 8, 8, 27\]",
        ),
        (
            {"anchors": AnchorSpec(min_level=2, scale=1.0, octaves=1, aspect_ratios=(1.0,))},
            "has no output class_2, box_2, which its spec names",
        ),
    ],
)
def test_a_spec_that_does_not_fit_the_network_is_refused(write, changes, message):
    with pytest.raises(InvalidInputError, match=message) as refusal:
        Detector(write(**changes))
    assert "model.tflite" in str(refusal.value)


@pytest.mark.parametrize("threads", [0, -1, 10**6, 1.5, "2", True])
def test_bad_thread_counts_are_refused(int8_file, threads):
    with pytest.raises(InvalidInputError, match=r"^threads must be"):
        Detector(int8_file, threads=threads)


@pytest.mark.parametrize(
    ("engine", "message"),
    [("tensorrt", "There is no engine 'tensorrt'"), ("keras", "can't run .tflite files")],
)
def test_engines_that_do_not_fit_are_refused(int8_file, engine, message):
    with pytest.raises(InvalidInputError, match=message):
        Detector(int8_file, engine=engine)


def test_the_engine_can_be_named(int8_file):
    assert Detector(int8_file, engine="litert").engine_name == "litert"


class TestTensors:
    """Types and quantization that the kernels can't take are refused before the first image."""

    @staticmethod
    def heads(spec, width, **changes):
        return tuple(
            TensorInfo(
                f"head_{level}",
                (1, *spec.level_size(level), width),
                np.dtype(changes.get("dtype", np.int8)),
                changes.get("scale", 0.5),
                3,
            )
            for level in spec.anchors.levels
        )

    def test_int8_heads_are_accepted(self, blocks_model):
        spec = blocks_model.SPEC
        check_outputs(Path("m.tflite"), spec, self.heads(spec, 3), self.heads(spec, 4))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"dtype": np.float16}, "the output head_3 has type float16"),
            ({"dtype": np.int32}, "the output head_3 has type int32"),
            ({"scale": None}, "the output head_3 is int8 without one scale and zero point"),
        ],
    )
    def test_other_heads_are_refused(self, blocks_model, changes, message):
        spec = blocks_model.SPEC
        with pytest.raises(InvalidInputError, match=message):
            check_outputs(Path("m.tflite"), spec, self.heads(spec, 3, **changes), ())

    def test_levels_of_different_types_are_refused(self, blocks_model):
        spec = blocks_model.SPEC
        mixed = (*self.heads(spec, 3)[:2], *self.heads(spec, 3, dtype=np.uint8)[2:])
        with pytest.raises(InvalidInputError, match="head_3 to head_7 have different types"):
            check_outputs(Path("m.tflite"), spec, mixed, self.heads(spec, 4))

    @pytest.mark.parametrize("dtype", [np.int16, np.float64])
    def test_other_inputs_are_refused(self, blocks_model, dtype):
        image = TensorInfo("image", (1, 64, 64, 3), np.dtype(dtype), 0.5, 0)
        with pytest.raises(InvalidInputError, match="the input has type"):
            check_input(Path("m.tflite"), blocks_model.SPEC, image)


class TestLiteRt:
    def test_heads_are_in_the_order_of_the_levels_with_their_quantization(self, int8_file):
        engine = open_engine(int8_file, threads=1)
        assert isinstance(engine, LiteRtEngine)
        assert [info.name for info in engine.class_info] == [f"class_{n}" for n in range(3, 8)]
        assert [info.shape for info in engine.box_info] == [
            (1, side, side, 4) for side in (8, 4, 2, 1, 1)
        ]
        assert engine.input_info.dtype.name == "int8"
        assert all(info.scale > 0 for info in (*engine.class_info, *engine.box_info))

    def test_float_heads_have_no_quantization(self, float_file):
        engine = open_engine(float_file, threads=1)
        assert {info.quantization for info in (*engine.class_info, *engine.box_info)} == {None}

    def test_the_input_is_written_in_place(self, int8_file):
        engine = open_engine(int8_file, threads=1)
        engine.input()[...] = 7
        assert (engine.input() == 7).all()
        engine.run()
        classes, boxes = engine.outputs()
        assert [array.shape for array in classes] == [info.shape for info in engine.class_info]
        assert [array.shape for array in boxes] == [info.shape for info in engine.box_info]

    def test_other_packages_of_the_interpreter_are_used_where_it_lacks(
        self, int8_file, monkeypatch
    ):
        light = importlib.import_module("ai_edge_litert.interpreter")
        monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
        older = types.SimpleNamespace(Interpreter=light.Interpreter)
        monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
        monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", older)
        assert Detector(int8_file).engine_name == "litert"

    def test_without_any_interpreter_the_package_is_named(self, int8_file, monkeypatch):
        for package in ("ai_edge_litert.interpreter", "tflite_runtime", "tensorflow.lite"):
            monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingDependencyError, match="pip install ai-edge-litert"):
            Detector(int8_file)


def test_a_keras_file_without_keras_names_the_extra(tmp_path, blocks_model, monkeypatch):
    import zipfile

    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w"):
        pass
    add_spec(path, blocks_model.SPEC)
    for name in [*sys.modules]:
        if name.partition(".")[0] == "keras" or name.startswith("edgedet.models"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingDependencyError, match=r"pip install edgedet\[train\]"):
        Detector(path)


def test_a_keras_file_gives_what_its_network_computes(keras_model):
    """The heads of a `.keras` file go through the same steps as those of a `.tflite` file."""
    from edgedet import ops

    path, model, spec = keras_model
    picture = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)
    detector = Detector(path)
    # A fresh network gives every class about 0.01.
    result = detector.detect(picture, conf=0.001, max_det=20)
    assert (detector.engine_name, detector.threads) == ("keras", None)
    tensor, ratio = ops.letterbox(picture, (128, 128))
    heads = {name: np.asarray(head) for name, head in model(tensor[None], training=False).items()}
    boxes, scores, _ = ops.postprocess(
        [heads[name] for name in spec.class_outputs],
        [heads[name] for name in spec.box_outputs],
        spec,
        conf=0.001,
        max_det=20,
        ratio=ratio,
        image_size=(100, 200),
    )
    assert len(result) == 20
    np.testing.assert_allclose(np.sort(result.confidence), np.sort(scores), atol=1e-5)
    np.testing.assert_allclose(result.xyxy.sum(), boxes.sum(), rtol=1e-3)
