from __future__ import annotations

import copy
import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from edgedet import Detections
from edgedet.errors import EdgeDetError, InvalidInputError

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
        "frame": 6,
        "time": 0.25,
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
    assert (part.frame, part.time) == (whole.frame, whole.time)


@pytest.mark.parametrize("index", [3, -4, [5], np.zeros(2, bool), [0.5], np.zeros((1, 1), int)])
def test_indices_out_of_range_are_refused(index):
    with pytest.raises(IndexError):
        make()[index]


def test_a_mask_from_the_scores_filters():
    result = make()
    assert result[result.confidence > 0.5].labels == ["dog", "cat"]


def test_iteration_gives_single_detections():
    assert [one.labels for one in make()] == [["dog"], ["cat"], ["dog"]]


@pytest.mark.parametrize(
    ("label", "kept"), [("dog", [0, 2]), (["cat", "dog"], [0, 1, 2]), ("owl", []), ([], [])]
)
def test_where_chooses_by_name(label, kept):
    assert make().where(label) == make()[kept]


def test_where_names_a_class_that_there_is_not():
    with pytest.raises(InvalidInputError, match=r"no class 'cow'; the classes are \['cat', 'dog'"):
        make().where(["dog", "cow"])


def test_where_takes_every_class_of_a_name():
    twins = make(names=("cat", "dog", "dog"), class_id=np.array([1, 0, 2]))
    assert len(twins.where("dog")) == 2


def test_boxes_come_in_other_forms():
    result = make()
    np.testing.assert_array_equal(result.xywh[0], [20, 40, 20, 40])
    np.testing.assert_allclose(result.xyxyn[0], [0.1, 0.25, 0.3, 0.75])
    np.testing.assert_allclose(result.xywhn[2], [0.7, 0.8125, 0.6, 0.375])
    for boxes in (result.xywh, result.xyxyn, result.xywhn):
        assert (boxes.dtype, boxes.shape) == (np.float32, (3, 4))
    assert Detections.empty(NAMES, (4, 6)).xywhn.shape == (0, 4)


@pytest.mark.parametrize("name", ["xyxyn", "xywhn"])
def test_parts_of_the_image_need_its_size(name):
    with pytest.raises(InvalidInputError, match="orig_shape is not known"):
        getattr(make(orig_shape=(0, 0)), name)


def test_summary_counts_the_classes():
    assert make().summary() == "2 dog, 1 cat"
    assert make(class_id=np.array([2, 1, 0])).summary() == "1 cat, 1 dog, 1 owl"
    assert make()[:0].summary() == "nothing"
    shown = repr(make(path="street.jpg"))
    assert shown == "<Detections: 2 dog, 1 cat in street.jpg, frame 6 (100x80)>"
    assert repr(Detections.empty()) == "<Detections: nothing (0x0)>"


@pytest.mark.parametrize(
    "changes",
    [
        {"xyxy": np.array([[10, 20, 30, 60], [0, 0, 5, 5], [40, 50, 100, 81]])},
        {"confidence": np.array([0.9, 0.6, 0.4])},
        {"class_id": np.array([1, 0, 2])},
        {"names": ("cat", "dog", "cow")},
        {"category_ids": (7, 17, 28)},
        {"orig_shape": (80, 101)},
        {"path": "a.jpg"},
        {"frame": 7},
        {"time": 0.5},
    ],
)
def test_equality_sees_every_difference(changes):
    assert make() == make()
    assert make() != make(**changes)


def test_equality_does_not_see_speed_and_pixels():
    assert make() == make(speed={"inference": 3.0}, image=None)
    assert make() != make()[:2]
    assert make() != "dog"
    with pytest.raises(TypeError, match="unhashable"):
        hash(make())


@pytest.mark.parametrize(
    "copied", [lambda r: pickle.loads(pickle.dumps(r)), copy.copy, copy.deepcopy, lambda r: r[:]]
)
def test_copies_are_equal(copied):
    original = make(speed={"inference": 3.0})
    other = copied(original)
    assert other == original
    assert other.speed == original.speed
    np.testing.assert_array_equal(other.image, original.image)


def test_merge_joins_by_confidence():
    first, second = make(speed={"inference": 2.0}), make(speed={"inference": 3.0, "decode": 1.0})
    second.confidence[:] = [0.6, 0.95, 0.1]
    merged = Detections.merge([first[1:], second])
    np.testing.assert_array_equal(merged.confidence, np.float32([0.95, 0.6, 0.6, 0.3, 0.1]))
    np.testing.assert_array_equal(merged.xyxy[1:3], [first.xyxy[1], second.xyxy[0]])
    assert merged.labels == ["cat", "cat", "dog", "dog", "dog"]
    assert merged.speed == {"inference": 5.0, "decode": 1.0}
    assert merged.image is first.image
    assert Detections.merge([first]) == first


def test_merge_drops_what_overlaps_a_better_one_of_its_class():
    near = make(xyxy=make().xyxy + 1, confidence=np.array([0.8, 0.7, 0.4]))
    other_class = make(class_id=np.array([2, 2, 2]))
    merged = Detections.merge([make(), near, other_class], iou=0.4)
    assert sorted(merged.labels) == ["cat", "dog", "dog", "owl", "owl", "owl"]
    assert merged.where("dog").confidence.tolist() == pytest.approx([0.9, 0.4])
    # 16 of 34 pixels: the two cats overlap by less than a half.
    assert len(Detections.merge([make(), near], iou=0.5).where("cat")) == 2


def test_merge_takes_what_one_part_knows():
    named = make(path="a.jpg", image=None, frame=None, time=None)
    merged = Detections.merge([make(image=None, frame=None), named, make(time=None)])
    assert (merged.path, merged.frame, merged.time) == ("a.jpg", 6, 0.25)
    assert merged.image is not None


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "nothing to merge"),
        ([make(), "dog"], "takes a list of Detections"),
        ([make(), make(names=("a", "b", "c"))], "differ in names"),
        ([make(), make(category_ids=(1, 2, 3))], "differ in category_ids"),
        ([make(), make(orig_shape=(80, 99))], "differ in orig_shape"),
        ([make(path="a.jpg"), make(path="b.jpg")], "different images .their path differs"),
        ([make(), make(frame=7)], "their frame differs"),
    ],
)
def test_merge_refuses_parts_of_different_images(parts, message):
    with pytest.raises(InvalidInputError, match=message):
        Detections.merge(parts)


def test_empty_has_nothing_and_works_everywhere(tmp_path):
    nothing = Detections.empty(NAMES, (4, 6))
    assert len(nothing) == 0
    assert nothing.xyxy.shape == (0, 4)
    assert nothing.to_coco(1) == []
    assert json.loads(nothing.to_json())["detections"] == []
    nothing.save_txt(tmp_path / "nothing.txt")
    assert (tmp_path / "nothing.txt").read_text() == ""
    assert [*nothing] == []


def test_plot_draws_on_a_copy():
    result = make()
    drawn = result.plot()
    assert (drawn.shape, drawn.dtype) == ((80, 100, 3), np.uint8)
    assert (result.image == 90).all()
    assert (drawn != 90).any()


def test_plot_reads_the_picture_from_its_path_again(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (100, 80), (90, 90, 90)).save(path)
    picture = {"image": None, "path": str(path), "frame": None}
    np.testing.assert_array_equal(make(**picture).plot(), make().plot())


def test_plot_refuses_a_picture_that_changed_size(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (50, 80)).save(path)
    with pytest.raises(InvalidInputError, match="has changed since detection"):
        make(image=None, path=str(path), frame=None).plot()


@pytest.mark.parametrize("changes", [{}, {"path": "film.mp4", "frame": 3}])
def test_plot_without_any_picture_is_refused(changes):
    with pytest.raises(InvalidInputError, match="no picture to draw on"):
        make(image=None, **changes).plot()


def test_plot_may_be_drawn_on():
    make().plot()[0, 0] = 0


def test_save_takes_the_arguments_of_plot(tmp_path):
    make().save(tmp_path / "a.png", labels=False, conf=False, line_width=1)
    with Image.open(tmp_path / "a.png") as written:
        plain = make().plot(labels=False, conf=False, line_width=1)
        np.testing.assert_array_equal(np.asarray(written), plain)
    assert (plain != make().plot()).any()
    with pytest.raises(InvalidInputError, match="line_width must be from 1"):
        make().save(tmp_path / "b.png", line_width=0)
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("height", "width", "shown"), [(80, 100, (100, 80)), (1500, 3000, (1024, 512))]
)
def test_a_notebook_shows_the_picture_made_small(height, width, shown):
    picture = np.full((height, width, 3), 90, np.uint8)
    box = [[0.1 * width, 0.5 * height, 0.5 * width, 0.9 * height]]
    result = Detections(box, [0.9], [0], NAMES, orig_shape=(height, width), image=picture)
    drawn = Image.open(io.BytesIO(result._repr_png_()))
    assert drawn.size == shown
    rows, columns = np.nonzero((np.asarray(drawn) != 90).any(axis=2))
    assert columns.min() == pytest.approx(0.1 * shown[0], abs=2)
    assert rows.max() == pytest.approx(0.9 * shown[1], abs=2)


def test_a_notebook_shows_text_where_there_is_no_picture():
    assert make(image=None)._repr_png_() is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "PNG"),
        ("a.JPG", "JPEG"),
        ("a.webp", "WEBP"),
        ("a.bmp", "BMP"),
        ("a.tif", "TIFF"),
        ("a.jpeg", "JPEG"),
        ("a.gif", "GIF"),
        ("a.tiff", "TIFF"),
        ("a.ppm", "PPM"),
    ],
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
