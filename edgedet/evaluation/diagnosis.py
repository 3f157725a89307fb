"""Where a detector fails: everything beyond the scores that an evaluation tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgedet.errors import InvalidInputError
from edgedet.evaluation.calibration import Calibration, calibration
from edgedet.evaluation.coco_format import coco_truth
from edgedet.evaluation.confidence import ConfidenceCurve, confidence_curve, outcome
from edgedet.evaluation.confusion import ConfusionMatrix, confusion_matrix
from edgedet.evaluation.error_kinds import ErrorBreakdown, error_breakdown
from edgedet.evaluation.matching import match
from edgedet.evaluation.mistakes import ImageMistakes, find_mistakes

if TYPE_CHECKING:
    from edgedet.data.dataset import DetectionDataset
    from edgedet.evaluation.evaluator import EvaluationResult

REPORT_CONF = 0.25
"""The confidence at which mistakes are looked at: the default of `edgedet detect`."""

IOU_THRESHOLD = 0.5
"""The overlap of a detection with its object from which on it is right."""


@dataclass(frozen=True)
class ClassOutcome:
    """How one class fares at one confidence.

    Attributes:
        precision: share of its detections that are right; None without detections.
        recall: share of its objects that are found; None without objects.
        best_conf: the confidence with the highest F1; None where no detection is right.
    """

    precision: float | None
    recall: float | None
    best_conf: float | None


@dataclass(frozen=True)
class Diagnosis:
    """Mistakes of a detector at one confidence and IoU 0.5, and what follows from them.

    Attributes:
        conf: the confidence at which mistakes are counted.
        curve: precision, recall and F1 against the confidence.
        outcomes: each class at `conf`, in the order of the labels.
        confusion: what is taken for what.
        errors: mistakes by kind.
        calibration: confidence against precision.
        mistakes: the outcome on every image.
    """

    conf: float
    curve: ConfidenceCurve
    outcomes: tuple[ClassOutcome, ...]
    confusion: ConfusionMatrix
    errors: ErrorBreakdown
    calibration: Calibration
    mistakes: list[ImageMistakes]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images as JSON values."""
        return {
            "confidence": self.curve.to_dict(),
            "confusion_matrix": self.confusion.to_dict(),
            "errors": self.errors.to_dict(),
            "calibration": self.calibration.to_dict(),
        }


def diagnose(
    result: EvaluationResult, dataset: DetectionDataset, *, conf: float = REPORT_CONF
) -> Diagnosis:
    """Find out where the detector fails.

    Args:
        result: what `evaluate` returned.
        dataset: the data set it was made on.
        conf: the confidence at which mistakes are counted; where the detector was run with a
            higher one, that.

    Raises:
        InvalidInputError: `conf` is not from 0 to 1.
    """
    if not 0 <= conf <= 1:
        raise InvalidInputError(f"The report's confidence must be from 0 to 1, not {conf}.")
    conf = max(conf, result.conf)
    matches = match(coco_truth(dataset), result.predictions, iou_threshold=IOU_THRESHOLD)
    outcomes = []
    for index in range(len(dataset.labels)):
        curve = confidence_curve(matches, least=result.conf, of_class=index)
        best = None if curve.best is None else float(curve.thresholds[curve.best])
        outcomes.append(ClassOutcome(*outcome(matches, conf, index), best))
    return Diagnosis(
        conf=conf,
        curve=confidence_curve(matches, least=result.conf),
        outcomes=tuple(outcomes),
        confusion=confusion_matrix(matches, dataset.labels, conf),
        errors=error_breakdown(matches, conf),
        calibration=calibration(matches, conf),
        mistakes=find_mistakes(matches, conf),
    )
