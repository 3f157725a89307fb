"""What counts as found, false and missed on an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet.evaluation.mistakes import find_mistakes

A = [0.0, 0.0, 100.0, 100.0]
A_SHIFTED = [10.0, 0.0, 100.0, 100.0]  # IoU with A 90 / 110
B = [300.0, 300.0, 50.0, 50.0]
INSIDE_B = [310.0, 310.0, 10.0, 10.0]


def truth(*objects: tuple[int, list[float], int]) -> dict[str, Any]:
    return {
        "images": [{"id": 5}],
        "annotations": [
            {"image_id": 5, "category_id": category, "bbox": bbox, "iscrowd": crowd}
            for category, bbox, crowd in objects
        ],
    }


def found(category: int, bbox: list[float], confidence: float = 0.9) -> dict[str, Any]:
    return {"image_id": 5, "category_id": category, "bbox": bbox, "score": confidence}


@pytest.mark.parametrize(
    ("objects", "predictions", "hits", "false", "missed"),
    [
        pytest.param([(1, A, 0)], [found(1, A)], 1, 0, 0, id="found"),
        pytest.param([(1, A, 0)], [], 0, 0, 1, id="missed"),
        pytest.param([], [found(1, A)], 0, 1, 0, id="false"),
        pytest.param([(1, A, 0)], [found(2, A)], 0, 1, 1, id="another class"),
        pytest.param([(1, A, 0)], [found(1, A, 0.2)], 0, 0, 1, id="not sure enough"),
        pytest.param([(1, A, 0)], [found(1, A, 0.25)], 1, 0, 0, id="just sure enough"),
        pytest.param([(1, A, 0)], [found(1, A), found(1, A_SHIFTED)], 1, 1, 0, id="found twice"),
        pytest.param([(1, A, 0)], [found(1, B)], 0, 1, 1, id="elsewhere"),
        pytest.param([(1, B, 1)], [found(1, INSIDE_B)], 0, 0, 0, id="inside a crowd"),
        pytest.param([(2, B, 1)], [found(1, INSIDE_B)], 0, 1, 0, id="a crowd of another class"),
        pytest.param([(1, B, 1)], [], 0, 0, 0, id="a crowd is never missed"),
        pytest.param([(1, A, 0), (1, A_SHIFTED, 0)], [found(1, A)] * 2, 2, 0, 0, id="neighbours"),
    ],
)
def test_outcome(
    objects: list[tuple[int, list[float], int]],
    predictions: list[dict[str, Any]],
    hits: int,
    false: int,
    missed: int,
) -> None:
    (outcome,) = find_mistakes(truth(*objects), predictions)
    assert (len(outcome.hits), len(outcome.false), len(outcome.missed)) == (hits, false, missed)
    assert outcome.count == false + missed


def test_boxes_are_corners_and_classes_are_category_ids() -> None:
    (outcome,) = find_mistakes(truth((8, B, 0)), [found(9, A)])
    np.testing.assert_array_equal(outcome.false, [[0, 0, 100, 100]])
    np.testing.assert_array_equal(outcome.missed, [[300, 300, 350, 350]])
    assert (outcome.image_id, outcome.false_classes, outcome.missed_classes) == (5, (9,), (8,))


def test_the_surest_detection_takes_the_object() -> None:
    (outcome,) = find_mistakes(truth((1, A, 0)), [found(1, A_SHIFTED, 0.5), found(1, A, 0.8)])
    np.testing.assert_array_equal(outcome.hits, [[0, 0, 100, 100]])
    np.testing.assert_array_equal(outcome.false, [[10, 0, 110, 100]])


def test_a_detection_takes_the_object_that_it_overlaps_most() -> None:
    (outcome,) = find_mistakes(truth((1, A_SHIFTED, 0), (1, A, 0)), [found(1, A)])
    np.testing.assert_array_equal(outcome.missed, [[10, 0, 110, 100]])
