"""Tiled inference: small objects are looked for in overlapping tiles, where they are larger.

After Akyon et al. 2022, "Slicing Aided Hyper Inference and Fine-tuning for Small Object Detection",
with another way to merge. A tile's border cuts objects, and a network takes the piece for a whole
object, often of another class. So a box at a border of its tile that is no border of the picture is
a piece. It goes when a box that another view shows whole tells of the same object:

- one of its class holds more than half of it, or
- one of any class, cut off at the borders of the piece's tile, has an IoU with it above 0.3: what
  the tile could see of that object is about the piece.

The share of the piece alone would not do for other classes: a small object in front of a large one
lies in it entirely. What remains goes through NMS, which per class drops a box whose IoU with a
more confident one is above the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import numpy.typing as npt

from edgedet import arguments, boxes, ops
from edgedet.errors import InvalidInputError
from edgedet.runtime.detections import Detections, FloatArray
from edgedet.runtime.sources import ImageArray

SMALLEST_TILE = 32
LARGEST_OVERLAP = 0.9
MOST_TILES = 10_000

# On scenes of digits in tiles as wide as the network's input, shares of 0.4 to 0.7 did equally
# well; an IoU of 0.5 left more wrong pieces than 0.3, and as many right boxes.
_SAME_OBJECT_SHARE = 0.5
_SAME_OBJECT_IOU = 0.3
# How close to a border, as a share of the tile, a box counts as cut there: networks place edges
# about this well.
_MARGIN = 1 / 128
_MOST_PAIRS = 1 << 22

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut into tiles.

    Attributes:
        tile: longest side of a tile, in pixels of the picture.
        overlap: least share of a tile's side that it has in common with the next tile.

    Raises:
        InvalidInputError: `tile` is below 32, or `overlap` outside of 0 to 0.9.
    """

    tile: int
    overlap: float = 0.2

    def __post_init__(self) -> None:
        arguments.integer("tile", self.tile, SMALLEST_TILE, ops.MAX_IMAGE_SIDE)
        arguments.number("overlap", self.overlap, 0, LARGEST_OVERLAP)

    def grid(self, height: int, width: int) -> IntArray:
        """The tiles [N, 4] as `x0, y0, x1, y1`, row by row: the fewest that cover the picture.

        All are of one size. The last column and row are moved inwards, so that they end with the
        picture. A picture that is not larger than a tile is one.

        Raises:
            InvalidInputError: more than `MOST_TILES`.
        """
        columns, rows = self._starts(width), self._starts(height)
        if len(columns) * len(rows) > MOST_TILES:
            raise InvalidInputError(
                f"tile={self.tile} with overlap={self.overlap} cuts {width}x{height} pixels into "
                f"{len(columns) * len(rows)} tiles, more than {MOST_TILES}; choose larger tiles."
            )
        side_x, side_y = min(self.tile, width), min(self.tile, height)
        corners = [(x, y, x + side_x, y + side_y) for y in rows for x in columns]
        return np.array(corners, np.int64)

    def _starts(self, length: int) -> range | list[int]:
        if length <= self.tile:
            return [0]
        # 0.07 * 100 is a little above 7.
        step = self.tile - math.ceil(self.tile * self.overlap - 1e-6)
        return [*range(0, length - self.tile, step), length - self.tile]


def detect_tiles(
    image: ImageArray,
    tiling: Tiling,
    whole: Detections,
    detect: Callable[[ImageArray], Detections],
    *,
    iou: float,
    max_det: int,
) -> Detections:
    """Look at the tiles of an image besides the image itself.

    Args:
        image: RGB uint8 [H, W, 3]; the tiles are views of it.
        tiling: the tiles.
        whole: what was found in the image as a whole.
        detect: finds objects in a tile.
        iou: overlap beyond which the less confident of two boxes of a class goes.
        max_det: most detections to return.

    Returns:
        `whole` with the merged boxes and scores. Its `speed` is the sum of all passes.

    Raises:
        InvalidInputError: too many tiles.
    """
    height, width = image.shape[:2]
    tiles = tiling.grid(height, width)
    if len(tiles) == 1:
        return whole
    views = np.concatenate([[(0, 0, width, height)], tiles])
    results = [whole, *(detect(image[y0:y1, x0:x1]) for x0, y0, x1, y1 in tiles.tolist())]
    started = perf_counter()
    xyxy = np.concatenate(
        [
            result.xyxy + np.array((x0, y0, x0, y0), np.float32)
            for result, (x0, y0, _, _) in zip(results, views.tolist(), strict=True)
        ]
    )
    confidence = np.concatenate([result.confidence for result in results])
    class_id = np.concatenate([result.class_id for result in results])
    view = np.repeat(np.arange(len(results)), [len(result) for result in results])
    kept = merge(
        xyxy,
        confidence,
        class_id,
        view,
        views,
        margin=tiling.tile * _MARGIN,
        iou=iou,
        max_det=max_det,
    )
    speed = {stage: sum(result.speed[stage] for result in results) for stage in whole.speed}
    speed["postprocess"] += (perf_counter() - started) * 1e3
    return replace(
        whole,
        xyxy=xyxy[kept],
        confidence=confidence[kept],
        class_id=class_id[kept],
        speed=speed,
    )


def merge(
    xyxy: FloatArray,
    confidence: FloatArray,
    class_id: IntArray,
    view: IntArray,
    views: IntArray,
    *,
    margin: float,
    iou: float,
    max_det: int,
) -> IntArray:
    """Drop pieces and repetitions as the module describes.

    Args:
        xyxy: boxes [N, 4] in pixels of the picture.
        confidence: scores [N].
        class_id: classes [N].
        view: number of the view [N] in which each was found.
        views: the views [V, 4] as `x0, y0, x1, y1`; the first is the whole picture.
        margin: how near to a border of its view a box counts as cut, in pixels.
        iou: see `detect_tiles`.
        max_det: see `detect_tiles`.

    Returns:
        int64 [K]: which to keep, by descending confidence, ties by lower index.
    """
    # A border of the picture cuts nothing.
    inner = views.astype(np.float32)
    picture = inner[0].copy()
    inner[:, :2] = np.where(inner[:, :2] > picture[:2], inner[:, :2] + margin, -np.inf)
    inner[:, 2:] = np.where(inner[:, 2:] < picture[2:], inner[:, 2:] - margin, np.inf)
    low, high = xyxy[:, :2] < inner[view, :2], xyxy[:, 2:] > inner[view, 2:]
    cut = (low | high).any(axis=1)
    whole, whole_class = xyxy[~cut], class_id[~cut]
    kept = np.ones(len(xyxy), np.bool_)
    for tile in np.unique(view[cut]).tolist():
        rectangle = views[tile].astype(np.float32)
        near = (whole[:, :2] < rectangle[2:]).all(axis=1) & (whole[:, 2:] > rectangle[:2]).all(
            axis=1
        )
        rivals, rival_class = whole[near], whole_class[near]
        pieces = np.flatnonzero(cut & (view == tile))
        # Few rows at a time: thresholds of 0 give hundreds of thousands of boxes.
        rows = max(1, _MOST_PAIRS // max(len(rivals), 1))
        for start in range(0, len(pieces), rows):
            some = pieces[start : start + rows]
            kept[some] = ~_repeats(xyxy[some], class_id[some], rivals, rival_class, rectangle)
    left = np.flatnonzero(kept)
    best = ops.nms(
        xyxy[left], confidence[left], iou, class_ids=class_id[left], max_detections=max_det
    )
    return left[best]


def _repeats(
    pieces: FloatArray,
    piece_class: IntArray,
    whole: FloatArray,
    whole_class: IntArray,
    tile: FloatArray,
) -> npt.NDArray[np.bool_]:
    """Which pieces [N, 4], cut at the borders of the tile, show an object of `whole` [M, 4]."""
    seen = np.concatenate(
        [np.maximum(whole[:, :2], tile[:2]), np.minimum(whole[:, 2:], tile[2:])], axis=1
    )
    iou = boxes.iou(pieces, seen)
    areas = boxes.area(pieces)[:, None]
    # With the areas of both, the IoU tells the intersection.
    shared = iou / (1 + iou) * (areas + boxes.area(seen))
    held = (shared > _SAME_OBJECT_SHARE * areas) & (piece_class[:, None] == whole_class)
    repeats: npt.NDArray[np.bool_] = (held | (iou > _SAME_OBJECT_IOU)).any(axis=1)
    return repeats
