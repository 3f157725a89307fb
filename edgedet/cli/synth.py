"""`edgedet synth`: make a synthetic detection dataset."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer


def synth(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty directory.")],
    images: Annotated[int, typer.Option(help="Scenes in the train split.")] = 4000,
    val: Annotated[int, typer.Option(help="Scenes in the val split.")] = 500,
    size: Annotated[int, typer.Option(help="Longer side of the scenes, in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Fixes every byte that is written.")] = 0,
    min_digit: Annotated[int, typer.Option(help="Height of the smallest digits, in pixels.")] = 12,
    max_digit: Annotated[int, typer.Option(help="Height of the largest digits, in pixels.")] = 160,
    max_count: Annotated[int, typer.Option(help="Most digits in a scene.")] = 8,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make scenes of handwritten digits on cluttered backgrounds, with COCO json and data.yaml.

    The digits are scikit-learn's handwritten samples; no sample is in both train and val. A scene
    depends on the seed and its number only, so a larger dataset begins with the smaller one.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from edgedet.data.synth import SynthOptions, generate

    options = SynthOptions(
        images=images,
        val=val,
        size=size,
        seed=seed,
        min_digit=min_digit,
        max_digit=max_digit,
        max_count=max_count,
    )
    started = time.perf_counter()
    progress = Progress(
        "drawing scenes",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )
    with progress:
        drawing = progress.add_task("scenes", total=images + val)
        summary = generate(
            directory, options, advance=lambda count: progress.advance(drawing, count)
        )
    seconds = time.perf_counter() - started

    if json_:
        report = {
            "data": str(directory / "data.yaml"),
            "images": summary.images,
            "boxes": summary.digits,
            "bytes": summary.bytes,
            "seconds": round(seconds, 2),
        }
        print(json.dumps(report))
        return
    for split, count in summary.images.items():
        print(f"{split:5}  {count} scenes, {summary.digits[split]} digits")
    print(f"{summary.bytes / 1e6:.1f} MB in {directory}, {seconds:.0f} s; look at preview.png")
    data = shlex.quote(str(directory / "data.yaml"))
    print(f"next: edgedet train --model eff-spinenet-m0 --data {data} --epochs 20")
