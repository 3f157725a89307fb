"""A suppression inside a file finds what the runtime finds, in each format's own layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import edgedet
from edgedet import archive, ops
from edgedet.converters.nms import NmsOptions, embed, noted
from edgedet.converters.nms.model_info import model_info
from edgedet.errors import InvalidInputError
from edgedet.packages import import_openvino
from edgedet.spec import InputSpec, ModelSpec
from tests.converters.raw_heads import (
    PER_CHANNEL,
    SPEC,
    SUFFIXES,
    finished,
    picture,
    weights,
    written,
)

ASSET = Path(edgedet.__file__).parent / "assets"
FORMATS = tuple(SUFFIXES)
Found = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]


@pytest.fixture(autouse=True)
def _packages(request: pytest.FixtureRequest) -> None:
    form = getattr(request.node, "callspec", None)
    if form is not None and form.params.get("form") in ("openvino", "onnx"):
        pytest.importorskip({"onnx": "onnxruntime"}.get(form.params["form"], "openvino"))


def run_tflite(model: bytes, image: npt.NDArray[Any], spec: ModelSpec) -> Found:
    """Boxes in pixels of the input, scores and classes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    found = interpreter.get_signature_runner()(image=image)
    count = int(found["num_detections"][0])
    sides = [spec.input.width, spec.input.height] * 2
    boxes = found["detection_boxes"][0, :count, [1, 0, 3, 2]].T * sides
    scores = found["detection_scores"][0, :count]
    return boxes, scores, found["detection_classes"][0, :count]


def run(form: str, files: dict[str, bytes], image: npt.NDArray[Any], spec: ModelSpec) -> Found:
    if form == "tflite":
        return run_tflite(files[".tflite"], image, spec)
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(files[".onnx"], providers=["CPUExecutionProvider"])
        boxes, labels, scores = session.run(["boxes", "labels", "scores"], {"image": image})
        return boxes, scores, labels
    core = import_openvino().Core()
    model = core.read_model(files[".xml"], files[".bin"])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rows = compiled(image)["detection_out"][0, 0]
    rows = rows[rows[:, 0] >= 0]
    sides = [spec.input.width, spec.input.height] * 2
    return rows[:, 3:] * sides, rows[:, 2], rows[:, 1]


def network_input(image: npt.NDArray[np.uint8], spec: ModelSpec) -> npt.NDArray[np.float32]:
    size = (spec.input.height, spec.input.width)
    tensor, _ = ops.letterbox(image, size, mean=spec.input.mean, std=spec.input.std)
    return tensor[None]


def expected(
    form: str, files: dict[str, bytes], directory: Path, image: npt.NDArray[Any], conf: float
) -> edgedet.Detections:
    with edgedet.Detector(written(files, directory, f"raw-{form}"), threads=1) as detector:
        return detector.detect(image, conf=conf, iou=0.5, max_det=100)


def assert_same(found: Found, wanted: edgedet.Detections, atol: float = 1e-3) -> None:
    boxes, scores, labels = visible(found, wanted)
    assert len(wanted) > 10
    np.testing.assert_allclose(scores, wanted.confidence, atol=1e-5)
    np.testing.assert_array_equal(labels, wanted.class_id)
    np.testing.assert_allclose(boxes, wanted.xyxy, atol=atol)


def visible(found: Found, wanted: edgedet.Detections) -> Found:
    """Boxes clipped to the image, as the runtime's are, without those that lie outside."""
    height, width = wanted.orig_shape
    boxes = np.clip(found[0], 0, [width, height, width, height])
    inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return boxes[inside], found[1][inside], found[2][inside]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", [0, 1])
def test_boxes_are_those_of_the_runtime(form: str, seed: int, tmp_path: Path) -> None:
    files, image = finished(form), picture(64, 64, seed)
    wanted = expected(form, files, tmp_path, image, 0.3)
    result = embed(form, files, SPEC, NmsOptions(score_threshold=0.3))
    assert_same(run(form, result, network_input(image, SPEC), SPEC), wanted)


@pytest.mark.parametrize("form", FORMATS)
def test_another_size_and_overlap(form: str, tmp_path: Path) -> None:
    spec = ModelSpec("oblong", InputSpec(32, 96), SPEC.anchors, SPEC.labels, SPEC.category_ids)
    files, image = finished(form, spec), picture(96, 32)
    path = written(files, tmp_path, "raw")
    wanted = edgedet.Detector(path, threads=1).detect(image, conf=0.4, iou=0.2)
    result = embed(form, files, spec, NmsOptions(score_threshold=0.4, iou_threshold=0.2))
    assert_same(run(form, result, network_input(image, spec), spec), wanted)


@pytest.mark.parametrize("form", FORMATS)
def test_only_the_best_are_kept(form: str, tmp_path: Path) -> None:
    files, image = finished(form), picture(64, 64)
    wanted = expected(form, files, tmp_path, image, 0.05)
    result = embed(form, files, SPEC, NmsOptions(max_detections=12))
    found = run(form, result, network_input(image, SPEC), SPEC)
    assert len(found[1]) == 12
    assert len(wanted) > 12
    kept = len(visible(found, wanted)[1])
    assert_same(found, wanted[np.arange(len(wanted)) < kept])


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_found_is_nothing(form: str) -> None:
    files = finished(form, heads=weights(SPEC, class_bias=-50.0))
    result = embed(form, files, SPEC, NmsOptions())
    boxes, scores, labels = run(form, result, network_input(picture(64, 64), SPEC), SPEC)
    assert (boxes.shape, len(scores), len(labels)) == ((0, 4), 0, 0)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("bias", [-200.0, 200.0])
def test_sizes_without_bounds_harm_nothing(form: str, bias: float, tmp_path: Path) -> None:
    files, image = finished(form, heads=weights(SPEC, size_bias=bias)), picture(64, 64)
    wanted = expected(form, files, tmp_path, image, 0.3)
    result = embed(form, files, SPEC, NmsOptions(score_threshold=0.3))
    boxes, scores, labels = run(form, result, network_input(image, SPEC), SPEC)
    assert np.isfinite(boxes).all()
    _, scores, labels = visible((boxes, scores, labels), wanted)
    np.testing.assert_allclose(scores, wanted.confidence, atol=1e-5)
    np.testing.assert_array_equal(labels, wanted.class_id)
    assert bool(len(wanted)) == (bias > 0)


@pytest.mark.parametrize("form", FORMATS)
def test_the_file_says_what_it_is(form: str, tmp_path: Path) -> None:
    options = NmsOptions(iou_threshold=0.6)
    files = finished(form)
    before = dict(files)
    path = written(embed(form, files, SPEC, options), tmp_path, "boxes")
    assert files == before
    found = archive.read_spec(path)
    assert found == noted(SPEC, options)
    assert found.provenance["nms"] == {
        "score_threshold": 0.05,
        "iou_threshold": 0.6,
        "max_detections": 100,
    }
    # That of the raw heads is gone.
    assert path.read_bytes().count(b"format_version") == 1


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_network_gives_the_same_bytes(form: str) -> None:
    files = finished(form)
    results = [embed(form, files, SPEC, NmsOptions()) for _ in range(2)]
    assert results[0] == results[1]


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    for form in FORMATS:
        path = written(embed(form, finished(form), SPEC, NmsOptions()), tmp_path, form)
        content = path.read_bytes()
        place = content.index(b"scores" if form != "openvino" else b"detection_out")
        path.write_bytes(content[:place] + b"X" + content[place + 1 :])
        with pytest.raises(InvalidInputError, match="is damaged"):
            edgedet.Detector(path)


def test_a_batch_is_refused() -> None:
    pytest.importorskip("onnx")
    with pytest.raises(InvalidInputError, match="has batch 2; leave --batch out"):
        embed("onnx", finished("onnx", batch=2), SPEC, NmsOptions())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score_threshold": 1.5}, "score_threshold must be a number from 0 to 1, not 1.5"),
        ({"iou_threshold": float("nan")}, "iou_threshold must be"),
        ({"iou_threshold": True}, "iou_threshold must be"),
        ({"iou_threshold": 0}, "iou_threshold must be above 0"),
        ({"max_detections": 0}, "max_detections must be a whole number from 1 to 10000, not 0"),
        ({"max_detections": 2.5}, "max_detections must be"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        NmsOptions(**options)


class TestTflite:
    def test_outputs_have_the_order_and_shapes_that_clients_count_on(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        files = embed("tflite", finished("tflite"), SPEC, NmsOptions(max_detections=7))
        interpreter = Interpreter(model_content=files[".tflite"])
        interpreter.allocate_tensors()
        outputs = [(d["name"], d["shape"].tolist()) for d in interpreter.get_output_details()]
        assert outputs == [
            ("detection_boxes", [1, 7, 4]),
            ("detection_classes", [1, 7]),
            ("detection_scores", [1, 7]),
            ("num_detections", [1]),
        ]

    def test_a_normalization_per_channel_moves_into_the_graph(self, tmp_path: Path) -> None:
        heads = weights(PER_CHANNEL, class_bias=-5.0)
        files, image = finished("tflite", PER_CHANNEL, heads), picture(64, 64)
        wanted = expected("tflite", files, tmp_path, image, 0.3)
        result = embed("tflite", files, PER_CHANNEL, NmsOptions(score_threshold=0.3))
        grey = image[None].astype(np.float32)
        assert_same(run_tflite(result[".tflite"], grey, PER_CHANNEL), wanted)

    def test_int8_takes_grey_levels_and_finds_the_same(self) -> None:
        from PIL import Image

        path = ASSET / "digits-m0-int8.tflite"
        spec = archive.read_spec(path)
        size = (spec.input.height, spec.input.width)
        with Image.open(ASSET / "scene.png") as scene:
            image = np.asarray(scene.convert("RGB").resize(size[::-1]))
        files = {".tflite": path.read_bytes()}
        result = embed("tflite", files, spec, NmsOptions(score_threshold=0.3))[".tflite"]
        detector = edgedet.Detector(path, threads=1)
        wanted = detector.detect(image, conf=0.3)
        # The same INT8 image, relabelled.
        info = detector._engine.input_info  # type: ignore[union-attr]
        stored, _ = ops.letterbox(
            image, size, mean=spec.input.mean, std=spec.input.std,
            dtype=np.int8, scale=info.scale, zero_point=info.zero_point,
        )  # fmt: skip
        relabelled = (stored.astype(np.int16) + 128).astype(np.uint8)[None]
        assert_in_any_order(run_tflite(result, relabelled, spec), wanted, 1e-4, 1e-3)
        assert_in_any_order(run_tflite(result, image[None], spec), wanted, 0.06, 1.0)

    @pytest.mark.parametrize(
        ("mean", "std", "operators"),
        [
            # Not the network's own step: the first operator requantizes.
            ((110.0,) * 3, (120.0,) * 3, ["QUANTIZE"]),
            (
                (123.0, 116.0, 103.0),
                (129.0, 126.0, 128.0),
                ["DEQUANTIZE", "MUL", "ADD", "QUANTIZE"],
            ),
        ],
    )
    def test_int8_with_another_normalization(
        self, mean: Any, std: Any, operators: list[str], tmp_path: Path
    ) -> None:
        from PIL import Image

        from edgedet.quantization.tflite_graph import TfliteGraph

        original, model = archive.read_model(ASSET / "digits-m0-int8.tflite")
        spec = replace(original, input=InputSpec(256, 256, mean, std))
        files = {".tflite": archive.append_spec(model, spec)}
        with Image.open(ASSET / "scene.png") as scene:
            image = np.asarray(scene.convert("RGB").resize((256, 256)))
        path = written(files, tmp_path, "raw")
        wanted = edgedet.Detector(path, threads=1).detect(image, conf=0.35)
        result = embed("tflite", files, spec, NmsOptions(score_threshold=0.3))[".tflite"]
        graph = TfliteGraph(result)
        assert [one.kind for one in graph.operators][: len(operators)] == operators
        found = run_tflite(result, image[None], spec)
        assert_found(found, wanted, 0.05, 2.0)


def assert_found(found: Found, wanted: edgedet.Detections, score: float, pixels: float) -> None:
    """Each detection has its like."""
    boxes, scores, labels = visible(found, wanted)
    assert len(wanted) > 5
    for box, confidence, class_id in zip(
        wanted.xyxy, wanted.confidence, wanted.class_id, strict=True
    ):
        off = np.where(labels == class_id, np.abs(boxes - box).max(axis=1), np.inf)
        assert off.min() <= pixels
        assert abs(scores[off.argmin()] - confidence) <= score


def assert_in_any_order(
    found: Found, wanted: edgedet.Detections, score: float, pixels: float
) -> None:
    """Ties, which INT8 has many of, may come in any order."""
    assert len(visible(found, wanted)[1]) == len(wanted)
    assert_found(found, wanted, score, pixels)


class TestOpenVino:
    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("openvino")

    def test_float16_weights_stay_so_and_boxes_stay_exact(self, tmp_path: Path) -> None:
        files, image = finished("openvino", half=True), picture(64, 64)
        whole = finished("openvino")
        result = embed("openvino", files, SPEC, NmsOptions(score_threshold=0.3))
        added = len(result[".bin"]) - len(files[".bin"])
        assert len(files[".bin"]) < 0.55 * len(whole[".bin"])
        # Three constants [N, 2] for the anchors in float32, and the numbers of the rows.
        anchors = 3 * 2 * 4 * (64 + 16) * SPEC.anchors.per_location
        assert anchors <= added < anchors + 2000
        wanted = expected("openvino", files, tmp_path, image, 0.3)
        found = run("openvino", result, network_input(image, SPEC), SPEC)
        assert_same(found, wanted, atol=0.01)

    def test_rows_without_a_detection_are_marked(self) -> None:
        heads = weights(SPEC, class_bias=-50.0)
        files = embed("openvino", finished("openvino", heads=heads), SPEC, NmsOptions())
        core = import_openvino().Core()
        compiled = core.compile_model(core.read_model(files[".xml"], files[".bin"]), "CPU")
        assert compiled.outputs[0].shape == [1, 1, 100, 7]
        rows = compiled(np.zeros((1, 64, 64, 3), np.float32))[0]
        assert (rows == -1).all()


def test_model_info_says_how_to_prepare_an_image() -> None:
    assert model_info(PER_CHANNEL) == {
        "labels": "cat sea_lion bird",
        "mean_values": "123.675 116.28 103.53",
        "scale_values": "58.395 57.12 57.375",
        "reverse_input_channels": "True",
        "resize_type": "fit_to_window",
        "pad_value": "114",
    }
    entries = model_info(SPEC, NmsOptions(score_threshold=0.4, iou_threshold=0.6))
    assert entries["model_type"] == "SSD"
    assert (entries["confidence_threshold"], entries["iou_threshold"]) == ("0.4", "0.6")
