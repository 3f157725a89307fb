"""Precision, recall and F1 against the confidence that a detection needs to be shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluation.matching import Matches


@dataclass(frozen=True, eq=False)
class ConfidenceCurve:
    """What T thresholds of confidence lead to; fractions 0..1.

    Attributes:
        thresholds: [T] float64, ascending, whole hundredths.
        precision: [T], share of right detections; NaN where nothing is detected.
        recall: [T], share of objects found; NaN without objects.
        f1: [T], harmonic mean of both; NaN where there is neither a detection nor an object.
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    @property
    def best(self) -> int | None:
        """Position of the threshold with the highest F1; None where no detection is right."""
        if not self.f1.size or not np.nanmax(self.f1, initial=0.0) > 0:
            return None
        tied = np.flatnonzero(self.f1 == np.nanmax(self.f1))
        # In the middle of a plateau, the threshold that other pictures are least likely to upset.
        return int(tied[len(tied) // 2])

    def point(self, position: int) -> dict[str, float | None]:
        """`conf`, `precision`, `recall` and `f1` at one threshold; None for NaN."""
        return {
            "conf": float(self.thresholds[position]),
            "precision": _known(self.precision[position]),
            "recall": _known(self.recall[position]),
            "f1": _known(self.f1[position]),
        }

    def to_dict(self) -> dict[str, Any]:
        """The best threshold and the whole curve as JSON values, four decimals."""
        best = self.best
        return {
            "best": None if best is None else self.point(best),
            "thresholds": self.thresholds.tolist(),
            "precision": [_known(value) for value in self.precision.tolist()],
            "recall": [_known(value) for value in self.recall.tolist()],
            "f1": [_known(value) for value in self.f1.tolist()],
        }


def confidence_curve(
    matches: Matches, *, least: float = 0.001, of_class: int | None = None
) -> ConfidenceCurve:
    """Count right and wrong detections at every hundredth of confidence.

    All detections count alike: classes with many objects weigh more than others. Detections on a
    crowd are left out.

    Args:
        matches: detections and objects of the whole data set.
        least: the confidence that the detector was run with; lower thresholds would say nothing.
        of_class: position of the only class to look at.
    """
    first = max(1, math.ceil(round(100 * least, 6)))
    thresholds = np.arange(first, 101) / 100
    counted, objects = ~matches.ignored, ~matches.crowd
    if of_class is not None:
        counted = counted & (matches.classes == of_class)
        objects = objects & (matches.object_classes == of_class)
    detections = _at_or_above(matches.scores[counted], thresholds)
    right = _at_or_above(matches.scores[counted & matches.right], thresholds)
    total = np.full(len(thresholds), int(objects.sum()))
    return ConfidenceCurve(
        thresholds=thresholds,
        precision=_share(right, detections),
        recall=_share(right, total),
        f1=_share(2 * right, detections + total),
    )


def outcome(
    matches: Matches, conf: float, of_class: int | None = None
) -> tuple[float | None, float | None]:
    """Precision and recall at one confidence; None where there is no detection, or no object."""
    shown = (matches.scores >= conf) & ~matches.ignored
    objects = ~matches.crowd
    if of_class is not None:
        shown = shown & (matches.classes == of_class)
        objects = objects & (matches.object_classes == of_class)
    right, detections, total = (int(mask.sum()) for mask in (shown & matches.right, shown, objects))
    return right / detections if detections else None, right / total if total else None


def _at_or_above(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    nothing = np.full(len(whole), np.nan)
    share: NDArray[np.float64] = np.divide(part, whole, out=nothing, where=whole > 0)
    return share


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
