"""`edgedet eval`: measure a detector's accuracy on a data set."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from edgedet.errors import InvalidInputError


def eval_(
    model: Annotated[Path, typer.Option(help="Model file: .tflite or .keras.")],
    data: Annotated[Path, typer.Option(help="data.yaml of the data set.")],
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
    save_json: Annotated[
        bool, typer.Option("--save-json", help="Write the detections as COCO results too.")
    ] = False,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of this run; exp, exp2, ...")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run the detector on every image as `edgedet detect` would, and score it as COCO does.

    Writes metrics.json, pr_curve.png (precision against recall of each class) and mistakes.png
    (the images with most errors at confidence 0.25) to runs/eval/NAME/. Scores are points of 100
    on the terminal and fractions of 1 in the files.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from edgedet.cli.native_log import without_native_log
    from edgedet.cli.run_directory import RunDirectory
    from edgedet.data.dataset import load_dataset
    from edgedet.evaluation import coco, evaluate, plots
    from edgedet.evaluation.report import summary, tables, write_report
    from edgedet.runtime.detector import Detector, check_thresholds

    # What can fail fails before minutes of work.
    coco.check_available()
    plots.check_available()
    run = RunDirectory(project, "eval", name)
    check_thresholds(conf, iou, max_det)
    if limit is not None and limit < 1:
        raise InvalidInputError(f"--limit must be 1 or more, not {limit}.")
    dataset = load_dataset(data, split)
    if limit is not None:
        dataset = dataclasses.replace(dataset, samples=dataset.samples[:limit])
    with without_native_log():
        detector = Detector(model, threads=threads)
        detector.warmup(1)
    terminal = Console(stderr=True)
    progress = Progress(
        "evaluating",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )
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
    try:
        content = write_report(
            result,
            dataset,
            run.path(),
            description={
                "model": str(model),
                "engine": detector.engine_name,
                "threads": detector.threads,
                "data": str(data),
                "split": split,
                "limit": limit,
                "conf": conf,
                "iou": iou,
                "max_det": max_det,
            },
            title=f"{model.name}, {split} split of {data}",
            save_json=save_json,
        )
    finally:
        run.discard_if_empty()
    if json_:
        print(json.dumps(content))
        return
    Console().print(tables(result))
    print(summary(result))
    print(f"written to {content['directory']}")
    print(f"next: {_next(model, data)}")


def _next(model: Path, data: Path) -> str:
    file = shlex.quote(str(model))
    if model.suffix == ".keras":
        return f"edgedet convert {file} --to tflite --int8 --data {shlex.quote(str(data))}"
    return f"edgedet benchmark {file}"
