"""Choose the anchor scale that fits a data set's boxes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgedet.anchors import base_anchors, grid
from edgedet.data.dataset import DetectionDataset
from edgedet.spec import AnchorSpec, InputSpec

CANDIDATES = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)


def fit_anchor_scale(dataset: DetectionDataset, size: InputSpec) -> float:
    """The candidate scale whose anchors overlap the boxes best on average.

    The overlap counts shapes only (a box and an anchor with the same centre), as clustering
    methods for anchors do (YOLOv2, Redmon & Farhadi 2017, section 2).

    Args:
        dataset: boxes in pixels of pictures that are letterboxed to `size`.
        size: the network's input.
    """
    sides = [
        (sample.boxes[:, 2:] - sample.boxes[:, :2])
        * min(size.height / sample.height, size.width / sample.width)
        for sample in dataset.samples
        if len(sample.boxes)
    ]
    if not sides:
        return AnchorSpec().scale
    boxes = np.concatenate(sides)
    return max(CANDIDATES, key=lambda scale: _mean_best_iou(boxes, AnchorSpec(scale=scale), size))


def _mean_best_iou(boxes: npt.NDArray[np.float32], spec: AnchorSpec, size: InputSpec) -> float:
    grids = {level: grid(spec, level, size.height, size.width) for level in spec.levels}
    anchors = np.concatenate(
        [base_anchors(spec, level, each.stride_y, each.stride_x) for level, each in grids.items()]
    )
    inter = np.minimum(boxes[:, None], anchors[None]).prod(axis=-1)
    union = boxes.prod(axis=-1)[:, None] + anchors.prod(axis=-1)[None] - inter
    return float((inter / union).max(axis=1).mean())
