"""Accuracy of a detector on a labelled data set, in the terms of the COCO benchmark."""

from __future__ import annotations

from edgedet.evaluation.coco import METRICS, ClassScore, CocoScores, score
from edgedet.evaluation.evaluator import EvaluationResult, evaluate

__all__ = ["METRICS", "ClassScore", "CocoScores", "EvaluationResult", "evaluate", "score"]
