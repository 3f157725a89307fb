"""How often an activation takes which value, and the INT8 ranges that follow from it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

# On either side of zero.
_BINS = 2048
_LEVELS = 255
_SHRINKAGES = np.linspace(1.0, 0.1, 37)


class Histogram:
    """Counts of values in bins of equal width, which doubles whenever a value falls outside.

    The width is a power of two and bin edges are multiples of it, so that old bins merge in pairs
    and nothing has to be measured again.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2 * _BINS, np.int64)
        self._exponent: int | None = None
        self._low = self._high = 0.0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count an array's values."""
        low, high = float(values.min()), float(values.max())
        self._low, self._high = min(self._low, low), max(self._high, high)
        # Above the greatest value, so that it falls into the last bin at most.
        needed = math.frexp(max(-low, high) / _BINS)[1]
        if max(-low, high) == 0:
            needed = -126
        if self._exponent is None:
            self._exponent = needed
        while self._exponent < needed:
            self._merge()
        scaled = np.floor(values.ravel() * np.float32(2.0**-self._exponent)).astype(np.int64)
        self._counts += np.bincount(np.clip(scaled + _BINS, 0, 2 * _BINS - 1), minlength=2 * _BINS)

    def _merge(self) -> None:
        assert self._exponent is not None
        self._exponent += 1
        pairs = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.zeros(2 * _BINS, np.int64)
        self._counts[_BINS // 2 : _BINS // 2 + _BINS] = pairs

    def percentile(self, share: float) -> tuple[float, float]:
        """(low, high) with about `share` of all values below low and as many above high."""
        total = int(self._counts.sum())
        allowed = share * total
        edges = self._edges()
        below = np.cumsum(self._counts)
        low = edges[int(np.searchsorted(below, allowed, side="right"))]
        above = np.cumsum(self._counts[::-1])
        high = edges[len(self._counts) - int(np.searchsorted(above, allowed, side="right"))]
        return max(self._low, min(low, 0.0)), min(self._high, max(high, 0.0))

    def least_squares(self) -> tuple[float, float]:
        """(low, high) of least mean squared error: rounding within, cutting off without."""
        edges = self._edges()
        centres = (edges[:-1] + edges[1:]) / 2
        lows, highs = self._low * _SHRINKAGES, self._high * _SHRINKAGES
        counts = self._counts
        under = np.array([(counts * np.maximum(low - centres, 0.0) ** 2).sum() for low in lows])
        over = np.array([(counts * np.maximum(centres - high, 0.0) ** 2).sum() for high in highs])
        steps = (highs[None, :] - lows[:, None]) / _LEVELS
        costs = under[:, None] + over[None, :] + counts.sum() * steps**2 / 12
        row, column = np.unravel_index(int(np.argmin(costs)), costs.shape)
        return float(lows[row]), float(highs[column])

    def _edges(self) -> npt.NDArray[np.float64]:
        width = 2.0 ** (self._exponent or 0)
        return np.asarray(np.arange(-_BINS, _BINS + 1) * width, np.float64)
