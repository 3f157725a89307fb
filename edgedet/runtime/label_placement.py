"""Where labels go: beside or on their box, off each other, hiding as little as they can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]
Rectangle: TypeAlias = tuple[int, int, int, int]

# What one step down the list of places is worth, as a share of a box that a label may hide.
_STEP = 0.02


@dataclass(frozen=True)
class Place:
    """Where a label goes, `x0, y0, x1, y1` half-open, and how many boxes' worth it hides there."""

    corners: Rectangle
    hidden: float


def place_labels(
    labels: Sequence[tuple[int, int]], boxes: IntArray, size: tuple[int, int]
) -> list[Place | None]:
    """A place for each label; the first choose first, and no label lies on an earlier one.

    Of the free places around and inside its box a label takes the one where it hides least of any
    box, earlier places of the list of `_places` being worth a little more.

    Args:
        labels: width and height of each, in pixels.
        boxes: the box of each label, int64 [N, 4] `x0, y0, x1, y1` inside the picture, half-open.
        size: (width, height) of the picture.

    Returns:
        A place inside the picture for each, or None where none is free.
    """
    columns = np.ascontiguousarray(boxes.T)
    areas = np.maximum((columns[2] - columns[0]) * (columns[3] - columns[1]), 1)
    taken = np.empty((4, len(labels)), np.int64)
    count = 0
    chosen: list[Place | None] = []
    for label, box in zip(labels, boxes.tolist(), strict=True):
        places, steps = _places(label, box, size)
        free = ~(_intersections(places, taken[:, :count]) > 0).any(axis=1)
        if not free.any():
            chosen.append(None)
            continue
        hidden = (_intersections(places, columns) / areas).sum(axis=1)
        best = int(np.argmin(np.where(free, hidden + _STEP * steps, np.inf)))
        taken[:, count] = places[best]
        count += 1
        x0, y0, x1, y1 = places[best].tolist()
        chosen.append(Place((x0, y0, x1, y1), float(hidden[best])))
    return chosen


def _places(
    label: tuple[int, int], box: Sequence[int], size: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """The places [K, 4] where a label fits into the picture, and their ranks [K]."""
    width, height = label
    x0, y0, x1, y1 = box
    middle = (x0 + x1 - width) // 2
    corners = np.array(
        [
            (x0, y0 - height),  # above
            (x1 - width, y0 - height),
            (x0, y1),  # below
            (x1 - width, y1),
            (x0, y0),  # inside
            (x1 - width, y0),
            (x0, y1 - height),
            (x1 - width, y1 - height),
            (middle, y0 - height),
            (middle, y1),
            (x1, y0),  # beside
            (x0 - width, y0),
            (x1, y1 - height),
            (x0 - width, y1 - height),
            (x1, y0 - height),  # at a corner
            (x0 - width, y0 - height),
            (x1, y1),
            (x0 - width, y1),
        ],
        np.int64,
    )
    room = np.array((size[0] - width, size[1] - height), np.int64)
    # Shifted sideways a label still touches its box; shifted up or down it would lie on it.
    shifted = corners.copy()
    shifted[:10, 0] = np.clip(shifted[:10, 0], 0, max(int(room[0]), 0))
    fits = ((shifted >= 0) & (shifted <= room)).all(axis=1)
    if not fits.any() and (room >= 0).all():
        # A box at the edge that is lower than its label.
        shifted, fits = np.clip(corners, 0, room), np.ones(len(corners), np.bool_)
    low = shifted[fits]
    high = low + np.array((width, height))
    return np.concatenate([low, high], axis=1), np.flatnonzero(fits)


def _intersections(places: IntArray, columns: IntArray) -> IntArray:
    """Areas [K, N] that places [K, 4] share with the boxes of `columns` [4, N]."""
    x0, y0, x1, y1 = (places[:, side, None] for side in range(4))
    width = np.minimum(x1, columns[2]) - np.maximum(x0, columns[0])
    height = np.minimum(y1, columns[3]) - np.maximum(y0, columns[1])
    areas: IntArray = np.maximum(width, 0) * np.maximum(height, 0)
    return areas
