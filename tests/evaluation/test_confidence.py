"""Precision, recall and F1 against confidence, and what confidence is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgedet.evaluation.calibration import calibration
from edgedet.evaluation.confidence import confidence_curve, outcome
from edgedet.evaluation.matching import Matches

MakeMatches = Callable[..., Matches]

CAT, DOG = 0, 1
PLACES = [(100.0 * n, 0.0, 50.0, 50.0) for n in range(6)]
ELSEWHERE = (0.0, 300.0, 50.0, 50.0)
CROWD = (300.0, 300.0, 100.0, 100.0)

# Four cats; right at 0.9, 0.6 and 0.3, wrong at 0.6 and 0.2, on a crowd at 0.95.
OBJECTS: list[Any] = [*((CAT, place) for place in PLACES[:4]), (CAT, CROWD, "crowd")]
FOUND: list[Any] = [
    (CAT, PLACES[0], 0.9),
    (CAT, PLACES[1], 0.6),
    (CAT, ELSEWHERE, 0.6),
    (CAT, PLACES[2], 0.3),
    (CAT, ELSEWHERE, 0.2),
    (CAT, CROWD, 0.95),
]


def test_the_curve_is_that_of_the_hand(matched: MakeMatches) -> None:
    curve = confidence_curve(matched(OBJECTS, FOUND))
    at = {round(100 * value): position for position, value in enumerate(curve.thresholds)}
    for hundredth, precision, recall in (
        (1, 3 / 5, 3 / 4),
        (20, 3 / 5, 3 / 4),
        (21, 3 / 4, 3 / 4),
        (30, 3 / 4, 3 / 4),
        (31, 2 / 3, 2 / 4),
        (60, 2 / 3, 2 / 4),
        (61, 1, 1 / 4),
        (90, 1, 1 / 4),
    ):
        found = (curve.precision[at[hundredth]], curve.recall[at[hundredth]])
        assert found == pytest.approx((precision, recall)), hundredth
        f1 = 2 * precision * recall / (precision + recall)
        assert curve.f1[at[hundredth]] == pytest.approx(f1)
    assert np.isnan(curve.precision[at[91]])
    assert (curve.recall[at[91]], curve.f1[at[91]]) == (0, 0)


def test_the_best_threshold_is_the_middle_of_the_highest_stretch(matched: MakeMatches) -> None:
    curve = confidence_curve(matched(OBJECTS, FOUND))
    assert curve.best is not None
    # F1 is highest, 3/4, from 0.21 to 0.30.
    point = curve.point(curve.best)
    assert point == {"conf": 0.26, "precision": 0.75, "recall": 0.75, "f1": 0.75}
    assert curve.to_dict()["best"] == point


def test_thresholds_begin_where_the_detector_was_run(matched: MakeMatches) -> None:
    assert confidence_curve(matched(OBJECTS, FOUND)).thresholds[0] == 0.01
    assert confidence_curve(matched(OBJECTS, FOUND), least=0.07).thresholds[0] == 0.07
    assert confidence_curve(matched(OBJECTS, FOUND), least=0.251).thresholds[0] == 0.26
    assert confidence_curve(matched(OBJECTS, FOUND), least=1.0).thresholds.tolist() == [1.0]


def test_one_class_alone(matched: MakeMatches) -> None:
    objects = [*OBJECTS, (DOG, PLACES[4])]
    found = [*FOUND, (DOG, PLACES[4], 0.8), (DOG, PLACES[5], 0.1)]
    matches = matched(objects, found)
    dog = confidence_curve(matches, of_class=DOG)
    assert dog.best is not None
    assert dog.point(dog.best)["f1"] == 1
    assert outcome(matches, 0.05, DOG) == (0.5, 1)
    assert outcome(matches, 0.25, DOG) == (1, 1)
    assert outcome(matches, 0.25) == (4 / 5, 4 / 5)


def test_without_a_right_detection_there_is_no_best(matched: MakeMatches) -> None:
    for objects, found in (([(CAT, PLACES[0])], [(CAT, ELSEWHERE, 0.9)]), ([], []), (OBJECTS, [])):
        curve = confidence_curve(matched(objects, found))
        assert curve.best is None
        assert curve.to_dict()["best"] is None


def test_what_is_not_known_is_none(matched: MakeMatches) -> None:
    assert outcome(matched([], []), 0.25) == (None, None)
    assert outcome(matched(OBJECTS, []), 0.25) == (None, 0)
    assert confidence_curve(matched([], [])).to_dict()["f1"] == [None] * 100


def test_bins_hold_the_detections_of_their_tenth(matched: MakeMatches) -> None:
    bins = {round(10 * entry.low): entry for entry in calibration(matched(OBJECTS, FOUND)).bins}
    assert [bins[number].count for number in range(10)] == [0, 0, 1, 1, 0, 0, 2, 0, 0, 1]
    assert (bins[6].confidence, bins[6].precision) == pytest.approx((0.6, 0.5))
    assert (bins[2].confidence, bins[2].precision) == pytest.approx((0.2, 0))


def test_the_calibration_error_is_that_of_the_hand(matched: MakeMatches) -> None:
    found = calibration(matched(OBJECTS, FOUND), 0.25)
    # 0.9 right, 0.6 right and wrong, 0.3 right; the one on a crowd and the one at 0.2 left out.
    assert found.confidence == pytest.approx((0.9 + 0.6 + 0.6 + 0.3) / 4)
    assert found.precision == pytest.approx(3 / 4)
    assert found.error == pytest.approx((0.1 + 2 * 0.1 + 0.7) / 4)
    assert found.to_dict()["error"] == 0.25


def test_a_confidence_of_one_lies_in_the_last_bin(matched: MakeMatches) -> None:
    found = calibration(matched(OBJECTS, [(CAT, PLACES[0], 1.0)]))
    assert found.bins[9].count == 1
    assert found.error == 0


def test_nothing_detected_is_no_error(matched: MakeMatches) -> None:
    found = calibration(matched(OBJECTS, []))
    assert (found.confidence, found.precision, found.error) == (0, 0, 0)
