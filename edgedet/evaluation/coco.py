"""COCO's detection metrics, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import MissingDependencyError

METRICS = (
    "AP",
    "AP50",
    "AP75",
    "APs",
    "APm",
    "APl",
    "AR1",
    "AR10",
    "AR100",
    "ARs",
    "ARm",
    "ARl",
)
"""Names of pycocotools' twelve numbers in its own order (`COCOeval.summarize`)."""

NO_TRUTH = -1.0
"""What pycocotools reports where the data set holds no object to find."""

RECALLS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
"""Recalls at which COCO samples the precision."""

SIZES = ("small", "medium", "large")
"""Objects by area in pixels: under 32², from 32² to 96², over 96²."""

# Positions on the axes of COCOeval's arrays: IoU 0.5 and 0.75 are the first and the sixth threshold
# of ten; the areas are all, small, medium, large; the detection limits are 1, 10, 100 for each
# image and class.
_IOU_50, _IOU_75 = 0, 5
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_LIMIT_100 = 2
_MEDIUM_AREA, _LARGE_AREA = 32.0**2, 96.0**2


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class; fractions 0..1, -1 where the class has no object of that size.

    Attributes:
        label: name of the class.
        category_id: the data set's own id of the class.
        truths: objects to find, crowds not counted.
        metrics: `AP`, `AP50`, `AP75`, `APs`, `APm`, `APl`, `AR100`, `ARs`, `ARm` and `ARl`.
        precision: interpolated precision at IoU 0.5 at each of `RECALLS`; -1 without truth.
        truths_by_size: `truths` for each of `SIZES`.
    """

    label: str
    category_id: int
    truths: int
    metrics: Mapping[str, float]
    precision: NDArray[np.float64]
    truths_by_size: Mapping[str, int]


@dataclass(frozen=True)
class SizeScore:
    """The scores of objects of one size; fractions 0..1, -1 where there are none.

    Attributes:
        truths: objects to find, crowds not counted.
        metrics: `AP`, `AP50`, `AP75` and `AR100`.
    """

    truths: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class CocoScores:
    """COCO's scores of a set of detections.

    Attributes:
        metrics: the twelve numbers (`METRICS`), fractions 0..1 or -1.
        per_class: the scores of each class, in the order of the data set's categories.
        per_size: the scores of objects of each of `SIZES`.
    """

    metrics: Mapping[str, float]
    per_class: tuple[ClassScore, ...]
    per_size: Mapping[str, SizeScore]


def check_available() -> None:
    """Find out before any long work whether pycocotools is there.

    Raises:
        MissingDependencyError: it isn't.
    """
    _cocoeval()


def score(truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> CocoScores:
    """Score predictions against the truth.

    Args:
        truth: a COCO data set: `images`, `categories` and `annotations`, annotation ids above 0.
        predictions: COCO results: `image_id`, `category_id`, `bbox` (x, y, width, height) and
            `score`.

    Crowd annotations are ignored as pycocotools ignores them: a detection on a crowd is neither
    right nor wrong. At most 100 detections of each class count in an image.

    Raises:
        MissingDependencyError: pycocotools is not installed.

    Source: https://cocodataset.org/#detection-eval
    """
    coco, cocoeval = _cocoeval()
    categories = sorted(truth["categories"], key=lambda category: int(category["id"]))
    # pycocotools reports on standard output, which belongs to the command's own result.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = cocoeval(
            _indexed(coco, truth, truth["annotations"]),
            _indexed(coco, truth, [_annotation(n, entry) for n, entry in enumerate(predictions)]),
            "bbox",
        )
        evaluation.params.catIds = [category["id"] for category in categories]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}
    counts = _count(truth)
    by_id = {
        category["id"]: _class_score(evaluation.eval, row, category, counts[category["id"]])
        for row, category in enumerate(categories)
    }
    per_class = tuple(by_id[category["id"]] for category in truth["categories"])
    per_size = {
        size: SizeScore(
            sum(entry.truths_by_size[size] for entry in per_class),
            _metrics(evaluation.eval, slice(None), position),
        )
        for position, size in enumerate(SIZES, start=_SMALL)
    }
    return CocoScores(metrics, per_class, per_size)


def _count(truth: Mapping[str, Any]) -> dict[int, dict[str, int]]:
    """Objects to find of each category, by size."""
    counts = {category["id"]: dict.fromkeys(SIZES, 0) for category in truth["categories"]}
    for annotation in truth["annotations"]:
        if not annotation.get("iscrowd", 0):
            counts[annotation["category_id"]][_size(annotation["area"])] += 1
    return counts


def _size(area: float) -> str:
    small, medium, large = SIZES
    return small if area < _MEDIUM_AREA else medium if area <= _LARGE_AREA else large


def _cocoeval() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise MissingDependencyError(
            "Evaluation needs pycocotools; install it with `pip install 'edgedet[eval]'`."
        ) from None
    return COCO, COCOeval


def _indexed(coco: Any, truth: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]) -> Any:
    # COCO.loadRes fails on an empty list of results, and pycocotools writes into the annotations
    # it is given: so both sides are built here, from copies.
    indexed = coco()
    indexed.dataset = {
        "images": truth["images"],
        "categories": truth["categories"],
        "annotations": [dict(annotation) for annotation in annotations],
    }
    indexed.createIndex()
    return indexed


def _annotation(position: int, prediction: Mapping[str, Any]) -> dict[str, Any]:
    # Ids start at 1, for pycocotools takes a match with id 0 for no match.
    area = prediction["bbox"][2] * prediction["bbox"][3]
    return {**prediction, "id": position + 1, "area": area, "iscrowd": 0}


def _class_score(
    arrays: Mapping[str, Any], row: int, category: Mapping[str, Any], truths: Mapping[str, int]
) -> ClassScore:
    metrics = _metrics(arrays, row, _ALL)
    for letter, position in (("s", _SMALL), ("m", _MEDIUM), ("l", _LARGE)):
        of_size = _metrics(arrays, row, position)
        metrics |= {f"AP{letter}": of_size["AP"], f"AR{letter}": of_size["AR100"]}
    return ClassScore(
        label=str(category["name"]),
        category_id=int(category["id"]),
        truths=sum(truths.values()),
        metrics=metrics,
        precision=arrays["precision"][_IOU_50, :, row, _ALL, _LIMIT_100].copy(),
        truths_by_size=dict(truths),
    )


def _metrics(arrays: Mapping[str, Any], rows: int | slice, size: int) -> dict[str, float]:
    """The mean scores of some classes at one size."""
    # precision: [IoU, recall, class, area, limit]; recall: [IoU, class, area, limit].
    precision = arrays["precision"][:, :, rows, size, _LIMIT_100]
    return {
        "AP": _mean(precision),
        "AP50": _mean(precision[_IOU_50]),
        "AP75": _mean(precision[_IOU_75]),
        "AR100": _mean(arrays["recall"][:, rows, size, _LIMIT_100]),
    }


def _mean(values: NDArray[np.float64]) -> float:
    known = values[values > NO_TRUTH]
    return float(known.mean()) if known.size else NO_TRUTH
