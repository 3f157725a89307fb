"""Whether a detector's confidence says how often it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedet.evaluation.matching import Matches

_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Detections of like confidence.

    Attributes:
        low: least confidence of the bin; bins are a tenth wide.
        count: detections in it.
        confidence: their mean confidence, 0..1; 0 where there are none.
        precision: share of them that are right, 0..1; 0 where there are none.
    """

    low: float
    count: int
    confidence: float
    precision: float


@dataclass(frozen=True)
class Calibration:
    """Confidence against precision.

    Attributes:
        conf: least confidence of the detections in `error`, `confidence` and `precision`.
        bins: ten bins of confidence, detections below `conf` included.
        confidence: mean confidence of the detections from `conf` on; 0 without any.
        precision: share of them that are right; 0 without any.
        error: their expected calibration error: the difference of confidence and precision in a
            bin, averaged over the detections.
    """

    conf: float
    bins: tuple[Bin, ...]
    confidence: float
    precision: float
    error: float

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values, four decimals."""
        return {
            "conf": self.conf,
            "confidence": round(self.confidence, 4),
            "precision": round(self.precision, 4),
            "error": round(self.error, 4),
            "bins": [
                {
                    "low": entry.low,
                    "count": entry.count,
                    "confidence": round(entry.confidence, 4),
                    "precision": round(entry.precision, 4),
                }
                for entry in self.bins
            ],
        }


def calibration(matches: Matches, conf: float = 0.25) -> Calibration:
    """Compare confidence with precision in bins of confidence.

    Args:
        matches: detections and objects of the whole data set; those on a crowd are left out.
        conf: the confidence at which the detector is used.

    Source: Küppers et al., "Multivariate Confidence Calibration for Object Detection", CVPR
    workshops 2020, Eq. 4, with the confidence as the only variable.
    """
    counted = ~matches.ignored
    scores, right = matches.scores[counted], matches.right[counted]
    shown = scores >= conf
    return Calibration(
        conf=conf,
        bins=tuple(
            Bin(number / _BINS, *_means(scores, right, _bin(scores) == number))
            for number in range(_BINS)
        ),
        confidence=_means(scores, right, shown)[1],
        precision=_means(scores, right, shown)[2],
        error=_expected_error(scores[shown], right[shown]),
    )


def _bin(scores: np.ndarray) -> np.ndarray:
    return np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)


def _means(scores: np.ndarray, right: np.ndarray, chosen: np.ndarray) -> tuple[int, float, float]:
    count = int(chosen.sum())
    if not count:
        return 0, 0.0, 0.0
    return count, float(scores[chosen].mean()), float(right[chosen].mean())


def _expected_error(scores: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    for number in range(_BINS):
        count, confidence, precision = _means(scores, right, _bin(scores) == number)
        total += count * abs(confidence - precision)
    return total / len(scores) if len(scores) else 0.0
