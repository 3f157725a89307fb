"""`edgedet detect`: find objects in pictures and videos."""

from __future__ import annotations

import shlex
import statistics
import sys
from array import array
from collections import Counter
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress
    from rich.table import Table

    from edgedet.cli.detection_files import DetectionFiles
    from edgedet.errors import EdgeDetError
    from edgedet.runtime import Detections, Detector
    from edgedet.runtime.reading import SourceImage, Unreadable

_MOST_ROWS = 40
_INTERRUPTED = 130


def detect(
    model: Annotated[Path, typer.Option(help="A .tflite, .xml, .onnx or .keras file.")],
    source: Annotated[
        str,
        typer.Option(
            help="A picture, a video, a directory of pictures, a quoted glob pattern, an address "
            "(http, https, rtsp), the number of a camera, or - for standard input."
        ),
    ],
    conf: Annotated[float, typer.Option(help="Least confidence, 0 to 1.")] = 0.25,
    iou: Annotated[float, typer.Option(help="Overlap at which the weaker box goes.")] = 0.5,
    max_det: Annotated[int, typer.Option(help="Most detections per picture.")] = 100,
    tile: Annotated[
        int | None, typer.Option(help="Also look in tiles of so many pixels, for small objects.")
    ] = None,
    overlap: Annotated[
        float, typer.Option(help="Share that neighbouring tiles have in common.")
    ] = 0.2,
    vid_stride: Annotated[int, typer.Option(help="Use every so many frames of a video.")] = 1,
    stream_buffer: Annotated[
        bool,
        typer.Option(
            "--stream-buffer", help="Use all frames of a live source, not just the newest."
        ),
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default the physical cores, at most 4.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="Engine; follows the file.")] = None,
    save: Annotated[bool, typer.Option(help="Write annotated pictures and videos.")] = True,
    save_json: Annotated[bool, typer.Option("--save-json", help="Write detections.json.")] = False,
    save_txt: Annotated[
        bool, typer.Option("--save-txt", help="Write YOLO text files to labels/.")
    ] = False,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of this run; exp, exp2, ...")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find objects in pictures and videos, and write them with boxes to runs/detect/NAME/.

    A picture that can't be read is skipped with a warning when there are others; the exit status
    is 2 then. Ctrl-C ends a camera or a video: what was found so far is written.
    """
    from edgedet.cli.detection_files import DetectionFiles, print_json
    from edgedet.cli.native_log import without_native_log
    from edgedet.cli.run_directory import RunDirectory
    from edgedet.runtime.detector import Detector, check_stride, check_thresholds
    from edgedet.runtime.listing import Files
    from edgedet.runtime.reading import Reading
    from edgedet.runtime.sources import is_single, read_source, resolve
    from edgedet.runtime.tiling import Tiling

    run = RunDirectory(project, "detect", name)
    check_thresholds(conf, iou, max_det)
    check_stride(vid_stride)
    tiling = None if tile is None else Tiling(tile, overlap)
    place = resolve(source)
    with without_native_log():
        detector = Detector(model, threads=threads, engine=engine)
        detector.warmup()
    out = DetectionFiles(
        run,
        save=save,
        save_json=save_json,
        save_txt=save_txt,
        keep_json=json_,
        vid_stride=vid_stride,
    )
    report = _Report(is_single(place), total=len(place) if isinstance(place, Files) else None)
    reading = Reading(
        vid_stride=vid_stride,
        stream_buffer=stream_buffer,
        endless=True,
        skip=not report.single,
        prepare=detector.prepare,
    )
    try:
        reads = _readable(read_source(place, reading), report)
        found = detector.detect_each(reads, conf, iou, max_det, tiling=tiling)
        interrupted = _write_all(found, out, report)
    finally:
        run.discard_if_empty()
    if json_:
        head = {
            "model": str(detector.path),
            "engine": detector.engine_name,
            "threads": detector.threads,
            "source": source,
            "directory": str(out.directory) if out.directory else None,
        }
        failed = [{"path": name, "error": str(error)} for name, error in report.failures]
        print_json(head, out.json_objects(", "), {"failed": failed})
    elif report.images:
        _print_report(detector, source, report, out.directory)
    if report.failures and not interrupted:
        if report.single:
            print(f"error: {report.failures[0][1]}", file=sys.stderr)
        else:
            print(f"error: {report.failure_line()}", file=sys.stderr)
        raise typer.Exit(2)
    if interrupted:
        raise typer.Exit(_INTERRUPTED)


class _Report:
    """What is told at the end: a row for each picture and each video, within bounded memory."""

    def __init__(self, single: bool, total: int | None) -> None:
        self.single, self.total = single, total
        self.images = self.objects = self.frames = self.videos = self.sources = 0
        self.rows: list[_Row] = []
        self.first: Detections | None = None
        self.speed: dict[str, array[float]] = {}
        self.failures: list[tuple[str | None, EdgeDetError]] = []
        self.unread = 0
        self.seconds = 0.0
        self._video: object = None

    def add(self, read: SourceImage, result: Detections) -> None:
        if read.video is None or read.video is not self._video:
            self._video = read.video
            self.sources += 1
            self.videos += read.video is not None
            if len(self.rows) < _MOST_ROWS:
                self.rows.append(_Row(str(read.path)))
        if self.sources <= len(self.rows):
            self.rows[-1].frames += 1
            self.rows[-1].classes.update(result.labels)
        if self.first is None:
            self.first = result
        self.images += 1
        self.frames += read.video is not None
        self.objects += len(result)
        for stage, value in result.speed.items():
            self.speed.setdefault(stage, array("d")).append(value)

    def fail(self, failure: Unreadable) -> None:
        self.failures.append((failure.name, failure.error))
        self.unread += not failure.partly

    def failure_line(self) -> str:
        kind = "files" if self.videos else "pictures"
        return (
            f"{len(self.failures)} of {self.sources + self.unread} {kind} could not be read"
            f"{' to the end' if self.unread < len(self.failures) else ''}; "
            "the warnings above name them."
        )


class _Row:
    """One picture or video of the report."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames = 0
        self.classes: Counter[str] = Counter()


def _write_all(
    found: Iterator[tuple[SourceImage, Detections]], out: DetectionFiles, report: _Report
) -> bool:
    """Detect, while the images ahead are read and those behind are drawn and written.

    Returns whether the user stopped it.
    """
    from edgedet.runtime.pipeline import WriteBehind

    interrupted = False
    started = perf_counter()
    behind = WriteBehind(out.add, lambda found: found[0].image.nbytes)
    try:
        with closing(found), _progress() as progress:  # type: ignore[type-var]
            task = progress.add_task("", total=report.total)
            try:
                for read, result in found:
                    behind.put((read, result))
                    report.add(read, result)
                    if report.single and read.video is not None and read.frame is not None:
                        total, done = read.video.frames, read.frame + 1
                    else:
                        total, done = report.total, report.sources + report.unread
                    progress.update(task, total=total, completed=done)
            except KeyboardInterrupt:
                interrupted = True
            report.seconds = perf_counter() - started
            behind.close()
            out.finish()
    except BaseException as error:
        behind.stop()
        out.discard(error)
        raise
    return interrupted


def _readable(
    reads: Iterator[SourceImage | Unreadable], report: _Report
) -> Iterator[SourceImage | Unreadable]:
    """The images that could be read; the others are named in warnings."""
    from edgedet.runtime.reading import Unreadable

    with closing(reads):  # type: ignore[type-var]
        for read in reads:
            if not isinstance(read, Unreadable):
                yield read
                continue
            report.fail(read)
            # The only one is named at the end.
            if not report.single:
                print(f"warning: {read.error}", file=sys.stderr)


def _progress() -> Progress:
    """A bar on standard error with images per second; shown on a terminal only."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")

    terminal = Console(stderr=True)
    return Progress(
        "detecting",
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        # Where nobody watches, a progress bar would leave an empty line.
        disable=not terminal.is_terminal,
    )


def _print_report(detector: Detector, source: str, report: _Report, directory: Path | None) -> None:
    from rich.console import Console

    if report.images == 1 and report.first is not None and not report.videos:
        Console().print(detection_table(report.first))
    else:
        Console().print(_table(report))
    speed = {stage: statistics.median(values) for stage, values in report.speed.items()}
    pictures = _count(report.images - report.frames, "picture")
    frames = f"{_count(report.frames, 'frame')} of {_count(report.videos, 'video')}"
    if report.videos:
        where = frames if report.frames == report.images else f"{pictures} and {frames}"
    else:
        where = pictures
    print(f"{report.objects} objects in {where}; {format_speed(speed)} each")
    if report.videos:
        rate = report.images / report.seconds
        print(f"{rate:.1f} images a second, with reading, drawing and writing")
    if directory is not None:
        print(f"written to {directory}")
    model = shlex.quote(str(detector.path))
    if not report.objects:
        print(f"next: edgedet detect --model {model} --source {shlex.quote(source)} --conf 0.05")
    elif report.videos or not Path(report.rows[0].name).is_file():
        print(f"next: edgedet benchmark {model}")
    else:
        print(f"next: edgedet benchmark {model} --source {shlex.quote(report.rows[0].name)}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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


def _table(report: _Report) -> Table:
    """A row per picture or video with the number of objects of each class."""
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("source" if report.videos else "picture", overflow="fold")
    if report.videos:
        table.add_column("frames", justify="right")
    table.add_column("objects", justify="right")
    table.add_column("classes")
    for row in report.rows:
        classes = ", ".join(
            label if count == 1 else f"{label} x{count}"
            for label, count in row.classes.most_common()
        )
        counts = [str(row.frames)] if report.videos else []
        table.add_row(escape(row.name), *counts, str(row.classes.total()), escape(classes))
    if report.sources > len(report.rows):
        table.add_row(f"and {report.sources - len(report.rows)} more")
    return table
