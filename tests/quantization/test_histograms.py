"""Histograms: nothing lost while they grow, and ranges that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.quantization.histograms import Histogram


@given(
    scales=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5),
    share=st.sampled_from([0.001, 0.01, 0.1]),
    seed=st.integers(0, 100),
)
def test_percentiles_are_those_of_all_values(scales: list[float], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [(rng.normal(0, scale, 2000)).astype(np.float32) for scale in scales]
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    values = np.sort(np.concatenate(parts))
    low, high = histogram.percentile(share)
    # Within a bin of the exact place.
    width = 2 * float(np.abs(values).max()) / 2048
    cut = int(share * len(values))
    assert low == pytest.approx(float(values[cut]), abs=2 * width)
    assert high == pytest.approx(float(values[-cut - 1]), abs=2 * width)


def test_no_value_is_left_out_where_there_are_few() -> None:
    histogram = Histogram()
    values = np.array([-3.7, 0.25, 11.3], np.float32)
    histogram.add(values)
    assert histogram.percentile(1e-4) == pytest.approx((-3.7, 11.3))


def test_zero_is_always_within() -> None:
    histogram = Histogram()
    histogram.add(np.linspace(5, 6, 1000, dtype=np.float32))
    assert histogram.percentile(0.01)[0] == 0
    assert histogram.least_squares()[0] == 0


def test_all_zero() -> None:
    histogram = Histogram()
    histogram.add(np.zeros(10, np.float32))
    assert histogram.percentile(0.01) == histogram.least_squares() == (0, 0)
    histogram.add(np.full(10, 4.0, np.float32))
    assert histogram.percentile(1e-4) == (0, 4)


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    found = np.clip(np.rint((values - low) / step), 0, 255) * step + low
    return float(((found - values) ** 2).mean())


def test_least_squares_range_rounds_better_than_the_whole() -> None:
    rng = np.random.default_rng(0)
    values = rng.laplace(0, 1, 200_000).astype(np.float32)
    histogram = Histogram()
    histogram.add(values)
    low, high = histogram.least_squares()
    found = squared_error(values, low, high)
    assert found < 0.8 * squared_error(values, float(values.min()), float(values.max()))
    for factor in (0.7, 1.4):
        assert found < squared_error(values, factor * low, factor * high)


def test_uniform_values_are_not_cut() -> None:
    histogram = Histogram()
    values = np.linspace(-1, 2, 100_000, dtype=np.float32)
    histogram.add(values)
    assert histogram.least_squares() == pytest.approx((-1, 2))
