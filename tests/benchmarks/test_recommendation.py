"""Which candidate is picked, and what is said when none fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.benchmarks.recommendation import Candidate, candidates, pareto, recommend
from edgedet.errors import InvalidInputError


def candidate(name: str, milliseconds: float, ap: float | None, size: int = 1) -> Candidate:
    return Candidate(name, 1, milliseconds, ap, size)


FAST = candidate("fast", 5, 20)
MIDDLE = candidate("middle", 12, 28)
SLOW = candidate("slow", 40, 33)
BEATEN = candidate("beaten", 15, 25)
ALL = [SLOW, BEATEN, FAST, MIDDLE]


@pytest.mark.parametrize(
    ("budget_ms", "min_ap", "pick"),
    [
        (50, None, SLOW),
        (50, 30, SLOW),
        (20, None, MIDDLE),
        (20, 26, MIDDLE),
        (12, 28, MIDDLE),
        (6, 20, FAST),
        # No budget: the fastest that is good enough.
        (None, 22, MIDDLE),
        (None, 0, FAST),
    ],
)
def test_the_most_accurate_within_the_budget(
    budget_ms: float | None, min_ap: float | None, pick: Candidate
) -> None:
    found = recommend(ALL, budget_ms=budget_ms, min_ap=min_ap)
    assert found.pick == pick
    assert found.failures == ()
    assert found.nearest is None


@pytest.mark.parametrize(
    ("budget_ms", "min_ap", "nearest", "failures"),
    [
        (
            4,
            None,
            FAST,
            ["the budget of 4 ms: the fastest, fast with threads 1, takes 5.00 ms, 1.00 too many"],
        ),
        (
            100,
            35,
            SLOW,
            ["AP 35: the most accurate, slow with threads 1, has 33.0, 2.0 too few"],
        ),
        (
            30,
            30,
            MIDDLE,
            [
                "both at once: within 30 ms the most accurate, middle with threads 1, has AP 28.0, "
                "2.0 too few; with AP 30 the fastest, slow with threads 1, takes 40.00 ms, "
                "10.00 too many"
            ],
        ),
    ],
)
def test_when_none_fits_it_says_which_bound_fails_by_how_much(
    budget_ms: float, min_ap: float | None, nearest: Candidate, failures: list[str]
) -> None:
    found = recommend(ALL, budget_ms=budget_ms, min_ap=min_ap)
    assert found.pick is None
    assert found.nearest == nearest
    assert list(found.failures) == failures


def test_both_bounds_may_fail_alone() -> None:
    found = recommend(ALL, budget_ms=1, min_ap=90)
    assert [failure.partition(":")[0] for failure in found.failures] == [
        "the budget of 1 ms",
        "AP 90",
    ]


def test_of_equals_the_faster_then_the_smaller_is_picked() -> None:
    equal = [candidate("a", 9, 30), candidate("b", 8, 30, 7), candidate("c", 8, 30, 5)]
    found = recommend(equal, budget_ms=10)
    assert found.pick is not None
    assert found.pick.file == "c"


def test_the_frontier_holds_those_that_no_other_beats() -> None:
    assert pareto([*ALL, candidate("unknown", 1, None)]) == (FAST, MIDDLE, SLOW)


def test_candidates_without_ap_are_no_answer_to_a_least_ap() -> None:
    unknown = candidate("unknown", 1, None)
    found = recommend([unknown, MIDDLE], budget_ms=5, min_ap=20)
    assert found.pick is None
    assert found.nearest == MIDDLE
    assert recommend([unknown, MIDDLE], budget_ms=20).pick == MIDDLE
    assert recommend([unknown], budget_ms=20).pick == unknown


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "Say what it must keep"),
        ({"budget_ms": 0}, "--budget-ms must be above 0"),
        ({"budget_ms": float("nan")}, "--budget-ms must be above 0"),
        ({"min_ap": 101}, "--min-ap must be from 0 to 100"),
        ({"min_ap": 0.28}, r"points of 100: for 0\.28 of 1 give 28"),
    ],
)
def test_bounds_out_of_range_are_refused(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        recommend(ALL, **options)


def test_an_ap_that_was_measured_nowhere_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="No AP was measured"):
        recommend([candidate("unknown", 1, None)], min_ap=20)


ENTRY: dict[str, Any] = {
    "file": "models/m0.tflite",
    "threads": 2,
    "size_bytes": 900_000,
    "total": {"p50": 8.0, "p90": 9.0, "p95": 9.5, "p99": 11.0},
    "inference": {"p50": 7.0},
    "stability": {"stable": True},
    "accuracy": {"AP": 0.281, "AP50": 0.5},
}


def test_candidates_come_from_a_stored_result() -> None:
    assert candidates([ENTRY], "p95") == [
        Candidate("models/m0.tflite", 2, 9.5, pytest.approx(28.1), 900_000)
    ]
    assert candidates([{**ENTRY, "accuracy": {"AP": -1.0}}])[0].ap is None
    assert candidates([{key: ENTRY[key] for key in ENTRY if key != "accuracy"}])[0].ap is None


def test_percentiles_that_are_not_there_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="no percentile 'p42'"):
        candidates([ENTRY], "p42")
    with pytest.raises(InvalidInputError, match="has no p95"):
        candidates([{**ENTRY, "total": {"p50": 8.0}}], "p95")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "benchmark.json"
    slower = {**ENTRY, "file": "m1.tflite", "total": {"p50": 20.0}, "accuracy": {"AP": 0.33}}
    path.write_text(json.dumps({"machine": {"cpu": "other"}, "results": [ENTRY, slower]}))
    return path


def test_the_command_picks_from_a_stored_result(stored: Path, edgedet: Callable[..., Any]) -> None:
    outcome = edgedet("recommend", stored, "--budget-ms", 10, "--min-ap", 25)
    assert outcome.code == 0
    assert "use m0.tflite with threads 2: 8.00 ms, AP 28.1" in outcome.out
    assert "measured on another processor" in outcome.out
    last = outcome.out.splitlines()[-1]
    assert last == "next: edgedet detect --model models/m0.tflite --source PICTURE --threads 2"


def test_the_command_exits_1_when_none_fits(stored: Path, edgedet: Callable[..., Any]) -> None:
    outcome = edgedet("recommend", stored, "--budget-ms", 10, "--min-ap", 30, "--json")
    assert outcome.code == 1
    content = json.loads(outcome.out)
    assert content["pick"] is None
    assert content["nearest"]["file"] == "models/m0.tflite"
    assert content["failures"][0].startswith("both at once")
    told = edgedet("recommend", stored, "--budget-ms", 10, "--min-ap", 30)
    assert told.code == 1
    assert "not kept: both at once" in told.out
    assert "nearest: m0.tflite with threads 2" in told.out


def test_the_command_measures_model_files(edgedet: Callable[..., Any]) -> None:
    model = Path(__file__).parents[1] / "runtime" / "data" / "blocks-int8.tflite"
    outcome = edgedet(
        "recommend", model, "--budget-ms", 10_000, "--runs", 3, "--threads", 1, "--json"
    )
    assert outcome.code == 0
    assert json.loads(outcome.out)["pick"]["file"] == str(model)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Say what it must keep"),
        (["--budget-ms", "5", "--at", "p42"], "no percentile"),
        (["--budget-ms", "5", "--data", "data.yaml"], "--data is for model files"),
    ],
)
def test_the_command_refuses(
    words: list[str], sentence: str, stored: Path, edgedet: Callable[..., Any]
) -> None:
    outcome = edgedet("recommend", stored, *words)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
