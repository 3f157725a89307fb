"""`edgedet eval`: measure a detector's accuracy on a data set."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from edgedet.data.dataset import DetectionDataset
    from edgedet.evaluation import EvaluationResult


def eval_(
    data: Annotated[Path, typer.Option(help="data.yaml of the data set.")],
    model: Annotated[
        Path | None, typer.Option(help="Model file: .tflite, .keras, .xml or .onnx.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Score these COCO results instead of running a model."),
    ] = None,
    split: Annotated[str, typer.Option(help="Part of the data set.")] = "val",
    conf: Annotated[float, typer.Option(help="Least confidence of a detection.")] = 0.001,
    iou: Annotated[float, typer.Option(help="Overlap beyond which NMS drops a box.")] = 0.5,
    max_det: Annotated[int, typer.Option(help="Most detections per image.")] = 100,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of the engine. [default: physical cores, at most 4]"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Evaluate on the first images only. [default: all]"),
    ] = None,
    report_conf: Annotated[
        float, typer.Option(help="Confidence at which the report counts mistakes.")
    ] = 0.25,
    baseline: Annotated[
        Path | None, typer.Option(help="metrics.json of an earlier run to compare with.")
    ] = None,
    save_json: Annotated[
        bool, typer.Option("--save-json", help="Write the detections as COCO results too.")
    ] = False,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of this run; exp, exp2, ...")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run the detector on every image as `edgedet detect` would, and score it as COCO does.

    Writes report.html (scores by class and size, which confidence to use, the confusion matrix,
    kinds of mistakes and the worst images, all in one file), metrics.json with the same numbers,
    pr_curve.png and mistakes.png to runs/eval/NAME/. Scores are points of 100 on the terminal and
    in the report, and fractions of 1 in metrics.json.
    """
    from rich.console import Console

    from edgedet.cli.run_directory import RunDirectory
    from edgedet.data.dataset import load_dataset
    from edgedet.evaluation import coco, evaluate_predictions, plots
    from edgedet.evaluation.coco_format import read_results
    from edgedet.evaluation.comparison import read_baseline
    from edgedet.evaluation.report import advice, comparison_table, summary, tables, write_report
    from edgedet.runtime.detector import check_thresholds

    # What can fail fails before minutes of work.
    if (model is None) == (predictions is None):
        raise InvalidInputError("Name what to evaluate: either --model or --predictions.")
    coco.check_available()
    plots.check_available()
    run = RunDirectory(project, "eval", name)
    check_thresholds(conf, iou, max_det)
    if not 0 <= report_conf <= 1:
        raise InvalidInputError(f"--report-conf must be from 0 to 1, not {report_conf}.")
    if limit is not None and limit < 1:
        raise InvalidInputError(f"--limit must be 1 or more, not {limit}.")
    earlier = None if baseline is None else read_baseline(baseline)
    dataset = load_dataset(data, split)
    found = None if predictions is None else read_results(predictions, dataset)
    if limit is not None:
        dataset = dataclasses.replace(dataset, samples=dataset.samples[:limit])
    how: dict[str, Any] = {"data": str(data), "split": split, "limit": limit, "conf": conf}
    if found is None:
        assert model is not None
        result, engine = _run(model, dataset, conf, iou, max_det, threads)
        how = {"model": str(model), **engine, **how, "iou": iou, "max_det": max_det}
    else:
        result = evaluate_predictions(found, dataset, conf=conf)
        how = {"predictions": str(predictions), **how}
    following = _next(model, predictions, data)
    try:
        content = write_report(
            result,
            dataset,
            run.path(),
            description=how,
            title=f"{(model or predictions or data).name}, {split} split of {data}",
            conf=report_conf,
            baseline=earlier,
            save_json=save_json,
            next_commands=[following],
        )
    finally:
        run.discard_if_empty()
    if json_:
        print(json.dumps(content))
        return
    console = Console()
    console.print(tables(result))
    if "comparison" in content:
        console.print(comparison_table(content["comparison"]))
        for remark in content["comparison"]["remarks"]:
            print(f"note: {remark}")
    print(summary(result))
    print(advice(content))
    print(f"report: {Path(content['directory']) / content['files']['report']}")
    print(f"next: {following}")


def _run(
    model: Path,
    dataset: DetectionDataset,
    conf: float,
    iou: float,
    max_det: int,
    threads: int | None,
) -> tuple[EvaluationResult, dict[str, Any]]:
    """Run the model over the data set with a bar of progress; also what ran it."""
    from edgedet.cli.native_log import without_native_log
    from edgedet.cli.progress_bar import progress_bar
    from edgedet.evaluation import evaluate
    from edgedet.runtime.detector import Detector

    with without_native_log():
        detector = Detector(model, threads=threads)
        detector.warmup(1)
    progress = progress_bar("evaluating")
    with detector, progress:
        images = progress.add_task("images", total=len(dataset.samples))
        result = evaluate(
            detector,
            dataset,
            conf=conf,
            iou=iou,
            max_det=max_det,
            progress=lambda done, _: progress.update(images, completed=done),
        )
    return result, {"engine": detector.engine_name, "threads": detector.threads}


def _next(model: Path | None, predictions: Path | None, data: Path) -> str:
    if model is None:
        return f"edgedet data check {shlex.quote(str(data))}"
    file = shlex.quote(str(model))
    if model.suffix == ".keras":
        return f"edgedet convert {file} --to tflite --int8 --data {shlex.quote(str(data))}"
    return f"edgedet benchmark {file}"
