"""`edgedet recommend`: which of several detectors to use on this machine."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.table import Table

    from edgedet.benchmarks.recommendation import Candidate, Recommendation


def recommend(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Model files to measure, or benchmark.json files of `edgedet benchmark`.",
        ),
    ],
    budget_ms: Annotated[
        float | None, typer.Option(help="Most milliseconds of a call. [default: any]")
    ] = None,
    min_ap: Annotated[
        float | None, typer.Option(help="Least AP in points of 100. [default: any]")
    ] = None,
    at: Annotated[
        str, typer.Option(help="Percentile that keeps the budget: p50, p90, p95 or p99.")
    ] = "p50",
    data: Annotated[
        Path | None,
        typer.Option(help="data.yaml of a data set to measure AP of model files on."),
    ] = None,
    split: Annotated[str, typer.Option(help="Part of the data set.")] = "val",
    limit: Annotated[
        int | None,
        typer.Option(help="Measure AP on the first images only. [default: all]"),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(help="Threads to try, as in 1,2. [default: physical cores, at most 4]"),
    ] = None,
    runs: Annotated[int, typer.Option(help="Counted calls for each model file.")] = 50,
    source: Annotated[
        Path | None,
        typer.Option(help="Picture to detect on. [default: the bundled scene at 640x480]"),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Pick the most accurate detector within a budget of time, from measurements.

    Without a budget it is the fastest that reaches --min-ap. Exits 1 when none keeps the bounds,
    and says which one fails by how much, and which comes nearest.
    """
    from rich.console import Console

    from edgedet.benchmarks.fingerprint import fingerprint
    from edgedet.benchmarks.recommendation import candidates
    from edgedet.benchmarks.recommendation import recommend as choose

    if budget_ms is None and min_ap is None:
        raise InvalidInputError("Say what it must keep: --budget-ms, --min-ap or both.")
    results, machines = _results(
        files, data, split=split, limit=limit, threads=threads, runs=runs, source=source
    )
    found = candidates(results, at)
    outcome = choose(found, budget_ms=budget_ms, min_ap=min_ap)
    elsewhere = any(machine.get("cpu") != fingerprint()["cpu"] for machine in machines)
    if json_:
        print(json.dumps(_content(outcome, found, budget_ms, min_ap, at)))
    else:
        Console().print(_table(found, outcome, at))
        if elsewhere:
            print("note: measured on another processor than this machine's")
        _print_outcome(outcome)
    if outcome.pick is None:
        raise typer.Exit(1)


def _results(
    files: Sequence[Path], data: Path | None, **options: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the JSON files hold and what measuring the others gives; the machines, too."""
    from edgedet.benchmarks.comparison import read_benchmark
    from edgedet.cli.benchmark_run import dataset_of, measured, thread_counts

    stored = [read_benchmark(file) for file in files if file.suffix.lower() == ".json"]
    models = [file for file in files if file.suffix.lower() != ".json"]
    if models:
        dataset = None
        if data is not None:
            dataset = dataset_of(data, options["split"], options["limit"])
        content, *_ = measured(
            models,
            thread_counts(options["threads"]),
            runs=options["runs"],
            warmup=10,
            source=options["source"],
            dataset=dataset,
            data=data,
        )
        stored.append(content)
    elif data is not None:
        raise InvalidInputError("--data is for model files; the JSON files hold their own AP.")
    results = [entry for content in stored for entry in content["results"]]
    return results, [content["machine"] for content in stored]


def _content(
    outcome: Recommendation,
    found: Sequence[Candidate],
    budget_ms: float | None,
    min_ap: float | None,
    at: str,
) -> dict[str, Any]:
    def told(one: Candidate | None) -> dict[str, Any] | None:
        return None if one is None else one.to_dict()

    return {
        "budget_ms": budget_ms,
        "min_ap": min_ap,
        "percentile": at,
        "pick": told(outcome.pick),
        "nearest": told(outcome.nearest),
        "failures": list(outcome.failures),
        "frontier": [one.to_dict() for one in outcome.frontier],
        "candidates": [one.to_dict() for one in found],
    }


def _table(found: Sequence[Candidate], outcome: Recommendation, at: str) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("file", overflow="fold")
    for column in ("threads", f"{at}, ms", "AP", "MB", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for one in sorted(found, key=lambda one: one.milliseconds):
        if one == outcome.pick:
            mark = "pick"
        elif one == outcome.nearest:
            mark = "nearest"
        else:
            mark = "" if one in outcome.frontier or one.ap is None else "beaten"
        table.add_row(
            escape(Path(one.file).name),
            str(one.threads or "auto"),
            f"{one.milliseconds:.2f}",
            "n/a" if one.ap is None else f"{one.ap:.1f}",
            f"{one.size_bytes / 1e6:.2f}",
            mark,
        )
    return table


def _print_outcome(outcome: Recommendation) -> None:
    chosen = outcome.pick or outcome.nearest
    assert chosen is not None
    ap = "" if chosen.ap is None else f", AP {chosen.ap:.1f}"
    said = f"{chosen.name}: {chosen.milliseconds:.2f} ms{ap}"
    if outcome.pick is None:
        for failure in outcome.failures:
            print(f"not kept: {failure}")
        print(f"nearest: {said}")
    else:
        print(f"use {said}")
    threads = "" if chosen.threads is None else f" --threads {chosen.threads}"
    print(f"next: edgedet detect --model {shlex.quote(chosen.file)} --source PICTURE{threads}")
