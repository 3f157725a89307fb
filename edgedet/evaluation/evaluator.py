"""Running a detector over a data set and scoring what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgedet.errors import InvalidInputError
from edgedet.evaluation.coco import ClassScore, check_available, score

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
        images: images evaluated.
        truths: objects to find; crowds not counted.
        predictions: the detections as COCO results, with the data set's own category ids.
        seconds: time from the first image to the last score.
        speed: mean milliseconds per image in `preprocess`, `inference` and `postprocess`.
    """

    metrics: Mapping[str, float]
    per_class: tuple[ClassScore, ...]
    images: int
    truths: int
    predictions: list[dict[str, Any]]
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
                    **entry.metrics,
                }
                for entry in self.per_class
            ],
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
    if not dataset.samples:
        raise InvalidInputError(f"The {dataset.name} split has no images to evaluate on.")
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
    scores = score(coco_truth(dataset), predictions)
    return EvaluationResult(
        metrics=scores.metrics,
        per_class=scores.per_class,
        images=len(dataset.samples),
        truths=sum(entry.truths for entry in scores.per_class),
        predictions=predictions,
        seconds=time.perf_counter() - started,
        speed={stage: total / len(dataset.samples) for stage, total in spent.items()},
    )


def coco_truth(dataset: DetectionDataset) -> dict[str, Any]:
    """The data set as a COCO object, with its original image and category ids."""
    annotations: list[dict[str, Any]] = []
    for sample in dataset.samples:
        for box, class_id, crowd in zip(sample.boxes, sample.classes, sample.crowd, strict=True):
            x0, y0, x1, y1 = (float(value) for value in box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": dataset.category_ids[int(class_id)],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "images": [
            {
                "id": sample.image_id,
                "file_name": sample.path.name,
                "width": sample.width,
                "height": sample.height,
            }
            for sample in dataset.samples
        ],
        "categories": [
            {"id": category, "name": label}
            for category, label in zip(dataset.category_ids, dataset.labels, strict=True)
        ],
        "annotations": annotations,
    }


def coco_results(
    found: Detections, image_id: int, categories: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Detections as COCO results; classes that `categories` doesn't map are left out."""
    results = []
    for box, confidence, class_id in zip(found.xyxy, found.confidence, found.class_id, strict=True):
        if int(class_id) not in categories:
            continue
        x0, y0, x1, y1 = (float(value) for value in box)
        results.append(
            {
                "image_id": image_id,
                "category_id": categories[int(class_id)],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": float(confidence),
            }
        )
    return results


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
