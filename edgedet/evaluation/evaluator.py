"""Running a detector over a data set and scoring what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgedet.errors import InvalidInputError
from edgedet.evaluation.coco import ClassScore, SizeScore, check_available, score
from edgedet.evaluation.coco_format import coco_results, coco_truth

if TYPE_CHECKING:
    from edgedet.data.dataset import DetectionDataset, Sample
    from edgedet.runtime.detections import Detections
    from edgedet.runtime.detector import Detector

STAGES = ("preprocess", "inference", "postprocess")


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate` found out.

    Attributes:
        metrics: pycocotools' twelve numbers by name (`edgedet.evaluation.METRICS`): fractions
            0..1, or -1 where the data set holds no object of the kind.
        per_class: the scores of each class, in the order of the data set's labels.
        per_size: the scores of small, medium and large objects.
        images: images evaluated.
        truths: objects to find; crowds not counted.
        predictions: the detections as COCO results, with the data set's own category ids.
        conf: least confidence of a detection.
        seconds: time from the first image to the last score.
        speed: mean milliseconds per image in `preprocess`, `inference` and `postprocess`; empty
            where no detector ran.
    """

    metrics: Mapping[str, float]
    per_class: tuple[ClassScore, ...]
    per_size: Mapping[str, SizeScore]
    images: int
    truths: int
    predictions: list[dict[str, Any]]
    conf: float
    seconds: float
    speed: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON values; predictions and curves left out."""
        return {
            "metrics": dict(self.metrics),
            "per_class": [
                {
                    "label": entry.label,
                    "category_id": entry.category_id,
                    "truths": entry.truths,
                    "truths_by_size": dict(entry.truths_by_size),
                    **entry.metrics,
                }
                for entry in self.per_class
            ],
            "per_size": {
                size: {"truths": entry.truths, **entry.metrics}
                for size, entry in self.per_size.items()
            },
            "images": self.images,
            "truths": self.truths,
            "detections": len(self.predictions),
            "seconds": round(self.seconds, 3),
            "speed": {stage: round(value, 4) for stage, value in self.speed.items()},
        }


def evaluate(
    detector: Detector,
    dataset: DetectionDataset,
    *,
    conf: float = 0.001,
    iou: float = 0.5,
    max_det: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Score a detector on a data set with COCO's metrics.

    Each image is read from its original file and goes through `detector.detect`, the same call
    that users make. Labels of the model and of the data set are matched by name; detections of
    classes that the data set lacks are left out.

    Args:
        detector: the detector to evaluate.
        dataset: images and truth (`edgedet.data.dataset.load_dataset`).
        conf: lowest confidence of a detection; low, because AP needs the whole curve.
        iou: threshold of the non-maximum suppression.
        max_det: most detections per image; COCO counts at most 100.
        progress: called with (images done, images in all) after each image.

    Raises:
        InvalidInputError: the data set is empty, has a class that the model doesn't know, or says
            another size of an image than the file has; or an image can't be read.
        MissingFileError: an image isn't there.
        MissingDependencyError: pycocotools is not installed.
    """
    check_available()
    _check_images(dataset)
    categories = _categories_of_classes(detector.spec.labels, dataset)
    predictions: list[dict[str, Any]] = []
    spent = dict.fromkeys(STAGES, 0.0)
    started = time.perf_counter()
    for done, sample in enumerate(dataset.samples, start=1):
        found = detector.detect(sample.path, conf=conf, iou=iou, max_det=max_det)
        _check_size(found, sample)
        predictions += coco_results(found, sample.image_id, categories)
        for stage in STAGES:
            spent[stage] += found.speed[stage]
        if progress is not None:
            progress(done, len(dataset.samples))
    return _scored(
        dataset,
        predictions,
        conf,
        started,
        {stage: total / len(dataset.samples) for stage, total in spent.items()},
    )


def evaluate_predictions(
    predictions: Sequence[Mapping[str, Any]], dataset: DetectionDataset, *, conf: float = 0.001
) -> EvaluationResult:
    """Score detections that are there already, whoever made them.

    Args:
        predictions: COCO results with the data set's own image and category ids, as
            `edgedet.evaluation.coco_format.read_results` reads them; those on images that the data
            set lacks are left out.
        dataset: images and truth.
        conf: detections with a lower confidence are left out.

    Raises:
        InvalidInputError: the data set is empty.
        MissingDependencyError: pycocotools is not installed.
    """
    check_available()
    _check_images(dataset)
    started = time.perf_counter()
    images = {sample.image_id for sample in dataset.samples}
    kept = [
        dict(entry)
        for entry in predictions
        if entry["score"] >= conf and entry["image_id"] in images
    ]
    return _scored(dataset, kept, conf, started, {})


def _scored(
    dataset: DetectionDataset,
    predictions: list[dict[str, Any]],
    conf: float,
    started: float,
    speed: Mapping[str, float],
) -> EvaluationResult:
    scores = score(coco_truth(dataset), predictions)
    return EvaluationResult(
        metrics=scores.metrics,
        per_class=scores.per_class,
        per_size=scores.per_size,
        images=len(dataset.samples),
        truths=sum(entry.truths for entry in scores.per_class),
        predictions=predictions,
        conf=conf,
        seconds=time.perf_counter() - started,
        speed=speed,
    )


def _check_images(dataset: DetectionDataset) -> None:
    if not dataset.samples:
        raise InvalidInputError(f"The {dataset.name} split has no images to evaluate on.")


def _categories_of_classes(labels: tuple[str, ...], dataset: DetectionDataset) -> dict[int, int]:
    """The data set's category id of each class index of the model."""
    if labels == dataset.labels:
        # Also right where a name occurs twice.
        return dict(enumerate(dataset.category_ids))
    if unknown := [label for label in dataset.labels if label not in labels]:
        names = ", ".join(repr(label) for label in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise InvalidInputError(
            f"The model doesn't know the class {names}{more} of the {dataset.name} split; "
            "use the data set that it was trained for, or rename the classes there."
        )
    category_ids = dict(zip(dataset.labels, dataset.category_ids, strict=True))
    return {
        class_id: category_ids[label]
        for class_id, label in enumerate(labels)
        if label in category_ids
    }


def _check_size(found: Detections, sample: Sample) -> None:
    height, width = found.orig_shape[:2]
    if (height, width) != (sample.height, sample.width):
        raise InvalidInputError(
            f"{sample.path} is {width}x{height}, but its annotations are for "
            f"{sample.width}x{sample.height}; correct the width and height there."
        )
