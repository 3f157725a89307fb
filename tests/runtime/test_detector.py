from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgedet import Detector
from edgedet.errors import EdgeDetError, InvalidInputError


def found(result):
    """(label, rounded box) of each detection, in a fixed order."""
    boxes = np.round(result.xyxy).astype(int).tolist()
    return sorted(zip(result.labels, map(tuple, boxes), strict=True))


@pytest.mark.parametrize("kind", ["int8_file", "float_file", "xml_file", "onnx_file"])
def test_squares_are_found_where_they_are(kind, request, scene):
    picture = scene(64, 64, [("red", 24, 8, 8), ("green", 0, 40, 8), ("blue", 56, 56, 8)])
    result = Detector(request.getfixturevalue(kind), threads=1).detect(picture)
    assert found(result) == [
        ("blue", (56, 56, 64, 64)),
        ("green", (0, 40, 8, 48)),
        ("red", (24, 8, 32, 16)),
    ]
    assert (result.confidence > 0.99).all()
    assert result.orig_shape == (64, 64)
    assert result.names == ("red", "green", "blue")
    assert result.category_ids == (10, 20, 30)
    assert (result.xyxy.dtype, result.class_id.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize(
    ("height", "width", "cell"),
    [(64, 64, 8), (480, 640, 80), (640, 480, 80), (32, 32, 4), (16, 64, 8), (64, 16, 8)],
)
def test_boxes_are_in_pixels_of_the_original_picture(detector, scene, height, width, cell):
    """Larger, smaller and oblong pictures: the letterbox is undone."""
    x, y = width - cell, height - cell
    result = detector.detect(scene(height, width, [("blue", x, y, cell)]))
    assert result.labels == ["blue"]
    np.testing.assert_allclose(result.xyxy[0], [x, y, x + cell, y + cell], atol=0.05 * cell)


def test_boxes_end_at_the_edges_of_the_picture(detector, scene):
    """The network's own box begins 0.08 pixels outside."""
    result = detector.detect(scene(64, 64, [("red", 0, 0, 8)]))
    assert result.xyxy[0, :2].tolist() == [0, 0]
    assert result.xyxy[0, 2] < 8


@pytest.mark.parametrize("shape", [(1, 1), (10, 20000), (20000, 10), (1, 3000), (2, 3)])
def test_extreme_shapes_are_handled(detector, scene, shape):
    result = detector.detect(scene(*shape), conf=0.01)
    assert result.orig_shape == shape
    assert (result.xyxy >= 0).all()
    assert (result.xyxy[:, 0::2] <= shape[1]).all()
    assert (result.xyxy[:, 1::2] <= shape[0]).all()


def test_speed_has_the_three_stages_in_milliseconds(detector, scene):
    speed = detector.detect(scene(480, 640)).speed
    assert list(speed) == ["preprocess", "inference", "postprocess"]
    assert all(0 < value < 1000 for value in speed.values())


def test_conf_and_max_det_limit_what_is_returned(detector, scene):
    picture = scene(64, 64, [("red", x, 8, 8) for x in (0, 16, 32, 48)])
    assert len(detector.detect(picture)) == 4
    assert len(detector.detect(picture, max_det=3)) == 3
    assert len(detector.detect(picture, conf=1.0)) == 0
    assert len(detector.detect(picture, conf=0.0001)) > 4


def test_array_views_and_other_layouts_give_the_same(detector, scene):
    picture = scene(128, 96, [("red", 16, 16, 16), ("green", 64, 96, 16)])
    expected = found(detector.detect(picture))
    assert len(expected) >= 2
    wide = np.zeros((128, 200, 3), np.uint8)
    wide[:, 50:146] = picture
    bgr = np.ascontiguousarray(picture[..., ::-1])
    for same in (
        wide[:, 50:146],
        bgr[..., ::-1],
        np.asfortranarray(picture),
        picture[::-1].copy()[::-1],
    ):
        assert found(detector.detect(same)) == expected


def test_the_callers_array_is_neither_changed_nor_locked(detector, scene):
    picture = scene(64, 64, [("red", 8, 8, 8)])
    before = picture.copy()
    picture.setflags(write=False)
    detector.detect(picture)
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1)])
def test_grey_arrays_are_handled(detector, shape):
    result = detector.detect(np.full(shape, 200, np.uint8))
    assert (len(result), result.orig_shape) == (0, (64, 64))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), "float32, edgedet needs uint8"),
        (np.zeros((8, 8, 3), bool), "bool, edgedet needs uint8"),
        (np.zeros((8, 8, 4), np.uint8), "drop the alpha channel"),
        (np.zeros((2, 8, 8, 3), np.uint8), "pass a list of images"),
        (np.zeros((3, 8, 8), np.uint8), "check its axes"),
        (np.zeros(8, np.uint8), r"shape \[8\]"),
        (np.zeros((), np.uint8), r"shape \[\]"),
        (np.zeros((0, 8, 3), np.uint8), "no pixels"),
        (np.zeros((8, 0), np.uint8), "no pixels"),
        (np.broadcast_to(np.uint8(0), (2**21, 1, 3)), "sides end at"),
        (None, "type NoneType is no image"),
        (7.0, "type float is no image"),
        (True, "type bool is no image"),
        (77, "There is no camera 77"),
        (b"picture.jpg", "The encoded picture is no picture"),
        ([None], "type NoneType is no image"),
        ("", "source is empty"),
    ],
)
def test_bad_images_are_refused_in_one_sentence(detector, image, message):
    with pytest.raises(InvalidInputError, match=message) as refusal:
        detector.detect(image)
    assert "\n" not in str(refusal.value)
    # The error is still held: it must not keep the engine's tensors and stop the next run.
    assert len(detector.detect(np.zeros((8, 8, 3), np.uint8))) == 0


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("conf", -0.1),
        ("conf", 1.1),
        ("conf", float("nan")),
        ("conf", "0.5"),
        ("conf", None),
        ("iou", -1),
        ("iou", 2),
        ("iou", float("inf")),
        ("max_det", 0),
        ("max_det", -1),
        ("max_det", 1.5),
        ("max_det", 10**9),
        ("max_det", True),
        ("vid_stride", 0),
        ("vid_stride", 1.5),
        ("vid_stride", True),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_arguments_are_named(detector, scene, argument, value, stream):
    with pytest.raises(InvalidInputError, match=f"^{argument} must be"):
        detector.detect([scene(8, 8)], stream=stream, **{argument: value})


def test_many_threads_share_one_detector(int8_file, scene):
    detector = Detector(int8_file, threads=1)
    pictures = [
        scene(64, 64, [(colour, 8 * place, 8 * place, 8)])
        for place in range(8)
        for colour in ("red", "green", "blue")
    ]
    expected = [found(detector.detect(picture)) for picture in pictures]
    assert len({str(one) for one in expected}) == len(pictures)
    together = threading.Barrier(8)

    def work(_):
        together.wait()
        return [found(detector.detect(picture)) for picture in pictures * 5]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            assert results == expected * 5


@pytest.mark.parametrize("kind", ["int8_file", "xml_file", "onnx_file"])
def test_results_do_not_change_with_the_next_image(kind, request, scene):
    detector = Detector(request.getfixturevalue(kind), threads=1)
    first = detector.detect(scene(64, 64, [("red", 8, 8, 8)]))
    before = first.xyxy.copy()
    detector.detect(scene(64, 64, [("blue", 40, 40, 8)]))
    np.testing.assert_array_equal(first.xyxy, before)


@pytest.mark.parametrize("kind", ["int8_file", "xml_file", "onnx_file"])
def test_a_closed_detector_says_so(kind, request, scene):
    with Detector(request.getfixturevalue(kind)) as detector:
        assert len(detector.detect(scene(8, 8))) == 0
    assert detector.precision is None
    with pytest.raises(EdgeDetError, match="is closed"):
        detector.detect(scene(8, 8))


def test_warmup_needs_no_image(int8_file):
    Detector(int8_file).warmup()


def test_threads_follow_the_argument(int8_file):
    assert Detector(int8_file, threads=2).threads == 2
    assert 1 <= Detector(int8_file).threads <= 4
    assert Detector(int8_file).engine_name == "litert"


@pytest.mark.parametrize("kind", ["int8_file", "xml_file", "onnx_file"])
def test_the_file_is_not_needed_after_loading(kind, request, tmp_path, scene):
    file = request.getfixturevalue(kind)
    for part in file.parent.glob(f"{file.stem}.*"):
        shutil.copy(part, tmp_path)
    detector = Detector(tmp_path / file.name)
    for part in tmp_path.iterdir():
        part.write_bytes(b"\0" * part.stat().st_size)
    assert detector.detect(scene(64, 64, [("red", 8, 8, 8)])).labels == ["red"]


@pytest.mark.parametrize(
    ("kind", "engine"), [("xml_file", "openvino"), ("onnx_file", "onnxruntime")]
)
def test_only_the_file_s_own_engine_is_imported(kind, engine, request):
    code = (
        "import sys, numpy, edgedet\n"
        f"file = {str(request.getfixturevalue(kind))!r}\n"
        "edgedet.Detector(file, threads=1).detect(numpy.zeros((8, 8, 3), numpy.uint8))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert engine in loaded
    # OpenVINO's telemetry would report that it is used.
    others = {"ai_edge_litert", "openvino", "onnxruntime", "onnx", "openvino_telemetry"} - {engine}
    assert not ({"keras", "tensorflow", "jax", "torch", "rich", "typer"} | others) & loaded


def test_neither_keras_nor_tensorflow_is_imported_for_a_tflite_file(int8_file):
    code = (
        "import sys, numpy, edgedet\n"
        f"edgedet.Detector({str(int8_file)!r}).detect(numpy.zeros((8, 8, 3), numpy.uint8))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"keras", "tensorflow", "jax", "torch", "rich", "typer"} & set(done.stdout.split())


def test_the_model_files_here_are_what_their_script_makes(blocks_model, int8_file, tmp_path, scene):
    pytest.importorskip("tensorflow")
    from edgedet.archive import append_spec

    again = tmp_path / "again.tflite"
    again.write_bytes(append_spec(blocks_model.convert(int8=True), blocks_model.SPEC))
    picture = scene(64, 64, [("red", 24, 8, 8), ("green", 32, 32, 16)])
    ours, theirs = (Detector(file).detect(picture) for file in (int8_file, again))
    assert found(ours) == found(theirs)
    assert Path(int8_file).stat().st_size < 50_000
