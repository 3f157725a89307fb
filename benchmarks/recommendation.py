"""Which of the measured detectors to use: the most accurate within a budget of time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.errors import InvalidInputError

PERCENTILES = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True)
class Candidate:
    """A file with a number of threads.

    Attributes:
        file: the model file.
        threads: threads of the engine; None where the engine decides.
        milliseconds: of the whole call, at the percentile asked for.
        ap: AP in points of 100; None where it was not measured.
        size_bytes: size of the file.
    """

    file: str
    threads: int | None
    milliseconds: float
    ap: float | None
    size_bytes: int

    @property
    def name(self) -> str:
        """File name and threads."""
        return f"{Path(self.file).name} with threads {self.threads or 'auto'}"

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "file": self.file,
            "threads": self.threads,
            "milliseconds": round(self.milliseconds, 4),
            "ap": None if self.ap is None else round(self.ap, 3),
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True)
class Recommendation:
    """What to use.

    Attributes:
        pick: the candidate to use; None where none keeps both bounds.
        nearest: where there is no pick, the one that misses the bounds by the least share.
        failures: where there is no pick, a sentence for each bound that the nearest misses or that
            nobody keeps.
        frontier: those that no other beats in both time and AP, fastest first.
    """

    pick: Candidate | None
    nearest: Candidate | None
    failures: tuple[str, ...]
    frontier: tuple[Candidate, ...]


def candidates(results: Sequence[Mapping[str, Any]], percentile: str = "p50") -> list[Candidate]:
    """The candidates that a `benchmark.json` holds.

    Args:
        results: its entry `results`.
        percentile: one of `PERCENTILES`.

    Raises:
        InvalidInputError: an unknown percentile, or one that the results lack.
    """
    if percentile not in PERCENTILES:
        raise InvalidInputError(
            f"There is no percentile {percentile!r}; choose one of {', '.join(PERCENTILES)}."
        )
    found = []
    for entry in results:
        accuracy = entry.get("accuracy") or {}
        ap = accuracy.get("AP")
        if percentile not in entry["total"]:
            raise InvalidInputError(
                f"The result of {entry['file']} has no {percentile}: an earlier edgedet measured "
                "it; measure it again."
            )
        found.append(
            Candidate(
                file=entry["file"],
                threads=entry["threads"],
                milliseconds=float(entry["total"][percentile]),
                # pycocotools says -1 where there was nothing to find.
                ap=None if ap is None or ap < 0 else 100 * ap,
                size_bytes=entry["size_bytes"],
            )
        )
    return found


def recommend(
    found: Sequence[Candidate], *, budget_ms: float | None = None, min_ap: float | None = None
) -> Recommendation:
    """Choose the most accurate candidate within the budget, the faster one of equals.

    With an AP to reach and no budget it is the fastest that reaches it; where no AP is known and
    none is asked for, the fastest within the budget.

    Args:
        found: the candidates, at least one.
        budget_ms: most milliseconds of a call.
        min_ap: least AP in points of 100.

    Raises:
        InvalidInputError: no bound, one out of range, or an AP asked for that was measured nowhere.
    """
    _check(found, budget_ms, min_ap)
    fitting = [one for one in found if not _misses(one, budget_ms, min_ap)]
    frontier = pareto(found)
    if fitting:
        if budget_ms is None:
            return Recommendation(min(fitting, key=_by_time), None, (), frontier)
        return Recommendation(min(fitting, key=_by_accuracy), None, (), frontier)
    usable = [one for one in found if min_ap is None or one.ap is not None]
    nearest = min(usable, key=lambda one: (sum(_misses(one, budget_ms, min_ap).values()), one.name))
    return Recommendation(None, nearest, tuple(_failures(usable, budget_ms, min_ap)), frontier)


def pareto(found: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those with an AP that no other beats in time without losing AP, fastest first."""
    frontier: list[Candidate] = []
    for one in sorted((one for one in found if one.ap is not None), key=_by_time):
        assert one.ap is not None
        if not frontier or one.ap > (frontier[-1].ap or 0):
            frontier.append(one)
    return tuple(frontier)


def _check(found: Sequence[Candidate], budget_ms: float | None, min_ap: float | None) -> None:
    if budget_ms is None and min_ap is None:
        raise InvalidInputError("Say what it must keep: --budget-ms, --min-ap or both.")
    if not found:
        raise InvalidInputError("There is nothing to choose from; name measured files.")
    if budget_ms is not None and not (budget_ms > 0 and math.isfinite(budget_ms)):
        raise InvalidInputError(f"--budget-ms must be above 0, not {budget_ms:g}.")
    if min_ap is None:
        return
    if not 0 <= min_ap <= 100:
        raise InvalidInputError(f"--min-ap must be from 0 to 100, not {min_ap:g}.")
    if 0 < min_ap < 1:
        raise InvalidInputError(
            f"--min-ap is in points of 100: for {min_ap:g} of 1 give {100 * min_ap:g}."
        )
    if all(one.ap is None for one in found):
        raise InvalidInputError(
            "No AP was measured: measure with `edgedet benchmark FILES --data data.yaml`, "
            "or give --data here."
        )


def _misses(one: Candidate, budget_ms: float | None, min_ap: float | None) -> dict[str, float]:
    """By which share a candidate misses each bound that it doesn't keep."""
    missed = {}
    if budget_ms is not None and one.milliseconds > budget_ms:
        missed["time"] = one.milliseconds / budget_ms - 1
    if min_ap is not None and (one.ap is None or one.ap < min_ap):
        missed["ap"] = math.inf if one.ap is None else 1 - one.ap / min_ap
    return missed


def _failures(
    usable: Sequence[Candidate], budget_ms: float | None, min_ap: float | None
) -> list[str]:
    """What no candidate, or no candidate that keeps the other bound, reaches."""
    sentences = []
    fastest = min(usable, key=_by_time)
    best = min(usable, key=_by_accuracy)
    if budget_ms is not None and fastest.milliseconds > budget_ms:
        sentences.append(
            f"the budget of {budget_ms:g} ms: the fastest, {fastest.name}, takes "
            f"{fastest.milliseconds:.2f} ms, {fastest.milliseconds - budget_ms:.2f} too many"
        )
    if min_ap is not None and best.ap is not None and best.ap < min_ap:
        sentences.append(
            f"AP {min_ap:g}: the most accurate, {best.name}, has {best.ap:.1f}, "
            f"{min_ap - best.ap:.1f} too few"
        )
    if sentences or budget_ms is None or min_ap is None:
        return sentences
    # Each bound is kept by someone, both by nobody.
    quick = min((one for one in usable if one.milliseconds <= budget_ms), key=_by_accuracy)
    good = min((one for one in usable if (one.ap or 0) >= min_ap), key=_by_time)
    assert quick.ap is not None
    return [
        f"both at once: within {budget_ms:g} ms the most accurate, {quick.name}, has AP "
        f"{quick.ap:.1f}, {min_ap - quick.ap:.1f} too few; with AP {min_ap:g} the fastest, "
        f"{good.name}, takes {good.milliseconds:.2f} ms, "
        f"{good.milliseconds - budget_ms:.2f} too many"
    ]


def _by_time(one: Candidate) -> tuple[float, float, int]:
    return one.milliseconds, -(one.ap or 0), one.size_bytes


def _by_accuracy(one: Candidate) -> tuple[float, float, int]:
    return -(one.ap or 0), one.milliseconds, one.size_bytes
