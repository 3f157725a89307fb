from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

from edgedet import Detections
from edgedet.errors import EdgeDetError, InvalidInputError, MissingDependencyError

NAMES = ("cat", "dog", "owl")


def make(**changes):
    values = {
        "xyxy": np.array([[10, 20, 30, 60], [0, 0, 5, 5], [40, 50, 100, 80]], np.float32),
        "confidence": np.array([0.9, 0.6, 0.3], np.float32),
        "class_id": np.array([1, 0, 1]),
        "names": NAMES,
        "category_ids": (7, 17, 27),
        "orig_shape": (80, 100),
        "image": np.full((80, 100, 3), 90, np.uint8),
    }
    return Detections(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xyxy": np.zeros((3, 5))}, r"xyxy must have shape \[N, 4\], not \[3, 5\]"),
        ({"xyxy": np.zeros(4)}, r"xyxy must have shape"),
        ({"confidence": np.zeros(2)}, "3 boxes need as many scores"),
        ({"class_id": np.zeros((3, 1))}, "3 boxes need as many scores"),
        ({"class_id": np.array([0, 1, 3])}, "class_id must be 0 to 2"),
        ({"class_id": np.array([0, -1, 0])}, "class_id must be 0 to 2"),
        ({"category_ids": (1, 2)}, "category_ids has 2 entries for 3 names"),
    ],
)
def test_parts_that_do_not_agree_are_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        make(**changes)


def test_values_are_brought_to_their_types():
    result = Detections([[0, 1, 2, 3]], [0.5], [2], NAMES)
    assert result.xyxy.dtype == np.float32
    assert result.confidence.dtype == np.float32
    assert result.class_id.dtype == np.int64
    assert result.category_ids == (0, 1, 2)


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        (0, [0]),
        (-1, [2]),
        (np.int64(1), [1]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (np.array([True, False, True]), [0, 2]),
        ([True, False, True], [0, 2]),
        (np.array([2, 0]), [2, 0]),
        ([1, 1], [1, 1]),
        ([], []),
        (np.zeros(3, bool), []),
    ],
)
def test_indexing_keeps_the_chosen_and_everything_else(index, kept):
    whole = make()
    part = whole[index]
    np.testing.assert_array_equal(part.xyxy, whole.xyxy[kept])
    np.testing.assert_array_equal(part.confidence, whole.confidence[kept])
    np.testing.assert_array_equal(part.class_id, whole.class_id[kept])
    assert len(part) == len(kept)
    assert (part.names, part.category_ids, part.orig_shape) == (
        whole.names,
        whole.category_ids,
        whole.orig_shape,
    )
    assert part.image is whole.image


@pytest.mark.parametrize("index", [3, -4, [5], np.zeros(2, bool), [0.5], np.zeros((1, 1), int)])
def test_indices_out_of_range_are_refused(index):
    with pytest.raises(IndexError):
        make()[index]


def test_a_mask_from_the_scores_filters():
    result = make()
    assert result[result.confidence > 0.5].labels == ["dog", "cat"]


def test_iteration_gives_single_detections():
    assert [one.labels for one in make()] == [["dog"], ["cat"], ["dog"]]


def test_empty_has_nothing_and_works_everywhere(tmp_path):
    nothing = Detections.empty(NAMES, (4, 6))
    assert len(nothing) == 0
    assert nothing.xyxy.shape == (0, 4)
    assert nothing.to_coco(1) == []
    assert json.loads(nothing.to_json())["detections"] == []
    nothing.save_txt(tmp_path / "nothing.txt")
    assert (tmp_path / "nothing.txt").read_text() == ""
    assert [*nothing] == []


def test_coco_has_original_category_ids_and_widths():
    assert make()[0].to_coco(image_id=42) == [
        {
            "image_id": 42,
            "category_id": 17,
            "bbox": [10.0, 20.0, 20.0, 40.0],
            "score": pytest.approx(0.9),
        }
    ]
    json.dumps(make().to_coco(1))


def test_json_has_every_part():
    values = json.loads(make(path="cat.jpg", speed={"inference": 1.5}).to_json())
    assert values["path"] == "cat.jpg"
    assert (values["width"], values["height"]) == (100, 80)
    assert values["speed"] == {"inference": 1.5}
    assert values["detections"][1] == {
        "label": "cat",
        "class_id": 0,
        "category_id": 7,
        "confidence": 0.6,
        "xyxy": [0, 0, 5, 5],
    }


def test_yolo_text_is_normalized_by_the_image(tmp_path):
    make().save_txt(tmp_path / "labels" / "a.txt")
    lines = (tmp_path / "labels" / "a.txt").read_text().splitlines()
    assert lines[0] == "1 0.200000 0.500000 0.200000 0.500000 0.9000"
    assert len(lines) == 3


def test_yolo_text_needs_the_image_size(tmp_path):
    with pytest.raises(InvalidInputError, match="orig_shape"):
        make(orig_shape=(0, 0)).save_txt(tmp_path / "a.txt")
    assert [*tmp_path.iterdir()] == []


def test_plot_draws_on_a_copy():
    result = make()
    drawn = result.plot()
    assert (drawn.shape, drawn.dtype) == ((80, 100, 3), np.uint8)
    assert (result.image == 90).all()
    assert (drawn != 90).any()


def test_plot_reads_the_picture_from_its_path_again(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (100, 80), (90, 90, 90)).save(path)
    np.testing.assert_array_equal(make(image=None, path=str(path)).plot(), make().plot())


def test_plot_refuses_a_picture_that_changed_size(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (50, 80)).save(path)
    with pytest.raises(InvalidInputError, match="has changed since detection"):
        make(image=None, path=str(path)).plot()


def test_plot_without_any_picture_is_refused():
    with pytest.raises(InvalidInputError, match="no picture to draw on"):
        make(image=None).plot()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.webp", "WEBP"), ("a.bmp", "BMP"), ("a.tif", "TIFF")],
)
def test_save_writes_the_format_of_the_suffix(tmp_path, name, kind):
    make().save(tmp_path / name)
    with Image.open(tmp_path / name) as written:
        assert written.format == kind
        assert written.size == (100, 80)


@pytest.mark.parametrize("name", ["a", "a.txt", "a.png.exe"])
def test_save_refuses_suffixes_that_are_no_pictures(tmp_path, name):
    with pytest.raises(InvalidInputError, match=r"names no picture format; use \.png or \.jpg"):
        make().save(tmp_path / name)
    assert [*tmp_path.iterdir()] == []


def test_save_explains_the_limits_of_a_format(tmp_path):
    wide = make(image=np.zeros((10, 20000, 3), np.uint8), orig_shape=(10, 20000))
    with pytest.raises(
        InvalidInputError, match=r"wide\.webp can't be written as WEBP .* use \.png"
    ):
        wide.save(tmp_path / "wide.webp")
    assert [*tmp_path.iterdir()] == []


def test_a_failed_save_keeps_the_earlier_file(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"earlier")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(EdgeDetError, match="disk is full"):
        make().save(tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"earlier"


def test_supervision_gets_its_own_fields(monkeypatch):
    fake = types.ModuleType("supervision")
    fake.Detections = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "supervision", fake)
    theirs = make().to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, make().xyxy)
    np.testing.assert_array_equal(theirs.class_id, [1, 0, 1])
    assert theirs.data["class_name"].tolist() == ["dog", "cat", "dog"]


def test_without_supervision_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match="pip install supervision"):
        make().to_supervision()
