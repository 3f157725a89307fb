"""What counts as found, false and missed on an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.evaluation import score
from edgedet.evaluation.error_kinds import _mean_ap
from edgedet.evaluation.matching import Matches, match
from edgedet.evaluation.mistakes import find_mistakes, worst

MakeMatches = Callable[..., Matches]

CAT, DOG = 0, 1
A = (0.0, 0.0, 100.0, 100.0)
A_SHIFTED = (10.0, 0.0, 100.0, 100.0)  # IoU with A 90 / 110
HALF_OF_A = (0.0, 0.0, 100.0, 50.0)
LESS_OF_A = (0.0, 0.0, 100.0, 49.0)
B = (300.0, 300.0, 50.0, 50.0)
INSIDE_B = (310.0, 310.0, 10.0, 10.0)
HALF_OUT_OF_B = (345.0, 300.0, 10.0, 10.0)
MORE_OUT_OF_B = (346.0, 300.0, 10.0, 10.0)


@pytest.mark.parametrize(
    ("objects", "predictions", "hits", "false", "missed"),
    [
        pytest.param([(CAT, A)], [(CAT, A, 0.9)], 1, 0, 0, id="found"),
        pytest.param([(CAT, A)], [], 0, 0, 1, id="missed"),
        pytest.param([], [(CAT, A, 0.9)], 0, 1, 0, id="false"),
        pytest.param([(CAT, A)], [(DOG, A, 0.9)], 0, 1, 1, id="another class"),
        pytest.param([(CAT, A)], [(CAT, A, 0.2)], 0, 0, 1, id="not sure enough"),
        pytest.param([(CAT, A)], [(CAT, A, 0.25)], 1, 0, 0, id="just sure enough"),
        pytest.param([(CAT, A)], [(CAT, A, 0.9), (CAT, A_SHIFTED, 0.8)], 1, 1, 0, id="twice"),
        pytest.param([(CAT, A)], [(CAT, HALF_OF_A, 0.9)], 1, 0, 0, id="just enough overlap"),
        pytest.param([(CAT, A)], [(CAT, LESS_OF_A, 0.9)], 0, 1, 1, id="not enough overlap"),
        pytest.param([(CAT, A)], [(CAT, B, 0.9)], 0, 1, 1, id="elsewhere"),
        pytest.param([(CAT, A)], [(CAT, A, 0.9, 6)], 0, 0, 1, id="on another image"),
        pytest.param([(CAT, B, "crowd")], [(CAT, INSIDE_B, 0.9)], 0, 0, 0, id="inside a crowd"),
        pytest.param([(CAT, B, "crowd")], [(CAT, HALF_OUT_OF_B, 0.9)], 0, 0, 0, id="half inside"),
        pytest.param([(CAT, B, "crowd")], [(CAT, MORE_OUT_OF_B, 0.9)], 0, 1, 0, id="less inside"),
        pytest.param([(DOG, B, "crowd")], [(CAT, INSIDE_B, 0.9)], 0, 1, 0, id="another crowd"),
        pytest.param([(CAT, B, "crowd")], [], 0, 0, 0, id="a crowd is never missed"),
        pytest.param([(CAT, A), (CAT, A_SHIFTED)], [(CAT, A, 0.9)] * 2, 2, 0, 0, id="neighbours"),
        pytest.param(
            [(CAT, A), (CAT, A, "crowd")], [(CAT, A, 0.9)] * 2, 1, 0, 0, id="object before crowd"
        ),
    ],
)
def test_outcome(
    objects: list[Any],
    predictions: list[Any],
    hits: int,
    false: int,
    missed: int,
    matched: MakeMatches,
) -> None:
    outcome, _ = find_mistakes(matched(objects, predictions))
    assert (len(outcome.hits), len(outcome.false), len(outcome.missed)) == (hits, false, missed)
    assert outcome.count == false + missed


def test_boxes_are_corners_and_classes_are_category_ids(matched: MakeMatches) -> None:
    outcome, empty = find_mistakes(matched([(DOG, B), (CAT, A)], [(DOG, A, 0.75), (CAT, A, 0.5)]))
    np.testing.assert_array_equal(outcome.false, [[0, 0, 100, 100]])
    np.testing.assert_array_equal(outcome.missed, [[300, 300, 350, 350]])
    assert (outcome.image_id, outcome.false_classes, outcome.missed_classes) == (5, (3,), (3,))
    assert (outcome.false_scores, outcome.hit_scores, outcome.hit_classes) == (
        (0.75,),
        (0.5,),
        (90,),
    )
    assert (empty.image_id, empty.count) == (6, 0)


def test_the_surest_detection_takes_the_object(matched: MakeMatches) -> None:
    outcome, _ = find_mistakes(matched([(CAT, A)], [(CAT, A_SHIFTED, 0.5), (CAT, A, 0.8)]))
    np.testing.assert_array_equal(outcome.hits, [[0, 0, 100, 100]])
    np.testing.assert_array_equal(outcome.false, [[10, 0, 110, 100]])


def test_a_detection_takes_the_object_that_it_overlaps_most(matched: MakeMatches) -> None:
    outcome, _ = find_mistakes(matched([(CAT, A_SHIFTED), (CAT, A)], [(CAT, A, 0.9)]))
    np.testing.assert_array_equal(outcome.missed, [[10, 0, 110, 100]])


def test_an_object_found_below_the_confidence_is_missed(matched: MakeMatches) -> None:
    matches = matched([(CAT, A)], [(CAT, A, 0.4)])
    assert [len(entry.missed) for entry in find_mistakes(matches, conf=0.4)] == [0, 0]
    assert [len(entry.missed) for entry in find_mistakes(matches, conf=0.41)] == [1, 0]


def test_the_worst_images_come_first_and_those_without_mistakes_not_at_all(
    matched: MakeMatches,
) -> None:
    found = [(CAT, A, 0.9), (CAT, B, 0.8), (CAT, B, 0.8, 6), (CAT, A, 0.8, 6)]
    mistakes = find_mistakes(matched([(CAT, A)], found))
    assert [entry.image_id for entry in worst(mistakes, 5)] == [6, 5]
    assert [entry.image_id for entry in worst(mistakes, 1)] == [6]
    assert not worst(find_mistakes(matched([(CAT, A)], [(CAT, A, 0.9)])), 5)


boxes = st.tuples(*[st.integers(0, 24)] * 2, *[st.integers(1, 12)] * 2).map(
    lambda box: [4.0 * side for side in box]
)
images, categories = st.sampled_from([5, 6]), st.sampled_from([90, 3])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(images, categories, boxes, st.sampled_from([0, 0, 1])), max_size=10),
    st.lists(st.tuples(images, categories, boxes), max_size=14),
    st.randoms(use_true_random=False),
)
def test_it_matches_what_pycocotools_matches(
    objects: list[Any], detections: list[Any], random: Any
) -> None:
    """AP50 of these matches is pycocotools' own, whatever the scene, crowds included."""
    truth = {
        "images": [{"id": 5}, {"id": 6}],
        "categories": [{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
            }
            for number, (image, category, box, crowd) in enumerate(objects, start=1)
        ],
    }
    scores = random.sample(range(1000), len(detections))
    results = [
        {"image_id": image, "category_id": category, "bbox": box, "score": value / 1000}
        for (image, category, box), value in zip(detections, scores, strict=True)
    ]
    matches = match(truth, results)
    positives = np.bincount(matches.object_classes[~matches.crowd], minlength=2)
    ours = _mean_ap(matches.scores, matches.right, matches.classes, ~matches.ignored, positives)
    theirs = score(truth, results).metrics["AP50"]
    assert ours == pytest.approx(max(theirs, 0))
