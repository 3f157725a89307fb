"""Contenders that take turns on one thread, and the tables of what came out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

# A sample holds as many calls as last this long, so that the clock's own cost doesn't show.
_SAMPLE_MS = 0.2
_MOST_ROUNDS = 60
_FEWEST_ROUNDS = 3
# Below this a turn begins with an uncounted call, which finds the caches full of another's data.
_WARMED_MS = 50.0


@dataclass(frozen=True)
class Comparison:
    """Our median time for a task beside another implementation's.

    Attributes:
        task: what is measured, as `nms` or `letterbox`.
        case: the input.
        ours_ms: milliseconds of `edgedet.ops`.
        peer: the other implementation.
        peer_ms: its milliseconds.
        bar: how many times faster ours is to be; None where none is set.
    """

    task: str
    case: str
    ours_ms: float
    peer: str
    peer_ms: float
    bar: float | None = None

    @property
    def ratio(self) -> float:
        """The peer's time over ours."""
        return self.peer_ms / self.ours_ms

    @property
    def met(self) -> bool | None:
        """Whether the ratio reaches the bar; None without one."""
        return None if self.bar is None else self.ratio >= self.bar


@dataclass(frozen=True)
class Measure:
    """A figure that is not a time, and the most it may be.

    Attributes:
        task: what is measured.
        case: the input, and what is counted.
        value: the figure.
        unit: its unit.
        limit: the most it may be; None where nothing is set.
    """

    task: str
    case: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the value is within the limit; None without one."""
        return None if self.limit is None else self.value <= self.limit


Row = Comparison | Measure


def take_turns(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median milliseconds of each call, all of them measured in interleaved rounds.

    Every other round runs in reverse order, so that none always follows the same other one. A
    sample is the time on the clock, or this process's on the processor where that is less.

    Args:
        calls: what to measure, by name.
        seconds: time to spend on all of them together; a slow call still gets three rounds.
    """
    repeats: dict[str, int] = {}
    warmed: set[str] = set()
    round_ms = 0.0
    for name, call in calls.items():
        once = _milliseconds(call, 1)
        if once < _WARMED_MS:
            warmed.add(name)
            once = _milliseconds(call, 1)
        repeats[name] = max(1, math.ceil(_SAMPLE_MS / max(once, 1e-6)))
        round_ms += once * (repeats[name] + (name in warmed))
    rounds = min(max(int(1000 * seconds / round_ms), _FEWEST_ROUNDS), _MOST_ROUNDS)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            if name in warmed:
                calls[name]()
            samples[name].append(_milliseconds(calls[name], repeats[name]))
    return {name: median(values) for name, values in samples.items()}


def compare(
    task: str,
    case: str,
    ours: Callable[[], object],
    peers: dict[str, tuple[Callable[[], object], float | None]],
    seconds: float,
) -> list[Comparison]:
    """Measure ours and the peers, which come with their bars, taking turns."""
    if not peers:
        return []
    times = take_turns({"": ours} | {name: call for name, (call, _) in peers.items()}, seconds)
    return [
        Comparison(task, case, times[""], name, times[name], bar)
        for name, (_, bar) in peers.items()
    ]


def to_json(row: Row) -> dict[str, Any]:
    """The row as JSON values, with its ratio and whether it reaches its bar."""
    content = {key: _rounded(value) for key, value in asdict(row).items()} | {"met": row.met}
    return content | {"ratio": _rounded(row.ratio)} if isinstance(row, Comparison) else content


def from_json(content: dict[str, Any]) -> Row:
    """The row that `to_json` wrote."""
    kind = Comparison if "peer" in content else Measure
    return kind(**{key: content[key] for key in kind.__dataclass_fields__})


def tables(results: Mapping[str, Sequence[Row]]) -> str:
    """Markdown tables: one row for each case and peer, columns for each instruction set.

    Args:
        results: rows by instruction set; the first set decides which rows there are.
    """
    isas = list(results)
    cells = {isa: {_key(row): row for row in rows} for isa, rows in results.items()}
    lines: list[list[str]] = []
    measured: list[list[str]] = []
    for key, first in cells[isas[0]].items():
        rows = [cells[isa].get(key) for isa in isas]
        met = ", ".join(_verdict(row.met) for row in rows if row is not None)
        if isinstance(first, Comparison):
            pairs = [row if isinstance(row, Comparison) else None for row in rows]
            lines.append(
                [
                    *(first.task, first.case, first.peer),
                    *(_milliseconds_text(row.peer_ms if row else None) for row in pairs[:1]),
                    *(_milliseconds_text(row.ours_ms if row else None) for row in pairs),
                    *(f"{row.ratio:.1f}x" if row else "" for row in pairs),
                    "" if first.bar is None else f"{first.bar:g}x",
                    "" if first.bar is None else met,
                ]
            )
        else:
            values = [f"{row.value:.4g}" if isinstance(row, Measure) else "" for row in rows]
            limit = "" if first.limit is None else f"{first.limit:g}"
            measured.append([first.task, first.case, first.unit, *values, limit, met])
    heads = ["task", "case", "peer", "peer ms", *(f"{isa} ms" for isa in isas)]
    found = ""
    if lines:
        found += table([*heads, *(f"{isa} ratio" for isa in isas), "bar", "met"], lines)
    if measured:
        found += "\n" if found else ""
        found += table(["task", "case", "unit", *isas, "limit", "met"], measured)
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned, so that it reads well as plain text."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths))
    return "".join(f"{text} |\n" if i != 1 else f"{text}|\n" for i, text in enumerate(texts))


def _milliseconds(call: Callable[[], object], repeats: int) -> float:
    # The processor's time is less where other programs interrupted the call, and more where it has
    # threads of its own.
    started, worked = time.perf_counter_ns(), time.process_time_ns()
    for _ in range(repeats):
        call()
    worked, ended = time.process_time_ns() - worked, time.perf_counter_ns()
    return min(worked, ended - started) / 1e6 / repeats


def _milliseconds_text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value < 0.1 else f"{value:.3g}"


def _key(row: Row) -> tuple[str, ...]:
    return (row.task, row.case, row.peer if isinstance(row, Comparison) else row.unit)


def _verdict(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "no"


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
