"""`score` against numbers worked out by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.evaluation import METRICS, score

CATEGORIES = [{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}]


def truth(*objects: tuple[int, int, list[float], int]) -> dict[str, Any]:
    """A COCO data set of images 0 and 7 with objects (image, category, bbox, iscrowd)."""
    return {
        "images": [{"id": 0, "width": 640, "height": 480}, {"id": 7, "width": 640, "height": 480}],
        "categories": CATEGORIES,
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": bbox,
                "area": bbox[2] * bbox[3],
                "iscrowd": crowd,
            }
            for number, (image, category, bbox, crowd) in enumerate(objects, start=1)
        ],
    }


def found(image: int, category: int, bbox: list[float], confidence: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": confidence}


MEDIUM = [100.0, 100.0, 50.0, 50.0]
LARGE = [100.0, 100.0, 100.0, 100.0]
ONE_CAT = truth((7, 90, LARGE, 0))
ELSEWHERE = [400.0, 300.0, 100.0, 100.0]

CASES = {
    "everything found": (ONE_CAT, [found(7, 90, LARGE, 0.6)], {"AP": 1, "AR1": 1, "APl": 1}),
    "nothing found": (ONE_CAT, [], {"AP": 0, "AP50": 0, "AR100": 0}),
    "no object to find": (truth(), [found(7, 90, LARGE, 0.6)], dict.fromkeys(METRICS, -1)),
    "only a crowd": (truth((7, 90, LARGE, 1)), [found(7, 90, LARGE, 0.6)], {"AP": -1, "AR1": -1}),
    # 22 of 100 columns off: IoU 78 / 122 = 0.639, enough for 0.50, 0.55 and 0.60 of ten thresholds.
    "a shifted box": (
        ONE_CAT,
        [found(7, 90, [122.0, 100.0, 100.0, 100.0], 0.6)],
        {"AP": 0.3, "AP50": 1, "AP75": 0, "AR100": 0.3},
    ),
    # IoU 30 / 170: under every threshold.
    "a box shifted too far": (
        ONE_CAT,
        [found(7, 90, [170.0, 100.0, 100.0, 100.0], 0.6)],
        {"AP": 0, "AP50": 0},
    ),
    "another class": (ONE_CAT, [found(7, 3, LARGE, 0.6)], {"AP": 0, "AR100": 0}),
    "another image": (ONE_CAT, [found(0, 90, LARGE, 0.6)], {"AP": 0, "AR100": 0}),
    # The false one comes first: precision 1/2 at every recall.
    "a surer false detection": (
        ONE_CAT,
        [found(7, 90, ELSEWHERE, 0.9), found(7, 90, LARGE, 0.6)],
        {"AP": 0.5, "AR1": 0, "AR10": 1},
    ),
    "a less sure false detection": (
        ONE_CAT,
        [found(7, 90, ELSEWHERE, 0.3), found(7, 90, LARGE, 0.6)],
        {"AP": 1, "AR1": 1},
    ),
    "the same object twice": (
        truth((7, 90, LARGE, 0), (0, 90, LARGE, 0)),
        [found(7, 90, LARGE, 0.9), found(7, 90, LARGE, 0.8), found(0, 90, LARGE, 0.7)],
        # Precision 1 up to recall 1/2 (51 of 101 points), then 2/3.
        {"AP50": (51 + 50 * 2 / 3) / 101},
    ),
    # Recall 1/2 with precision 1: 51 of the 101 recall points.
    "half of the objects": (
        truth((7, 90, LARGE, 0), (0, 90, LARGE, 0)),
        [found(7, 90, LARGE, 0.9)],
        {"AP": 51 / 101, "AR100": 0.5},
    ),
    "a detection on a crowd": (
        truth((7, 90, LARGE, 0), (7, 90, ELSEWHERE, 1)),
        [found(7, 90, [420.0, 320.0, 50.0, 50.0], 0.9), found(7, 90, LARGE, 0.6)],
        {"AP": 1, "AR10": 1},
    ),
    "the same without the crowd": (
        truth((7, 90, LARGE, 0)),
        [found(7, 90, [420.0, 320.0, 50.0, 50.0], 0.9), found(7, 90, LARGE, 0.6)],
        {"AP": 0.5, "AR10": 1},
    ),
    "a mean over classes": (
        truth((7, 90, LARGE, 0), (7, 3, LARGE, 0)),
        [found(7, 90, LARGE, 0.9)],
        {"AP": 0.5, "AR100": 0.5},
    ),
    "sizes": (
        truth((7, 90, [0.0, 0.0, 20.0, 20.0], 0), (7, 90, MEDIUM, 0), (0, 90, LARGE, 0)),
        [found(7, 90, MEDIUM, 0.9)],
        {"APs": 0, "APm": 1, "APl": 0, "ARs": 0, "ARm": 1, "ARl": 0},
    ),
    "no small objects": (ONE_CAT, [found(7, 90, LARGE, 0.6)], {"APs": -1, "APm": -1, "ARs": -1}),
}


@pytest.mark.parametrize("name", CASES)
def test_metrics_are_those_of_the_hand(name: str) -> None:
    data, predictions, expected = CASES[name]
    metrics = score(data, predictions).metrics
    assert {key: metrics[key] for key in expected} == pytest.approx(expected)


def test_the_metrics_are_the_twelve_of_pycocotools_in_its_order() -> None:
    assert tuple(score(ONE_CAT, []).metrics) == METRICS
    assert len(METRICS) == 12


@pytest.mark.parametrize(("surer", "recall"), [(99, 1), (100, 0)])
def test_only_the_hundred_best_of_a_class_count_in_an_image(surer: int, recall: int) -> None:
    predictions = [found(7, 90, ELSEWHERE, 0.9)] * surer + [found(7, 90, LARGE, 0.6)]
    scores = score(ONE_CAT, predictions)
    assert scores.metrics["AR100"] == recall
    assert scores.per_class[0].metrics["AR100"] == recall


def test_classes_keep_the_order_and_the_ids_of_the_data_set() -> None:
    data = truth((7, 90, LARGE, 0), (0, 90, LARGE, 0), (0, 90, ELSEWHERE, 1))
    cat, dog = score(data, [found(7, 90, LARGE, 0.9)]).per_class
    assert (cat.label, cat.category_id, cat.truths) == ("cat", 90, 2)
    assert cat.metrics["AP50"] == pytest.approx(51 / 101)
    assert (dog.label, dog.category_id, dog.truths) == ("dog", 3, 0)
    assert dog.metrics == dict.fromkeys(cat.metrics, -1)


def test_scores_of_a_class_at_one_and_at_all_thresholds() -> None:
    cat, _ = score(ONE_CAT, [found(7, 90, [122.0, 100.0, 100.0, 100.0], 0.6)]).per_class
    expected = {"AP": 0.3, "AP50": 1, "AP75": 0, "AR100": 0.3, "APs": -1, "APm": -1, "APl": 0.3}
    expected |= {"ARs": -1, "ARm": -1, "ARl": 0.3}
    assert cat.metrics == pytest.approx(expected)


def test_scores_by_size_and_class() -> None:
    small, medium = [0.0, 0.0, 20.0, 20.0], MEDIUM
    data = truth(
        (7, 90, small, 0), (7, 90, medium, 0), (0, 90, LARGE, 0), (0, 3, LARGE, 0), (0, 3, LARGE, 1)
    )
    scores = score(data, [found(7, 90, medium, 0.9), found(0, 3, LARGE, 0.8)])
    cat, dog = scores.per_class
    assert cat.truths_by_size == {"small": 1, "medium": 1, "large": 1}
    assert dog.truths_by_size == {"small": 0, "medium": 0, "large": 1}
    names = ("APs", "APm", "APl", "ARs", "ARm", "ARl")
    assert [cat.metrics[name] for name in names] == pytest.approx([0, 1, 0, 0, 1, 0])
    assert [dog.metrics[name] for name in names] == pytest.approx([-1, -1, 1, -1, -1, 1])
    assert {size: entry.truths for size, entry in scores.per_size.items()} == {
        "small": 1,
        "medium": 1,
        "large": 2,
    }
    # Of large objects the cat is missed and the dog found.
    assert scores.per_size["large"].metrics == pytest.approx(
        {"AP": 0.5, "AP50": 0.5, "AP75": 0.5, "AR100": 0.5}
    )
    assert scores.per_size["small"].metrics["AP"] == 0


def test_precision_recall_and_fit_are_told_apart_by_size() -> None:
    """A surer false detection halves AP and leaves recall; an IoU of 0.7 isn't one of 0.75."""
    loose = [0.0, 0.0, 100.0, 70.0]
    data = truth((7, 90, [0.0, 0.0, 100.0, 100.0], 0))
    scores = score(
        data, [found(7, 90, [400.0, 300.0, 150.0, 150.0], 0.9), found(7, 90, loose, 0.6)]
    )
    large, cat = scores.per_size["large"].metrics, scores.per_class[0].metrics
    assert large == pytest.approx({"AP": 0.25, "AP50": 0.5, "AP75": 0, "AR100": 0.5})
    assert (cat["APl"], cat["ARl"], cat["AP75"]) == pytest.approx((0.25, 0.5, 0))


@pytest.mark.parametrize(
    ("area", "size"),
    [
        (1023.9, "small"),
        (1024.0, "medium"),
        (9216.0, "medium"),
        (9216.1, "large"),
    ],
)
def test_sizes_go_by_the_area_that_the_annotation_tells(area: float, size: str) -> None:
    data = truth((7, 90, LARGE, 0))
    data["annotations"][0]["area"] = area
    scores = score(data, [found(7, 90, LARGE, 0.9)])
    assert scores.per_class[0].truths_by_size[size] == 1
    assert scores.per_size[size].truths == 1
    assert scores.per_size[size].metrics["AP"] == pytest.approx(1)


def test_the_curve_of_a_class_has_its_area() -> None:
    data = truth((7, 90, LARGE, 0), (0, 90, LARGE, 0))
    cat, dog = score(data, [found(7, 90, LARGE, 0.9)]).per_class
    assert list(cat.precision) == pytest.approx([1.0] * 51 + [0.0] * 50)
    assert (dog.precision == -1).all()


def test_nothing_is_printed_and_the_arguments_stay_as_they_were(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, predictions = truth((7, 90, LARGE, 0)), [found(7, 90, LARGE, 0.6)]
    kept = copy.deepcopy((data, predictions))
    score(data, predictions)
    assert (data, predictions) == kept
    assert capsys.readouterr() == ("", "")


boxes = st.tuples(st.floats(0, 500), st.floats(0, 400), st.floats(1, 140), st.floats(1, 80)).map(
    list
)
objects = st.tuples(
    st.sampled_from([0, 7]), st.sampled_from([90, 3]), boxes, st.sampled_from([0, 0, 0, 1])
)


@settings(deadline=None)
@given(st.lists(objects, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_perfect_detector_scores_one_whatever_the_truth(
    entries: list[tuple[int, int, list[float], int]], random: Any
) -> None:
    predictions = [
        found(image, category, bbox, random.random())
        for image, category, bbox, crowd in entries
        if not crowd
    ]
    metrics = score(truth(*entries), predictions).metrics
    expected = 1 if predictions else -1
    assert metrics["AP"] == pytest.approx(expected)
    assert metrics["AR100"] == pytest.approx(expected)
