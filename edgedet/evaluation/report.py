"""An evaluation as files and as tables for the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from edgedet.evaluation.coco import METRICS, NO_TRUTH
from edgedet.evaluation.contact_sheet import write_contact_sheet
from edgedet.evaluation.evaluator import STAGES, EvaluationResult, coco_truth
from edgedet.evaluation.mistakes import find_mistakes
from edgedet.evaluation.plots import plot_precision_recall
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
_CLASS_COLUMNS = ("AP", "AP50", "APs", "APm", "APl", "AR100")


def points(value: float) -> str:
    """A score as points of 100 with one decimal; `n/a` where there was no truth."""
    return "n/a" if value <= NO_TRUTH else f"{100 * value:.1f}"


def write_report(
    result: EvaluationResult,
    dataset: DetectionDataset,
    directory: str | os.PathLike[str],
    *,
    description: Mapping[str, Any],
    title: str = "",
    save_json: bool = False,
) -> dict[str, Any]:
    """Write `metrics.json`, `pr_curve.png`, `mistakes.png` and, if asked, `predictions.json`.

    Args:
        result: what `evaluate` returned.
        dataset: the data set it was made on.
        directory: created where missing; files of an earlier report are replaced.
        description: JSON values that say what was evaluated and how; they open `metrics.json`.
        title: text over the plot.
        save_json: write `predictions.json` too, COCO results that pycocotools' `loadRes` reads.

    Returns:
        The content of `metrics.json`; its `files` names what lies in `directory`.

    Raises:
        EdgeDetError: a file can't be written; none of them is left then.
    """
    directory = Path(directory)
    names = {"pr_curve": "pr_curve.png", "mistakes": "mistakes.png"}
    names |= {"predictions": "predictions.json"} if save_json else {}
    names["metrics"] = "metrics.json"
    paths = {kind: directory / name for kind, name in names.items()}
    try:
        plot_precision_recall(result.per_class, paths["pr_curve"], title=title)
        shown = write_contact_sheet(
            find_mistakes(coco_truth(dataset), result.predictions),
            {sample.image_id: sample.path for sample in dataset.samples},
            dict(zip(dataset.category_ids, dataset.labels, strict=True)),
            paths["mistakes"],
        )
        if not shown:
            del names["mistakes"]
        if save_json:
            write_text(paths["predictions"], json.dumps(result.predictions))
        content = {
            **description,
            **result.to_dict(),
            "directory": str(directory),
            "files": names,
        }
        write_text(paths["metrics"], json.dumps(content, indent=1) + "\n")
    except BaseException:
        for path in paths.values():
            path.unlink(missing_ok=True)
        raise
    return content


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


def summary(result: EvaluationResult) -> str:
    """One line: how much was evaluated, and how long it took."""
    spent = ", ".join(f"{stage} {result.speed[stage]:.2f}" for stage in STAGES)
    return (
        f"{result.images} images, {result.truths} objects, {len(result.predictions)} detections "
        f"in {result.seconds:.1f} s; mean ms per image: {spent}"
    )
