from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.runtime.label_placement import place_labels


def place(labels, boxes, size):
    return place_labels(labels, np.array(boxes, np.int64).reshape(-1, 4), size)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 50, 40, 80), (10, 40, 30, 50)),  # above
        ((10, 5, 40, 30), (10, 30, 30, 40)),  # no room above: below
        ((90, 50, 100, 80), (80, 40, 100, 50)),  # at the right edge: moved left
        ((0, 0, 100, 100), (0, 0, 20, 10)),  # no room outside: inside
    ],
)
def test_a_label_takes_the_first_place_with_room(box, expected):
    (chosen,) = place([(20, 10)], [box], (100, 100))
    assert chosen.corners == expected


def test_a_label_goes_beside_a_box_that_it_would_fill():
    (chosen,) = place([(20, 10)], [(0, 0, 40, 10)], (100, 10))
    assert chosen.corners == (40, 0, 60, 10)


def test_a_label_that_the_picture_has_no_room_for_has_no_place():
    assert place([(101, 10), (20, 101)], [(0, 0, 50, 50)] * 2, (100, 100)) == [None, None]


def test_a_label_higher_than_the_picture_leaves_it_hides_its_box():
    (chosen,) = place([(90, 90)], [(40, 40, 60, 60)], (100, 100))
    assert chosen.corners[2] <= 100
    assert chosen.hidden > 0


def test_labels_of_one_box_go_round_it():
    chosen = place([(20, 10)] * 8, [(40, 40, 90, 80)] * 8, (120, 120))
    corners = [one.corners for one in chosen]
    assert len(set(corners)) == 8
    # Outside as long as there is room, where they hide nothing.
    assert corners[0] == (40, 30, 60, 40)
    assert all(one.hidden == 0 for one in chosen)


def test_a_label_hides_the_background_before_it_hides_another_box():
    boxes = [(40, 40, 80, 80), (40, 28, 60, 40)]
    first, _ = place([(20, 10), (20, 10)], boxes, (200, 200))
    assert first.corners == (60, 30, 80, 40)
    assert first.hidden == 0


def test_an_earlier_place_is_worth_hiding_a_trace():
    boxes = [(40, 40, 80, 80), (0, 0, 300, 32)]
    assert place([(20, 10)] * 2, boxes, (300, 300))[0].corners == (40, 30, 60, 40)


def test_it_would_rather_hide_a_little_of_a_large_box_than_much_of_a_small_one():
    boxes = [(100, 100, 140, 140), (90, 80, 150, 100), (60, 60, 200, 300)]
    first = place([(30, 10)] * 3, boxes, (400, 400))[0]
    x0, y0, x1, y1 = first.corners
    assert y0 >= 100 or y1 <= 80 or x1 <= 90 or x0 >= 150


def test_the_earlier_labels_choose_first():
    box = (0, 0, 30, 10)
    chosen = place([(30, 10)] * 3, [box] * 3, (30, 20))
    assert [one and one.corners for one in chosen] == [(0, 10, 30, 20), (0, 0, 30, 10), None]


@given(
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    rows=st.lists(
        st.tuples(
            st.tuples(st.integers(1, 60), st.integers(1, 30)),
            *[st.tuples(st.floats(0, 1), st.floats(0, 1))] * 2,
        ),
        max_size=12,
    ),
)
@settings(max_examples=200, deadline=None)
def test_labels_lie_inside_the_picture_at_their_box_and_off_each_other(size, rows):
    boxes = []
    for _, *spans in rows:
        low = [int(min(span) * (side - 1)) for span, side in zip(spans, size, strict=True)]
        high = [int(max(span) * (side - 1)) + 1 for span, side in zip(spans, size, strict=True)]
        boxes.append((*low, *high))
    labels = [label for label, *_ in rows]
    chosen = place(labels, boxes, size)
    assert chosen == place(labels, boxes, size)
    drawn = np.zeros((size[1], size[0]), np.int64)
    for label, box, one in zip(labels, boxes, chosen, strict=True):
        if one is None:
            continue
        x0, y0, x1, y1 = one.corners
        assert (x1 - x0, y1 - y0) == label
        assert 0 <= x0 < x1 <= size[0]
        assert 0 <= y0 < y1 <= size[1]
        # It touches its box, with a corner at the least.
        assert x0 <= box[2]
        assert x1 >= box[0]
        assert y0 <= box[3]
        assert y1 >= box[1]
        drawn[y0:y1, x0:x1] += 1
    assert drawn.max() <= 1
    if chosen:
        fits = labels[0][0] <= size[0] and labels[0][1] <= size[1]
        assert (chosen[0] is not None) == fits
