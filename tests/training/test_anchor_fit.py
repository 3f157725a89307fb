"""The anchor scale chosen for boxes that anchors of a known scale cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedet.data.dataset import DetectionDataset, Sample
from edgedet.spec import AnchorSpec, InputSpec
from edgedet.training.anchor_fit import fit_anchor_scale


def _dataset(side: int, *boxes: tuple[float, float]) -> DetectionDataset:
    """Square pictures of `side` pixels, each with a box of a width and a height."""
    samples = [
        Sample(
            Path("picture.png"),
            image_id=1,
            width=side,
            height=side,
            boxes=np.float32([[0, 0, width, height]]),
            classes=np.zeros(1, np.int32),
            crowd=np.zeros(1, bool),
        )
        for width, height in boxes
    ]
    return DetectionDataset("train", ("thing",), (1,), samples)


@pytest.mark.parametrize(
    ("picture", "size", "scale"),
    [
        (256, 256, 2.5),
        (512, 256, 2.5),  # the picture is halved to fit
        (320, 320, 3.5),  # the coarsest level has 3 places, 106.67 pixels apart
    ],
)
def test_boxes_of_the_coarsest_anchors_give_their_scale(
    picture: int, size: int, scale: float
) -> None:
    side = scale * size / -(-size // 128) * picture / size
    dataset = _dataset(picture, (side, side))
    assert fit_anchor_scale(dataset, InputSpec(size, size)) == scale


def test_without_boxes_it_is_the_default() -> None:
    assert fit_anchor_scale(_dataset(256), InputSpec(256, 256)) == AnchorSpec().scale
