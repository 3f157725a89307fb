"""`edgedet benchmark`: measure a detector's latency, step by step."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.table import Table

    from edgedet.benchmarks.latency import Latency
    from edgedet.runtime.detector import Detector


def benchmark(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Model files: .tflite, .xml, .onnx or .keras."),
    ],
    threads: Annotated[
        str | None,
        typer.Option(help="Threads to try, as in 1,2. [default: physical cores, at most 4]"),
    ] = None,
    runs: Annotated[int, typer.Option(help="Counted calls for each file.")] = 50,
    warmup: Annotated[int, typer.Option(help="Calls made first and not counted.")] = 10,
    source: Annotated[
        Path | None,
        typer.Option(help="Picture to detect on. [default: the bundled scene at 640x480]"),
    ] = None,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of this run; exp, exp2, ...")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time detect() on one picture: pre-processing, inference, post-processing and the whole.

    Several files, or several numbers of threads, take turns in one process, so that they meet the
    same conditions. Times are milliseconds. Writes runs/benchmark/NAME/benchmark.json.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeRemainingColumn

    from edgedet import files as output
    from edgedet.benchmarks.fingerprint import describe, fingerprint
    from edgedet.benchmarks.latency import measure
    from edgedet.benchmarks.pictures import standard_picture
    from edgedet.cli.run_directory import RunDirectory
    from edgedet.images import read_image
    from edgedet.runtime.cores import default_threads

    run = RunDirectory(project, "benchmark", name)
    counts = [default_threads()] if threads is None else _thread_counts(threads)
    image = standard_picture() if source is None else read_image(source)
    machine = fingerprint()
    terminal = Console(stderr=True)
    progress = Progress(
        "measuring",
        BarColumn(),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
        # A bar that redraws itself while the clock runs would be measured too.
        auto_refresh=False,
    )
    with progress:
        running = progress.add_task("rounds", total=None)

        def show(done: int, total: int) -> None:
            progress.update(running, completed=done, total=total)
            progress.refresh()

        results = measure(
            files,
            image,
            threads=counts,
            runs=runs,
            warmup=warmup,
            open_detector=_open,
            progress=show,
        )
    content = {
        "source": "bundled scene" if source is None else str(source),
        "width": image.shape[1],
        "height": image.shape[0],
        "runs": runs,
        "warmup": warmup,
        "results": [result.to_dict() for result in results],
        "machine": machine,
    }
    try:
        path = run.path() / "benchmark.json"
        output.write_text(path, json.dumps(content, indent=1) + "\n")
    finally:
        run.discard_if_empty()
    if json_:
        print(json.dumps(content))
        return
    Console().print(_table(results))
    for result in results:
        print(_beside(result))
    for result in results:
        if not result.stable:
            print(_warning(result), file=sys.stderr)
    print(f"{content['source']}, {image.shape[1]}x{image.shape[0]}, {runs} calls each")
    print(describe(machine))
    print(f"written to {path}")
    print(f"next: {_next(files, counts)}")


def _open(model: str | os.PathLike[str], *, threads: int) -> Detector:
    from edgedet.cli.native_log import without_native_log
    from edgedet.runtime.detector import Detector

    with without_native_log():
        detector = Detector(model, threads=threads)
        detector.warmup(1)
    return detector


def _thread_counts(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= int(word) <= 1024 for word in words):
        raise InvalidInputError(f"--threads must be numbers from 1 up, as in 1,2; not {text!r}.")
    return list(dict.fromkeys(int(word) for word in words))


def _table(results: list[Latency]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from edgedet.benchmarks.latency import STAGES

    table = Table(title="milliseconds", title_justify="left")
    table.add_column("step", overflow="fold")
    for column in ("p50", "p90", "p99", "mean"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(f"{escape(result.file.name)}, threads {_threads(result)}", style="bold")
        for stage in STAGES:
            values = result.stages[stage]
            table.add_row(
                f"  {stage}",
                *(f"{value:.3f}" for value in (values.p50, values.p90, values.p99, values.mean)),
                end_section=stage == STAGES[-1],
            )
    return table


def _threads(result: Latency) -> str:
    return "auto" if result.threads is None else str(result.threads)


def _beside(result: Latency) -> str:
    cold = result.cold_start
    memory = cold.peak_memory_bytes
    rate = 1000 / result.stages["total"].p50
    peak = f", peak memory {memory / 2**20:.0f} MiB" if memory else ""
    return (
        f"{result.file.name}, threads {_threads(result)}: "
        f"{result.precision or 'type not known'}, {result.size_bytes / 1e6:.2f} MB, "
        f"{rate:.{0 if rate >= 100 else 1}f} pictures/s, {result.detections} detections, "
        f"cold start {cold.total_ms:.0f} ms (import {cold.import_ms:.0f}, load {cold.load_ms:.0f}, "
        f"first detection {cold.first_detect_ms:.0f}){peak}"
    )


def _warning(result: Latency) -> str:
    return (
        f"warning: the times of {result.file.name} with threads {_threads(result)} are not stable: "
        f"p90 is {result.tail:.2f} x the median, and the median moved by "
        f"{100 * (result.drift - 1):.0f} % between rounds; stop other programs, let the machine "
        "cool, or raise --runs."
    )


def _next(files: list[Path], counts: list[int]) -> str:
    names = shlex.join(str(file) for file in files)
    if len(counts) == 1:
        more = ",".join(str(count) for count in sorted({1, 2, counts[0]}))
        return f"edgedet benchmark {names} --threads {more}"
    return f"edgedet eval --model {shlex.quote(str(files[0]))} --data data.yaml"
