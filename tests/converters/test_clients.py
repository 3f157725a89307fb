"""Programs of other makers find in our files what our runtime finds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import edgedet
from edgedet import archive
from edgedet.converters.nms import NmsOptions, embed
from edgedet.spec import ModelSpec
from tests.converters.raw_heads import PER_CHANNEL, SPEC, finished, picture, weights, written

ASSETS = Path(edgedet.__file__).parent / "assets"
INT8 = ASSETS / "digits-m0-int8.tflite"
CONF = 0.3

Box = tuple[str, float, npt.NDArray[Any]]
"""Label, score, and x0, y0, x1, y1 in pixels of the image."""


def assert_same(
    found: list[Box], wanted: edgedet.Detections, score: float = 0.02, pixels: float = 1.0
) -> None:
    """Each detection has its like, apart from those whose score is at the threshold."""
    assert len(wanted) > 5
    height, width = wanted.orig_shape
    found = [(label, s, np.clip(box, 0, [width, height] * 2)) for label, s, box in found]
    found = [one for one in found if (one[2][2:] > one[2][:2]).all()]
    left = list(found)
    for box, confidence, class_id in zip(
        wanted.xyxy, wanted.confidence, wanted.class_id, strict=True
    ):
        like = [
            place
            for place, (label, other, corners) in enumerate(left)
            if label == wanted.names[class_id]
            and abs(other - confidence) <= score
            and np.abs(corners - box).max() <= pixels
        ]
        assert like or confidence < CONF + score, (box, confidence, class_id)
        if like:
            del left[like[0]]
    assert all(confidence < CONF + score for _, confidence, _ in left)
    assert len(found) > 5


@pytest.fixture(scope="module")
def mediapipe() -> Iterator[Any]:
    """It imports TensorFlow for the decorators of its documentation, if it can."""
    with pytest.MonkeyPatch.context() as patch:
        if "tensorflow" not in sys.modules and "mediapipe" not in sys.modules:
            patch.setitem(sys.modules, "tensorflow", None)
        yield pytest.importorskip("mediapipe", exc_type=ImportError)


@pytest.fixture(scope="module")
def model_api() -> Any:
    pytest.importorskip("openvino")
    return pytest.importorskip("model_api.models")


class TestMediaPipe:
    """`mediapipe.tasks.vision.ObjectDetector`.

    It cuts off an origin and a size to whole pixels: a right end may be two pixels off.
    """

    def detect(self, mediapipe: Any, path: Path, image: npt.NDArray[np.uint8]) -> list[Box]:
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.ObjectDetectorOptions(
            base_options=BaseOptions(model_asset_path=str(path)),
            score_threshold=CONF,
            max_results=100,
        )
        given = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image.copy())
        with vision.ObjectDetector.create_from_options(options) as detector:
            detections = detector.detect(given).detections
        found = []
        for one in detections:
            box = one.bounding_box
            corners = np.array([0, 0, box.width, box.height]) + [box.origin_x, box.origin_y] * 2
            # Classes that share a box come as one detection.
            found += [(each.category_name, each.score, corners) for each in one.categories]
        # A corner outside the image is moved to its edge without the other three.
        return [one for one in found if min(one[2][:2]) > 0]

    @pytest.mark.parametrize("spec", [SPEC, PER_CHANNEL], ids=["one normalization", "per channel"])
    def test_float(self, mediapipe: Any, spec: ModelSpec, tmp_path: Path) -> None:
        bias = -2.5 if spec is SPEC else -6.0
        files = finished("tflite", spec, weights(spec, class_bias=bias))
        image = picture(64, 64)
        wanted = edgedet.Detector(written(files, tmp_path, "raw"), threads=1).detect(image, CONF)
        path = written(embed("tflite", files, spec, NmsOptions()), tmp_path, "nms")
        assert_same(self.detect(mediapipe, path, image), cornered(wanted), pixels=2)

    def test_a_picture_is_stretched_unless_it_comes_padded(
        self, mediapipe: Any, tmp_path: Path
    ) -> None:
        files, image = finished("tflite"), picture(64, 40)
        wanted = edgedet.Detector(written(files, tmp_path, "raw"), threads=1).detect(image, CONF)
        path = written(embed("tflite", files, SPEC, NmsOptions()), tmp_path, "nms")
        padded = np.full((64, 64, 3), 127, np.uint8)
        padded[:40] = image
        assert_same(self.detect(mediapipe, path, padded), cornered(wanted), pixels=2)
        with pytest.raises(AssertionError):
            assert_same(self.detect(mediapipe, path, image), cornered(wanted), pixels=2)

    def test_int8(self, mediapipe: Any, tmp_path: Path) -> None:
        spec = archive.read_spec(INT8)
        size = (spec.input.width, spec.input.height)
        with Image.open(ASSETS / "scene.png") as scene:
            image = np.asarray(scene.convert("RGB").resize(size))
        path = written(
            embed("tflite", {".tflite": INT8.read_bytes()}, spec, NmsOptions()), tmp_path, "nms"
        )
        wanted = edgedet.Detector(INT8, threads=1).detect(image, CONF)
        # Grey levels are half a step off the INT8 image that the runtime makes.
        assert_same(self.detect(mediapipe, path, image), cornered(wanted), score=0.06, pixels=3)


class TestModelApi:
    """OpenVINO's model_api; given no more than the file, it takes the right wrapper."""

    @pytest.mark.parametrize("spec", [SPEC, PER_CHANNEL], ids=["one normalization", "per channel"])
    @pytest.mark.parametrize("size", [(64, 64), (160, 100), (100, 160)])
    def test_boxes(
        self, model_api: Any, spec: ModelSpec, size: tuple[int, int], tmp_path: Path
    ) -> None:
        from model_api.adapters import OpenvinoAdapter, create_core

        bias = -2.5 if spec is SPEC else -6.0
        files = finished("openvino", spec, weights(spec, class_bias=bias))
        image = picture(*size)
        raw = written(finished("onnx", spec, weights(spec, class_bias=bias)), tmp_path, "raw")
        wanted = edgedet.Detector(raw, threads=1).detect(image, CONF)
        path = written(
            embed("openvino", files, spec, NmsOptions(score_threshold=CONF)), tmp_path, "nms"
        )
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        adapter = OpenvinoAdapter(create_core(), str(path), device="CPU", plugin_config=exact)
        model = model_api.Model.create_model(adapter, preload=True)
        assert type(model).__name__ == "SSD"
        result = model(np.ascontiguousarray(image[..., ::-1]))
        found = [
            (label.replace("_", " "), float(score), box)
            for label, score, box in zip(
                result.label_names, result.scores, result.bboxes, strict=True
            )
        ]
        # It drops boxes of an area of one pixel or less. (Where a scaled side is no whole number it
        # also stretches that side to one: the runtime does not.)
        assert_same(found, large(wanted))


def cornered(detections: edgedet.Detections) -> edgedet.Detections:
    """Those whose left and upper ends MediaPipe leaves where they are."""
    return detections[(detections.xyxy[:, :2] >= 1).all(axis=1)]


def large(detections: edgedet.Detections) -> edgedet.Detections:
    sides = detections.xyxy[:, 2:] - detections.xyxy[:, :2]
    return detections[(sides > 1.5).all(axis=1)]


class TestOnnxRuntime:
    """ONNX Runtime and NumPy alone, as a user without edgedet would write it."""

    @pytest.mark.parametrize("size", [(64, 64), (40, 25)])
    def test_boxes(self, size: tuple[int, int], tmp_path: Path) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        files, image = finished("onnx"), picture(*size)
        wanted = edgedet.Detector(written(files, tmp_path, "raw"), threads=1).detect(image, CONF)
        path = written(embed("onnx", files, SPEC, NmsOptions()), tmp_path, "nms")

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert [output.name for output in session.get_outputs()] == ["boxes", "labels", "scores"]
        ratio = min(64 / size[0], 64 / size[1])
        fitted = Image.fromarray(image).resize(
            (round(size[0] * ratio), round(size[1] * ratio)), Image.Resampling.BILINEAR
        )
        canvas = np.full((64, 64, 3), 127.5, np.float32)
        canvas[: fitted.height, : fitted.width] = np.asarray(fitted)
        boxes, labels, scores = session.run(None, {"image": (canvas[None] - 127.5) / 127.5})
        assert (boxes.dtype, labels.dtype, scores.dtype) == (np.float32, np.int64, np.float32)
        assert (np.diff(scores) <= 0).all()
        found = [
            (SPEC.labels[label], float(score), box / ratio)
            for box, label, score in zip(boxes, labels, scores, strict=True)
            if score >= CONF
        ]
        assert_same(found, wanted)
