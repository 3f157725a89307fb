"""What went wrong on each image at one confidence: objects missed, and false detections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import iou


@dataclass(frozen=True)
class ImageMistakes:
    """Outcome on one image; boxes are [N, 4] float32 `x0, y0, x1, y1` in pixels.

    Attributes:
        image_id: the data set's own id of the image.
        hits: detections that found an object of their class.
        false: detections that found nothing; those on a crowd are left out.
        false_classes: category id of each false detection.
        missed: objects that no detection of their class found.
        missed_classes: category id of each missed object.
    """

    image_id: int
    hits: NDArray[np.float32]
    false: NDArray[np.float32]
    false_classes: tuple[int, ...]
    missed: NDArray[np.float32]
    missed_classes: tuple[int, ...]

    @property
    def count(self) -> int:
        """Mistakes in all: missed objects and false detections."""
        return len(self.false) + len(self.missed)


def find_mistakes(
    truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    *,
    conf: float = 0.25,
    iou_threshold: float = 0.5,
) -> list[ImageMistakes]:
    """Match detections with objects on each image, as COCO does at one IoU threshold.

    In order of descending score, a detection takes the object of its class with which it overlaps
    most, if their IoU reaches the threshold and the object is not yet taken.

    Args:
        truth: a COCO data set, as for `edgedet.evaluation.score`.
        predictions: COCO results; those below `conf` are left out.
        conf: the confidence at which the detector is used.
        iou_threshold: least overlap of a detection with its object.
    """
    objects = defaultdict(list)
    for annotation in truth["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    detections = defaultdict(list)
    for prediction in predictions:
        if prediction["score"] >= conf:
            detections[prediction["image_id"]].append(prediction)
    return [
        _match(image["id"], objects[image["id"]], detections[image["id"]], iou_threshold)
        for image in truth["images"]
    ]


def _match(
    image_id: int,
    objects: list[Mapping[str, Any]],
    detections: list[Mapping[str, Any]],
    iou_threshold: float,
) -> ImageMistakes:
    detections = sorted(detections, key=lambda entry: -entry["score"])
    boxes, found = _corners(objects), _corners(detections)
    overlaps = iou(found, boxes)
    classes = np.array([entry["category_id"] for entry in objects], dtype=np.int64)
    crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in objects], dtype=bool)
    free = ~crowd
    hits, false = [], []
    for row, detection in enumerate(detections):
        same = classes == detection["category_id"]
        candidates = np.flatnonzero(same & free & (overlaps[row] >= iou_threshold))
        if candidates.size:
            free[candidates[np.argmax(overlaps[row, candidates])]] = False
            hits.append(row)
        elif not _on_crowd(found[row], boxes[same & crowd], iou_threshold):
            false.append(row)
    return ImageMistakes(
        image_id=image_id,
        hits=found[hits],
        false=found[false],
        false_classes=tuple(detections[row]["category_id"] for row in false),
        missed=boxes[free],
        missed_classes=tuple(int(category) for category in classes[free]),
    )


def _corners(entries: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
    boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _on_crowd(box: NDArray[np.float32], crowds: NDArray[np.float32], iou_threshold: float) -> bool:
    # Against a crowd COCO divides by the detection's own area, not by the union.
    sides = np.minimum(box[2:], crowds[:, 2:]) - np.maximum(box[:2], crowds[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    return bool(np.any(shared >= iou_threshold * np.prod(box[2:] - box[:2])))
