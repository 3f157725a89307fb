"""How long a detector takes, step by step, for several files under the same conditions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.archive import stored_bytes
from edgedet.benchmarks.cold_start import ColdStart, measure_cold_start
from edgedet.benchmarks.timing_statistics import Percentiles
from edgedet.errors import InvalidInputError
from edgedet.runtime.detector import Detector

STAGES = ("preprocess", "inference", "postprocess", "total")

# Calls are made in this many rounds, in each of which every candidate has its turn.
_ROUNDS = 10

# Beyond these the figures depend on when they were taken more than on what was measured.
MOST_TAIL = 1.20
MOST_DRIFT = 1.10


@dataclass(frozen=True)
class Latency:
    """What was measured for one file and one number of threads.

    Attributes:
        file: the model file.
        threads: threads of the engine; None where the engine decides for itself.
        engine: name of the engine.
        precision: type in which most convolutions multiplied; None where the engine doesn't tell.
        size_bytes: size of the file; of an `.xml` with its `.bin`.
        detections: objects found in the picture, for scale.
        stages: each of `STAGES`; `total` is the whole call, more than the sum of its parts.
        rounds: the median of each round, in order, for each of `STAGES`.
        calls: milliseconds of each counted call, in order.
        cold_start: the first detection of a fresh process.
        tail: p90 of the total over its median.
        drift: highest over lowest median of a round.
    """

    file: Path
    threads: int | None
    engine: str
    precision: str | None
    size_bytes: int
    detections: int
    stages: Mapping[str, Percentiles]
    rounds: Mapping[str, tuple[float, ...]]
    calls: tuple[float, ...]
    cold_start: ColdStart
    tail: float
    drift: float

    @property
    def stable(self) -> bool:
        """False when the machine was too busy, or too hot, for the figures to be repeated."""
        return self.tail <= MOST_TAIL and self.drift <= MOST_DRIFT

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON values; times in milliseconds."""
        cold = self.cold_start
        return {
            "file": str(self.file),
            "threads": self.threads,
            "engine": self.engine,
            "precision": self.precision,
            "size_bytes": self.size_bytes,
            "detections": self.detections,
            **{stage: values.to_dict() for stage, values in self.stages.items()},
            "rounds": {
                stage: [round(value, 4) for value in values]
                for stage, values in self.rounds.items()
            },
            "calls": [round(value, 4) for value in self.calls],
            "cold_start": {
                "import": round(cold.import_ms, 2),
                "load": round(cold.load_ms, 2),
                "first_detect": round(cold.first_detect_ms, 2),
                "total": round(cold.total_ms, 2),
            },
            "peak_memory_bytes": cold.peak_memory_bytes,
            "stability": {
                "stable": self.stable,
                "tail": round(self.tail, 3),
                "drift": round(self.drift, 3),
            },
        }


class OpenDetector(Protocol):
    """Makes a detector: `Detector` itself, or a stand-in for it."""

    def __call__(self, model: str | os.PathLike[str], *, threads: int) -> Any:
        """Open `model`."""


def measure(
    files: Sequence[str | os.PathLike[str]],
    image: NDArray[np.uint8],
    *,
    threads: Sequence[int],
    runs: int = 50,
    warmup: int = 10,
    open_detector: OpenDetector = Detector,
    cold_start: Callable[[Path, NDArray[np.uint8], int], ColdStart] = measure_cold_start,
    progress: Callable[[int, int], None] | None = None,
) -> list[Latency]:
    """Measure `Detector.detect` on one decoded picture for each file and number of threads.

    The candidates take turns in ten rounds, every other round in reverse order, so that whatever
    else the machine does meets all alike. The first call after each turn is not counted: it finds
    the caches full of another's data.

    Args:
        files: model files.
        image: [H, W, 3] uint8 RGB.
        threads: numbers of threads to try.
        runs: counted calls for each candidate.
        warmup: calls made before the first round and not counted.
        open_detector: makes a detector.
        cold_start: measures the first detection of a fresh process.
        progress: called with (steps done, steps in all).

    Returns:
        For each file, in order, one result for each number of threads; a single one where the
        engine decides for itself.

    Raises:
        InvalidInputError: no files or threads, a number below 1, or a file that can't be used.
        MissingFileError: a file isn't there.
    """
    _check(files, threads, runs, warmup)
    candidates: list[_Candidate] = []
    turns = _turns(runs)
    try:
        for file in files:
            for count in threads:
                candidates.append(_Candidate(Path(file), count, open_detector))
                if candidates[-1].detector.threads is None:
                    # Another number would measure the same again.
                    break
        step = _counter(progress, len(candidates) * (2 + len(turns)))
        for candidate in candidates:
            candidate.warm_up(image, warmup)
            step()
        for number, calls in enumerate(turns):
            for candidate in candidates if number % 2 == 0 else reversed(candidates):
                candidate.take_turn(image, calls)
                step()
    finally:
        for candidate in candidates:
            candidate.detector.close()
    # After closing: the detectors' own memory and threads are no burden on the new processes.
    results = []
    for candidate in candidates:
        results.append(candidate.result(cold_start(candidate.file, image, candidate.threads)))
        step()
    return results


class _Candidate:
    """A detector under measurement and the times it took so far."""

    def __init__(self, file: Path, threads: int, open_detector: OpenDetector) -> None:
        self.file = file
        self.threads = threads
        self.detector = open_detector(file, threads=threads)
        self.precision: str | None = self.detector.precision
        self.times: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.rounds: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.detections = 0

    def warm_up(self, image: NDArray[np.uint8], calls: int) -> None:
        for _ in range(calls):
            self.detector.detect(image)

    def take_turn(self, image: NDArray[np.uint8], calls: int) -> None:
        self.detector.detect(image)
        for _ in range(calls):
            started = time.perf_counter_ns()
            found = self.detector.detect(image)
            self.times["total"].append((time.perf_counter_ns() - started) / 1e6)
            for stage in STAGES[:-1]:
                self.times[stage].append(found.speed[stage])
        self.detections = len(found)
        for stage in STAGES:
            self.rounds[stage].append(float(np.median(self.times[stage][-calls:])))

    def result(self, cold_start: ColdStart) -> Latency:
        stages = {stage: Percentiles.of(times) for stage, times in self.times.items()}
        total = stages["total"]
        return Latency(
            file=self.file,
            threads=self.detector.threads,
            engine=self.detector.engine_name,
            precision=self.precision,
            size_bytes=stored_bytes(self.file),
            detections=self.detections,
            stages=stages,
            rounds={stage: tuple(medians) for stage, medians in self.rounds.items()},
            calls=tuple(self.times["total"]),
            cold_start=cold_start,
            tail=total.p90 / total.p50,
            drift=max(self.rounds["total"]) / min(self.rounds["total"]),
        )


def _check(
    files: Sequence[str | os.PathLike[str]], threads: Sequence[int], runs: int, warmup: int
) -> None:
    if not files:
        raise InvalidInputError("There is no model file to measure; name one or more.")
    if not threads or min(threads) < 1:
        raise InvalidInputError("threads must be numbers from 1 up, as in 1,2.")
    if runs < 1:
        raise InvalidInputError(f"runs must be 1 or more, not {runs}.")
    if warmup < 0:
        raise InvalidInputError(f"warmup must be 0 or more, not {warmup}.")


def _turns(runs: int) -> list[int]:
    """Counted calls in each round: `runs` in all, spread as evenly as can be."""
    rounds = min(_ROUNDS, runs)
    return [runs * (number + 1) // rounds - runs * number // rounds for number in range(rounds)]


def _counter(progress: Callable[[int, int], None] | None, total: int) -> Callable[[], None]:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return step
