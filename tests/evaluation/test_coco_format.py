"""Truth and detections in COCO's forms, and results that others wrote."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.data.dataset import DetectionDataset
from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.evaluation import evaluate_predictions
from edgedet.evaluation.coco_format import coco_truth, read_results

MakeDataset = Callable[..., DetectionDataset]

CAT = (10.0, 20.0, 110.0, 120.0)
RESULT = {"image_id": 42, "category_id": 90, "bbox": [10, 20.5, 100, 100], "score": 0.5}


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> DetectionDataset:
    """One cat on image 42, nothing on image 7."""
    return make_dataset({42: [(CAT, "cat", False)], 7: []})


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Write a value as JSON, or a text as it is."""

    def to_file(content: Any) -> Path:
        path = tmp_path / "results.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to_file


def test_the_area_is_the_annotations_own_where_it_tells_one(dataset: DetectionDataset) -> None:
    (annotation,) = coco_truth(dataset)["annotations"]
    assert annotation["area"] == 100 * 100
    outlined = dataclasses.replace(dataset.samples[0], areas=np.array([900.0], np.float32))
    dataset = dataclasses.replace(dataset, samples=[outlined, dataset.samples[1]])
    (annotation,) = coco_truth(dataset)["annotations"]
    assert annotation["area"] == 900
    result = evaluate_predictions([], dataset)
    assert result.per_size["small"].truths == 1
    assert (result.metrics["APs"], result.metrics["APl"]) == (0, -1)


def test_results_are_read_with_what_is_needed_of_them(
    dataset: DetectionDataset, write: Callable[[Any], Path]
) -> None:
    more = {**RESULT, "segmentation": [], "id": 3}
    assert read_results(write([more, {**RESULT, "score": 1}]), dataset) == [
        RESULT,
        {**RESULT, "score": 1},
    ]
    assert read_results(write([]), dataset) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ({"annotations": []}, "is no list of COCO results"),
        ([RESULT, 3], "result 1 is no object"),
        ([{**RESULT, "bbox": [1, 2, 3]}], "result 0 has a bbox that is not four numbers"),
        ([{**RESULT, "bbox": [1, 2, 3, "4"]}], "not four numbers"),
        ([{**RESULT, "bbox": [1, 2, 3, True]}], "not four numbers"),
        ('[{"bbox": [NaN, 0, 1, 1]}]', "not four numbers"),
        ([{**RESULT, "bbox": [1e300, 0, 1, 1]}], "not four numbers"),
        ([{**RESULT, "bbox": [50, 50, 20, -1]}], "negative size"),
        ([{**RESULT, "score": None}], "a score that is no number, None"),
        ('[{"bbox": [0, 0, 1, 1], "score": Infinity}]', "a score that is no number"),
        ([{**RESULT, "image_id": "42"}], "has the image_id '42', which the val split doesn't have"),
        ([{**RESULT, "image_id": 9}], r"\(it has 7, 42\)"),
        ([{**RESULT, "category_id": 0}], r"category_id 0, .* \(it has 3, 17, 90\)"),
        ([{**RESULT, "category_id": [[]]}], "category_id"),
    ],
)
def test_what_is_no_result_of_this_data_set_is_refused(
    content: Any, sentence: str, dataset: DetectionDataset, write: Callable[[Any], Path]
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        read_results(write(content), dataset)


def test_a_missing_file_is_named(dataset: DetectionDataset, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.json does not exist"):
        read_results(tmp_path / "gone.json", dataset)


def test_predictions_are_scored_from_the_confidence_on(dataset: DetectionDataset) -> None:
    exact = {**RESULT, "bbox": [10.0, 20.0, 100.0, 100.0]}
    result = evaluate_predictions([exact], dataset, conf=0.5)
    assert result.metrics["AP"] == pytest.approx(1)
    assert (result.images, result.truths) == (2, 1)
    assert (result.speed, result.conf) == ({}, 0.5)
    assert evaluate_predictions([exact], dataset, conf=0.51).metrics["AP"] == 0


def test_a_data_set_without_images_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(InvalidInputError, match="val split has no images"):
        evaluate_predictions([], make_dataset({}))
