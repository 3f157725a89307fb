"""NMS and soft-NMS beside OpenCV, torchvision's algorithm and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgedet import ops
from edgedet.benchmarks.native_peers import FloatArray, IntArray, Peers
from edgedet.benchmarks.native_timing import Comparison, compare
from edgedet.errors import EdgeDetError

IOU = 0.5
SIZES = (10, 30, 100, 300, 1000, 5000, 20_000, 50_000)
QUICK_SIZES = (10, 100)
SOFT_SIZE = 2000
# OpenCV reads lists faster than arrays, which shows while there are few boxes.
_MOST_LISTED = 300
_EXTENT = 1000.0
_METHODS: tuple[Literal["gaussian", "linear"], ...] = ("gaussian", "linear")

OPENCV = "cv2.dnn.NMSBoxes"
TORCHVISION = "torchvision's algorithm"

# How many times faster ours is to be: nowhere slower than either, and this at 5 000 boxes.
_BARS = {
    (kind, count, peer): 1.0
    for kind in ("uniform", "clustered")
    for count in SIZES
    for peer in (OPENCV, TORCHVISION)
} | {
    ("uniform", 5000, OPENCV): 30.0,
    ("uniform", 5000, TORCHVISION): 20.0,
    ("clustered", 5000, OPENCV): 20.0,
}


def uniform_boxes(count: int) -> tuple[FloatArray, FloatArray]:
    """Boxes [N, 4] and scores [N]: centres even over 1000 x 1000, sides even from 16 to 132."""
    random = np.random.default_rng(count)
    centres = random.uniform(0, _EXTENT, (count, 2))
    sides = random.uniform(16, 132, (count, 2))
    return _boxes(centres, sides), random.random(count, dtype=np.float32)


def clustered_boxes(count: int) -> tuple[FloatArray, FloatArray]:
    """Boxes [N, 4] and scores [N] around 55 objects in 1000 x 1000 with sides from 30 to 200.

    Centres are off by a normal 12% of the object's side, sides by a factor exp of a normal 0.12:
    what a detector gives before suppression.
    """
    random = np.random.default_rng(count)
    objects = random.uniform(0, _EXTENT, (55, 2))
    sizes = random.uniform(30, 200, (55, 2))
    chosen = random.integers(0, len(objects), count)
    centres = objects[chosen] + random.normal(0, 0.12, (count, 2)) * sizes[chosen]
    sides = sizes[chosen] * np.exp(random.normal(0, 0.12, (count, 2)))
    return _boxes(centres, sides), random.random(count, dtype=np.float32)


def measure_nms(peers: Peers, quick: bool) -> Iterator[Comparison]:
    """Compare `ops.nms`, after checking that torchvision's algorithm keeps the same boxes.

    Raises:
        EdgeDetError: it keeps others.
    """
    cv2, torchvision = peers.opencv(), peers.torchvision()
    for kind, generate in (("uniform", uniform_boxes), ("clustered", clustered_boxes)):
        for count in QUICK_SIZES if quick else SIZES:
            boxes, scores = generate(count)
            kept = ops.nms(boxes, scores, IOU)
            calls: dict[str, Callable[[], object]] = {}
            if cv2 is not None:
                corners_and_sides = boxes.astype(np.float64)
                corners_and_sides[:, 2:] -= corners_and_sides[:, :2]
                calls[OPENCV] = partial(cv2.dnn.NMSBoxes, corners_and_sides, scores, 0.0, IOU)
                if count <= _MOST_LISTED:
                    lists = corners_and_sides.tolist(), scores.tolist()
                    calls[f"{OPENCV}, lists"] = partial(cv2.dnn.NMSBoxes, *lists, 0.0, IOU)
            if torchvision is not None:
                if not np.array_equal(kept, torchvision(boxes, scores, IOU)):
                    raise EdgeDetError(f"nms: torchvision keeps others of {count} {kind} boxes.")
                calls[TORCHVISION] = partial(torchvision, boxes, scores, IOU)
            calls["NumPy"] = partial(numpy_nms, boxes, scores, IOU)
            yield from compare(
                "nms",
                f"{kind} {count}, {len(kept)} kept",
                partial(ops.nms, boxes, scores, IOU),
                {name: (call, _BARS.get((kind, count, name))) for name, call in calls.items()},
                0.02 if quick else 1.5,
            )


def measure_soft_nms(peers: Peers, quick: bool) -> Iterator[Comparison]:
    """Compare `ops.soft_nms`, after checking that NumPy gets the same scores.

    Raises:
        EdgeDetError: it gets others.
    """
    del peers
    count = 100 if quick else SOFT_SIZE
    for kind, generate in (("uniform", uniform_boxes), ("clustered", clustered_boxes)):
        boxes, scores = generate(count)
        for method in _METHODS:
            rescored = ops.soft_nms(boxes, scores, method=method)[1]
            expected = numpy_soft_nms(boxes, scores, method)[1]
            if len(rescored) != len(expected) or not np.allclose(rescored, expected, atol=1e-4):
                raise EdgeDetError(f"soft_nms: NumPy rescores {count} {kind} boxes otherwise.")
            yield from compare(
                "soft_nms",
                f"{method}, {kind} {count}",
                partial(ops.soft_nms, boxes, scores, method=method),
                {"NumPy": (partial(numpy_soft_nms, boxes, scores, method), 10.0)},
                0.02 if quick else 3.0,
            )


def numpy_nms(boxes: FloatArray, scores: FloatArray, iou_threshold: float) -> IntArray:
    """The usual NumPy form: each kept box is compared with all that are left, at once."""
    sides, areas = _columns(boxes)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        others = tuple(side[order] for side in sides)
        overlaps = _ious(tuple(side[best] for side in sides), areas[best], others, areas[order])
        order = order[overlaps <= iou_threshold]
    return np.array(kept, np.int64)


def numpy_soft_nms(
    boxes: FloatArray,
    scores: FloatArray,
    method: str,
    *,
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
) -> tuple[IntArray, FloatArray]:
    """The usual NumPy form of Soft-NMS (Bodla et al. 2017): all that are left decay at once."""
    indices = np.flatnonzero(scores >= score_threshold)
    scores = scores[indices]
    sides, areas = _columns(boxes[indices])
    kept, rescored = [], []
    while len(indices):
        best = int(np.argmax(scores))
        kept.append(indices[best])
        rescored.append(scores[best])
        overlaps = _ious(tuple(side[best] for side in sides), areas[best], sides, areas)
        if method == "gaussian":
            scores = scores * np.exp(-(overlaps * overlaps) / np.float32(sigma))
        else:
            scores = np.where(overlaps > iou_threshold, scores * (1 - overlaps), scores)
        left = scores >= score_threshold
        left[best] = False
        sides = tuple(side[left] for side in sides)
        areas, scores, indices = areas[left], scores[left], indices[left]
    return np.array(kept, np.int64), np.array(rescored, np.float32)


def _columns(boxes: FloatArray) -> tuple[tuple[FloatArray, ...], FloatArray]:
    """x0, y0, x1 and y1 of all boxes, and their areas."""
    x0, y0, x1, y1 = np.ascontiguousarray(boxes.T)
    return (x0, y0, x1, y1), (x1 - x0) * (y1 - y0)


def _ious(
    box: tuple[FloatArray, ...],
    area: FloatArray,
    others: tuple[FloatArray, ...],
    areas: FloatArray,
) -> FloatArray:
    widths = np.minimum(box[2], others[2]) - np.maximum(box[0], others[0])
    heights = np.minimum(box[3], others[3]) - np.maximum(box[1], others[1])
    intersections = np.maximum(widths, 0) * np.maximum(heights, 0)
    overlaps: FloatArray = intersections / (area + areas - intersections)
    return overlaps


def _boxes(centres: npt.NDArray[np.float64], sides: npt.NDArray[np.float64]) -> FloatArray:
    return np.hstack([centres - sides / 2, centres + sides / 2]).astype(np.float32)
