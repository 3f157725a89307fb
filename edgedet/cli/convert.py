"""`edgedet convert`: from a trained model to the files that devices run."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from edgedet.converters.conversion import Conversion


def convert(
    model: Annotated[Path, typer.Argument(metavar="MODEL.keras", help="Model to convert.")],
    to: Annotated[str, typer.Option(help="Formats, as in tflite,openvino,onnx.")] = "tflite",
    int8: Annotated[bool, typer.Option("--int8", help="INT8 weights and activations.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Store weights as float16.")] = False,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="INT8 weights, float activations: tflite.")
    ] = False,
    int16x8: Annotated[
        bool, typer.Option("--int16x8", help="INT8 weights, int16 activations: tflite.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="data.yaml the model was trained on; INT8 is calibrated on it."),
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(help="Training pictures to calibrate on.")
    ] = 200,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Most AP that INT8 may lose, in points of 100. [default: 1.0]"),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Evaluate INT8 on the val split and do more for it until --max-drop is kept.",
        ),
    ] = True,
    qat: Annotated[
        bool,
        typer.Option("--qat/--no-qat", help="Train on for INT8 where nothing else suffices."),
    ] = True,
    nms: Annotated[
        bool, typer.Option("--nms", help="Also end the graph in a standard NMS: FILE-nms.")
    ] = False,
    exit_: Annotated[
        int | None,
        typer.Option("--exit", help="Exit of an anytime network, from 1. [default: the last]"),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images that the network takes at a time.")] = 1,
    imgsz: Annotated[
        int | None,
        typer.Option(help="Side of the square input in pixels. [default: as trained]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the results. [default: the model's]")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Convert a trained model to self-describing files, float32 unless told otherwise.

    The results are MODEL-float32.tflite (or -float16, -int8, -dynamic, -int16x8), MODEL-float32.xml
    with its .bin for OpenVINO, and MODEL-float32.onnx; the options exit, batch and imgsz are told
    before the precision, as in MODEL-320px-int8.tflite. With --data it says how well each output
    follows the float32 model.

    --int8 is evaluated: what loses more than --max-drop is quantized again, with more effort each
    time. MODEL-int8-report/report.html tells all of it. Exits 3 if nothing keeps the budget; the
    best file is then called MODEL-int8-over-budget.
    """
    from edgedet.converters.formats import without_pictures
    from edgedet.converters.nms.options import check_batch

    precision = _precision(int8=int8, float16=fp16, dynamic=dynamic, int16x8=int16x8)
    formats = [name.strip() for name in to.split(",")]
    budgeted = precision == "int8" and check
    if max_drop is not None and not budgeted:
        raise InvalidInputError("--max-drop is --int8's, and there is none with --no-check.")
    if budgeted and batch != 1:
        raise InvalidInputError(
            "--int8 is evaluated with one image at a time; add --no-check for a larger --batch."
        )
    if nms:
        check_batch(batch)
    if budgeted:
        if data is None:
            raise without_pictures(model, precision)
        files = _within_budget(
            model,
            formats,
            data=data,
            max_drop=max_drop,
            qat=qat,
            nms=nms,
            out=out,
            options={"calibration_images": calibration_images, "stack": exit_, "size": imgsz},
            json_=json_,
        )
    else:
        files = _converted(
            model,
            formats,
            precision=precision,
            data=data,
            calibration_images=calibration_images,
            out=out,
            stack=exit_,
            batch=batch,
            size=imgsz,
            nms=nms,
            json_=json_,
        )
    if json_:
        return
    if len(files) == 1:
        file = shlex.quote(str(files[0]))
        print(f"next: edgedet eval --model {file} --data {shlex.quote(str(data or 'data.yaml'))}")
    else:
        print(f"next: edgedet benchmark {shlex.join(str(file) for file in files)}")


def _precision(**wanted: bool) -> str:
    chosen = [name for name, is_wanted in wanted.items() if is_wanted]
    if len(chosen) > 1:
        raise InvalidInputError("Use one of --int8, --fp16, --dynamic and --int16x8 at a time.")
    return chosen[0] if chosen else "float32"


def _converted(
    model: Path, formats: list[str], *, nms: bool, json_: bool, **options: Any
) -> list[Path]:
    """Convert, tell of it, and return the files."""
    from edgedet.converters.formats import convert as convert_to

    with _progress() as report:
        conversions = convert_to(model, formats, progress=report, **options)
        files = {conversion.format: conversion.path for conversion in conversions}
        suppressed = _suppressed(files) if nms else []
    if json_:
        reports = [conversion.to_dict() for conversion in conversions]
        for told, path in zip(reports, suppressed, strict=False):
            told["nms_file"] = str(path)
        print(json.dumps(reports[0] if len(reports) == 1 else {"conversions": reports}))
    else:
        for conversion in conversions:
            _print(conversion)
        _print_suppressed(suppressed)
    return list(files.values())


def _within_budget(
    model: Path,
    formats: list[str],
    *,
    data: Path,
    max_drop: float | None,
    qat: bool,
    nms: bool,
    out: Path | None,
    options: dict[str, Any],
    json_: bool,
) -> list[Path]:
    """Convert to INT8, tell what it took, and return the files.

    Raises:
        typer.Exit: with status 3 where the budget is missed.
    """
    from edgedet.cli.int8_budget import OVER_BUDGET, convert_and_report
    from edgedet.converters.budget import DEFAULT_MAX_DROP

    with _progress() as report:
        result, directory = convert_and_report(
            model,
            formats,
            data=data,
            max_drop=DEFAULT_MAX_DROP if max_drop is None else max_drop,
            qat=qat,
            out=out,
            report=report,
            **options,
        )
        suppressed = _suppressed(result.files) if nms else []
    if json_:
        told = {
            "met": result.met,
            "files": [str(path) for path in result.files.values()],
            "nms_files": [str(path) for path in suppressed],
            "report_html": str(directory / "report.html"),
            **result.report,
        }
        print(json.dumps(told))
    else:
        _print_budget(result.report)
        _print_suppressed(suppressed)
        print(f"look at {directory / 'report.html'}")
    if not result.met:
        raise typer.Exit(OVER_BUDGET)
    return list(result.files.values())


def _suppressed(files: Mapping[str, Path]) -> list[Path]:
    """Write copies of converted files, by format, that end in boxes."""
    from edgedet.converters.formats import with_suppression
    from edgedet.converters.nms import NmsOptions

    return [with_suppression(name, path, NmsOptions()) for name, path in files.items()]


def _print_suppressed(paths: list[Path]) -> None:
    for path in paths:
        print(f"{path}: the same, ending in boxes for other programs")


def _print_budget(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    for warning in (report["calibration"] or {}).get("warnings", ()):
        print(f"calibration: {warning}")
    table = Table("format", "step", "AP", "drop", "MB", "s")
    table.add_row("float32", "", f"{100 * report['baseline']['AP']:.2f}", "", "", "")
    for entry in report["formats"]:
        for attempt in entry["attempts"]:
            table.add_row(
                entry["format"],
                escape(attempt["step"]),
                f"{100 * attempt['AP']:.2f}",
                f"{attempt['drop']:.2f}",
                f"{attempt['bytes'] / 1e6:.2f}",
                f"{attempt['seconds']:.0f}",
            )
    Console().print(table)
    for entry in report["formats"]:
        print(f"{entry['file']}: {entry['outcome']}")


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

    from edgedet.quantization.sensitivity import LOW_SQNR

    operators = conversion.operators
    several = ", ".join(f"{count} {kind}" for kind, count in list(operators.items())[:4])
    print(f"{conversion.path}: {conversion.precision}, {conversion.file_bytes / 1e6:.2f} MB")
    print(f"{sum(operators.values())} operators: {several}{', ...' if len(operators) > 4 else ''}")
    calibration = conversion.calibration
    if calibration is not None:
        print(f"calibrated on {len(calibration)} pictures of the {calibration.split} split")
    for warning in conversion.warnings:
        print(f"calibration: {warning}")
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
