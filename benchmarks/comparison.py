"""Two results of `edgedet benchmark`, one beside the other: what became slower, and whether it did.

A difference counts as significant when the Mann-Whitney U test on the round medians gives a p-value
below 0.01. Round medians, not single calls: calls that follow each other are not independent.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.benchmarks.timing_statistics import Difference, difference
from edgedet.errors import InvalidInputError, MissingFileError

LEVEL = 0.01

COMPARED = ("total", "inference")

# Between values of these that differ, no ratio says anything about the model.
_MACHINE = {
    "cpu": "processor",
    "architecture": "architecture",
    "isa": "instruction sets",
    "logical_cpus": "logical CPUs",
    "usable_cores": "usable cores",
    "governor": "frequency governor",
    "max_frequency_mhz": "highest frequency",
    "virtual_machine": "virtual machine",
}
# What a regression is often looked for in: told, not refused.
_SOFTWARE = {"os": "system", "kernel": "kernel", "python": "Python", "edgedet": "edgedet"}
_CONDITIONS = {"source": "picture", "width": "its width", "height": "its height"}

Key = tuple[str, int | None, int]


@dataclass(frozen=True)
class Change:
    """One file and number of threads in both results.

    Attributes:
        file: its name, of the second result.
        threads: threads of the engine; None where the engine decides.
        stage: `total` or `inference`.
        before: median milliseconds in the first result.
        after: the same in the second.
        difference: ratio and p-value of the round medians.
    """

    file: str
    threads: int | None
    stage: str
    before: float
    after: float
    difference: Difference

    @property
    def significant(self) -> bool:
        """Whether chance alone would seldom give such a difference."""
        return self.difference.p_value < LEVEL

    def slower_than(self, percent: float) -> bool:
        """Whether it became slower by more than so many percent, and significantly."""
        return self.significant and self.difference.ratio > 1 + percent / 100

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON values."""
        return {
            "file": self.file,
            "threads": self.threads,
            "stage": self.stage,
            "before": self.before,
            "after": self.after,
            **self.difference.to_dict(),
            "significant": self.significant,
        }


@dataclass(frozen=True)
class Comparison:
    """Two results side by side.

    Attributes:
        changes: those in both, in the order of the second result.
        only_before: files and threads that only the first result has.
        only_after: those that only the second has.
        notes: what else differs between the measurements.
    """

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    notes: tuple[str, ...]

    def slower_than(self, percent: float) -> list[Change]:
        """Whole calls that became slower by more than so many percent, and significantly."""
        return [
            change
            for change in self.changes
            if change.stage == "total" and change.slower_than(percent)
        ]

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON values."""
        return {
            "changes": [change.to_dict() for change in self.changes],
            "only_before": list(self.only_before),
            "only_after": list(self.only_after),
            "notes": list(self.notes),
            "test": "Mann-Whitney U on round medians",
            "level": LEVEL,
        }


def read_benchmark(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a `benchmark.json`.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it is something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(f"There is no file {path}; check the path.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInputError(
            f"{path} can't be read as JSON ({type(error).__name__}); name a benchmark.json."
        ) from None
    if not _is_benchmark(content):
        raise InvalidInputError(
            f"{path} is no result of `edgedet benchmark`; name the benchmark.json of a run."
        )
    found: dict[str, Any] = content
    return found


def compare(
    before: Mapping[str, Any], after: Mapping[str, Any], *, across_machines: bool = False
) -> Comparison:
    """Match the results of two measurements by file name and threads, and test each pair.

    Where each side measured one file only, the two are compared whatever their names.

    Args:
        before: a `benchmark.json`'s content.
        after: another's.
        across_machines: compare in spite of different machines.

    Raises:
        InvalidInputError: nothing in common, a result without round medians, another picture, or,
            unless `across_machines`, another machine.
    """
    if different := _differences(before, after, _CONDITIONS):
        raise InvalidInputError(
            f"The results are of different pictures ({'; '.join(different)}); "
            "measure both on the same one."
        )
    machines = _differences(before["machine"], after["machine"], _MACHINE)
    if machines and not across_machines:
        raise InvalidInputError(
            f"The results are of different machines ({'; '.join(machines)}); measure both on one, "
            "or compare all the same with --across-machines."
        )
    notes = [*machines, *_differences(before["machine"], after["machine"], _SOFTWARE)]
    notes += _differences(
        before["machine"].get("packages", {}), after["machine"].get("packages", {})
    )
    first, second = _by_key(before["results"]), _by_key(after["results"])
    names = [{name for name, *_ in side} for side in (first, second)]
    if all(len(side) == 1 for side in names) and names[0] != names[1]:
        (old,), (new,) = names
        notes.append(f"file: {old} before, {new} now")
        first = {(new, *key[1:]): entry for key, entry in first.items()}
    common = [key for key in second if key in first]
    if not common:
        raise InvalidInputError(
            f"The results have nothing in common: {_listed(first)} on one side, "
            f"{_listed(second)} on the other; measure the same files with the same threads."
        )
    changes = [_change(key, stage, first[key], second[key]) for key in common for stage in COMPARED]
    notes += [
        f"{_name(key)}: not stable {when}"
        for key in common
        for when, side in (("before", first), ("now", second))
        if not side[key]["stability"]["stable"]
    ]
    return Comparison(
        tuple(changes),
        tuple(_name(key) for key in first if key not in second),
        tuple(_name(key) for key in second if key not in first),
        tuple(notes),
    )


def _is_benchmark(content: Any) -> bool:
    def is_result(entry: Any) -> bool:
        return (
            isinstance(entry, dict)
            and isinstance(entry.get("file"), str)
            and isinstance(entry.get("threads"), int | None)
            and isinstance(entry.get("stability"), dict)
            and all(isinstance(entry.get(stage), dict) for stage in COMPARED)
            and all(isinstance(entry[stage].get("p50"), int | float) for stage in COMPARED)
        )

    return (
        isinstance(content, dict)
        and isinstance(content.get("machine"), dict)
        and isinstance(content.get("results"), list)
        and bool(content["results"])
        and all(is_result(entry) for entry in content["results"])
    )


def _by_key(results: Sequence[Mapping[str, Any]]) -> dict[Key, Mapping[str, Any]]:
    """The results by file name, threads, and a number where the same name occurs again."""
    seen: Counter[tuple[str, int | None]] = Counter()
    found = {}
    for entry in results:
        name = (Path(entry["file"]).name, entry["threads"])
        found[(*name, seen[name])] = entry
        seen[name] += 1
    return found


def _change(key: Key, stage: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    rounds = []
    for entry in (before, after):
        medians = entry.get("rounds", {}).get(stage)
        if not medians:
            raise InvalidInputError(
                f"{_name(key)} has no round medians: an earlier edgedet measured it; "
                "measure it again."
            )
        rounds.append(medians)
    return Change(
        file=_labelled(key),
        threads=key[1],
        stage=stage,
        before=before[stage]["p50"],
        after=after[stage]["p50"],
        difference=difference(*rounds),
    )


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> list[str]:
    chosen = names or {name: name for name in sorted({*before, *after})}
    return [
        f"{told}: {_shown(before.get(name))} before, {_shown(after.get(name))} now"
        for name, told in chosen.items()
        if before.get(name) != after.get(name)
    ]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(part) for part in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def _labelled(key: Key) -> str:
    return key[0] if not key[2] else f"{key[0]} ({key[2] + 1})"


def _name(key: Key) -> str:
    return f"{_labelled(key)} with threads {'auto' if key[1] is None else key[1]}"


def _listed(side: Mapping[Key, Any]) -> str:
    names = [_name(key) for key in side]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
