"""The content of a benchmark.json as one HTML page: no other files, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgedet.benchmarks.operator_times import Profile
from edgedet.benchmarks.recommendation import candidates, pareto
from edgedet.cli.benchmark_charts import (
    STYLE,
    Point,
    Series,
    accuracy_chart,
    colour_key,
    histogram,
    icicle,
    line_chart,
)
from edgedet.evaluation.page import Cell, escaped, page, section, table

Result = Mapping[str, Any]
Row = list[Cell | str]

_MOST_HISTOGRAMS = 12
_MOST_KINDS = 12
_MOST_LAYERS = 15


def benchmark_page(content: Mapping[str, Any], profiles: Sequence[Profile] = ()) -> str:
    """The measurement as an HTML document.

    Args:
        content: what `edgedet benchmark` writes to benchmark.json.
        profiles: the profiles of the same run.
    """
    results: list[Result] = content["results"]
    files = list(dict.fromkeys(Path(result["file"]).name for result in results))
    title = files[0] if len(files) == 1 else f"{len(files)} files"
    parts = [
        f"<style>{STYLE}</style>",
        f"<header><h1>Latency of {escaped(title)}</h1><p>{_conditions(content)}</p></header>",
        _cards(results),
        _unstable(results),
        _accuracy(results),
        _latency(results),
        _histograms(results),
        _threads(results),
        _start(results),
        _sustained(results),
        *(_profile(profile) for profile in profiles),
        _machine(content["machine"]),
    ]
    return page(f"Benchmark of {title}", "\n".join(part for part in parts if part))


def name_of(result: Result) -> str:
    """File name and threads."""
    return f"{Path(result['file']).name}, threads {_auto(result['threads'])}"


def _conditions(content: Mapping[str, Any]) -> str:
    machine = content["machine"]
    return escaped(
        f"{content['source']}, {content['width']}x{content['height']}, {content['runs']} calls "
        f"each, on {machine['cpu']}, {machine['usable_cores']} cores, governor "
        f"{machine['governor'] or 'unknown'}"
    )


def _cards(results: Sequence[Result]) -> str:
    fastest = min(results, key=lambda result: result["total"]["p50"])
    smallest = min(results, key=lambda result: result["size_bytes"])
    cards = [
        (f"{fastest['total']['p50']:.2f} ms", "median of the fastest", fastest),
        (f"{1000 / fastest['total']['p50']:.0f}", "pictures a second with it", fastest),
        (f"{smallest['size_bytes'] / 1e6:.2f} MB", "the smallest file", smallest),
    ]
    known = [result for result in results if _ap(result) is not None]
    if known:
        best = max(known, key=lambda result: _ap(result) or 0)
        cards.append((f"{_ap(best):.1f}", "highest AP", best))
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><b>{escaped(figure)}</b><span>{escaped(said)}</span>'
            f'<span class="name">{escaped(name_of(result))}</span></div>'
            for figure, said, result in cards
        )
        + "</div>"
    )


def _unstable(results: Sequence[Result]) -> str:
    names = [name_of(result) for result in results if not result["stability"]["stable"]]
    if not names:
        return ""
    listed = "".join(f"<li>{escaped(name)}</li>" for name in names)
    return (
        '<div class="findings"><h3>Not stable: these figures would not repeat</h3>'
        f"<ul>{listed}</ul></div>"
    )


def _accuracy(results: Sequence[Result]) -> str:
    if all(_ap(result) is None for result in results):
        return ""
    front = {(one.file, one.threads) for one in pareto(candidates(results))}
    points = [
        Point(
            x=result["total"]["p50"],
            y=ap,
            label=name_of(result),
            colour=place,
            on_frontier=(result["file"], result["threads"]) in front,
        )
        for place, result in enumerate(results)
        if (ap := _ap(result)) is not None
    ]
    measured = next(result["accuracy"] for result in results if _ap(result) is not None)
    chart = accuracy_chart(
        points,
        x_label="median of the whole call, milliseconds",
        y_label="AP, points of 100",
        title="Accuracy by latency",
    )
    return section(
        "Accuracy and latency",
        f"<figure>{chart}{colour_key([(point.label, point.colour) for point in points])}</figure>",
        lead=f"AP on {measured['images']} images of the {escaped(measured['split'])} split of "
        f"{escaped(measured['data'])}. Up and to the left is better; the dotted line joins those "
        "that no other beats in both.",
    )


def _latency(results: Sequence[Result]) -> str:
    columns = ["file", "threads", "p50", "p90", "p95", "p99", "mean ± spread"]
    columns += ["pre", "inference", "post", "pictures/s"]
    rows: list[Row] = []
    for result in results:
        total = result["total"]
        row: Row = [
            escaped(Path(result["file"]).name),
            Cell(_auto(result["threads"]), result["threads"] or 0),
        ]
        row += [_ms(total[name]) for name in ("p50", "p90", "p95", "p99")]
        row.append(Cell(f"{total['mean']:.2f} ± {total['spread']:.2f}", total["mean"]))
        row += [_ms(result[step]["p50"]) for step in ("preprocess", "inference", "postprocess")]
        row.append(Cell(f"{1000 / total['p50']:.1f}", 1000 / total["p50"]))
        rows.append(row)
    return section(
        "Latency",
        table(columns, rows, sortable=True),
        lead="Milliseconds of the whole call of detect() on a decoded picture; of its three steps "
        "the median. Spread is the standard deviation.",
    )


def _histograms(results: Sequence[Result]) -> str:
    figures = "".join(
        f"<figure><h3>{escaped(name_of(result))}</h3>"
        f"{histogram(result['calls'], title=f'How long {name_of(result)} took')}</figure>"
        for result in results[:_MOST_HISTOGRAMS]
    )
    left = len(results) - _MOST_HISTOGRAMS
    more = f'<p class="note">{left} more are in benchmark.json.</p>' if left > 0 else ""
    return section(
        "How long calls took",
        f'<div class="columns">{figures}</div>',
        more,
        lead="Two humps, or a long tail, tell of a machine that did something else meanwhile.",
    )


def _threads(results: Sequence[Result]) -> str:
    by_file: dict[str, list[Result]] = {}
    for result in results:
        if result["threads"] is not None:
            by_file.setdefault(result["file"], []).append(result)
    swept = {
        file: sorted(of_file, key=lambda result: result["threads"])
        for file, of_file in by_file.items()
        if len(of_file) > 1
    }
    if not swept:
        return ""
    lines = [
        Series(
            Path(file).name,
            [result["threads"] for result in of_file],
            [result["total"]["p50"] for result in of_file],
            place,
        )
        for place, (file, of_file) in enumerate(swept.items())
    ]
    chart = line_chart(
        lines,
        x_label="threads",
        y_label="median, milliseconds",
        title="Latency by threads",
        whole=True,
    )
    rows: list[Row] = []
    for file, of_file in swept.items():
        base = of_file[0]
        for result in of_file:
            gain = base["total"]["p50"] / result["total"]["p50"]
            more = result["threads"] / base["threads"]
            rows.append(
                [
                    escaped(Path(file).name),
                    str(result["threads"]),
                    _ms(result["total"]["p50"]),
                    Cell(f"{gain:.2f} x", gain),
                    Cell(f"{gain / more:.0%}", gain / more),
                ]
            )
    key = colour_key([(line.name, line.colour) for line in lines])
    return section(
        "Threads",
        f'<div class="columns"><figure>{chart}{key}</figure><div>',
        table(["file", "threads", "p50, ms", "faster", "of what is ideal"], rows),
        "</div></div>",
    )


def _start(results: Sequence[Result]) -> str:
    rows: list[Row] = []
    for result in results:
        cold, peak = result["cold_start"], result["peak_memory_bytes"]
        ap, work = _ap(result), result.get("multiply_adds")
        rows.append(
            [
                escaped(Path(result["file"]).name),
                _auto(result["threads"]),
                Cell(escaped(result["precision"] or "unknown"), style="words"),
                Cell("" if ap is None else f"{ap:.1f}", -1 if ap is None else ap),
                Cell(f"{result['size_bytes'] / 1e6:.2f}", result["size_bytes"]),
                Cell(f"{work / 1e6:.1f}" if work else "", work or -1),
                *(f"{cold[name]:.0f}" for name in ("import", "load", "first_detect", "total")),
                f"{peak / 2**20:.0f}" if peak else "unknown",
            ]
        )
    columns = ["file", "threads", "precision", "AP", "MB", "M mult-adds"]
    columns += ["import, ms", "load, ms", "first, ms", "together, ms", "peak, MiB"]
    return section(
        "Files, cold start and memory",
        table(columns, rows, sortable=True),
        lead="A fresh process imports the packages, loads the model and detects for the first "
        "time; its peak is the most memory that was resident, Python and NumPy included.",
    )


def _sustained(results: Sequence[Result]) -> str:
    ran = [result for result in results if result.get("sustained")]
    if not ran:
        return ""
    lines = [
        Series(
            name_of(result),
            [window["start_s"] / 60 for window in result["sustained"]["windows"]],
            [window["p50"] for window in result["sustained"]["windows"]],
            place,
        )
        for place, result in enumerate(ran)
    ]
    chart = line_chart(
        lines,
        x_label="minutes",
        y_label="median, milliseconds",
        title="Latency over time",
        wide=True,
    )
    rows: list[Row] = []
    for result in ran:
        found = result["sustained"]
        rows.append(
            [
                escaped(name_of(result)),
                f"{found['minutes']:.1f}",
                f"{found['per_second']:.1f}",
                _ms(found["p50"]),
                Cell(
                    f"{100 * (found['drift'] - 1):+.1f} %".replace("-", "−"),
                    found["drift"],
                    "down" if found["throttled"] else "",
                ),
                _temperatures(found["windows"]),
            ]
        )
    columns = ["file", "minutes", "pictures/s", "p50, ms", "drift", "°C, first and last"]
    return section(
        "Sustained run",
        f"<figure>{chart}{colour_key([(line.name, line.colour) for line in lines])}</figure>",
        table(columns, rows),
        lead="One call after the other without a pause. Drift is the last fifth's median against "
        "the first fifth's; beyond 10 % the machine slowed down, most often from heat.",
    )


def _temperatures(windows: Sequence[Mapping[str, Any]]) -> str:
    known = [window["celsius"] for window in windows if window["celsius"] is not None]
    return f"{known[0]:.0f} and {known[-1]:.0f}" if known else "unknown"


def _profile(profile: Profile) -> str:
    title = f"Where the time goes: {profile.file.name}, threads {profile.threads}"
    blocks = profile.blocks()
    remark = f'<p class="note">{escaped(profile.remark)}</p>' if profile.remark else ""
    kinds: list[Row] = [
        [escaped(kind), str(count), *_work(profile, work, spent)]
        for kind, count, spent, work in profile.kinds()[:_MOST_KINDS]
    ]
    parts: list[Row] = [
        [escaped(block.name), *_work(profile, block.multiply_adds, block.milliseconds)]
        for block in sorted(blocks.parts.values(), key=lambda block: -block.milliseconds)
    ]
    layers: list[Row] = [
        [escaped(one.layer or one.kind), *_work(profile, one.multiply_adds, one.milliseconds)]
        for one in sorted(profile.operators, key=lambda one: -one.milliseconds)[:_MOST_LAYERS]
    ]
    figures = ["ms", "%", "M multiply-adds", "G/s", "of the peak"]
    return section(
        title,
        remark,
        f'<figure class="scroll">{icicle(blocks, peak=profile.peak, title=title)}</figure>',
        "<h3>By operator, as the engine names it</h3>",
        table(["operator", "number", *figures], kinds, sortable=True),
        "<h3>By block</h3>",
        table(["block", *figures], parts, sortable=True),
        "<h3>The longest layers</h3>",
        table(["layer", *figures], layers, sortable=True),
        lead=f"One inference took {profile.run_ms:.2f} ms with the engine's profiler on, of which "
        f"{max(0.0, profile.between_ms):.2f} ms between operators, the profiler's own work "
        f"included. The peak is {profile.peak / 1e9:.1f} G multiply-adds a second: the engine's "
        f"best convolution of 1x1 in {escaped(profile.precision or 'float32')} on this machine. "
        "The deeper a block's colour, the nearer it comes to that; grey blocks multiply nothing.",
    )


def _work(profile: Profile, work: int, spent: float) -> Row:
    total = sum(one.milliseconds for one in profile.operators) or 1.0
    rate = profile.rate(work, spent)
    return [
        Cell(f"{spent:.3f}", spent),
        Cell(f"{100 * spent / total:.1f}", spent),
        Cell(f"{work / 1e6:.2f}" if work else "", work),
        Cell(f"{rate / 1e9:.1f}" if rate else "", rate or 0.0),
        Cell(f"{rate / profile.peak:.0%}" if rate else "", rate or 0.0),
    ]


def _machine(machine: Mapping[str, Any]) -> str:
    memory = machine["memory_bytes"]
    facts = {
        "processor": machine["cpu"],
        "instruction sets": ", ".join(machine["isa"]) or "unknown",
        "usable cores": f"{machine['usable_cores']} of {machine['logical_cpus']} logical CPUs",
        "frequency governor": machine["governor"] or "unknown",
        "highest frequency": f"{machine['max_frequency_mhz'] or 'unknown'} MHz",
        "virtual machine": "yes" if machine["virtual_machine"] else "no",
        "memory": f"{memory / 2**30:.1f} GiB" if memory else "unknown",
        "load when it began": machine["load_average"],
        "system": f"{machine['os']}, kernel {machine['kernel']}",
        "Python": machine["python"],
        "edgedet": machine["edgedet"],
        **machine["packages"],
    }
    rows: list[Row] = [
        [escaped(name), Cell(escaped(value), style="words")] for name, value in facts.items()
    ]
    return section(
        "Machine",
        table(["what", "value"], rows),
        lead="Compare figures only between machines where all of this is the same.",
    )


def _ap(result: Result) -> float | None:
    """AP in points of 100."""
    accuracy = result.get("accuracy")
    if not accuracy or accuracy["AP"] is None or accuracy["AP"] < 0:
        return None
    return 100 * float(accuracy["AP"])


def _auto(threads: int | None) -> str:
    return "auto" if threads is None else str(threads)


def _ms(value: float) -> Cell:
    return Cell(f"{value:.2f}", value)
