"""An evaluation as files and as tables for the terminal."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from edgedet.evaluation.coco import METRICS, RECALLS
from edgedet.evaluation.comparison import compare
from edgedet.evaluation.contact_sheet import write_contact_sheet
from edgedet.evaluation.diagnosis import REPORT_CONF, Diagnosis, diagnose
from edgedet.evaluation.evaluator import STAGES, EvaluationResult
from edgedet.evaluation.gallery import GALLERY_SIZE
from edgedet.evaluation.html_report import html_report
from edgedet.evaluation.mistakes import worst
from edgedet.evaluation.plots import plot_precision_recall
from edgedet.evaluation.points import percent, points, signed
from edgedet.files import write_text

if TYPE_CHECKING:
    from edgedet.data.dataset import DetectionDataset

_MEANINGS = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "IoU 0.50",
    "AP75": "IoU 0.75",
    "APs": "small objects, under 32² px",
    "APm": "medium objects, 32² to 96² px",
    "APl": "large objects, over 96² px",
    "AR1": "recall, 1 detection per image and class",
    "AR10": "recall, 10 detections",
    "AR100": "recall, 100 detections",
    "ARs": "recall, small objects",
    "ARm": "recall, medium objects",
    "ARl": "recall, large objects",
}
_MOST_CHANGED = 10
_CLASS_COLUMNS = ("AP", "AP50", "APs", "APm", "APl", "AR100")


def write_report(
    result: EvaluationResult,
    dataset: DetectionDataset,
    directory: str | os.PathLike[str],
    *,
    description: Mapping[str, Any],
    title: str = "",
    conf: float = REPORT_CONF,
    baseline: Mapping[str, Any] | None = None,
    save_json: bool = False,
    next_commands: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `report.html`, `metrics.json` and the pictures; if asked, `predictions.json`.

    Args:
        result: what `evaluate` returned.
        dataset: the data set it was made on.
        directory: created where missing; files of an earlier report are replaced.
        description: JSON values that say what was evaluated and how; they open `metrics.json`.
        title: text over the report and the plot.
        conf: the confidence at which mistakes are looked at.
        baseline: content of an earlier `metrics.json` to compare with.
        save_json: write `predictions.json` too, COCO results that pycocotools' `loadRes` reads.
        next_commands: commands to name at the end of the report.

    Returns:
        The content of `metrics.json`; its `files` names what lies in `directory`.

    Raises:
        EdgeDetError: a file can't be written; none of them is left then.
        InvalidInputError: `conf` is out of range, or a picture can't be read.
    """
    directory = Path(directory)
    names = {"report": "report.html", "pr_curve": "pr_curve.png", "mistakes": "mistakes.png"}
    names |= {"predictions": "predictions.json"} if save_json else {}
    names["metrics"] = "metrics.json"
    paths = {kind: directory / name for kind, name in names.items()}
    diagnosis = diagnose(result, dataset, conf=conf)
    content = {**description, **_numbers(result, dataset, diagnosis)}
    comparison = None if baseline is None else compare(baseline, content)
    if comparison is not None:
        content["comparison"] = comparison.to_dict()
    try:
        plot_precision_recall(result.per_class, paths["pr_curve"], title=title)
        shown = write_contact_sheet(
            diagnosis.mistakes,
            {sample.image_id: sample.path for sample in dataset.samples},
            dict(zip(dataset.category_ids, dataset.labels, strict=True)),
            paths["mistakes"],
        )
        if not shown:
            del names["mistakes"]
        if save_json:
            write_text(paths["predictions"], json.dumps(result.predictions))
        document = html_report(
            result,
            dataset,
            diagnosis,
            description=description,
            title=title or "Evaluation",
            comparison=comparison,
            next_commands=next_commands,
        )
        write_text(paths["report"], document)
        content |= {"directory": str(directory), "files": names}
        write_text(paths["metrics"], _one_line_each(content))
    except BaseException:
        for path in paths.values():
            path.unlink(missing_ok=True)
        raise
    return content


def _numbers(
    result: EvaluationResult, dataset: DetectionDataset, diagnosis: Diagnosis
) -> dict[str, Any]:
    numbers = {**result.to_dict(), **diagnosis.to_dict()}
    for entry, outcome in zip(numbers["per_class"], diagnosis.outcomes, strict=True):
        entry |= dataclasses.asdict(outcome)
    numbers["pr_curve"] = {
        "recall": RECALLS.round(2).tolist(),
        "precision": [entry.precision.round(4).tolist() for entry in result.per_class],
    }
    names = {sample.image_id: sample.path.name for sample in dataset.samples}
    numbers["worst_images"] = [
        {
            "image_id": entry.image_id,
            "file_name": names[entry.image_id],
            "missed": len(entry.missed),
            "false": len(entry.false),
            "right": len(entry.hits),
        }
        for entry in worst(diagnosis.mistakes, GALLERY_SIZE)
    ]
    return numbers


def _one_line_each(content: Mapping[str, Any]) -> str:
    """JSON with a line for each entry: indented, a matrix would take a line for each number."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def tables(result: EvaluationResult) -> Group:
    """The twelve numbers and the scores of each class for a terminal, in points of 100."""
    overall = Table(title="COCO metrics, points of 100", title_justify="left")
    overall.add_column("metric")
    overall.add_column("value", justify="right")
    overall.add_column("meaning", style="dim")
    for name in METRICS:
        overall.add_row(name, points(result.metrics[name]), _MEANINGS[name])
    by_class = Table(title="Classes, points of 100", title_justify="left")
    by_class.add_column("class")
    by_class.add_column("objects", justify="right")
    for name in _CLASS_COLUMNS:
        by_class.add_column(name, justify="right")
    for entry in result.per_class:
        by_class.add_row(
            escape(entry.label),
            str(entry.truths),
            *(points(entry.metrics[name]) for name in _CLASS_COLUMNS),
        )
    return Group(overall, by_class)


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """The changes of the twelve numbers and the largest ones of a class's AP, in points of 100.

    Args:
        comparison: `comparison` of `metrics.json`.
    """
    table = Table(title="Against the baseline, points of 100", title_justify="left")
    for name in ("", "before", "now", "change"):
        table.add_column(name, justify="right" if name else "left")
    rows = dict(comparison["metrics"])
    classes = [
        (label, changes["AP"])
        for label, changes in comparison["per_class"].items()
        if changes["AP"]["difference"]
    ]
    classes.sort(key=lambda item: -abs(item[1]["difference"]))
    rows |= {f"AP of {label}": change for label, change in classes[:_MOST_CHANGED]}
    for name, change in rows.items():
        table.add_row(
            escape(name),
            points(change["before"]),
            points(change["after"]),
            signed(change["difference"]),
        )
    return table


def advice(content: Mapping[str, Any]) -> str:
    """One line: which confidence to use, and what it leads to.

    Args:
        content: that of `metrics.json`.
    """
    best = content["confidence"]["best"]
    if best is None:
        return "no detection is right at any confidence"
    return (
        f"best confidence {best['conf']:.2f}: precision {percent(best['precision'])}, "
        f"recall {percent(best['recall'])}, F1 {percent(best['f1'])}"
    )


def summary(result: EvaluationResult) -> str:
    """One line: how much was evaluated, and how long it took."""
    counted = (
        f"{result.images} images, {result.truths} objects, {len(result.predictions)} detections "
        f"in {result.seconds:.1f} s"
    )
    if not result.speed:
        return counted
    spent = ", ".join(f"{stage} {result.speed[stage]:.2f}" for stage in STAGES)
    return f"{counted}; mean ms per image: {spent}"
