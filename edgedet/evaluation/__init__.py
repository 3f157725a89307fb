"""Accuracy of a detector on a labelled data set, in the terms of the COCO benchmark."""

from __future__ import annotations

from edgedet.evaluation.coco import METRICS, SIZES, ClassScore, CocoScores, SizeScore, score
from edgedet.evaluation.comparison import Change, Comparison, compare
from edgedet.evaluation.diagnosis import Diagnosis, diagnose
from edgedet.evaluation.evaluator import EvaluationResult, evaluate, evaluate_predictions

__all__ = [
    "METRICS",
    "SIZES",
    "Change",
    "ClassScore",
    "CocoScores",
    "Comparison",
    "Diagnosis",
    "EvaluationResult",
    "SizeScore",
    "compare",
    "diagnose",
    "evaluate",
    "evaluate_predictions",
    "score",
]
