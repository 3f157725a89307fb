"""How a detector holds up over minutes: the speed of each stretch of a long run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.benchmarks.latency import MOST_DRIFT, OpenDetector
from edgedet.errors import InvalidInputError
from edgedet.runtime.detector import Detector

# A run is told in this many stretches, each at least a second long.
_WINDOWS = 60
_LEAST_WINDOW_S = 1.0

_MOST_MINUTES = 24 * 60.0


@dataclass(frozen=True)
class Window:
    """One stretch of a long run.

    Attributes:
        start_s: seconds from the beginning of the run.
        calls: calls of `detect`.
        p50: median milliseconds of a call.
        per_second: calls in a second.
        megahertz: the first processor's clock at the end; None where the system doesn't tell.
        celsius: the hottest sensor at the end; None where the system doesn't tell.
    """

    start_s: float
    calls: int
    p50: float
    per_second: float
    megahertz: float | None
    celsius: float | None


@dataclass(frozen=True)
class Sustained:
    """What a long run of one file showed.

    Attributes:
        file: the model file.
        threads: threads of the engine; None where the engine decides for itself.
        seconds: how long the run took.
        windows: its stretches in order.
    """

    file: Path
    threads: int | None
    seconds: float
    windows: tuple[Window, ...]

    @property
    def per_second(self) -> float:
        """Calls in a second over the whole run."""
        return sum(window.calls for window in self.windows) / self.seconds

    @property
    def p50(self) -> float:
        """Median of the stretches' medians in milliseconds."""
        return float(np.median([window.p50 for window in self.windows]))

    @property
    def drift(self) -> float:
        """The last fifth's median over the first fifth's: above 1 the detector became slower."""
        medians = [window.p50 for window in self.windows]
        fifth = max(1, len(medians) // 5)
        return float(np.median(medians[-fifth:]) / np.median(medians[:fifth]))

    @property
    def throttled(self) -> bool:
        """Whether the end was slower than the beginning by more than 10 %."""
        return self.drift > MOST_DRIFT

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON values; times of calls in milliseconds."""
        return {
            "minutes": round(self.seconds / 60, 3),
            "per_second": round(self.per_second, 3),
            "p50": round(self.p50, 4),
            "drift": round(self.drift, 4),
            "throttled": self.throttled,
            "windows": [
                {
                    "start_s": round(window.start_s, 2),
                    "calls": window.calls,
                    "p50": round(window.p50, 4),
                    "per_second": round(window.per_second, 3),
                    "megahertz": window.megahertz,
                    "celsius": window.celsius,
                }
                for window in self.windows
            ],
        }


def measure_sustained(
    file: str | os.PathLike[str],
    image: NDArray[np.uint8],
    *,
    threads: int,
    minutes: float,
    warmup: int = 10,
    open_detector: OpenDetector = Detector,
    root: str | os.PathLike[str] = "/",
    progress: Callable[[float, float], None] | None = None,
) -> Sustained:
    """Call `Detector.detect` on one picture again and again, without a pause.

    Args:
        file: the model file.
        image: [H, W, 3] uint8 RGB.
        threads: threads of the engine.
        minutes: how long.
        warmup: calls made first and not counted.
        open_detector: makes a detector.
        root: where Linux's `sys` is.
        progress: called after each stretch with (seconds done, seconds in all).

    Raises:
        InvalidInputError: minutes out of range, or a file that can't be used.
        MissingFileError: the file isn't there.
    """
    check_minutes(minutes)
    wanted = 60 * minutes
    length = max(_LEAST_WINDOW_S, wanted / _WINDOWS)
    windows: list[Window] = []
    detector = open_detector(file, threads=threads)
    try:
        for _ in range(warmup):
            detector.detect(image)
        begun = time.perf_counter_ns()
        elapsed = 0.0
        while elapsed < wanted:
            start, calls = elapsed, []
            # A last stretch too short to tell anything would look like a change of speed.
            end = wanted if wanted - start < 1.5 * length else start + length
            while elapsed < end:
                before = time.perf_counter_ns()
                detector.detect(image)
                now = time.perf_counter_ns()
                calls.append((now - before) / 1e6)
                elapsed = (now - begun) / 1e9
            windows.append(_window(start, elapsed, calls, Path(root)))
            if progress is not None:
                progress(min(elapsed, wanted), wanted)
        return Sustained(Path(file), detector.threads, elapsed, tuple(windows))
    finally:
        detector.close()


def check_minutes(minutes: float) -> None:
    """Raise `InvalidInputError` unless `minutes` is above 0 and at most a day."""
    if not 0 < minutes <= _MOST_MINUTES:
        raise InvalidInputError(
            f"minutes must be above 0 and at most {_MOST_MINUTES:g}, not {minutes:g}."
        )


def _window(start: float, end: float, calls: Sequence[float], root: Path) -> Window:
    return Window(
        start_s=start,
        calls=len(calls),
        p50=float(np.median(calls)),
        per_second=len(calls) / (end - start),
        megahertz=_scaled(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"),
        celsius=max(
            (
                degrees
                for sensor in sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))
                if (degrees := _scaled(sensor)) is not None
            ),
            default=None,
        ),
    )


def _scaled(path: Path) -> float | None:
    """A thousandth of the number in a file: kilohertz and millidegrees are what Linux tells."""
    try:
        return int(path.read_text()) / 1000
    except (OSError, ValueError):
        return None
