"""`edgedet benchmark`: measure a detector's latency, step by step."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from edgedet.benchmarks.latency import Latency
    from edgedet.benchmarks.operator_times import Profile
    from edgedet.benchmarks.sustained import Sustained
    from edgedet.cli.run_directory import RunDirectory


def benchmark(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Model files: .tflite, .xml, .onnx or .keras.",
            show_default=False,
        ),
    ] = None,
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
    minutes: Annotated[
        float | None,
        typer.Option(help="Also run each file so long without a pause. [default: not]"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="data.yaml of a data set to measure AP on. [default: no AP]"),
    ] = None,
    split: Annotated[str, typer.Option(help="Part of the data set.")] = "val",
    limit: Annotated[
        int | None,
        typer.Option(help="Measure AP on the first images only. [default: all]"),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also time each operator and block.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="A.json B.json",
            help="Compare two results instead of measuring.",
            show_default=False,
        ),
    ] = None,
    fail_above: Annotated[
        float | None,
        typer.Option(
            help="With --compare: exit 1 if B is slower by more percent. [default: never]"
        ),
    ] = None,
    across_machines: Annotated[
        bool, typer.Option("--across-machines", help="With --compare: though machines differ.")
    ] = False,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of this run; exp, exp2, ...")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time detect() on one picture: pre-processing, inference, post-processing and the whole.

    Several files, or several numbers of threads, take turns in one process, so that they meet the
    same conditions. Times are milliseconds. Writes benchmark.json, benchmark.csv and
    benchmark.html to runs/benchmark/NAME/.

    With --compare, tests whether two such results differ (Mann-Whitney U on round medians); exits
    1 when --fail-above is given and B is slower by more than that, and not by chance.
    """
    if compare is not None:
        if files:
            raise InvalidInputError("--compare reads results; leave the model files out.")
        _compare(*compare, fail_above, across_machines, json_)
        return
    if fail_above is not None or across_machines:
        raise InvalidInputError("--fail-above and --across-machines belong to --compare.")
    if not files:
        raise InvalidInputError("There is no model file to measure; name one or more.")
    from edgedet.cli.benchmark_run import dataset_of, measured, thread_counts
    from edgedet.cli.run_directory import RunDirectory

    run = RunDirectory(project, "benchmark", name)
    counts = thread_counts(threads)
    content, results, lasting, profiles = measured(
        files,
        counts,
        runs=runs,
        warmup=warmup,
        source=source,
        minutes=minutes,
        dataset=None if data is None else dataset_of(data, split, limit),
        data=data,
        profiled=profile,
    )
    path = _write(run, content, profiles)
    if json_:
        print(json.dumps(content))
        return
    _print(content, results, lasting, profiles)
    print(f"written to {path}")
    print(f"page: {path.with_suffix('.html')}")
    print(f"next: {_next(files, counts)}")


def _compare(
    before: Path, after: Path, fail_above: float | None, across_machines: bool, json_: bool
) -> None:
    from rich.console import Console

    from edgedet.benchmarks.comparison import LEVEL, compare, read_benchmark
    from edgedet.cli.benchmark_tables import auto, comparison_table

    if fail_above is not None and not fail_above >= 0:
        raise InvalidInputError(f"--fail-above must be 0 or more, not {fail_above:g}.")
    found = compare(read_benchmark(before), read_benchmark(after), across_machines=across_machines)
    slower = [] if fail_above is None else found.slower_than(fail_above)
    if json_:
        print(json.dumps({**found.to_dict(), "fail_above": fail_above, "met": not slower}))
    else:
        Console().print(comparison_table(found))
        print(f"p: Mann-Whitney U on round medians; below {LEVEL} counts as a difference")
        for note in found.notes:
            print(f"note: {note}")
        for told, names in (("before", found.only_before), ("now", found.only_after)):
            if names:
                print(f"note: only {told}: {', '.join(names)}")
        for change in slower:
            print(
                f"{change.file}, threads {auto(change.threads)}: slower by "
                f"{100 * (change.difference.ratio - 1):.1f} %, more than {fail_above:g} %"
            )
        if fail_above is not None and not slower:
            print(f"nothing is slower by more than {fail_above:g} %")
    if slower:
        raise typer.Exit(1)


def _write(run: RunDirectory, content: dict[str, Any], profiles: Sequence[Profile]) -> Path:
    from edgedet import files as output
    from edgedet.cli.benchmark_page import benchmark_page
    from edgedet.cli.benchmark_tables import csv_text

    try:
        path = run.path() / "benchmark.json"
        output.write_text(path.with_suffix(".html"), benchmark_page(content, profiles))
        output.write_text(path.with_suffix(".csv"), csv_text(content["results"]))
        output.write_text(path, json.dumps(content, indent=1) + "\n")
    finally:
        run.discard_if_empty()
    return path


def _print(
    content: dict[str, Any],
    results: Sequence[Latency],
    lasting: Sequence[Sustained],
    profiles: Sequence[Profile],
) -> None:
    from rich.console import Console

    from edgedet.benchmarks.fingerprint import describe
    from edgedet.cli.benchmark_tables import (
        beside,
        held_up,
        latency_table,
        profile_table,
        warning,
    )

    console = Console()
    console.print(latency_table(results))
    for result, entry in zip(results, content["results"], strict=True):
        print(beside(result, entry.get("accuracy")))
    for found in lasting:
        print(held_up(found))
    for profile in profiles:
        console.print(profile_table(profile))
        if profile.remark:
            print(f"note: {profile.remark}")
    for result in results:
        if not result.stable:
            print(warning(result), file=sys.stderr)
    size = f"{content['width']}x{content['height']}"
    print(f"{content['source']}, {size}, {content['runs']} calls each")
    print(describe(content["machine"]))


def _next(files: Sequence[Path], counts: Sequence[int]) -> str:
    names = shlex.join(str(file) for file in files)
    if len(counts) == 1:
        more = ",".join(str(count) for count in sorted({1, 2, counts[0]}))
        return f"edgedet benchmark {names} --threads {more}"
    return f"edgedet eval --model {shlex.quote(str(files[0]))} --data data.yaml"
