"""`edgedet demo`: the bundled detector on the bundled picture."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import edgedet

if TYPE_CHECKING:
    from edgedet.runtime import Detections

ASSETS = Path(edgedet.__file__).parent / "assets"
MODEL = ASSETS / "digits-m0-int8.tflite"
SCENE = ASSETS / "scene.png"
TRUTH = ASSETS / "scene.json"

_RUNS = 50
_MATCH_IOU = 0.5


def demo(
    out: Annotated[Path, typer.Option(help="The annotated picture to write.")] = Path("demo.png"),
    conf: Annotated[float, typer.Option(help="Least confidence, 0 to 1.")] = 0.25,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default the physical cores, at most 4.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the digits in the bundled picture, measure the latency, write the picture with boxes."""
    from edgedet.cli.detect import median_speed
    from edgedet.cli.native_log import without_native_log
    from edgedet.errors import MissingFileError
    from edgedet.images import read_image
    from edgedet.runtime import Detector

    for asset in (MODEL, SCENE, TRUTH):
        if not asset.is_file():
            raise MissingFileError(f"The bundled {asset.name} is missing; install edgedet again.")
    with without_native_log():
        detector = Detector(MODEL, threads=threads)
    image = read_image(SCENE)
    detector.warmup(10)
    results = [detector.detect(image, conf=conf) for _ in range(_RUNS)]
    result, speed = results[-1], median_speed(results)
    found, objects = count_found(result, json.loads(TRUTH.read_text(encoding="utf-8")))
    result.save(out)
    if json_:
        report = {
            "model": str(MODEL),
            "image": str(SCENE),
            "threads": detector.threads,
            "objects": objects,
            "found": found,
            "speed": speed,
            "detections": result.to_dict()["detections"],
            "annotated": str(out),
        }
        print(json.dumps(report))
        return
    _print_report(result, speed, detector.threads)
    print(f"{found} of {objects} objects found with the right class; see {out}")
    model = shlex.quote(str(MODEL))
    print(f"next: edgedet detect --model {model} --source PICTURE  # a picture of yours")
    print("next: edgedet synth digits  # a data set to train on")


def count_found(result: Detections, truth: dict[str, Any]) -> tuple[int, int]:
    """(objects found, objects) of a picture.

    An object is found when a detection of its category overlaps it with an IoU of at least 0.5;
    each detection, the most confident first, finds one object at most.

    Args:
        result: detections of the picture.
        truth: its COCO object; `bbox` is x, y, width, height in pixels.
    """
    import numpy as np

    from edgedet.boxes import iou

    annotations = truth["annotations"]
    corners = np.asarray([entry["bbox"] for entry in annotations], np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    overlaps = iou(result.xyxy, corners)
    open_objects = set(range(len(annotations)))
    for row, class_id in zip(overlaps, result.class_id.tolist(), strict=True):
        category = result.category_ids[class_id]
        fitting = [
            index
            for index in open_objects
            if annotations[index]["category_id"] == category and row[index] >= _MATCH_IOU
        ]
        if fitting:
            open_objects.remove(max(fitting, key=lambda index: float(row[index])))
    return len(annotations) - len(open_objects), len(annotations)


def _print_report(result: Detections, speed: dict[str, float], threads: int | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgedet.cli.detect import detection_table

    latency = Table(title=f"median of {_RUNS} runs, {threads} threads", title_justify="left")
    latency.add_column("stage")
    latency.add_column("ms", justify="right")
    for stage, value in speed.items():
        latency.add_row(stage, f"{value:.3f}")
    latency.add_section()
    latency.add_row("together", f"{sum(speed.values()):.3f}")
    console = Console()
    console.print(detection_table(result))
    console.print(latency)
