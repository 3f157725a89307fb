from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import Detections
from edgedet.runtime.drawing import (
    PALETTE,
    draw,
    place_label,
    relative_luminance,
    text_colour,
)


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


@pytest.mark.parametrize("colour", PALETTE)
def test_text_stands_out_from_every_colour(colour):
    """At least 4.5 to 1, what WCAG 2.1 asks of text (success criterion 1.4.3)."""
    lights = sorted((relative_luminance(colour), relative_luminance(text_colour(colour))))
    assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5


def test_the_frame_runs_along_the_inside_of_the_box():
    drawn = draw(grey(400, 400), detections([[100, 150, 300, 250]], names=("",)))
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


@given(
    label=st.tuples(st.integers(1, 60), st.integers(1, 30)),
    size=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_labels_lie_inside_the_picture_or_are_left_out(label, size, data):
    xs = sorted(data.draw(st.tuples(*[st.integers(0, size[0] - 1)] * 2)))
    ys = sorted(data.draw(st.tuples(*[st.integers(0, size[1] - 1)] * 2)))
    place = place_label(label, (xs[0], ys[0], xs[1], ys[1]), size, [])
    if label[0] > size[0] or label[1] > size[1]:
        assert place is None
        return
    assert place is not None
    x0, y0, x1, y1 = place
    assert (x1 - x0, y1 - y0) == label
    assert x0 >= 0
    assert y0 >= 0
    assert x1 <= size[0]
    assert y1 <= size[1]


@pytest.mark.parametrize(
    ("box", "taken", "expected"),
    [
        ((10, 50, 40, 80), [], (10, 40, 30, 50)),  # above
        ((10, 5, 40, 30), [], (10, 31, 30, 41)),  # no room above: below
        ((90, 50, 99, 80), [], (80, 40, 100, 50)),  # at the right edge: moved left
        ((0, 0, 99, 99), [], (0, 0, 20, 10)),  # no room outside: inside
        ((10, 50, 40, 80), [(0, 40, 15, 50)], (21, 40, 41, 50)),  # taken: at the right corner
        ((10, 50, 40, 80), [(0, 30, 99, 50)], (10, 81, 30, 91)),  # both taken: below
    ],
)
def test_labels_choose_the_first_free_place(box, taken, expected):
    assert place_label((20, 10), box, (100, 100), taken) == expected


@pytest.mark.parametrize(
    "box", [[-50, -50, 500, 500], [5, 5, 5, 5], [39, 29, 40, 30], [200, 200, 300, 300]]
)
def test_boxes_at_and_beyond_the_edges_are_drawn(box):
    assert draw(grey(30, 40), detections([box])).shape == (30, 40, 3)


def test_any_name_can_be_drawn():
    names = ("", "ß漢字🙂", "two\nlines", "long " * 40)
    boxes = [[50 * k, 60, 50 * k + 40, 100] for k in range(4)]
    assert draw(grey(120, 200), detections(boxes, names, [0, 1, 2, 3])).shape == (120, 200, 3)
