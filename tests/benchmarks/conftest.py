"""Detectors whose times the test sets, on a clock that they move themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedet.benchmarks import latency
from edgedet.benchmarks.cold_start import ColdStart


class Workbench:
    """Opens fake detectors; a call takes the next of the milliseconds given for its file.

    Half of the time is inference, a quarter each pre- and post-processing.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self.calls: list[tuple[str, int]] = []
        self.closed: list[tuple[str, int]] = []
        self.decides_threads: set[str] = set()
        self.milliseconds: dict[str, Iterable[float]] = {}

    def open(self, model: str | os.PathLike[str], *, threads: int) -> Any:
        key = (Path(model).name, threads)
        times = cycle(self.milliseconds.get(key[0], [4.0]))

        def detect(image: NDArray[np.uint8]) -> Any:
            spent = next(times)
            self.now_ns += round(1e6 * spent)
            self.calls.append(key)
            speed = {"preprocess": spent / 4, "inference": spent / 2, "postprocess": spent / 4}
            return Detected(speed)

        return SimpleNamespace(
            detect=detect,
            engine_name="fake",
            precision="float32",
            threads=None if key[0] in self.decides_threads else threads,
            close=lambda: self.closed.append(key),
        )

    @staticmethod
    def cold_start(file: Path, image: NDArray[np.uint8], threads: int) -> ColdStart:
        return ColdStart(import_ms=100, load_ms=20, first_detect_ms=5, peak_memory_bytes=2**26)


class Detected:
    """Three detections and the time they took."""

    def __init__(self, speed: dict[str, float]) -> None:
        self.speed = speed

    def __len__(self) -> int:
        return 3


@pytest.fixture
def workbench(monkeypatch: pytest.MonkeyPatch) -> Workbench:
    bench = Workbench()
    monkeypatch.setattr(latency.time, "perf_counter_ns", lambda: bench.now_ns)
    return bench


@pytest.fixture
def measure(workbench: Workbench) -> Callable[..., list[latency.Latency]]:
    """`latency.measure` with the fake detectors and a small black picture."""

    def run(*files: Path, **options: Any) -> list[latency.Latency]:
        return latency.measure(
            files,
            np.zeros((8, 8, 3), np.uint8),
            open_detector=workbench.open,
            cold_start=workbench.cold_start,
            **{"threads": [1], **options},
        )

    return run


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of a size."""

    def make(name: str, size: int = 10) -> Path:
        path = tmp_path / name
        path.write_bytes(bytes(size))
        return path

    return make
