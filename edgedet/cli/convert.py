"""`edgedet convert`: from a trained model to the files that devices run."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from edgedet.converters.conversion import Conversion


def convert(
    model: Annotated[Path, typer.Argument(metavar="MODEL.keras", help="Model to convert.")],
    to: Annotated[str, typer.Option(help="Formats, as in tflite,openvino,onnx.")] = "tflite",
    int8: Annotated[
        bool, typer.Option("--int8", help="INT8 weights, activations, input and outputs: tflite.")
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Store weights as float16: tflite, openvino.")
    ] = False,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="INT8 weights, float activations: tflite.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="data.yaml the model was trained on; --int8 is calibrated on it."),
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(help="Training pictures to calibrate on.")
    ] = 200,
    exit_: Annotated[
        int | None,
        typer.Option("--exit", help="Exit of an anytime network, from 1. [default: the last]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the results. [default: the model's]")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Convert a trained model to self-describing files, float32 unless told otherwise.

    The results are MODEL-float32.tflite (or -float16, -dynamic, -int8), MODEL-float32.xml with its
    .bin for OpenVINO, and MODEL-float32.onnx. With --data it says how well each output of a
    .tflite file follows the float32 model.
    """
    from edgedet.converters.formats import convert as convert_to

    chosen = [
        name for name, wanted in (("int8", int8), ("float16", fp16), ("dynamic", dynamic)) if wanted
    ]
    if len(chosen) > 1:
        raise InvalidInputError("Use one of --int8, --fp16 and --dynamic at a time.")
    with _progress() as report:
        conversions = convert_to(
            model,
            [name.strip() for name in to.split(",")],
            precision=chosen[0] if chosen else "float32",
            data=data,
            calibration_images=calibration_images,
            out=out,
            stack=exit_,
            progress=report,
        )
    if json_:
        reports = [conversion.to_dict() for conversion in conversions]
        print(json.dumps(reports[0] if len(reports) == 1 else {"conversions": reports}))
        return
    for conversion in conversions:
        _print(conversion)
    if len(conversions) == 1:
        file = shlex.quote(str(conversions[0].path))
        print(f"next: edgedet eval --model {file} --data {shlex.quote(str(data or 'data.yaml'))}")
    else:
        files = shlex.join(str(conversion.path) for conversion in conversions)
        print(f"next: edgedet benchmark {files}")


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress line on the terminal, which the converters' own silencing does not reach."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn

    from edgedet.cli.native_log import without_native_log

    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed
        kept = os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(kept, "w", encoding="utf-8") as stream:
        progress = Progress(
            SpinnerColumn(),
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            console=Console(file=stream, force_terminal=sys.stderr.isatty()),
            transient=True,
        )
        task = progress.add_task("", total=None)

        def report(text: str, done: int, total: int) -> None:
            progress.update(task, description=text, completed=done, total=total or None)

        with without_native_log(), progress:
            yield report


def _print(conversion: Conversion) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from edgedet.quantization.calibration import FEW_IMAGES
    from edgedet.quantization.sensitivity import LOW_SQNR

    operators = conversion.operators
    several = ", ".join(f"{count} {kind}" for kind, count in list(operators.items())[:4])
    print(f"{conversion.path}: {conversion.precision}, {conversion.file_bytes / 1e6:.2f} MB")
    print(f"{sum(operators.values())} operators: {several}{', ...' if len(operators) > 4 else ''}")
    calibration = conversion.calibration
    if calibration is not None:
        print(f"calibrated on {len(calibration)} pictures of the {calibration.split} split")
        if len(calibration) < FEW_IMAGES:
            print(f"  these are few: with {FEW_IMAGES} or more the ranges depend less on chance")
    if conversion.heads:
        table = Table("output", "step", "zero point", "SQNR", "correlation")
        for head in conversion.heads:
            table.add_row(
                escape(head.name),
                "" if head.scale is None else f"{head.scale:.4g}",
                "" if head.zero_point is None else str(head.zero_point),
                f"{head.sqnr:.1f} dB",
                f"{head.correlation:.4f}",
            )
        Console().print(table)
        print("SQNR compares with float32: 20 dB is an error of a tenth of the signal.")
    poor = [head.name for head in conversion.heads if head.sqnr < LOW_SQNR]
    if poor:
        print(f"{', '.join(poor)}: expect lost detections. The layers that lose most:")
        for layer in conversion.layers:
            print(f"  {layer.explain()}")
