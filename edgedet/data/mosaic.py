"""Mosaic (Bochkovskiy et al. 2020, YOLOv4, section 3.4): four pictures share one canvas."""

from __future__ import annotations

import numpy as np

from edgedet.data.views import Rectangle

PICTURES = 4

# The cross lies in this middle part of the canvas, so that no picture is only a strip.
_LOWEST, _HIGHEST = 0.2, 0.8


def mosaic_tiles(rng: np.random.Generator, height: int, width: int) -> list[Rectangle]:
    """Four rectangles about a random cross, which cover the canvas.

    Raises nothing: of a canvas that is only a pixel wide some tiles are empty.
    """
    x = round(width * rng.uniform(_LOWEST, _HIGHEST))
    y = round(height * rng.uniform(_LOWEST, _HIGHEST))
    return [
        Rectangle(0, 0, x, y),
        Rectangle(x, 0, width, y),
        Rectangle(0, y, x, height),
        Rectangle(x, y, width, height),
    ]
