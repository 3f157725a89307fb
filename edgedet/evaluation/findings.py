"""Sentences on where a detector fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgedet.evaluation.error_kinds import KINDS, ErrorBreakdown
from edgedet.evaluation.page import shortened

if TYPE_CHECKING:
    from edgedet.evaluation.diagnosis import Diagnosis
    from edgedet.evaluation.evaluator import EvaluationResult


def findings(result: EvaluationResult, diagnosis: Diagnosis) -> list[str]:
    """Sentences on where the detector fails, the costliest first."""
    return [*_by_kind(diagnosis.errors), *_by_size(result), *_by_class(result), *_pairs(diagnosis)]


def _by_kind(errors: ErrorBreakdown) -> list[str]:
    costly = max(KINDS, key=lambda kind: errors.cost[kind])
    if round(100 * errors.cost[costly], 1) <= 0:
        return []
    sentences = [
        f"{_LOSSES[costly]} cost most: without them AP50 would be "
        f"{100 * errors.cost[costly]:.1f} points higher."
    ]
    wrong, as_well = errors.counts["class"], errors.found_as_well
    if as_well > wrong / 2:
        sentences.append(
            f"{as_well} of {wrong} detections with a wrong class lie on an object that is also "
            f"detected rightly: a confidence above {errors.conf:.2f} hides most of these second "
            "guesses."
        )
    return sentences


_LOSSES: Mapping[str, str] = {
    "class": "Wrong classes",
    "localization": "Boxes that fit badly",
    "both": "Boxes with a wrong class that fit badly",
    "duplicate": "Objects detected twice",
    "background": "Detections of nothing",
    "missed": "Objects that are not seen at all",
}


def _by_size(result: EvaluationResult) -> list[str]:
    known = {size: s for size, s in result.per_size.items() if s.truths}
    if len(known) < 2:
        return []
    weakest = min(known, key=lambda size: known[size].metrics["AP"])
    strongest = max(known, key=lambda size: known[size].metrics["AP"])
    gap = known[strongest].metrics["AP"] - known[weakest].metrics["AP"]
    if gap < 0.05:
        return []
    share = known[weakest].truths / max(1, result.truths)
    return [
        f"It is weakest on {weakest} objects, {share:.0%} of all: AP "
        f"{100 * known[weakest].metrics['AP']:.1f}, against "
        f"{100 * known[strongest].metrics['AP']:.1f} for {strongest} ones."
    ]


def _by_class(result: EvaluationResult) -> list[str]:
    known = sorted(
        (entry for entry in result.per_class if entry.truths), key=lambda e: e.metrics["AP"]
    )
    if len(known) < 2:
        return []
    listed = ", ".join(f"{_quoted(e.label)} ({100 * e.metrics['AP']:.1f})" for e in known[:3])
    return [f"Classes with the lowest AP: {listed}."]


def _pairs(diagnosis: Diagnosis) -> list[str]:
    confused = diagnosis.confusion.most_confused(1)
    if not confused:
        return []
    first = confused[0]
    times = "once" if first.count == 1 else f"{first.count} times"
    return [
        f"Taken for another class most: {_quoted(first.truth)} for {_quoted(first.detected)}, "
        f"{times} ({first.share:.1%} of its objects)."
    ]


def _quoted(label: str) -> str:
    return f"“{shortened(label, 40)}”"
