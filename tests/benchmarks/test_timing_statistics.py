"""Statistics against figures worked out by hand, and against chance."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.benchmarks.timing_statistics import Percentiles, difference, mann_whitney, midmean


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # mean, spread, p50, p90, p95, p99
        ([7.0], (7.0, 0.0, 7.0, 7.0, 7.0, 7.0)),
        ([1.0, 3.0], (2.0, 2**0.5, 2.0, 2.8, 2.9, 2.98)),
        # Rank p * (n - 1) among 0..100; the variance of 0..n-1 is n (n + 1) / 12.
        (list(range(101)), (50.0, (101 * 102 / 12) ** 0.5, 50.0, 90.0, 95.0, 99.0)),
        ([1.0] * 9 + [11.0], (2.0, 10**0.5, 1.0, 2.0, 6.5, 10.1)),
    ],
)
def test_percentiles(values: list[float], expected: tuple[float, ...]) -> None:
    assert tuple(vars(Percentiles.of(values)).values()) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=50), st.randoms())
def test_percentiles_rise_and_do_not_depend_on_the_order(values: list[float], random: Any) -> None:
    found = Percentiles.of(values)
    shuffled = list(values)
    random.shuffle(shuffled)
    assert Percentiles.of(shuffled).p95 == found.p95
    assert min(values) <= found.p50 <= found.p90 <= found.p95 <= found.p99 <= max(values)
    at_most = sum(value <= found.p90 for value in values)
    assert at_most >= int(0.9 * (len(values) - 1)) + 1 or found.p90 == max(values)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=50), st.floats(0.01, 100))
def test_percentiles_scale_with_their_unit(values: list[float], factor: float) -> None:
    scaled = Percentiles.of([factor * value for value in values])
    expected = [factor * value for value in vars(Percentiles.of(values)).values()]
    assert tuple(vars(scaled).values()) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # All of one side first: 2 of the 20 orders of 3 + 3.
        ([1, 2, 3], [4, 5, 6], 2 / 20),
        ([4, 5, 6], [1, 2, 3], 2 / 20),
        # U = 1: one order has U = 0, one has U = 1.
        ([1, 2, 4], [3, 5, 6], 4 / 20),
        ([1], [2], 1.0),
        ([5, 5, 5], [5, 5, 5], 1.0),
        # Ten against ten, apart: 2 of 184756 orders.
        (list(range(10)), list(range(10, 20)), 2 / 184756),
        # The tables' critical value for 10 and 10 at 0.05 is U = 23: 0.0433 (Siegel, table J).
        ([1, 2, 3, 4, 5, 6, 10, 11, 16, 20], [7, 8, 9, 12, 13, 14, 15, 17, 18, 19], 0.0433),
        # Ties: U = 1, variance 9/12 (7 - 24/30) = 4.65, z = (4.5 - 1 - 0.5) / 2.1564 = 1.3912.
        ([1, 2, 3], [3, 3, 4], 0.16416),
    ],
)
def test_mann_whitney(first: list[float], second: list[float], expected: float) -> None:
    assert mann_whitney(first, second) == pytest.approx(expected, abs=5e-5)


def test_mann_whitney_counts_every_order() -> None:
    """The exact p-value is the share of orders at least as far from the middle."""
    statistics = []
    for chosen in combinations(range(7), 3):
        rest = [value for value in range(7) if value not in chosen]
        statistics.append(sum(a > b for a in chosen for b in rest))
    for chosen, found in zip(combinations(range(7), 3), statistics, strict=True):
        rest = [value for value in range(7) if value not in chosen]
        farther = sum(abs(other - 6) >= abs(found - 6) for other in statistics)
        assert mann_whitney(chosen, rest) == pytest.approx(min(1, farther / len(statistics)))


def test_the_exact_and_the_normal_distribution_agree() -> None:
    # A tie of the two least values leaves the exact part and changes U by a half.
    first = [0.0, 1, 3, 4, 6, 8, 9, 11, 14, 15, 18, 20, 22, 25, 27]
    second = [0.5, 2, 5, 7, 10, 12, 13, 16, 17, 19, 21, 23, 24, 26, 28]
    exact = mann_whitney(first, second)
    assert mann_whitney(first, [0.0, *second[1:]]) == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("ties", [False, True])
def test_equal_samples_are_told_apart_as_seldom_as_the_level_says(ties: bool) -> None:
    random = np.random.default_rng(0)
    trials, level, false = 1500, 0.05, 0
    for _ in range(trials):
        # Latencies are skewed, and of one clock tick.
        first, second = random.lognormal(1, 0.2, (2, 10))
        if ties:
            first, second = np.round(first, 1), np.round(second, 1)
        false += mann_whitney(first, second) < level
    # The exact level is 0.0433; three standard deviations of the count around it.
    assert false / trials == pytest.approx(0.0433, abs=0.016)


def test_a_difference_has_a_ratio_an_interval_and_a_p_value() -> None:
    found = difference([10.0, 10.1, 9.9, 10.0, 10.2], [20.0, 20.2, 19.8, 20.0, 20.4])
    assert found.ratio == 2
    assert 1.9 < found.low < 2 < found.high < 2.1
    assert found.p_value < 0.02


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    held = 0
    for trial in range(60):
        first, second = random.normal(10, 1, 30), random.normal(12, 1, 30)
        found = difference(first.tolist(), second.tolist(), seed=trial)
        held += found.low <= 1.2 <= found.high
    assert 53 <= held <= 60


def test_the_same_samples_give_the_same_difference() -> None:
    assert difference([1, 2, 3], [2, 3, 5]) == difference([1, 2, 3], [2, 3, 5])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([1.0, 3.0], 2.0),
        # One of each end goes.
        ([1.0, 2.0, 4.0, 900.0], 3.0),
        ([5, 5, 6, 6, 6, 6, 900, 5], 5.75),
    ],
)
def test_the_midmean_does_not_see_the_outer_quarters(values: list[float], expected: float) -> None:
    assert midmean(values) == pytest.approx(expected)
