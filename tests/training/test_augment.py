"""Augmentation moves boxes with the picture, and a seed fixes it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import ops
from edgedet.data.augment import NO_AUGMENTATION, Augmentation, augment
from edgedet.spec import InputSpec

INPUT = InputSpec(96, 96)


def _scene(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """Black, with a white rectangle where the box is."""
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(40, 200),
    st.integers(40, 200),
    st.booleans(),
)
def test_boxes_stay_on_their_objects(seed: int, height: int, width: int, flip: bool) -> None:
    rng = np.random.default_rng(seed)
    left, top = int(rng.integers(0, width - 20)), int(rng.integers(0, height - 20))
    box = (left, top, left + 20, top + 20)
    tensor, boxes, classes = augment(
        _scene(height, width, box),
        np.float32([box]),
        np.int32([3]),
        INPUT,
        rng,
        Augmentation(scale=(0.5, 2.0), flip=flip, colour=0.0),
    )
    assert tensor.shape == (96, 96, 3)
    assert len(boxes) == len(classes)
    white = np.argwhere(tensor[..., 0] > 0.01)
    if not len(boxes):
        return
    assert classes[0] == 3
    found = (*white.min(0)[::-1], *(white.max(0)[::-1] + 1))
    np.testing.assert_allclose(boxes[0], found, atol=2.5)


def test_without_augmentation_it_is_the_detectors_own_letterbox() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)
    boxes = np.float32([[5, 6, 25, 36]])
    tensor, moved, _ = augment(
        image, boxes, np.int32([0]), INPUT, np.random.default_rng(0), NO_AUGMENTATION
    )
    expected, ratio = ops.letterbox(image, (96, 96), mean=INPUT.mean, std=INPUT.std)
    np.testing.assert_array_equal(tensor, expected)
    np.testing.assert_allclose(moved, boxes * ratio, rtol=1e-6)


def test_mirrored_boxes_are_mirrored() -> None:
    image = _scene(96, 96, (10, 20, 30, 60))
    how = Augmentation(scale=(1.0, 1.0), flip=True, colour=0.0)
    seen = set()
    for seed in range(12):
        _, boxes, _ = augment(
            image,
            np.float32([[10, 20, 30, 60]]),
            np.int32([0]),
            INPUT,
            np.random.default_rng(seed),
            how,
        )
        seen.add(tuple(boxes[0].tolist()))
    assert seen == {(10, 20, 30, 60), (66, 20, 86, 60)}


def test_a_box_cut_to_less_than_half_is_dropped() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    how = Augmentation(scale=(2.0, 2.0), flip=False, colour=0.0)
    kept = []
    for seed in range(200):
        _, boxes, _ = augment(
            image,
            np.float32([[0, 0, 20, 20]]),
            np.int32([0]),
            INPUT,
            np.random.default_rng(seed),
            how,
        )
        kept += [float((box[2:] - box[:2]).prod()) for box in boxes]
    assert 0 < len(kept) < 200
    # Twice as large, a whole box has 40 x 40 pixels.
    assert min(kept) >= 0.5 * 1600 - 1


def test_the_same_seed_gives_the_same_example() -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    made = [
        augment(
            image,
            np.float32([[1, 2, 30, 40]]),
            np.int32([1]),
            INPUT,
            np.random.default_rng(9),
            Augmentation(),
        )[0]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_tiny_and_narrow_pictures_survive(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    for seed in range(20):
        tensor, boxes, _ = augment(
            image,
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.int32),
            INPUT,
            np.random.default_rng(seed),
            Augmentation(scale=(0.1, 3.0)),
        )
        assert np.isfinite(tensor).all()
        assert boxes.shape == (0, 4)
