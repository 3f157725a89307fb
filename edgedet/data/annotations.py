"""What a split's annotations say, whatever format they came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgedet.data.faults import Faults
from edgedet.data.reading import shown

MAX_SIDE = 2**20
MAX_BOXES = 10_000
"""Most boxes in one picture: the targets of a batch take room in proportion to them."""

# Annotation tools round: a box may reach this far (pixels) over the edge and is clipped silently.
_OVERSHOOT = 1.0

NOT_FINITE, NO_AREA, OUTSIDE = 1, 2, 3


class Picture(NamedTuple):
    """One picture of a split.

    Attributes:
        image_id: the annotation file's id, or one made up where the format has none.
        path: the file.
        width: in pixels, of the upright picture.
        height: in pixels, of the upright picture.
    """

    image_id: int
    path: str
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Annotations:
    """The pictures of a split and their M good boxes, in the order of the pictures.

    Attributes:
        source: the file or directory that they came from, for messages.
        format: `coco`, `voc` or `yolo`.
        categories: name of each category id.
        listed: whether `categories` is the format's own list, or only the names that boxes have.
        pictures: in the order of the annotations.
        image_index: [M] int64, non-decreasing, index into `pictures`.
        boxes: [M, 4] float32, `x0, y0, x1, y1` in pixels, half-open, within the picture.
        category_ids: [M] int64.
        crowd: [M] bool, whether a box stands for many objects or one too hard to count.
        areas: [M] float32, COCO's `area`, in square pixels; None where the format has none.
    """

    source: str
    format: str
    categories: dict[int, str]
    listed: bool
    pictures: list[Picture]
    image_index: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    category_ids: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float32] | None = None


def clip_boxes(
    corners: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Boxes clipped to their pictures, and what is wrong with those that can't be used.

    Args:
        corners: [N, 4] `x0, y0, x1, y1` in pixels, half-open.
        sizes: [N, 2] widths and heights of the pictures.

    Returns:
        The boxes [N, 4], and [N] codes: 0, `NOT_FINITE`, `NO_AREA` or `OUTSIDE`.
    """
    codes = np.zeros(len(corners), np.uint8)
    limits = np.concatenate([sizes, sizes], axis=1)
    # Infinite and huge numbers are what is looked for.
    with np.errstate(invalid="ignore", over="ignore"):
        boxes = np.clip(corners, 0.0, limits)
        small = boxes.astype(np.float32)
        # The boxes are kept in float32, in which a sliver may have no width left.
        codes[(small[:, 2:] <= small[:, :2]).any(axis=1)] = NO_AREA
        outside = (corners[:, :2] < -_OVERSHOOT) | (corners[:, 2:] > sizes + _OVERSHOOT)
        outside |= boxes[:, 2:] <= boxes[:, :2]
        codes[outside.any(axis=1)] = OUTSIDE
        codes[(corners[:, 2:] <= corners[:, :2]).any(axis=1)] = NO_AREA
        codes[~np.isfinite(corners).all(axis=1)] = NOT_FINITE
    return small, codes


def fault_of(code: int, word: str, picture: Picture, values: str) -> str:
    """What is wrong with a box, for a `Fault`.

    Args:
        code: of `clip_boxes`.
        word: what the format calls a box.
        picture: the picture of the box.
        values: the numbers as the file has them.
    """
    if code == NOT_FINITE:
        return f"has a {word} with numbers that are not finite, {values}"
    if code == NO_AREA:
        return f"has a {word} without area, {values}"
    return (
        f"has a {word} outside its picture of {picture.width} x {picture.height} pixels, {values}"
    )


BOX_REMEDY = "correct the file, or put `bad_boxes: drop` into the data.yaml to leave such boxes out"


def limit_boxes(
    source: str, pictures: list[Picture], counts: npt.NDArray[np.int64], faults: Faults
) -> None:
    """Note the pictures with more than `MAX_BOXES` boxes; `counts` [pictures] says how many."""
    for index in np.flatnonzero(counts > MAX_BOXES).tolist():
        faults.add(
            "many",
            source,
            f"the picture {shown(pictures[index].path)}",
            f"has {counts[index]} boxes, more than {MAX_BOXES}",
            "correct it, or cut the picture into tiles",
            pictures[index].path,
        )
