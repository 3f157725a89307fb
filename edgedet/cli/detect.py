"""`edgedet detect`: find objects in pictures."""

from __future__ import annotations

import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from edgedet.cli.run_directory import RunDirectory
    from edgedet.runtime import Detections, Detector

# Annotated pictures keep these formats; others become .png.
_KEPT_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp"))
_MOST_ROWS = 40


def detect(
    model: Annotated[Path, typer.Option(help="A .tflite, .xml, .onnx or .keras file.")],
    source: Annotated[
        str, typer.Option(help="A picture, a directory of pictures, or a quoted glob pattern.")
    ],
    conf: Annotated[float, typer.Option(help="Least confidence, 0 to 1.")] = 0.25,
    iou: Annotated[float, typer.Option(help="Overlap at which the weaker box goes.")] = 0.5,
    max_det: Annotated[int, typer.Option(help="Most detections per picture.")] = 100,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default the physical cores, at most 4.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="Engine; follows the file.")] = None,
    save: Annotated[bool, typer.Option(help="Write annotated pictures.")] = True,
    save_json: Annotated[bool, typer.Option("--save-json", help="Write detections.json.")] = False,
    save_txt: Annotated[
        bool, typer.Option("--save-txt", help="Write YOLO text files to labels/.")
    ] = False,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of this run; exp, exp2, ...")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find objects in pictures, and write the pictures with boxes to runs/detect/NAME/.

    A picture that can't be read is skipped with a warning when there are others; the exit status
    is 2 then.
    """
    from edgedet.cli.native_log import without_native_log
    from edgedet.cli.run_directory import RunDirectory
    from edgedet.runtime.detector import Detector, check_thresholds
    from edgedet.runtime.sources import find_images, is_single

    run = RunDirectory(project, "detect", name)
    check_thresholds(conf, iou, max_det)
    paths = find_images(source)
    with without_native_log():
        detector = Detector(model, threads=threads, engine=engine)
        detector.warmup()
    writer = _Writer(run, save=save, save_json=save_json, save_txt=save_txt)
    try:
        results, failures = _detect_all(
            detector, paths, writer, single=is_single(source), conf=conf, iou=iou, max_det=max_det
        )
        writer.finish()
    finally:
        run.discard_if_empty()
    if json_:
        print(json.dumps(_report(detector, source, results, failures, writer)))
    elif results:
        _print_report(detector, results, writer)
    if failures:
        print(
            f"error: {len(failures)} of {len(paths)} pictures could not be read; "
            "the warnings above name them.",
            file=sys.stderr,
        )
        raise typer.Exit(2)


class _Writer:
    """Writes what was found in each picture, under names that never meet."""

    def __init__(self, run: RunDirectory, *, save: bool, save_json: bool, save_txt: bool) -> None:
        self._run = run
        self._save, self._save_json, self._save_txt = save, save_json, save_txt
        self._stems: set[str] = set()
        self._found: list[dict[str, Any]] = []
        self.directory: Path | None = None

    def add(self, path: Path, result: Detections) -> None:
        if not (self._save or self._save_json or self._save_txt):
            return
        self.directory = self._run.path()
        stem = self._free_stem(path.stem)
        if self._save:
            suffix = path.suffix.lower()
            result.save(self.directory / f"{stem}{suffix if suffix in _KEPT_SUFFIXES else '.png'}")
        if self._save_txt:
            result.save_txt(self.directory / "labels" / f"{stem}.txt")
        if self._save_json:
            self._found.append(result.to_dict())

    def finish(self) -> None:
        from edgedet import files

        if self._save_json and self.directory is not None:
            text = json.dumps(self._found, indent=1)
            files.write_text(self.directory / "detections.json", text + "\n")

    def _free_stem(self, stem: str) -> str:
        free, number = stem, 1
        while free in self._stems:
            number += 1
            free = f"{stem}_{number}"
        self._stems.add(free)
        return free


def _detect_all(
    detector: Detector, paths: list[Path], writer: _Writer, *, single: bool, **thresholds: Any
) -> tuple[list[Detections], list[tuple[Path, str]]]:
    """Results of the readable pictures, and the others with the reason."""
    from rich.console import Console
    from rich.progress import track

    from edgedet.errors import InvalidInputError, MissingFileError

    results: list[Detections] = []
    failures: list[tuple[Path, str]] = []
    console = Console(stderr=True)
    # Where nobody watches, a progress bar would leave an empty line.
    quiet = len(paths) == 1 or not console.is_terminal
    for path in track(paths, "detecting", console=console, transient=True, disable=quiet):
        try:
            result = detector.detect(path, **thresholds)
        except (InvalidInputError, MissingFileError) as error:
            if single:
                raise
            failures.append((path, str(error)))
            print(f"warning: {error}", file=sys.stderr)
            continue
        writer.add(path, result)
        results.append(result)
    return results, failures


def _report(
    detector: Detector,
    source: str,
    results: list[Detections],
    failures: list[tuple[Path, str]],
    writer: _Writer,
) -> dict[str, Any]:
    return {
        "model": str(detector.path),
        "engine": detector.engine_name,
        "threads": detector.threads,
        "source": source,
        "directory": str(writer.directory) if writer.directory else None,
        "images": [result.to_dict() for result in results],
        "failed": [{"path": str(path), "error": error} for path, error in failures],
    }


def _print_report(detector: Detector, results: list[Detections], writer: _Writer) -> None:
    from rich.console import Console

    Console().print(detection_table(results[0]) if len(results) == 1 else _picture_table(results))
    found = sum(len(result) for result in results)
    pictures = "1 picture" if len(results) == 1 else f"{len(results)} pictures"
    print(f"{found} objects in {pictures}; {format_speed(median_speed(results))} each")
    if writer.directory is not None:
        print(f"written to {writer.directory}")
    model, source = shlex.quote(str(detector.path)), shlex.quote(str(results[0].path))
    if found:
        print(f"next: edgedet benchmark {model} --source {source}")
    else:
        print(f"next: edgedet detect --model {model} --source {source} --conf 0.05")


def median_speed(results: list[Detections]) -> dict[str, float]:
    """Median milliseconds of each stage."""
    return {
        stage: statistics.median(result.speed[stage] for result in results)
        for stage in results[0].speed
    }


def format_speed(speed: dict[str, float]) -> str:
    """One line for the stages, as in `preprocess 0.2 ms, inference 4.1 ms`."""
    return ", ".join(f"{stage} {value:.2f} ms" for stage, value in speed.items())


def detection_table(result: Detections) -> Table:
    """A row per detection."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(result.path or ""), title_justify="left")
    table.add_column("object")
    for column in ("confidence", "x0", "y0", "x1", "y1"):
        table.add_column(column, justify="right")
    for label, score, box in zip(
        result.labels, result.confidence.tolist(), result.xyxy.tolist(), strict=True
    ):
        table.add_row(escape(label), f"{score:.2f}", *(f"{side:.1f}" for side in box))
    return table


def _picture_table(results: list[Detections]) -> Table:
    """A row per picture with the number of objects of each class."""
    from collections import Counter

    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("picture", overflow="fold")
    table.add_column("objects", justify="right")
    table.add_column("classes")
    for result in results[:_MOST_ROWS]:
        classes = ", ".join(
            label if count == 1 else f"{label} x{count}"
            for label, count in Counter(result.labels).most_common()
        )
        table.add_row(escape(str(result.path)), str(len(result)), escape(classes))
    if len(results) > _MOST_ROWS:
        table.add_row(f"and {len(results) - _MOST_ROWS} more", "", "")
    return table
