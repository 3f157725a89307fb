"""Statistics of measured times: percentiles, and whether two measurements differ.

Not called `statistics`: scripts beside it would import it instead of the standard library's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Up to this many values on each side the distribution of U is counted out, beyond it is normal
# closely enough.
_MOST_EXACT = 20

_RESAMPLES = 4000


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds of one stage over the measured calls.

    Attributes:
        mean: arithmetic mean.
        spread: standard deviation of the sample (n - 1); 0 of a single call.
        p50: median.
        p90: nine of ten calls take no longer.
        p95: 19 of 20 calls.
        p99: 99 of 100 calls.
    """

    mean: float
    spread: float
    p50: float
    p90: float
    p95: float
    p99: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Percentiles:
        """Percentiles with linear interpolation between the nearest two values."""
        values = np.asarray(milliseconds, np.float64)
        p50, p90, p95, p99 = (float(value) for value in np.percentile(values, (50, 90, 95, 99)))
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        return cls(float(values.mean()), spread, p50, p90, p95, p99)

    def to_dict(self) -> dict[str, float]:
        """The figures by name, to a tenth of a microsecond."""
        return {name: round(value, 4) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Difference:
    """How a second sample of times differs from a first.

    Attributes:
        ratio: the second median over the first.
        low: least ratio that 95 of 100 resamplings leave possible.
        high: greatest such ratio.
        p_value: probability of ranks at least as far apart if both samples came from one
            distribution.
    """

    ratio: float
    low: float
    high: float
    p_value: float

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return {name: float(f"{value:.4g}") for name, value in vars(self).items()}


def difference(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Difference:
    """Compare two independent samples, round medians for example.

    The p-value is that of the two-sided Mann-Whitney U test, which asks nothing of the shape of
    the distributions; the interval is the percentile bootstrap's of the ratio of medians (Efron
    and Tibshirani, An Introduction to the Bootstrap, chapter 13).

    Args:
        first: times, at least one, all above 0.
        second: the same.
        seed: of the resampling.
    """
    before, after = (np.asarray(values, np.float64) for values in (first, second))
    random = np.random.default_rng(seed)
    ratios = _resampled_medians(after, random) / _resampled_medians(before, random)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Difference(
        float(np.median(after) / np.median(before)),
        float(low),
        float(high),
        mann_whitney(before, after),
    )


def mann_whitney(
    first: Sequence[float] | NDArray[Any], second: Sequence[float] | NDArray[Any]
) -> float:
    """Two-sided p-value of the Mann-Whitney U test (Mann and Whitney, 1947).

    Exact for up to 20 values on each side without ties; else normal, with the correction for ties
    and for continuity.
    """
    one, two = len(first), len(second)
    values = np.concatenate([np.asarray(first, np.float64), np.asarray(second, np.float64)])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    # Equal values share the mean of their ranks.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    statistic = float(ranks[:one].sum()) - one * (one + 1) / 2
    farthest = min(statistic, one * two - statistic)
    if counts.max() == 1 and max(one, two) <= _MOST_EXACT:
        ways = _ways(one, two)
        return min(1.0, 2 * sum(ways[: round(farthest) + 1]) / sum(ways))
    total = one + two
    ties = float((counts**3 - counts).sum()) / (total * (total - 1)) if total > 1 else 0.0
    variance = one * two / 12 * (total + 1 - ties)
    if variance <= 0:
        return 1.0
    distance = max(0.0, one * two / 2 - farthest - 0.5)
    return math.erfc(distance / math.sqrt(2 * variance))


def midmean(values: Sequence[float]) -> float:
    """Mean of the middle half: as deaf to outliers as a median, but finer than a clock's tick."""
    ordered = sorted(values)
    edge = len(ordered) // 4
    middle = ordered[edge : len(ordered) - edge]
    return sum(middle) / len(middle)


def _ways(one: int, two: int) -> list[int]:
    """In how many orders U is 0, 1, ...: the coefficients of a Gaussian binomial."""
    counts = [1] + [0] * (one * two)
    for step in range(1, one + 1):
        # Times 1 - x^(two + step), then divided by 1 - x^step.
        for place in range(one * two, two + step - 1, -1):
            counts[place] -= counts[place - two - step]
        for place in range(step, one * two + 1):
            counts[place] += counts[place - step]
    return counts


def _resampled_medians(
    values: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    drawn = random.integers(0, len(values), (_RESAMPLES, len(values)))
    medians: NDArray[np.float64] = np.median(values[drawn], axis=1)
    return medians
