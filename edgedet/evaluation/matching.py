"""Which detection found which object, over a whole data set at one IoU threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import area, iou

BACKGROUND_IOU = 0.1
"""A detection that overlaps no object more than this is on the background (Bolya et al. 2020)."""

# Overlaps worked out at once, so that an image of very many objects doesn't need memory for all.
_MOST_OVERLAPS = 2**22


@dataclass(frozen=True, eq=False)
class Matches:
    """D detections and N objects of I images, and how they belong together.

    Detections go by image and then by descending score, objects by image. Classes are positions in
    `category_ids`, images positions in `image_ids`; boxes are float32 `x0, y0, x1, y1` in pixels.

    Attributes:
        category_ids: the data set's id of each class.
        image_ids: the data set's id of each image.
        iou_threshold: least overlap of a detection with the object that it finds.
        boxes: detections, [D, 4].
        scores: [D] float64.
        classes: [D] int64.
        images: [D] int64, non-decreasing.
        finds: [D] int64, the object that each detection finds; -1 for none.
        ignored: [D] bool, found nothing but lies on a crowd of its class: neither right nor wrong.
        object_boxes: [N, 4].
        object_classes: [N] int64.
        object_images: [N] int64, non-decreasing.
        crowd: [N] bool; a crowd is neither found nor missed.
        finder: [N] int64, the detection that finds each object; -1 for none.
        pairs: [P, 2] int64, each detection and object, crowds apart, that overlap by
            `BACKGROUND_IOU` or more, whatever their classes; by detection.
        overlaps: [P] float32, IoU of each pair.
    """

    category_ids: tuple[int, ...]
    image_ids: tuple[int, ...]
    iou_threshold: float
    boxes: NDArray[np.float32]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]
    images: NDArray[np.int64]
    finds: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    object_boxes: NDArray[np.float32]
    object_classes: NDArray[np.int64]
    object_images: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    finder: NDArray[np.int64]
    pairs: NDArray[np.int64]
    overlaps: NDArray[np.float32]

    @property
    def right(self) -> NDArray[np.bool_]:
        """[D], whether a detection finds an object."""
        return self.finds >= 0

    def missed(self, conf: float) -> NDArray[np.bool_]:
        """[N], whether an object is found by no detection with a score of `conf` or more."""
        # Index -1 reads the last, which is below every confidence.
        scores = np.append(self.scores, np.nan)
        missed: NDArray[np.bool_] = ~self.crowd & ~(scores[self.finder] >= conf)
        return missed


def match(
    truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    *,
    iou_threshold: float = 0.5,
) -> Matches:
    """Match detections with objects on each image, as COCO does at one IoU threshold.

    In order of descending score, a detection takes the object of its class with which it overlaps
    most, if their IoU reaches the threshold and the object is not yet taken. So the matches above
    a score are the same whether the detections below it are there or not.

    Args:
        truth: a COCO data set, as for `edgedet.evaluation.score`.
        predictions: COCO results on its images and categories.
        iou_threshold: least overlap of a detection with its object.
    """
    image_ids = tuple(image["id"] for image in truth["images"])
    category_ids = tuple(category["id"] for category in truth["categories"])
    objects = _columns(truth["annotations"], image_ids, category_ids)
    found = _columns(predictions, image_ids, category_ids)
    scores = np.array([entry["score"] for entry in predictions], np.float64)
    objects_in_order = np.argsort(objects.images, kind="stable")
    found_in_order = np.lexsort((-scores, found.images))
    objects, found = objects.take(objects_in_order), found.take(found_in_order)
    crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in truth["annotations"]], bool)
    crowd = crowd[objects_in_order]

    finds = np.full(len(found.images), -1, np.int64)
    ignored = np.zeros(len(found.images), bool)
    pairs: list[NDArray[np.int64]] = []
    overlaps: list[NDArray[np.float32]] = []
    every = np.arange(len(image_ids) + 1)
    object_bounds = np.searchsorted(objects.images, every)
    found_bounds = np.searchsorted(found.images, every)
    for image in range(len(image_ids)):
        rows = np.arange(found_bounds[image], found_bounds[image + 1])
        columns = np.arange(object_bounds[image], object_bounds[image + 1])
        if not len(rows) or not len(columns):
            continue
        crowds, columns = columns[crowd[columns]], columns[~crowd[columns]]
        near, shared = _pairs(found.boxes[rows], objects.boxes[columns])
        near = np.stack([rows[near[:, 0]], columns[near[:, 1]]], axis=1)
        pairs.append(near)
        overlaps.append(shared)
        own = found.classes[near[:, 0]] == objects.classes[near[:, 1]]
        take_greedily(near, shared, own & (shared >= iou_threshold), finds)
        if len(crowds):
            rows = rows[finds[rows] < 0]
            same = found.classes[rows, None] == objects.classes[None, crowds]
            within = _share_within(found.boxes[rows], objects.boxes[crowds]) >= iou_threshold
            ignored[rows] = (same & within).any(axis=1)
    finder = np.full(len(objects.images), -1, np.int64)
    finder[finds[finds >= 0]] = np.flatnonzero(finds >= 0)
    return Matches(
        category_ids=category_ids,
        image_ids=image_ids,
        iou_threshold=iou_threshold,
        boxes=found.boxes,
        scores=scores[found_in_order],
        classes=found.classes,
        images=found.images,
        finds=finds,
        ignored=ignored,
        object_boxes=objects.boxes,
        object_classes=objects.classes,
        object_images=objects.images,
        crowd=crowd,
        finder=finder,
        pairs=np.concatenate([np.empty((0, 2), np.int64), *pairs]),
        overlaps=np.concatenate([np.empty(0, np.float32), *overlaps]),
    )


def take_greedily(
    pairs: NDArray[np.int64],
    overlaps: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    finds: NDArray[np.int64],
) -> None:
    """Give each detection in turn the free object that it overlaps most.

    Args:
        pairs: [P, 2], detection and object.
        overlaps: [P].
        allowed: [P], whether the pair may be made.
        finds: [D], written: the object of each detection that gets one.
    """
    pairs, overlaps = pairs[allowed], overlaps[allowed]
    taken: set[int] = set()
    done = -1
    for index in np.lexsort((-overlaps, pairs[:, 0])):
        detection, target = pairs[index].tolist()
        if detection != done and target not in taken:
            finds[detection] = target
            taken.add(target)
            done = detection


@dataclass(frozen=True, eq=False)
class _Columns:
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    images: NDArray[np.int64]

    def take(self, order: NDArray[np.int64]) -> _Columns:
        return _Columns(self.boxes[order], self.classes[order], self.images[order])


def _columns(
    entries: Sequence[Mapping[str, Any]],
    image_ids: tuple[int, ...],
    category_ids: tuple[int, ...],
) -> _Columns:
    image_at = {identity: position for position, identity in enumerate(image_ids)}
    class_at = {identity: position for position, identity in enumerate(category_ids)}
    boxes = np.array([entry["bbox"] for entry in entries], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return _Columns(
        boxes,
        np.array([class_at[entry["category_id"]] for entry in entries], np.int64),
        np.array([image_at[entry["image_id"]] for entry in entries], np.int64),
    )


def _pairs(
    found: NDArray[np.float32], objects: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The pairs that overlap by `BACKGROUND_IOU`, [P, 2], and their IoU, [P]."""
    step = max(1, _MOST_OVERLAPS // max(1, len(objects)))
    pairs, overlaps = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for start in range(0, len(found), step):
        shared = iou(found[start : start + step], objects)
        near = np.argwhere(shared >= np.float32(BACKGROUND_IOU))
        overlaps.append(shared[near[:, 0], near[:, 1]])
        pairs.append(near + np.array([start, 0]))
    return np.concatenate(pairs), np.concatenate(overlaps)


def _share_within(found: NDArray[np.float32], crowds: NDArray[np.float32]) -> NDArray[np.float32]:
    # Against a crowd COCO divides by the detection's own area, not by the union.
    low = np.maximum(found[:, None, :2], crowds[None, :, :2])
    high = np.minimum(found[:, None, 2:], crowds[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    own = np.broadcast_to(area(found)[:, None], shared.shape)
    share: NDArray[np.float32] = np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)
    return share
