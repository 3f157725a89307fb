"""`evaluate` runs the detector that users run, and keeps the data set's own ids."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import pytest

from edgedet.data.dataset import DetectionDataset
from edgedet.errors import InvalidInputError, MissingDependencyError
from edgedet.evaluation import evaluate

MakeDataset = Callable[..., DetectionDataset]
MakeDetector = Callable[..., Any]

CAT = (10.0, 20.0, 110.0, 120.0)
DOG = (300.0, 100.0, 340.0, 140.0)
TRUTH = {42: [(CAT, "cat", False), (DOG, "dog", False)], 7: [(CAT, "dog", False)]}
PERFECT = {
    "42.png": [(CAT, "cat", 0.9), (DOG, "dog", 0.8)],
    "7.png": [(CAT, "dog", 0.7)],
}


def test_a_perfect_detector_scores_one(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    result = evaluate(fake_detector(PERFECT), make_dataset(TRUTH))
    assert result.metrics["AP"] == pytest.approx(1)
    assert [entry.metrics["AP"] for entry in result.per_class] == pytest.approx([1, 1, -1])
    assert (result.images, result.truths, len(result.predictions)) == (2, 3, 3)
    assert result.seconds > 0


def test_predictions_are_coco_results_with_the_original_ids(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    result = evaluate(fake_detector(PERFECT), make_dataset(TRUTH))
    assert result.predictions[0] == {
        "image_id": 42,
        "category_id": 90,
        "bbox": [10.0, 20.0, 100.0, 100.0],
        "score": pytest.approx(0.9),
    }
    assert [entry["category_id"] for entry in result.predictions] == [90, 3, 3]
    assert [entry["image_id"] for entry in result.predictions] == [42, 42, 7]


def test_each_original_file_goes_through_detect_with_the_options(
    make_dataset: MakeDataset,
    fake_detector: MakeDetector,
) -> None:
    detector, dataset = fake_detector(PERFECT), make_dataset(TRUTH)
    evaluate(detector, dataset, conf=0.01, iou=0.6, max_det=30)
    options = {"conf": 0.01, "iou": 0.6, "max_det": 30}
    assert detector.calls == [(sample.path, options) for sample in dataset.samples]


def test_the_defaults_keep_the_whole_curve(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    detector = fake_detector(PERFECT)
    evaluate(detector, make_dataset(TRUTH))
    assert detector.calls[0][1] == {"conf": 0.001, "iou": 0.5, "max_det": 100}


def test_classes_are_matched_by_name(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    """A model that knows more classes, in another order: its further classes are left out."""
    labels = ("horse", "bird", "dog", "cat")
    answers = {**PERFECT, "7.png": [(CAT, "horse", 0.99), (CAT, "dog", 0.7)]}
    result = evaluate(fake_detector(answers, labels), make_dataset(TRUTH))
    assert result.metrics["AP"] == pytest.approx(1)
    assert [entry["category_id"] for entry in result.predictions] == [90, 3, 3]


def test_a_class_that_the_model_does_not_know_is_refused(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    detector = fake_detector(PERFECT, ("cat", "dog"))
    with pytest.raises(InvalidInputError, match="doesn't know the class 'bird' of the val split"):
        evaluate(detector, make_dataset(TRUTH))
    assert not detector.calls


def test_a_data_set_without_images_is_refused(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    with pytest.raises(InvalidInputError, match="val split has no images"):
        evaluate(fake_detector({}), make_dataset({}))


def test_an_image_of_another_size_than_annotated_is_refused(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    detector = fake_detector(PERFECT, size=(640, 480))
    with pytest.raises(InvalidInputError, match=r"42\.png is 480x640, but .* 640x480"):
        evaluate(detector, make_dataset(TRUTH))


def test_crowds_are_neither_found_nor_missed(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    dataset = make_dataset({42: [(CAT, "cat", False), (DOG, "cat", True)]})
    answers = {"42.png": [(DOG, "cat", 0.9), (CAT, "cat", 0.8)]}
    result = evaluate(fake_detector(answers), dataset)
    assert result.metrics["AP"] == pytest.approx(1)
    assert result.truths == 1


def test_images_without_objects_count_only_by_their_false_detections(
    make_dataset: MakeDataset,
    fake_detector: MakeDetector,
) -> None:
    dataset = make_dataset({42: [(CAT, "cat", False)], 7: []})
    quiet = fake_detector({"42.png": [(CAT, "cat", 0.8)]})
    noisy = fake_detector({"42.png": [(CAT, "cat", 0.8)], "7.png": [(DOG, "cat", 0.9)]})
    assert evaluate(quiet, dataset).metrics["AP"] == pytest.approx(1)
    assert evaluate(noisy, dataset).metrics["AP"] == pytest.approx(0.5)


def test_progress_is_told_after_each_image(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    steps: list[tuple[int, int]] = []
    evaluate(
        fake_detector(PERFECT),
        make_dataset(TRUTH),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 2), (2, 2)]


def test_speed_is_the_mean_per_image(
    make_dataset: MakeDataset, fake_detector: MakeDetector
) -> None:
    result = evaluate(fake_detector(PERFECT), make_dataset(TRUTH))
    assert result.speed == {"preprocess": 1.0, "inference": 4.0, "postprocess": 0.5}


def test_without_pycocotools_it_says_what_to_install_before_any_work(
    make_dataset: MakeDataset, fake_detector: MakeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    detector = fake_detector(PERFECT)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgedet\[eval\]'"):
        evaluate(detector, make_dataset(TRUTH))
    assert not detector.calls


def test_the_result_as_json_values(make_dataset: MakeDataset, fake_detector: MakeDetector) -> None:
    result = evaluate(fake_detector(PERFECT), make_dataset(TRUTH))
    content: dict[str, Any] = dataclasses.replace(result, seconds=1.5).to_dict()
    assert content["seconds"] == 1.5
    assert content["detections"] == 3
    assert content["metrics"] == result.metrics
    assert content["per_size"]["medium"] == {"truths": 1, **result.per_size["medium"].metrics}
    assert content["per_class"][1] == {
        "label": "dog",
        "category_id": 3,
        "truths": 2,
        "truths_by_size": {"small": 0, "medium": 1, "large": 1},
        **result.per_class[1].metrics,
    }
