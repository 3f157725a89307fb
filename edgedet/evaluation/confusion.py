"""Which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluation.matching import Matches, take_greedily


@dataclass(frozen=True)
class Confusion:
    """Objects of one class that were taken for another.

    Attributes:
        truth: what the objects are.
        detected: what the detector called them.
        count: how many.
        share: of all objects of the class, 0..1.
    """

    truth: str
    detected: str
    count: int
    share: float


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Objects by what they are and what they were taken for.

    Attributes:
        labels: the K classes.
        counts: [K + 1, K + 1] int64; rows are the truth, columns what was detected. The last row
            holds detections that found no object, the last column missed objects. The diagonal
            is what `match` counts as right.
        conf: least confidence of the detections.
        iou_threshold: least overlap of a detection with its object.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    conf: float
    iou_threshold: float

    def normalized(self) -> NDArray[np.float64]:
        """Counts as shares of their row, [K + 1, K + 1]; rows without any are 0."""
        sums = self.counts.sum(axis=1, keepdims=True)
        return self.counts / np.maximum(sums, 1)

    def most_confused(self, count: int = 10) -> list[Confusion]:
        """The most frequent confusions of two classes, at most `count`."""
        classes = len(self.labels)
        between = self.counts[:classes, :classes].copy()
        np.fill_diagonal(between, 0)
        shares = self.normalized()
        order = np.argsort(-between, axis=None, kind="stable")[:count]
        return [
            Confusion(
                self.labels[row],
                self.labels[column],
                int(between[row, column]),
                float(shares[row, column]),
            )
            for row, column in zip(*np.unravel_index(order, between.shape), strict=True)
            if between[row, column]
        ]

    def to_dict(self) -> dict[str, Any]:
        """The matrix as JSON values."""
        return {
            "conf": self.conf,
            "iou": self.iou_threshold,
            "labels": [*self.labels, "background"],
            "counts": self.counts.tolist(),
        }


def confusion_matrix(
    matches: Matches, labels: tuple[str, ...], conf: float = 0.25
) -> ConfusionMatrix:
    """Count what objects were taken for.

    First detections and objects of the same class are matched, as `match` does. Then each
    detection that is left, in order of descending confidence, takes the object with which it
    overlaps most among those that are left: these are confusions. What remains is a false
    detection or a missed object; detections on a crowd of their class are left out.

    Args:
        matches: detections and objects of the whole data set.
        labels: name of each class, in the order of `matches.category_ids`.
        conf: least confidence of a detection.
    """
    classes = len(labels)
    finds = np.where(matches.scores >= conf, matches.finds, -1)
    left = (matches.scores >= conf) & (finds < 0) & ~matches.ignored
    missed = matches.missed(conf)
    of_pair = matches.pairs.T
    allowed = left[of_pair[0]] & missed[of_pair[1]] & (matches.overlaps >= matches.iou_threshold)
    take_greedily(matches.pairs, matches.overlaps, allowed, finds)
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    paired = finds >= 0
    truth, detected = matches.object_classes[finds[paired]], matches.classes[paired]
    pairs = np.bincount(truth * classes + detected, minlength=classes**2)
    counts[:classes, :classes] = pairs.reshape(classes, classes)
    counts[-1, :-1] = np.bincount(matches.classes[left & ~paired], minlength=classes)
    missed[finds[paired]] = False
    counts[:-1, -1] = np.bincount(matches.object_classes[missed], minlength=classes)
    return ConfusionMatrix(tuple(labels), counts, conf, matches.iou_threshold)
