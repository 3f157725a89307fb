"""What `measure` counts, in which order, and when it calls the figures unstable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.benchmarks.latency import STAGES, Latency
from edgedet.benchmarks.timing_statistics import Percentiles
from edgedet.errors import InvalidInputError

Measure = Callable[..., list[Latency]]
MakeFile = Callable[..., Path]


def test_the_steps_and_the_whole_call_are_timed(measure: Measure, make_file: MakeFile) -> None:
    (result,) = measure(make_file("a.tflite"), runs=20)
    medians = {stage: result.stages[stage].p50 for stage in STAGES}
    assert medians == pytest.approx(
        {"preprocess": 1.0, "inference": 2.0, "postprocess": 1.0, "total": 4.0}
    )


def test_each_file_and_number_of_threads_gives_one_result_in_order(
    measure: Measure, make_file: MakeFile
) -> None:
    results = measure(make_file("a.tflite"), make_file("b.tflite", 500), threads=[1, 2])
    assert [(result.file.name, result.threads) for result in results] == [
        ("a.tflite", 1),
        ("a.tflite", 2),
        ("b.tflite", 1),
        ("b.tflite", 2),
    ]
    assert [result.size_bytes for result in results] == [10, 10, 500, 500]


def test_an_engine_that_decides_its_threads_is_measured_once(
    measure: Measure, make_file: MakeFile, workbench: Any
) -> None:
    workbench.decides_threads = {"a.keras"}
    results = measure(make_file("a.keras"), make_file("b.tflite"), threads=[1, 2])
    assert [(result.file.name, result.threads) for result in results] == [
        ("a.keras", None),
        ("b.tflite", 1),
        ("b.tflite", 2),
    ]


def test_candidates_take_turns_and_every_other_round_is_reversed(
    measure: Measure, make_file: MakeFile, workbench: Any
) -> None:
    measure(make_file("a"), make_file("b"), runs=20, warmup=0)
    # Ten rounds: in each turn one uncounted call and two counted.
    names = [name for name, _ in workbench.calls]
    assert "".join(names) == ("aaabbb" + "bbbaaa") * 5


@pytest.mark.parametrize("runs", [1, 7, 10, 50, 53])
def test_as_many_calls_are_counted_as_asked_for(
    runs: int, measure: Measure, make_file: MakeFile, workbench: Any
) -> None:
    measure(make_file("a"), runs=runs, warmup=4)
    turns = min(runs, 10)
    assert len(workbench.calls) == 4 + turns + runs


def test_warm_up_and_first_calls_of_turns_do_not_count(
    measure: Measure, make_file: MakeFile, workbench: Any
) -> None:
    # Three slow warm-up calls, then in each turn a slow call and five fast ones.
    workbench.milliseconds["a"] = [900.0] * 3 + ([90.0] + [4.0] * 5) * 10
    (result,) = measure(make_file("a"), runs=50, warmup=3)
    assert result.stages["total"] == Percentiles(4.0, 0.0, 4.0, 4.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("milliseconds", "tail", "drift", "stable"),
    [
        pytest.param([4.0], 1.0, 1.0, True, id="steady"),
        # Of the five counted calls of a turn one is twice as slow: a fifth of all.
        pytest.param([4.0] * 5 + [8.0], 2.0, 1.0, False, id="slow calls in every turn"),
        pytest.param([4.0] * 30 + [4.6] * 30, 1.07, 1.15, False, id="slower by and by"),
        pytest.param([4.0] * 30 + [4.2] * 30, 1.0244, 1.05, True, id="slower by a little"),
    ],
)
def test_stability(
    milliseconds: list[float],
    tail: float,
    drift: float,
    stable: bool,
    measure: Measure,
    make_file: MakeFile,
    workbench: Any,
) -> None:
    workbench.milliseconds["a"] = milliseconds
    (result,) = measure(make_file("a"), runs=50, warmup=0)
    assert (result.tail, result.drift) == pytest.approx((tail, drift), rel=1e-3)
    assert result.stable is stable


def test_the_median_of_each_round_and_every_call_are_kept_in_order(
    measure: Measure, make_file: MakeFile, workbench: Any
) -> None:
    # Each turn: one uncounted call and two counted.
    workbench.milliseconds["a"] = [
        value for number in range(10) for value in (99.0, number + 4.0, number + 5.0)
    ]
    (result,) = measure(make_file("a"), runs=20, warmup=0)
    assert result.rounds["total"] == tuple(number + 4.5 for number in range(10))
    assert result.rounds["inference"] == tuple((number + 4.5) / 2 for number in range(10))
    assert result.calls == tuple(value for n in range(10) for value in (n + 4.0, n + 5.0))


def test_every_detector_is_closed_even_after_a_failure(
    measure: Measure, make_file: MakeFile, workbench: Any
) -> None:
    measure(make_file("a"), make_file("b"), threads=[1, 2])
    assert sorted(workbench.closed) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    workbench.closed.clear()
    workbench.milliseconds["b"] = iter(())
    with pytest.raises(StopIteration):
        measure(make_file("a"), make_file("b"))
    assert sorted(workbench.closed) == [("a", 1), ("b", 1)]


def test_progress_ends_at_its_total(measure: Measure, make_file: MakeFile) -> None:
    steps: list[tuple[int, int]] = []
    measure(
        make_file("a"), make_file("b"), progress=lambda done, total: steps.append((done, total))
    )
    # Two candidates: a warm-up, ten turns and a cold start each.
    assert steps == [(number, 24) for number in range(1, 25)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 0}, "runs must be 1 or more"),
        ({"warmup": -1}, "warmup must be 0 or more"),
        ({"threads": []}, "threads must be numbers from 1 up"),
        ({"threads": [1, 0]}, "threads must be numbers from 1 up"),
    ],
)
def test_options_out_of_range_are_refused(
    options: dict[str, Any], message: str, measure: Measure, make_file: MakeFile
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        measure(make_file("a"), **options)


def test_no_file_is_refused(measure: Measure) -> None:
    with pytest.raises(InvalidInputError, match="no model file"):
        measure()


def test_the_result_as_json_values(measure: Measure, make_file: MakeFile) -> None:
    (result,) = measure(make_file("a.tflite"))
    content = json.loads(json.dumps(result.to_dict()))
    alike = dict.fromkeys(("mean", "p50", "p90", "p95", "p99"), 2.0)
    assert content["inference"] == {**alike, "spread": 0.0}
    assert content["rounds"]["preprocess"] == [1.0] * 10
    assert content["calls"] == [4.0] * 50
    assert content["cold_start"] == {"import": 100, "load": 20, "first_detect": 5, "total": 125}
    assert content["peak_memory_bytes"] == 2**26
    assert content["stability"] == {"stable": True, "tail": 1.0, "drift": 1.0}
    assert (content["engine"], content["detections"], content["threads"]) == ("fake", 3, 1)


def test_times_come_from_the_picture_given(workbench: Any, make_file: MakeFile) -> None:
    """The picture reaches `detect` and the cold start as it is."""
    from types import SimpleNamespace

    from edgedet.benchmarks.latency import measure as measure_latency

    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    seen: list[Any] = []
    inner = workbench.open("a", threads=1)

    def detect(image: Any) -> Any:
        seen.append(image)
        return inner.detect(image)

    def cold_start(file: Path, image: Any, threads: int) -> Any:
        seen.append(image)
        return workbench.cold_start(file, image, threads)

    measure_latency(
        [make_file("a")],
        picture,
        threads=[1],
        runs=1,
        warmup=0,
        open_detector=lambda model, *, threads: SimpleNamespace(
            detect=detect, engine_name="fake", precision=None, threads=threads, close=lambda: None
        ),
        cold_start=cold_start,
    )
    assert all(image is picture for image in seen)
    assert len(seen) == 3
