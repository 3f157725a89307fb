"""GridMask (Chen et al. 2020, arXiv 2001.04086): squares in a regular grid are painted over."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

# The authors' ratio for detection: a square has half the period, so a quarter of the
# picture disappears.
_KEPT = 0.5
_SMALLEST_PERIOD = 2


def draw_grid_mask(
    canvas: npt.NDArray[np.uint8], fill: tuple[int, int, int], rng: np.random.Generator
) -> None:
    """Paint over squares of a picture [H, W, 3] in place.

    The grid's period lies between 2 pixels and the shorter side, evenly distributed, as in the
    authors' detection code; it begins at a random place.
    """
    height, width = canvas.shape[:2]
    longest = max(min(height, width), _SMALLEST_PERIOD)
    period = int(rng.integers(_SMALLEST_PERIOD, longest + 1))
    side = min(max(1, math.floor(period * (1 - _KEPT) + 0.5)), period - 1)
    rows = (np.arange(height) + int(rng.integers(period))) % period < side
    columns = (np.arange(width) + int(rng.integers(period))) % period < side
    # Whole rows first: far fewer elements are addressed one by one than with a mask.
    band = canvas[rows]
    band[:, columns] = fill
    canvas[rows] = band
