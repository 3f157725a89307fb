"""A long run on a clock that the detector moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.benchmarks.sustained import Sustained, measure_sustained
from edgedet.errors import InvalidInputError

MakeFile = Callable[..., Path]


@pytest.fixture
def sustain(workbench: Any, make_file: MakeFile) -> Callable[..., Sustained]:
    def run(minutes: float = 1, **options: Any) -> Sustained:
        return measure_sustained(
            make_file("a"),
            np.zeros((8, 8, 3), np.uint8),
            threads=1,
            minutes=minutes,
            open_detector=workbench.open,
            **options,
        )

    return run


def test_a_minute_is_told_second_by_second(
    sustain: Callable[..., Sustained], workbench: Any
) -> None:
    workbench.milliseconds["a"] = [10.0]
    found = sustain()
    assert len(found.windows) == 60
    assert [window.calls for window in found.windows] == [100] * 60
    assert [window.start_s for window in found.windows] == pytest.approx(list(range(60)))
    assert (found.p50, found.per_second, found.drift) == pytest.approx((10, 100, 1))
    assert not found.throttled


def test_a_run_that_becomes_slower_is_throttled(
    sustain: Callable[..., Sustained], workbench: Any
) -> None:
    # 30 s of 10 ms, then 12 ms.
    workbench.milliseconds["a"] = chain([10.0] * 3010, repeat(12.0, 4000))
    found = sustain()
    assert found.drift == pytest.approx(1.2)
    assert found.throttled
    assert found.windows[-1].p50 == 12
    assert found.seconds == pytest.approx(60, abs=0.012)


def test_a_change_within_a_tenth_is_none(sustain: Callable[..., Sustained], workbench: Any) -> None:
    workbench.milliseconds["a"] = chain([10.0] * 3010, repeat(10.9, 4000))
    assert not sustain().throttled


def test_one_slow_stretch_at_either_end_is_no_throttling(
    sustain: Callable[..., Sustained], workbench: Any
) -> None:
    workbench.milliseconds["a"] = chain([10.0] * 5910, repeat(20.0, 100))
    assert sustain().drift == pytest.approx(1)
    workbench.milliseconds["a"] = chain([5.0] * 210, repeat(10.0, 6000))
    assert sustain().drift == pytest.approx(1)


def test_short_runs_have_windows_of_a_second_and_no_stump(
    sustain: Callable[..., Sustained], workbench: Any
) -> None:
    workbench.milliseconds["a"] = [10.0]
    found = sustain(minutes=3.3 / 60)
    assert [window.calls for window in found.windows] == [100, 100, 130]


def test_a_call_longer_than_a_window_is_a_window(
    sustain: Callable[..., Sustained], workbench: Any
) -> None:
    workbench.milliseconds["a"] = [2500.0]
    found = sustain(minutes=0.1, warmup=0)
    assert [window.calls for window in found.windows] == [1, 1, 1]


def test_the_clock_and_the_hottest_sensor_are_read(
    sustain: Callable[..., Sustained], tmp_path: Path
) -> None:
    for name, text in {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1800000\n",
        "sys/class/thermal/thermal_zone0/temp": "45000\n",
        "sys/class/thermal/thermal_zone1/temp": "61500\n",
        "sys/class/thermal/thermal_zone2/temp": "broken\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    found = sustain(minutes=0.05, root=tmp_path)
    assert {(window.megahertz, window.celsius) for window in found.windows} == {(1800, 61.5)}


def test_a_machine_that_tells_nothing(sustain: Callable[..., Sustained], tmp_path: Path) -> None:
    found = sustain(minutes=0.05, root=tmp_path)
    assert {(window.megahertz, window.celsius) for window in found.windows} == {(None, None)}
    content = json.loads(json.dumps(found.to_dict()))
    assert content["windows"][0]["celsius"] is None
    assert content["throttled"] is False


def test_the_detector_is_closed_even_after_a_failure(
    sustain: Callable[..., Sustained], workbench: Any
) -> None:
    workbench.milliseconds["a"] = iter([4.0] * 12)
    workbench.decides_threads = {"a"}
    sustain(minutes=0.02)
    workbench.milliseconds["a"] = iter(())
    with pytest.raises(StopIteration):
        sustain()
    assert len(workbench.closed) == 2


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1441])
def test_minutes_out_of_range_are_refused(
    minutes: float, sustain: Callable[..., Sustained]
) -> None:
    with pytest.raises(InvalidInputError, match="minutes must be above 0"):
        sustain(minutes=minutes)


def test_progress_ends_at_the_end(sustain: Callable[..., Sustained]) -> None:
    steps: list[tuple[float, float]] = []
    sustain(minutes=0.05, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (3, 3)
    assert steps == sorted(steps)
