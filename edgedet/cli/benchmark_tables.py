"""What `edgedet benchmark` prints, and the rows of its CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgedet.benchmarks.comparison import COMPARED
from edgedet.benchmarks.latency import STAGES, Latency
from edgedet.benchmarks.sustained import Sustained

if TYPE_CHECKING:
    from rich.table import Table

    from edgedet.benchmarks.comparison import Comparison
    from edgedet.benchmarks.operator_times import Profile

_PERCENTILES = ("p50", "p90", "p95", "p99")
_FIGURES = ("mean", "spread", *_PERCENTILES)
_MOST_ROWS = 12


def latency_table(results: Sequence[Latency]) -> Table:
    """Percentiles of each step of each result."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="milliseconds", title_justify="left")
    table.add_column("step", overflow="fold")
    for column in (*_PERCENTILES, "mean ± spread"):
        table.add_column(column, justify="right")
    for result in results:
        heading = f"{escape(result.file.name)}, threads {auto(result.threads)}"
        table.add_row(heading, style="bold")
        for stage in STAGES:
            values = result.stages[stage]
            table.add_row(
                f"  {stage}",
                *(f"{getattr(values, name):.3f}" for name in _PERCENTILES),
                f"{values.mean:.3f} ± {values.spread:.3f}",
                end_section=stage == STAGES[-1],
            )
    return table


def beside(result: Latency, accuracy: Mapping[str, Any] | None) -> str:
    """What else is known of a result, in a line."""
    cold = result.cold_start
    memory = cold.peak_memory_bytes
    rate = 1000 / result.stages["total"].p50
    peak = f", peak memory {memory / 2**20:.0f} MiB" if memory else ""
    scored = f"AP {100 * accuracy['AP']:.1f}, " if accuracy and accuracy["AP"] >= 0 else ""
    return (
        f"{result.file.name}, threads {auto(result.threads)}: {scored}"
        f"{result.precision or 'type not known'}, {result.size_bytes / 1e6:.2f} MB, "
        f"{rate:.{0 if rate >= 100 else 1}f} pictures/s, {result.detections} detections, "
        f"cold start {cold.total_ms:.0f} ms (import {cold.import_ms:.0f}, load {cold.load_ms:.0f}, "
        f"first detection {cold.first_detect_ms:.0f}){peak}"
    )


def held_up(found: Sustained) -> str:
    """A sustained run in a line."""
    verdict = (
        f"slowed down by {100 * (found.drift - 1):.0f} %: the machine throttles or was busy"
        if found.throttled
        else f"no slowing down (drift {100 * (found.drift - 1):+.1f} %)"
    )
    return (
        f"{found.file.name}, threads {auto(found.threads)}: {found.seconds / 60:.1f} minutes, "
        f"{found.per_second:.1f} pictures/s, p50 {found.p50:.3f} ms, {verdict}"
    )


def warning(result: Latency) -> str:
    """Why a result that isn't stable is not to be believed."""
    return (
        f"warning: the times of {result.file.name} with threads {auto(result.threads)} are not "
        f"stable: p90 is {result.tail:.2f} x the median, and the median moved by "
        f"{100 * (result.drift - 1):.0f} % between rounds; stop other programs, let the machine "
        "cool, or raise --runs."
    )


def profile_table(profile: Profile) -> Table:
    """The kinds of operators and the blocks that take longest."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{escape(profile.file.name)}, threads {profile.threads}: "
        f"{profile.run_ms:.3f} ms an inference, peak {profile.peak / 1e9:.1f} G multiply-adds/s",
        title_justify="left",
    )
    table.add_column("operator or block", overflow="fold")
    for column in ("ms", "%", "M mult-adds", "G/s", "of peak"):
        table.add_column(column, justify="right")
    total = sum(one.milliseconds for one in profile.operators) or 1.0
    kinds = [(f"{kind} x {count}", spent, work) for kind, count, spent, work in profile.kinds()]
    blocks = sorted(profile.blocks().parts.values(), key=lambda block: -block.milliseconds)
    parts = [(block.name, block.milliseconds, block.multiply_adds) for block in blocks]
    for rows in (kinds[:_MOST_ROWS], parts[:_MOST_ROWS]):
        for place, (name, spent, work) in enumerate(rows):
            rate = profile.rate(work, spent)
            table.add_row(
                escape(name),
                f"{spent:.3f}",
                f"{100 * spent / total:.1f}",
                f"{work / 1e6:.2f}" if work else "",
                f"{rate / 1e9:.1f}" if rate else "",
                f"{rate / profile.peak:.0%}" if rate else "",
                end_section=place == len(rows) - 1,
            )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Each pair of results, with what the test says."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="medians in milliseconds", title_justify="left")
    table.add_column("file", overflow="fold")
    for column in ("before", "now", "change", "95 % interval", "p", ""):
        table.add_column(column, justify="right", no_wrap=True)
    heading = ""
    for change in comparison.changes:
        found = change.difference
        verdict = ""
        if change.significant:
            verdict = "slower" if found.ratio > 1 else "faster"
        name = f"{escape(change.file)}, threads {auto(change.threads)}"
        if name != heading:
            heading = name
            table.add_row(heading, style="bold")
        table.add_row(
            f"  {change.stage}",
            f"{change.before:.3f}",
            f"{change.after:.3f}",
            f"{100 * (found.ratio - 1):+.1f} %",
            f"{100 * (found.low - 1):+.1f} to {100 * (found.high - 1):+.1f} %",
            f"{found.p_value:.2g}",
            verdict,
            end_section=change.stage == COMPARED[-1],
        )
    return table


def csv_text(results: Sequence[Mapping[str, Any]]) -> str:
    """The results of a benchmark.json as CSV, a row for each file and number of threads."""
    columns = ["file", "threads", "engine", "precision", "size_bytes", "multiply_adds", "ap"]
    columns += [f"{stage}_{name}_ms" for stage in STAGES for name in _FIGURES]
    columns += [f"cold_{name}_ms" for name in ("import", "load", "first_detect", "total")]
    columns += ["peak_memory_bytes", "detections", "stable", "tail", "drift"]
    columns += ["sustained_per_second", "sustained_p50_ms", "sustained_drift"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for entry in results:
        sustained = entry.get("sustained") or {}
        writer.writerow(
            [
                *(entry.get(name) for name in columns[:6]),
                (entry.get("accuracy") or {}).get("AP"),
                *(entry[stage][name] for stage in STAGES for name in _FIGURES),
                *(entry["cold_start"][name] for name in ("import", "load", "first_detect")),
                entry["cold_start"]["total"],
                entry["peak_memory_bytes"],
                entry["detections"],
                *(entry["stability"][name] for name in ("stable", "tail", "drift")),
                *(sustained.get(name) for name in ("per_second", "p50", "drift")),
            ]
        )
    return text.getvalue()


def auto(threads: int | None) -> str:
    """The number of threads; `auto` where the engine decides."""
    return "auto" if threads is None else str(threads)
