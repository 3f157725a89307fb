from __future__ import annotations

import numpy as np
import pytest

from edgedet import Detections
from edgedet.errors import InvalidInputError
from edgedet.runtime.drawing import draw
from edgedet.runtime.palette import PALETTE, look


def detections(boxes, names=("cat",), class_ids=None):
    count = len(boxes)
    return Detections(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.3, count),
        np.zeros(count, int) if class_ids is None else class_ids,
        names,
    )


def grey(height, width):
    return np.full((height, width, 3), 128, np.uint8)


def changed(picture):
    """Rows and columns of the pixels that were drawn on, as x0, y0, x1, y1."""
    rows, columns = np.nonzero((picture != 128).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_the_frame_runs_along_the_inside_of_the_box():
    drawn = draw(grey(400, 400), detections([[100, 150, 300, 250]]), labels=False, conf=False)
    for x, y in ((100, 150), (299, 249), (200, 150), (100, 200)):
        assert tuple(drawn[y, x]) == PALETTE[0]
    assert (drawn[160:240, 110:290] == 128).all()
    assert (drawn[251:, :] == 128).all()
    assert (drawn[:, 301:] == 128).all()


def test_classes_have_their_own_colours():
    boxes = [[10, 100, 60, 150], [110, 100, 160, 150]]
    drawn = draw(grey(200, 200), detections(boxes, ("a", "b"), [0, 1]))
    assert tuple(drawn[149, 30]) == PALETTE[0]
    assert tuple(drawn[149, 130]) == PALETTE[1]


def test_the_more_confident_lies_on_top():
    boxes = [[50, 50, 150, 150], [50, 50, 150, 150]]
    drawn = draw(grey(200, 200), detections(boxes, ("a", "b"), [1, 0]))
    assert tuple(drawn[149, 100]) == PALETTE[1]


def test_nothing_is_drawn_without_detections():
    np.testing.assert_array_equal(draw(grey(30, 40), detections([])), grey(30, 40))


@pytest.mark.parametrize("side", [1, 5, 20, 64, 256, 2000])
def test_every_size_of_picture_is_drawn_on(side):
    drawn = draw(grey(side, side), detections([[0, 0, side / 2, side / 2]]))
    assert drawn.shape == (side, side, 3)
    assert (drawn != 128).any()


def test_lines_and_letters_grow_with_the_picture():
    heights = []
    for side in (200, 800, 3200):
        box = [side / 4, side / 2, side / 2, 3 * side / 4]
        _, top, _, _ = changed(draw(grey(side, side), detections([box])))
        heights.append(side / 2 - top)
    assert heights[0] >= 10
    assert heights[1] > 1.4 * heights[0]
    assert heights[2] > 3 * heights[1]


def labels_of(picture, colour):
    """Pixels in the colour of a class."""
    return (picture == colour).all(axis=2)


def test_labels_that_would_meet_move_or_shrink_and_are_all_drawn():
    """Ten boxes over each other: the ten labels cover their areas without overlap."""
    boxes = [[150 + 4 * k, 150 + 4 * k, 250 + 4 * k, 250 + 4 * k] for k in range(10)]
    names = tuple(f"name {k}" for k in range(10))
    one = draw(grey(480, 640), detections(boxes[:1], names, [0]))
    bare = draw(grey(480, 640), detections(boxes[:1], names, [0]), labels=False, conf=False)
    alone = (one != bare).any(axis=2).sum()
    crowd = detections(boxes, names, np.arange(10))
    labels = draw(grey(480, 640), crowd) != draw(grey(480, 640), crowd, labels=False, conf=False)
    assert labels.any(axis=2).sum() > 10 * 0.4 * alone


def test_the_less_confident_label_is_left_out_where_there_is_no_room():
    drawn = draw(grey(14, 18), detections([[0, 0, 18, 14]] * 2, ("a", "b"), [1, 0]))
    assert labels_of(drawn, PALETTE[1]).sum() > 80
    assert labels_of(drawn, PALETTE[0]).sum() == 0


def test_the_score_is_left_out_where_there_is_room_for_the_name_only():
    full = draw(grey(40, 30), detections([[0, 15, 30, 40]], ("seven",)), conf=False)
    np.testing.assert_array_equal(
        draw(grey(40, 30), detections([[0, 15, 30, 40]], ("seven",))), full
    )


def test_labels_and_scores_can_be_left_out():
    result = detections([[40, 60, 150, 150]])
    whole, names, scores, bare = (
        draw(grey(200, 200), result, labels=labels, conf=conf)
        for labels, conf in ((True, True), (True, False), (False, True), (False, False))
    )
    right = [changed(picture[:59])[2] for picture in (whole, names, scores)]
    assert right[0] > right[1]
    assert right[0] > right[2]
    assert (bare[:59] == 128).all()


def test_widths_and_sizes_can_be_chosen():
    result = detections([[40, 60, 150, 150]])
    drawn = draw(grey(200, 200), result, line_width=7, conf=False, labels=False)
    assert (drawn[60:67, 95] == PALETTE[0]).all()
    assert tuple(drawn[67, 95]) != PALETTE[0]
    tops = [changed(draw(grey(200, 200), result, font_size=size))[1] for size in (10, 20, 40)]
    assert tops[0] > tops[1] > tops[2]


@pytest.mark.parametrize("name", ["line_width", "font_size"])
@pytest.mark.parametrize("value", [0, -1, 1001, 1.5, "2", True])
def test_widths_and_sizes_out_of_range_are_refused(name, value):
    with pytest.raises(InvalidInputError, match=f"^{name} must be"):
        draw(grey(20, 20), detections([]), **{name: value})


@pytest.mark.parametrize("class_id", [21, 42])
def test_later_classes_have_dashed_frames(class_id):
    names = tuple(map(str, range(63)))
    box = [[20, 20, 180, 180]]
    drawn = draw(grey(200, 200), detections(box, names, [class_id]), labels=False, conf=False)
    colour = np.array(look(class_id).colour)
    edge = (drawn[20, 20:180] == colour).all(axis=1)
    # Strokes at both ends, gaps between, and the same on the other sides.
    assert edge[0]
    assert edge[-1]
    assert 0.4 < edge.mean() < 0.6
    assert 10 < np.count_nonzero(np.diff(edge)) < 160
    for other in (drawn[179, 20:180], drawn[20:180, 20], drawn[20:180, 179]):
        np.testing.assert_array_equal((other == colour).all(axis=1), edge)
    assert (drawn[23:177, 23:177] == 128).all()
    small = draw(grey(40, 40), detections([[10, 30, 16, 36]], names, [class_id]))
    assert (small[30, 10:16] == colour).all()


@pytest.mark.parametrize(
    "box", [[-50, -50, 500, 500], [5, 5, 5, 5], [39, 29, 40, 30], [200, 200, 300, 300]]
)
def test_boxes_at_and_beyond_the_edges_are_drawn(box):
    assert draw(grey(30, 40), detections([box])).shape == (30, 40, 3)


def test_any_name_can_be_drawn():
    names = ("", "ß漢字🙂", "two\nlines", "long " * 40)
    boxes = [[50 * k, 60, 50 * k + 40, 100] for k in range(4)]
    assert draw(grey(120, 200), detections(boxes, names, [0, 1, 2, 3])).shape == (120, 200, 3)


def test_names_that_no_font_can_write_are_numbers(monkeypatch):
    monkeypatch.setattr("edgedet.runtime.lettering._SYSTEM_FONTS", ())
    box = [[50, 50, 150, 150]]
    unwritable = draw(grey(200, 200), detections(box, ("x", "\U00016a4f\U00016a50"), [1]))
    numbered = draw(grey(200, 200), detections(box, ("x", "class 1"), [1]))
    np.testing.assert_array_equal(unwritable, numbered)


def test_long_names_are_cut():
    box = [[50, 50, 150, 150]]
    first, second = (
        draw(grey(800, 800), detections(box, (name,))) for name in ("a" * 33, "a" * 10_000)
    )
    np.testing.assert_array_equal(first, second)


def test_boxes_that_are_not_finite_are_left_out():
    result = detections([[np.nan, 0, 10, 10], [20, 20, 30, 30], [0, 0, np.inf, 5]])
    np.testing.assert_array_equal(draw(grey(60, 60), result), draw(grey(60, 60), result[1:2]))


def test_ten_thousand_boxes_are_drawn():
    boxes = np.random.default_rng(0).uniform(0, 300, (10_000, 4))
    boxes[:, 2:] = boxes[:, :2] + 5
    result = Detections(boxes, np.linspace(1, 0, 10_000), np.zeros(10_000, int), ("cat",))
    assert (draw(grey(300, 300), result)[10:290, 10:290] != 128).any(axis=2).mean() > 0.9
