from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgedet import Detections, Detector
from edgedet.boxes import iou
from edgedet.errors import InvalidInputError
from edgedet.runtime import tiling
from edgedet.runtime.tiling import Tiling, merge

ASSETS = Path(tiling.__file__).parents[1] / "assets"
sides = st.integers(1, 600)


@given(st.integers(32, 400), st.integers(0, 90), sides, sides)
@settings(max_examples=100, deadline=None)
def test_tiles_cover_the_picture_with_the_overlap_asked_for(tile, percent, height, width):
    try:
        grid = Tiling(tile, percent / 100).grid(height, width)
    except InvalidInputError:
        assert percent > 80
        return
    overlap = -(-tile * percent // 100)
    columns, rows = (np.unique(grid[:, [axis, axis + 2]], axis=0) for axis in (0, 1))
    # Every tile of the grid once, row by row.
    assert grid.tolist() == [[x0, y0, x1, y1] for y0, y1 in rows for x0, x1 in columns]
    for spans, length in ((columns, width), (rows, height)):
        side = min(tile, length)
        assert (spans[:, 1] - spans[:, 0] == side).all()
        assert spans[0, 0] == 0
        assert spans[-1, 1] == length
        assert (spans[:-1, 1] - spans[1:, 0] >= overlap).all()
        # One fewer, as far apart as the overlap allows, would not reach the end.
        if len(spans) > 1:
            assert (len(spans) - 2) * (tile - overlap) + tile < length


@pytest.mark.parametrize(
    ("cut", "length", "starts"),
    [
        (Tiling(640, 0.2), 640, [0]),
        (Tiling(640, 0.2), 641, [0, 1]),
        (Tiling(640, 0.2), 1152, [0, 512]),
        (Tiling(640, 0.2), 1153, [0, 512, 513]),
        (Tiling(100, 0.07), 193, [0, 93]),
        (Tiling(100, 0.0), 300, [0, 100, 200]),
        (Tiling(100, 0.9), 120, [0, 10, 20]),
        (Tiling(100, 0.5), 40, [0]),
    ],
)
def test_the_last_tile_is_moved_inwards(cut, length, starts):
    assert cut.grid(50, length)[:, 0].tolist() == starts
    assert cut.grid(length, 50)[:, 1].tolist() == starts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 31}, "tile must be from 32 to 1048576, not 31"),
        ({"tile": 0}, "tile must be from 32"),
        ({"tile": 64.0}, "tile must be an integer, not float"),
        ({"tile": True}, "tile must be an integer"),
        ({"tile": "64"}, "tile must be an integer"),
        ({"tile": 64, "overlap": -0.1}, "overlap must be from 0 to 0.9, not -0.1"),
        ({"tile": 64, "overlap": 0.91}, "overlap must be from 0 to 0.9"),
        ({"tile": 64, "overlap": float("nan")}, "overlap must be finite"),
        ({"tile": 64, "overlap": "0.2"}, "overlap must be a number"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_tilings_out_of_range_are_refused(detector, scene, arguments, message, stream):
    with pytest.raises(InvalidInputError, match=message):
        detector.detect(scene(100, 100), stream=stream, **arguments)


def test_too_many_tiles_are_refused(detector):
    message = r"tile=32 with overlap=0.9 cuts 310x400 pixels into 11656 tiles.* choose larger tiles"
    with pytest.raises(InvalidInputError, match=message):
        Tiling(32, 0.9).grid(400, 310)
    with pytest.raises(InvalidInputError, match="choose larger tiles"):
        detector.detect(np.zeros((400, 310, 3), np.uint8), tile=32, overlap=0.9)


# Three views: the picture of 200x100, and its left and right tile.
VIEWS = np.array([(0, 0, 200, 100), (0, 0, 120, 100), (80, 0, 200, 100)])


def kept(*rows, threshold=0.5, max_det=100, views=VIEWS):
    """Numbers of the rows (view, box, class, confidence) that merging keeps."""
    return merge(
        np.array([box for _, box, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for *_, score in rows], np.float32),
        np.array([class_id for _, _, class_id, _ in rows], np.int64),
        np.array([view for view, *_ in rows], np.int64),
        views,
        margin=1.0,
        iou=threshold,
        max_det=max_det,
    ).tolist()


PIECE = (1, (105, 40, 120, 60), 0, 0.9)  # cut at the right border of the left tile


@pytest.mark.parametrize("class_id", [0, 1])
@pytest.mark.parametrize("view", [0, 2])
def test_a_piece_goes_where_another_view_shows_the_object_whole(view, class_id):
    """Even if it is the more confident one, and takes the piece for another class."""
    assert kept(PIECE, (view, (105, 40, 140, 60), class_id, 0.3)) == [1]


def test_a_piece_stays_where_nothing_else_shows_its_object():
    assert kept(PIECE) == [0]
    assert kept(PIECE, (2, (125, 40, 160, 60), 0, 0.5), (2, (105, 70, 140, 90), 0, 0.4)) == [
        0,
        1,
        2,
    ]


def test_a_piece_of_a_larger_object_goes_if_the_class_is_the_same():
    large = (105, 20, 200, 100)
    assert kept(PIECE, (0, large, 0, 0.5)) == [1]
    # A small object in front of a large one of another class.
    assert kept(PIECE, (0, large, 1, 0.5)) == [0, 1]


def test_a_piece_does_not_drop_another_piece():
    assert kept(PIECE, (2, (80, 40, 118, 60), 0, 0.8)) == [0, 1]


def test_boxes_at_the_borders_of_the_picture_are_whole():
    assert kept((1, (0, 5, 20, 25), 0, 0.9), (0, (3, 3, 50, 50), 0, 0.5)) == [0, 1]
    assert kept((2, (150, 80, 200, 100), 0, 0.9), (0, (130, 60, 198, 98), 0, 0.5)) == [0, 1]


@pytest.mark.parametrize(("edge", "cut"), [(118.9, False), (119.1, True), (120.0, True)])
def test_a_box_near_the_border_counts_as_cut(edge, cut):
    piece = (1, (105, 40, edge, 60), 0, 0.9)
    whole = (2, (105, 40, 140, 60), 1, 0.3)
    assert kept(piece, whole) == ([1] if cut else [0, 1])


@pytest.mark.parametrize("number", range(4))
def test_an_object_on_four_tiles_is_found_once(number):
    """One tile shows all of it, the others a piece, which they take for another class."""
    tiles = Tiling(120, 0.3).grid(204, 204)
    assert len(tiles) == 4
    # Either side of the middle, over the border at 84 or at 120.
    x0, y0 = ((70, 95)[part] for part in (number % 2, number // 2))
    rows = [
        (view, (max(x0, left), max(y0, top), min(x0 + 40, right), min(y0 + 40, bottom)), view, 0.9)
        for view, (left, top, right, bottom) in enumerate(tiles.tolist(), 1)
    ]
    assert rows[number][1] == (x0, y0, x0 + 40, y0 + 40)
    views = np.concatenate([[(0, 0, 204, 204)], tiles])
    assert kept(*rows, views=views) == [number]


def test_repetitions_go_by_class():
    first, second = (1, (85, 40, 115, 60), 0, 0.9), (2, (86, 40, 116, 60), 0, 0.8)
    assert kept(first, second) == [0]
    assert kept(first, (*second[:2], 1, 0.8)) == [0, 1]
    assert kept(first, second, threshold=0.99) == [0, 1]
    assert kept(first, (2, (150, 40, 170, 60), 0, 0.95), max_det=1) == [1]


boxes_of_views = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 60)] * 2),
        st.integers(0, 1),
    ),
    max_size=12,
)


@given(boxes_of_views, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_tiles_does_not_matter(rows, random):
    """With scores that differ: among equal ones the lower index goes first."""
    rows = [
        (view, clipped(view, box), class_id, 0.9 - 0.05 * place)
        for place, (view, box, class_id) in enumerate(rows)
    ]
    expected = [rows[index] for index in kept(*rows)]
    random.shuffle(rows)
    assert [rows[index] for index in kept(*rows)] == expected


def clipped(view, box):
    left, top, width, height = box
    x0, y0, x1, y1 = VIEWS[view].tolist()
    corner = x0 + 2 * left, y0 + top
    return *corner, min(corner[0] + width, x1), min(corner[1] + height, y1)


def test_many_pieces_are_compared_in_parts(monkeypatch):
    rows = [
        (
            view,
            (85 + 3 * k, 10 + 5 * j, 120 if view == 1 else 190, 14 + 5 * j),
            j % 2,
            0.9 - 0.1 * k,
        )
        for view in (1, 2)
        for j in range(8)
        for k in range(4)
    ]
    expected = kept(*rows)
    monkeypatch.setattr(tiling, "_MOST_PAIRS", 7)
    assert kept(*rows) == expected


def found(result):
    boxes = np.round(result.xyxy).astype(int).tolist()
    return sorted(zip(result.labels, map(tuple, boxes), strict=True))


def test_squares_too_small_for_the_whole_are_found_in_tiles(detector, scene):
    """In 512 pixels a square of 8 is one pixel of the network's 64."""
    squares = [("red", 24, 8, 8), ("blue", 504, 504, 8), ("green", 200, 304, 8)]
    picture = scene(512, 512, squares)
    assert len(detector.detect(picture)) == 0
    result = detector.detect(picture, tile=64, overlap=0.125)
    assert found(result) == [
        ("blue", (504, 504, 512, 512)),
        ("green", (200, 304, 208, 312)),
        ("red", (24, 8, 32, 16)),
    ]
    assert result.orig_shape == (512, 512)
    assert result.image is picture


def test_objects_larger_than_a_tile_are_found_in_the_whole(detector, scene):
    picture = scene(512, 512, [("red", 256, 0, 64)])
    (expected,) = found(detector.detect(picture))
    assert iou(np.array([expected[1]]), np.array([(256, 0, 320, 64)])) > 0.9
    assert expected in found(detector.detect(picture, tile=48))


def test_a_picture_no_larger_than_a_tile_is_detected_as_ever(detector, scene):
    picture = scene(60, 64, [("red", 24, 8, 8)])
    assert detector.detect(picture, tile=64) == detector.detect(picture)


def test_tiles_are_views(detector, scene, monkeypatch):
    picture = scene(100, 150)
    seen = []
    whole = detector.detect(picture)

    def detect(view):
        seen.append(view)
        return Detections.empty(whole.names, view.shape[:2])

    def total(**changes):
        return tiling.detect_tiles(
            picture, Tiling(64, 0.0), whole, detect, iou=0.5, max_det=10, **changes
        )

    monkeypatch.setattr(
        Detections,
        "empty",
        lambda names, shape: Detections(
            [[0] * 4],
            [0],
            [0],
            names,
            speed={"preprocess": 1.0, "inference": 2.0, "postprocess": 3.0},
        ),
    )
    speed = total().speed
    assert len(seen) == 6
    assert all(np.shares_memory(view, picture) for view in seen)
    assert speed["inference"] == pytest.approx(whole.speed["inference"] + 12)
    assert speed["preprocess"] == pytest.approx(whole.speed["preprocess"] + 6)
    assert speed["postprocess"] > whole.speed["postprocess"] + 18


@pytest.mark.parametrize("form", ["file", "PIL", "list", "stream"])
def test_every_source_is_tiled(detector, scene, tmp_path, form):
    picture = scene(256, 256, [("red", 24, 8, 8)])
    Image.fromarray(picture).save(tmp_path / "a.png")
    source = {
        "file": tmp_path / "a.png",
        "PIL": Image.fromarray(picture),
        "list": [picture],
        "stream": picture,
    }[form]
    result = detector.detect(source, tile=64, stream=form == "stream")
    if form in ("list", "stream"):
        (result,) = result
    assert found(result) == [("red", (24, 8, 32, 16))]
    assert result.path == (str(tmp_path / "a.png") if form == "file" else None)


@pytest.fixture(scope="module")
def crowd():
    """Digits of the bundled picture, half as large, all over 1280x960, and their truth."""
    digits = np.asarray(Image.open(ASSETS / "scene.png").convert("RGB"))
    truth = json.loads((ASSETS / "scene.json").read_text())
    names = {entry["id"]: entry["name"] for entry in truth["categories"]}
    height, width = digits.shape[0] // 2, digits.shape[1] // 2
    small = np.asarray(Image.fromarray(digits).resize((width, height)))
    picture = np.full((960, 1280, 3), 128, np.uint8)
    boxes, labels = [], []
    for row in range(3):
        for column in range(7):
            x, y = 4 + column * 182, 40 + row * 300 + 11 * (column % 3)
            picture[y : y + height, x : x + width] = small
            for entry in truth["annotations"]:
                left, top, wide, high = (side / 2 for side in entry["bbox"])
                boxes.append((x + left, y + top, x + left + wide, y + top + high))
                labels.append(names[entry["category_id"]])
    return picture, np.array(boxes, np.float32), np.array(labels)


def right(result, boxes, labels):
    """How many of the true objects are found, and how many of the found are wrong."""
    left = np.ones(len(labels), bool)
    wrong = 0
    for one, label in zip(result.xyxy, result.labels, strict=True):
        overlaps = np.where(left & (labels == label), iou(one[None], boxes)[0], 0)
        if overlaps.max() >= 0.5:
            left[overlaps.argmax()] = False
        else:
            wrong += 1
    return int((~left).sum()), wrong


def test_small_digits_are_found_with_tiles_only(crowd, monkeypatch):
    picture, *truth = crowd
    detector = Detector(ASSETS / "digits-m0-int8.tflite", threads=1)
    whole, _ = right(detector.detect(picture, max_det=1000), *truth)
    tiled, wrong = right(detector.detect(picture, max_det=1000, tile=256), *truth)
    assert whole < 0.2 * len(truth[1])
    assert tiled > 0.8 * len(truth[1])
    # Without the steps for pieces no more is found, and much more that is wrong.
    monkeypatch.setattr(tiling, "_repeats", lambda pieces, *_: np.zeros(len(pieces), bool))
    plain, plain_wrong = right(detector.detect(picture, max_det=1000, tile=256), *truth)
    assert tiled >= 0.98 * plain
    assert wrong < 0.8 * plain_wrong
