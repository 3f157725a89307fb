"""An evaluation as one HTML file that needs nothing else: numbers first, then where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgedet.evaluation.charts import barred
from edgedet.evaluation.coco import NO_TRUTH, SIZES
from edgedet.evaluation.findings import findings
from edgedet.evaluation.gallery import gallery
from edgedet.evaluation.html_comparison import change_line, comparison_section
from edgedet.evaluation.html_diagnosis import (
    calibration_section,
    confusion_section,
    curves_section,
    errors_section,
)
from edgedet.evaluation.page import (
    Cell,
    escaped,
    name_of,
    page,
    score_cell,
    section,
    shortened,
    table,
)
from edgedet.evaluation.points import percent, points

if TYPE_CHECKING:
    from edgedet.data.dataset import DetectionDataset
    from edgedet.evaluation.comparison import Comparison
    from edgedet.evaluation.diagnosis import Diagnosis
    from edgedet.evaluation.evaluator import EvaluationResult

_SIZE_MEANINGS = {
    "small": "under 32² px",
    "medium": "32² to 96² px",
    "large": "over 96² px",
}


def html_report(
    result: EvaluationResult,
    dataset: DetectionDataset,
    diagnosis: Diagnosis,
    *,
    description: Mapping[str, Any],
    title: str,
    comparison: Comparison | None = None,
    next_commands: Sequence[str] = (),
) -> str:
    """The report as an HTML document: no other files, no network.

    Args:
        result: what `evaluate` returned.
        dataset: the data set it was made on.
        diagnosis: what `diagnose` made of both.
        description: what was evaluated and how, shown at the end.
        title: the head line.
        comparison: the change from an earlier evaluation.
        next_commands: what to run next.

    Raises:
        InvalidInputError: one of the worst images can't be read.
        MissingFileError: one of them isn't there.
    """
    subtitle = (
        f"{dataset.name} split: {_counted(result.images, 'image')}, "
        f"{_counted(result.truths, 'object')}, {_counted(len(dataset.labels), 'class', 'classes')}"
    )
    parts = [
        f"<header><h1>{escaped(title)}</h1><p>{escaped(subtitle)}</p></header>",
        _cards(result, diagnosis, comparison),
        _findings(result, diagnosis),
        "" if comparison is None else comparison_section(comparison),
        _sizes(result),
        curves_section(result, diagnosis),
        errors_section(diagnosis),
        _classes(result, diagnosis),
        confusion_section(diagnosis),
        calibration_section(diagnosis),
        _gallery(dataset, diagnosis),
        _conditions(description, next_commands),
    ]
    return page(title, "\n".join(part for part in parts if part))


def _cards(result: EvaluationResult, diagnosis: Diagnosis, comparison: Comparison | None) -> str:
    cards = []
    for name, meaning in (
        ("AP", "mean over IoU 0.50 to 0.95"),
        ("AP50", "a box must overlap by half"),
        ("AP75", "a box must fit well"),
    ):
        change = "" if comparison is None else change_line(comparison.metrics[name])
        cards.append((points(result.metrics[name]), name, meaning + change))
    curve = diagnosis.curve
    if curve.best is not None:
        best = curve.point(curve.best)
        cards.append(
            (f"{best['conf']:.2f}", "best confidence", "<code>--conf</code> of highest F1")
        )
        cards.append(
            (percent(best["precision"]), "precision", "of the boxes shown at it are right")
        )
        cards.append((percent(best["recall"]), "recall", "of the objects are found at it"))
    if result.speed:
        total = sum(result.speed.values())
        cards.append((f"{total:.1f}", "ms per image", "on this machine, without reading files"))
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><b>{value}</b><span class="name">{name}</span>'
            f"<span>{meaning}</span></div>"
            for value, name, meaning in cards
        )
        + "</div>"
    )


def _findings(result: EvaluationResult, diagnosis: Diagnosis) -> str:
    sentences = findings(result, diagnosis)
    if not sentences:
        return ""
    listed = "".join(f"<li>{escaped(sentence)}</li>" for sentence in sentences)
    return f'<div class="findings"><h3>Where it fails</h3><ul>{listed}</ul></div>'


def _sizes(result: EvaluationResult) -> str:
    rows: list[list[Cell | str]] = []
    for size in SIZES:
        of_size = result.per_size[size]
        share = of_size.truths / max(1, result.truths)
        rows.append(
            [
                f"{size} <span class='words'>{_SIZE_MEANINGS[size]}</span>",
                f"{of_size.truths} ({share:.0%})",
                _barred(of_size.metrics["AP"]),
                points(of_size.metrics["AP50"]),
                points(of_size.metrics["AP75"]),
                points(of_size.metrics["AR100"]),
            ]
        )
    return section(
        "By object size",
        table(["area in the original image", "objects", "AP", "AP50", "AP75", "AR100"], rows),
        lead="AR100 is recall with 100 detections an image: what could be found at all.",
    )


def _classes(result: EvaluationResult, diagnosis: Diagnosis) -> str:
    conf = f"{diagnosis.conf:.2f}"
    columns = ["class", "objects", "AP", "AP50", "small", "medium", "large"]
    columns += ["precision", "recall", "best conf"]
    rows: list[list[Cell | str]] = []
    for entry, outcome in zip(result.per_class, diagnosis.outcomes, strict=True):
        best = outcome.best_conf
        rows.append(
            [
                name_of(entry.label),
                Cell(str(entry.truths), entry.truths),
                Cell(_barred(entry.metrics["AP"]), entry.metrics["AP"]),
                *(score_cell(entry.metrics[name]) for name in ("AP50", "APs", "APm", "APl")),
                Cell(
                    percent(outcome.precision),
                    -1 if outcome.precision is None else outcome.precision,
                ),
                Cell(percent(outcome.recall), -1 if outcome.recall is None else outcome.recall),
                Cell("n/a" if best is None else f"{best:.2f}", -1 if best is None else best),
            ]
        )
    return section(
        "By class",
        table(columns, rows, sortable=True),
        lead="Small, medium and large are the AP of objects of that size. Precision and recall "
        f"are those at confidence {conf}. Click a head to sort.",
    )


def _gallery(dataset: DetectionDataset, diagnosis: Diagnosis) -> str:
    figures = gallery(
        diagnosis.mistakes,
        {sample.image_id: sample.path for sample in dataset.samples},
        dict(zip(dataset.category_ids, dataset.labels, strict=True)),
    )
    flawed = sum(entry.count > 0 for entry in diagnosis.mistakes)
    if not figures:
        return section(
            "Images", lead=f"No mistake on any image at confidence {diagnosis.conf:.2f}."
        )
    switches = "".join(
        f'<label><input type="checkbox" class="{name}" checked> <span class="swatch {style}">'
        f"</span> {text}</label>"
        for name, style, text in (
            ("hits", "hit", "right"),
            ("falses", "false", "false detections"),
            ("misses", "miss", "missed objects"),
        )
    )
    return section(
        "Images with most mistakes",
        f'<div class="boxes"><p>{switches}</p><div class="gallery">{figures}</div></div>',
        lead=f"{flawed} of {len(diagnosis.mistakes)} images have a mistake at confidence "
        f"{diagnosis.conf:.2f} and IoU 0.5. Rest the pointer on a box for its class.",
    )


def _conditions(description: Mapping[str, Any], next_commands: Sequence[str]) -> str:
    rows: list[list[Cell | str]] = [
        [escaped(key), Cell(f"<bdi>{escaped(shortened(str(value), 200))}</bdi>", style="words")]
        for key, value in description.items()
        if value is not None
    ]
    commands = "".join(f"<p><code>{escaped(command)}</code></p>" for command in next_commands)
    commands = f"<h3>Next</h3>{commands}" if commands else ""
    return section(
        "How this was measured",
        table(["setting", "value"], rows),
        '<p class="note">Scores are points of 100 by pycocotools; n/a where no such object is '
        "there. Detections on crowds are neither right nor wrong. metrics.json beside this page "
        "holds all its numbers.</p>",
        commands,
    )


def _barred(value: float) -> str:
    return points(value) if value <= NO_TRUTH else barred(value, points(value))


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
