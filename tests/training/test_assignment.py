"""Target assignment against a plain NumPy loop over anchors and boxes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import boxes as reference
from edgedet.anchors import all_anchors
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec
from edgedet.training.assignment import IOU_MATCH, assign

SPEC = ModelSpec("m", InputSpec(128, 128), AnchorSpec(scale=2.0), ("a", "b"), (1, 2))
ANCHORS = all_anchors(SPEC)


def _corners(anchors: np.ndarray) -> np.ndarray:
    half = anchors[:, 2:] / 2
    return np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=1)


def _pad(boxes: np.ndarray, classes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    padded_boxes = np.zeros((count, 4), np.float32)
    padded_classes = np.full(count, -1, np.int32)
    padded_boxes[: len(boxes)] = boxes
    padded_classes[: len(classes)] = classes
    return padded_boxes, padded_classes


sides = st.floats(4, 90)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), sides, sides), min_size=1, max_size=5)
)
def test_assignment_follows_its_definition(drawn: list[tuple[float, ...]]) -> None:
    corner = np.array(drawn, np.float32)
    boxes = np.concatenate([corner[:, :2], corner[:, :2] + corner[:, 2:]], axis=1)
    classes = np.arange(len(boxes), dtype=np.int32) % 2
    padded = _pad(boxes, classes, 8)
    positive, labels, codes = (
        np.asarray(value)[0] for value in assign(ANCHORS, padded[0][None], padded[1][None])
    )
    iou = reference.iou(_corners(ANCHORS), boxes)
    forced = iou >= iou.max(axis=0) - 1e-5  # equal overlaps: any of them may be the one
    clear = np.abs(iou.max(axis=1) - IOU_MATCH) > 1e-5
    free = clear & ~forced.any(axis=1)
    np.testing.assert_array_equal(positive[free], iou.max(axis=1)[free] >= IOU_MATCH)
    for anchor in np.flatnonzero(positive):
        matched = reference.decode(codes[anchor][None], ANCHORS[anchor][None])[0]
        taken = np.isclose(matched, boxes, atol=0.05).all(axis=1)
        allowed = (iou[anchor] >= iou[anchor].max() - 1e-5) | forced[anchor]
        assert (taken & allowed & (classes == labels[anchor])).any()
    for box in range(len(boxes)):
        assert positive[forced[:, box]].any()


def test_a_picture_without_boxes_has_no_positive_anchor() -> None:
    boxes, classes = _pad(np.zeros((0, 4)), np.zeros(0), 3)
    positive, _, codes = assign(ANCHORS, boxes[None], classes[None])
    assert not np.asarray(positive).any()
    assert np.isfinite(np.asarray(codes)).all()


def test_a_box_smaller_than_every_anchor_still_gets_one() -> None:
    boxes, classes = _pad(np.float32([[60, 60, 63, 63]]), np.int32([1]), 3)
    positive, labels, _ = (np.asarray(v)[0] for v in assign(ANCHORS, boxes[None], classes[None]))
    assert positive.sum() == 1
    assert labels[positive.argmax()] == 1
    np.testing.assert_allclose(ANCHORS[positive.argmax(), :2], [60, 60])


def test_examples_of_a_batch_do_not_mix() -> None:
    first = _pad(np.float32([[10, 10, 40, 40]]), np.int32([0]), 2)
    second = _pad(np.float32([[70, 70, 120, 110]]), np.int32([1]), 2)
    together = assign(ANCHORS, np.stack([first[0], second[0]]), np.stack([first[1], second[1]]))
    alone = assign(ANCHORS, second[0][None], second[1][None])
    for mixed, single in zip(together, alone, strict=True):
        np.testing.assert_array_equal(np.asarray(mixed)[1], np.asarray(single)[0])
