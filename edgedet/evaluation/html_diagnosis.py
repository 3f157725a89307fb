"""Curves, kinds of mistakes, confusions and calibration, for the HTML report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgedet.evaluation.charts import (
    Line,
    Mark,
    barred,
    heat_map,
    legend,
    line_chart,
    reliability_chart,
)
from edgedet.evaluation.coco import RECALLS
from edgedet.evaluation.page import Cell, name_of, section, shortened, table
from edgedet.evaluation.plots import known_and_named
from edgedet.evaluation.points import points, signed

if TYPE_CHECKING:
    from edgedet.evaluation.diagnosis import Diagnosis
    from edgedet.evaluation.evaluator import EvaluationResult

# Beyond this a matrix can't be read any more; the most frequent confusions are listed all the same.
_MOST_IN_MATRIX = 100

_KIND_MEANINGS = {
    "class": ("wrong class", "on an object, but of another class"),
    "localization": ("bad fit", "right class, but the box overlaps the object by less than half"),
    "both": ("wrong class, bad fit", "another class, and overlapping by less than half"),
    "duplicate": ("duplicate", "the object is already found by a surer detection"),
    "background": ("background", "nothing of interest is there"),
    "missed": ("missed", "an object that no detection of this confidence comes near"),
}


def curves_section(result: EvaluationResult, diagnosis: Diagnosis) -> str:
    """Precision, recall and F1 against confidence, and precision against recall."""
    known, named = known_and_named(result.per_class)
    curve = diagnosis.curve
    best = curve.best
    marks = []
    if best is not None:
        point = curve.point(best)
        marks = [
            Mark(float(curve.thresholds[best]), f"best F1 {point['f1']:.2f} at {point['conf']:.2f}")
        ]
    confidence = line_chart(
        [
            Line("precision", curve.thresholds, curve.precision, "c0"),
            Line("recall", curve.thresholds, curve.recall, "c1 dash"),
            Line("F1", curve.thresholds, curve.f1, "mean"),
        ],
        x_label="Confidence",
        y_label="Share",
        title="Precision, recall and F1 against the confidence",
        marks=marks,
    )
    key = legend([("c0", "precision"), ("c1 dash", "recall"), ("mean", "F1")])
    chosen = {id(entry) for entry in named}
    styles = [f"c{index % 6}{' dash' if index >= 6 else ''}" for index in range(len(named))]
    lines = [
        Line(entry.label, RECALLS, entry.precision, "other")
        for entry in known
        if id(entry) not in chosen
    ]
    lines += [
        Line(
            f"{entry.label}: AP50 {points(entry.metrics['AP50'])}", RECALLS, entry.precision, style
        )
        for entry, style in zip(named, styles, strict=True)
    ]
    entries = [
        (style, f"{shortened(entry.label, 24)} {points(entry.metrics['AP50'])}")
        for entry, style in zip(named, styles, strict=True)
    ]
    if known:
        mean = np.mean([entry.precision for entry in known], axis=0)
        lines.append(Line("mean of the classes", RECALLS, mean, "mean"))
        entries.append(("mean", f"mean {100 * mean.mean():.1f}"))
    recall = line_chart(
        lines,
        x_label="Recall",
        y_label="Precision",
        title="Precision against recall of each class at IoU 0.5",
    )
    which = "" if len(named) == len(known) else f"; of {len(known)} the weakest {len(named)} named"
    return section(
        "Which confidence to use",
        '<div class="columns">',
        f"<figure><h3>Precision and recall at each confidence</h3>{confidence}{key}</figure>",
        f"<figure><h3>Precision against recall by class, AP50{which}</h3>{recall}{legend(entries)}"
        "</figure></div>",
        lead=_which_confidence(diagnosis),
    )


def _which_confidence(diagnosis: Diagnosis) -> str:
    curve = diagnosis.curve
    if curve.best is None:
        return "No detection is right at any confidence."
    best = curve.point(curve.best)
    return (
        f"At <code>--conf {best['conf']:.2f}</code> precision and recall are balanced best: of 100 "
        f"boxes shown {100 * (best['precision'] or 0):.0f} are right, and of 100 objects "
        f"{100 * (best['recall'] or 0):.0f} are found. A higher one shows fewer false boxes, a "
        "lower one misses fewer objects."
    )


def errors_section(diagnosis: Diagnosis) -> str:
    """Mistakes by kind, the costliest first."""
    errors = diagnosis.errors
    most = max([*errors.cost.values(), 1e-9])
    rows: list[list[Cell | str]] = []
    for kind in sorted(errors.cost, key=lambda kind: -errors.cost[kind]):
        name, meaning = _KIND_MEANINGS[kind]
        cost = errors.cost[kind]
        rows.append(
            [
                name,
                Cell(meaning, style="words"),
                str(errors.counts[kind]),
                barred(cost / most, signed(cost), "miss"),
            ]
        )
    return section(
        "Kinds of mistakes",
        table(["kind", "means", f"count at {diagnosis.conf:.2f}", "AP50 if there were none"], rows),
        lead=f"Mistakes at confidence {diagnosis.conf:.2f} and IoU 0.5, and what mending all of a "
        "kind would add to AP50, the kind that costs most first. AP50 looks at detections of every "
        "confidence: what is missed here may be found below. The kinds are TIDE's (Bolya et al. "
        "2020).",
    )


def confusion_section(diagnosis: Diagnosis) -> str:
    """The confusion matrix and its largest entries."""
    matrix = diagnosis.confusion
    confused = matrix.most_confused(10)
    listed = table(
        ["object", "taken for", "times", "of all such objects"],
        [
            [
                name_of(entry.truth),
                Cell(name_of(entry.detected), style="name"),
                str(entry.count),
                barred(entry.share, f"{entry.share:.1%}", "miss"),
            ]
            for entry in confused
        ],
    )
    listed = f"<h3>Most frequent confusions</h3>{listed}" if confused else ""
    narrow = len(matrix.labels) < 12
    if len(matrix.labels) <= _MOST_IN_MATRIX:
        chart = (
            '<div class="switch"><p><label><input type="radio" name="matrix" class="shares" '
            'checked> percent of each row</label><label><input type="radio" name="matrix" '
            'class="counts"> counts</label></p><div class="scroll">'
            f"{heat_map(matrix.labels, matrix.counts, matrix.normalized())}</div></div>"
        )
    else:
        chart = (
            f'<p class="note">A matrix of {len(matrix.labels)} classes is too large to read; '
            "metrics.json holds it.</p>"
        )
    return section(
        "What is taken for what",
        f'<div class="columns"><div>{chart}</div><div>{listed}</div></div>'
        if narrow
        else chart + listed,
        lead=f"Rows are objects, columns what was detected at confidence {matrix.conf:.2f} and IoU "
        f"{matrix.iou_threshold}. The last column holds missed objects, the last row detections "
        "that found none: on the background, or on an object that another detection has found. "
        "Rest the pointer on a cell for its words.",
    )


def calibration_section(diagnosis: Diagnosis) -> str:
    """Precision against confidence."""
    found = diagnosis.calibration
    chart = reliability_chart(
        [(entry.low, entry.count, entry.confidence, entry.precision) for entry in found.bins],
        title="Share of right detections against confidence",
    )
    gap = found.precision - found.confidence
    told = "about as often right as it claims"
    if abs(gap) >= 0.03:
        told = "more often right than it claims" if gap > 0 else "less often right than it claims"
    return section(
        "Does the confidence mean what it says?",
        f'<div class="columns"><figure>{chart}</figure></div>',
        lead=f"Detections from confidence {found.conf:.2f} on claim {found.confidence:.0%} on "
        f"average, and {found.precision:.0%} of them are right: the detector is {told}. Bars on "
        f"the dashed line would be perfect; expected calibration error {found.error:.3f}.",
    )
