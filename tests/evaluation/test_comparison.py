"""The change from one evaluation to another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.data.dataset import DetectionDataset
from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.evaluation import METRICS, compare, evaluate
from edgedet.evaluation.comparison import read_baseline

CAT = (10.0, 20.0, 310.0, 320.0)
DOG = (400.0, 100.0, 420.0, 120.0)
TRUTH = {42: [(CAT, "cat", False), (DOG, "dog", False)]}


@pytest.fixture
def contents(
    make_dataset: Callable[..., DetectionDataset], fake_detector: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two evaluations: both find the cat, only the first the small dog."""
    dataset = make_dataset(TRUTH)
    cat, dog = (CAT, "cat", 0.9), (DOG, "dog", 0.8)
    before = evaluate(fake_detector({"42.png": [cat, dog]}), dataset).to_dict()
    after = evaluate(fake_detector({"42.png": [cat]}), dataset).to_dict()
    return {**before, "model": "a.keras"}, {**after, "model": "a-int8.tflite"}


def test_changes_are_told_overall_by_class_and_by_size(
    contents: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    comparison = compare(*contents)
    assert (comparison.before, comparison.after) == ("a.keras", "a-int8.tflite")
    assert tuple(comparison.metrics) == METRICS
    assert comparison.metrics["AP"].difference == pytest.approx(-0.5)
    assert comparison.per_class["cat"]["AP"].difference == 0
    assert comparison.per_class["dog"]["APs"].to_dict() == pytest.approx(
        {"before": 1, "after": 0, "difference": -1}
    )
    assert comparison.per_size["small"]["AP"].difference == pytest.approx(-1)
    assert comparison.per_size["large"]["AR100"].difference == 0
    assert comparison.remarks == ()


def test_where_there_is_no_object_there_is_no_change(
    contents: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    comparison = compare(*contents)
    assert comparison.per_class["bird"]["AP"].to_dict() == dict.fromkeys(
        ("before", "after", "difference")
    )
    assert comparison.per_size["medium"]["AP"].difference is None


def test_classes_that_only_one_has_are_kept(
    contents: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    before, after = contents
    before["per_class"][0]["label"] = "lion"
    comparison = compare(before, after)
    assert list(comparison.per_class) == ["cat", "dog", "bird", "lion"]
    assert comparison.per_class["cat"]["AP"].before is None
    assert comparison.per_class["lion"]["AP"].after is None


def test_other_conditions_are_remarked(contents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    before, after = contents
    comparison = compare({**before, "split": "val"}, {**after, "split": "test", "images": 3})
    assert comparison.remarks == (
        "split differs: val before, test now",
        "images differs: 1 before, 3 now",
    )


def test_it_survives_json(contents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    content = compare(*contents).to_dict()
    assert json.loads(json.dumps(content)) == content


def test_a_baseline_is_a_file_or_its_directory(
    contents: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(contents[0]))
    assert read_baseline(tmp_path) == read_baseline(tmp_path / "metrics.json") == contents[0]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "[]",
        "{}",
        '{"metrics": {"AP": 1}, "per_class": []}',
        json.dumps({"metrics": dict.fromkeys(METRICS, 0.5)}),
        json.dumps({"metrics": dict.fromkeys(METRICS, "a"), "per_class": []}),
        json.dumps({"metrics": dict.fromkeys(METRICS, 54.3), "per_class": []}),
        json.dumps({"metrics": dict.fromkeys(METRICS, 0.5), "per_class": [{"label": 3, "AP": 1}]}),
        json.dumps({"metrics": dict.fromkeys(METRICS, 0.5), "per_class": [], "per_size": [1]}),
        json.dumps({"metrics": dict.fromkeys(METRICS, 0.5), "per_class": [], "per_size": {"a": 1}}),
    ],
)
def test_what_is_no_evaluation_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(InvalidInputError, match=r"no metrics\.json of an evaluation"):
        read_baseline(tmp_path / "metrics.json")


def test_a_missing_baseline_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.json does not exist"):
        read_baseline(tmp_path / "gone.json")
