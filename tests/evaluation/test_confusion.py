"""What is taken for what: by hand, and as supervision counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgedet.evaluation.confusion import confusion_matrix
from edgedet.evaluation.matching import Matches, match

MakeMatches = Callable[..., Matches]

LABELS = ("cat", "dog", "bird")
CAT, DOG, BIRD, NOTHING = range(4)
A = (0.0, 0.0, 100.0, 100.0)
A_SHIFTED = (10.0, 0.0, 100.0, 100.0)
A_LOOSE = (60.0, 0.0, 100.0, 100.0)  # IoU with A 40 / 160
B = (300.0, 300.0, 50.0, 50.0)
INSIDE_B = (310.0, 310.0, 10.0, 10.0)

CASES: dict[str, tuple[list[Any], list[Any], dict[tuple[int, int], int]]] = {
    "right": ([(CAT, A)], [(CAT, A, 0.9)], {(CAT, CAT): 1}),
    "wrong class": ([(CAT, A)], [(DOG, A, 0.9)], {(CAT, DOG): 1}),
    "missed": ([(BIRD, A)], [], {(BIRD, NOTHING): 1}),
    "on the background": ([], [(DOG, A, 0.9)], {(NOTHING, DOG): 1}),
    "a loose box": ([(CAT, A)], [(CAT, A_LOOSE, 0.9)], {(CAT, NOTHING): 1, (NOTHING, CAT): 1}),
    "too unsure": ([(CAT, A)], [(DOG, A, 0.24)], {(CAT, NOTHING): 1}),
    "a duplicate": (
        [(CAT, A)],
        [(CAT, A, 0.9), (CAT, A_SHIFTED, 0.8)],
        {(CAT, CAT): 1, (NOTHING, CAT): 1},
    ),
    "the right class goes first, even if less sure": (
        [(CAT, A)],
        [(DOG, A, 0.9), (CAT, A_SHIFTED, 0.5)],
        {(CAT, CAT): 1, (NOTHING, DOG): 1},
    ),
    "too unsure a right class leaves the object to a wrong one": (
        [(CAT, A)],
        [(DOG, A, 0.9), (CAT, A_SHIFTED, 0.2)],
        {(CAT, DOG): 1},
    ),
    "of two wrong classes the surer is counted": (
        [(CAT, A)],
        [(DOG, A, 0.5), (BIRD, A_SHIFTED, 0.9)],
        {(CAT, BIRD): 1, (NOTHING, DOG): 1},
    ),
    "a wrong class takes the object it overlaps most": (
        [(CAT, A_SHIFTED), (BIRD, A)],
        [(DOG, A, 0.9)],
        {(BIRD, DOG): 1, (CAT, NOTHING): 1},
    ),
    "and the next if that is found": (
        [(CAT, A_SHIFTED), (BIRD, A)],
        [(DOG, A, 0.9), (BIRD, A, 0.8)],
        {(BIRD, BIRD): 1, (CAT, DOG): 1},
    ),
    "inside a crowd": ([(CAT, B, "crowd")], [(CAT, INSIDE_B, 0.9)], {}),
    "inside another's crowd": ([(DOG, B, "crowd")], [(CAT, B, 0.9)], {(NOTHING, CAT): 1}),
    "on another image": ([(CAT, A)], [(DOG, A, 0.9, 6)], {(CAT, NOTHING): 1, (NOTHING, DOG): 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_cells_are_those_of_the_hand(name: str, matched: MakeMatches) -> None:
    objects, found, cells = CASES[name]
    matrix = confusion_matrix(matched(objects, found), LABELS)
    expected = np.zeros((4, 4), np.int64)
    for cell, count in cells.items():
        expected[cell] = count
    np.testing.assert_array_equal(matrix.counts, expected)


def test_rows_are_normalized_by_the_objects_of_a_class(matched: MakeMatches) -> None:
    objects = [(CAT, A), (CAT, B), (CAT, (200.0, 0.0, 50.0, 50.0)), (CAT, (400.0, 0.0, 50.0, 50.0))]
    matrix = confusion_matrix(matched(objects, [(CAT, A, 0.9), (DOG, B, 0.9)]), LABELS)
    np.testing.assert_allclose(matrix.normalized()[CAT], [0.25, 0.25, 0, 0.5])
    np.testing.assert_array_equal(matrix.normalized()[BIRD], 0)


def test_the_most_frequent_confusions_come_first(matched: MakeMatches) -> None:
    places = [(100.0 * n, 0.0, 50.0, 50.0) for n in range(6)]
    objects = [(CAT, place) for place in places]
    found = [
        (index, place, 0.9)
        for index, place in zip([DOG, BIRD, BIRD, CAT, CAT, CAT], places, strict=True)
    ]
    first, second = confusion_matrix(matched(objects, found), LABELS).most_confused()
    assert (first.truth, first.detected, first.count) == ("cat", "bird", 2)
    assert first.share == pytest.approx(1 / 3)
    assert (second.truth, second.detected, second.count) == ("cat", "dog", 1)


def test_json_values(matched: MakeMatches) -> None:
    content = confusion_matrix(matched([(CAT, A)], [(DOG, A, 0.9)]), LABELS, 0.4).to_dict()
    assert content["labels"] == ["cat", "dog", "bird", "background"]
    assert content["counts"][CAT] == [0, 1, 0, 0]
    assert (content["conf"], content["iou"]) == (0.4, 0.5)


@pytest.mark.filterwarnings("ignore:OpenCV")
@pytest.mark.parametrize("seed", range(8))
def test_supervision_counts_the_same(seed: int) -> None:
    """On scenes of objects apart, where its order by IoU is ours by confidence."""
    import supervision

    random = np.random.default_rng(seed)
    classes, images = 4, range(12)
    objects: list[list[tuple[int, list[float]]]] = []
    found: list[list[tuple[int, list[float], float]]] = []
    for _ in images:
        objects.append([])
        found.append([])
        for cell in range(9):
            x, y = 100.0 * (cell % 3), 100.0 * (cell // 3)
            if random.random() < 0.7:
                label = int(random.integers(classes))
                objects[-1].append((label, [x, y, 60.0, 60.0]))
                seen = label if random.random() < 0.6 else int(random.integers(classes))
                shift = random.uniform(0, 40)
                if random.random() < 0.8:
                    found[-1].append((seen, [x + shift, y, 60.0, 60.0], 0.95 - shift / 100))
                    # A second one fits less and never has the right class where the first hasn't.
                    again = int(random.integers(classes))
                    if random.random() < 0.5 and (again != label or seen == label):
                        box = [x + shift + 5, y, 60.0, 60.0]
                        found[-1].append((again, box, 0.9 - shift / 100))
            elif random.random() < 0.3:
                found[-1].append(
                    (int(random.integers(classes)), [x, y, 30.0, 30.0], random.uniform(0.1, 0.9))
                )
    truth = {
        "images": [{"id": image} for image in images],
        "categories": [{"id": index} for index in range(classes)],
        "annotations": [
            {"image_id": image, "category_id": label, "bbox": box}
            for image in images
            for label, box in objects[image]
        ],
    }
    results = [
        {"image_id": image, "category_id": label, "bbox": box, "score": value}
        for image in images
        for label, box, value in found[image]
    ]
    labels = tuple("abcd")
    ours = confusion_matrix(match(truth, results), labels, 0.5).counts

    def corners(boxes: list[list[float]]) -> Any:
        array = np.array(boxes, float).reshape(-1, 4)
        array[:, 2:] += array[:, :2]
        return array

    theirs = supervision.ConfusionMatrix.from_detections(
        predictions=[
            supervision.Detections(
                corners([box for _, box, _ in entries]),
                confidence=np.array([value for _, _, value in entries]),
                class_id=np.array([label for label, _, _ in entries], int),
            )
            for entries in found
        ],
        targets=[
            supervision.Detections(
                corners([box for _, box in entries]),
                class_id=np.array([label for label, _ in entries], int),
            )
            for entries in objects
        ],
        classes=list(labels),
        conf_threshold=0.5,
        iou_threshold=0.5,
    ).matrix
    np.testing.assert_array_equal(ours, theirs)
    assert np.trace(ours) > 10
    assert ours[:4, :4].sum() > np.trace(ours) + 3
    assert ours[4].sum() > 3
    assert ours[:, 4].sum() > 3
