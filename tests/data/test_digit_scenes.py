"""Given a seed and a number, `scene` draws digits a person can read, with tight boxes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from edgedet import boxes as box_geometry
from edgedet.data.backgrounds import LUMA
from edgedet.data.digit_glyphs import digit_samples
from edgedet.data.digit_scenes import Scene, SceneOptions, scene

NUMBERS = range(60)

FIRST_DIGITS = [5, 2, 4, 8, 7, 8]
FIRST_BOXES = [
    [41, 195, 68, 234],
    [24, 23, 81, 89],
    [170, 216, 182, 232],
    [122, 42, 236, 192],
    [60, 98, 117, 183],
    [6, 81, 26, 109],
]


@cache
def scenes() -> tuple[Scene, ...]:
    return tuple(scene(0, "val", number, SceneOptions()) for number in NUMBERS)


def test_the_same_arguments_give_the_same_scene() -> None:
    for number in (0, 7):
        again = scene(0, "val", number, SceneOptions())
        np.testing.assert_array_equal(again.pixels, scenes()[number].pixels)
        np.testing.assert_array_equal(again.boxes, scenes()[number].boxes)


@pytest.mark.parametrize(
    ("seed", "split", "number"), [(1, "val", 0), (0, "train", 0), (0, "val", 1)]
)
def test_seed_split_and_number_each_change_the_scene(seed: int, split: str, number: int) -> None:
    other = scene(seed, split, number, SceneOptions())

    assert other.pixels.tobytes() != scenes()[0].pixels.tobytes()


def test_the_default_validation_scenes_stay_as_they_are() -> None:
    """Published figures refer to them; change nothing that moves these boxes."""
    assert scenes()[0].digits.tolist() == FIRST_DIGITS
    np.testing.assert_allclose(scenes()[0].boxes, FIRST_BOXES, atol=1)


def test_digits_come_from_the_samples_of_the_split() -> None:
    samples = digit_samples("val")
    digit_of = dict(zip(samples.indices.tolist(), samples.digits.tolist(), strict=True))

    for drawn in scenes():
        assert [digit_of[index] for index in drawn.sample_indices.tolist()] == drawn.digits.tolist()


def test_boxes_are_the_extent_of_the_visible_ink() -> None:
    for drawn in scenes():
        for (x0, y0, x1, y1), ink in zip(drawn.boxes, drawn.ink, strict=True):
            inside = ink[y0:y1, x0:x1]
            assert inside.sum() == ink.sum()
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()


def test_boxes_lie_within_the_picture() -> None:
    for drawn in scenes():
        height, width = drawn.pixels.shape[:2]
        assert (drawn.boxes[:, :2] >= 0).all()
        assert (drawn.boxes[:, 2:] <= (width, height)).all()
        assert (drawn.boxes[:, 2:] > drawn.boxes[:, :2]).all()


def test_boxes_of_two_digits_hardly_overlap() -> None:
    for drawn in scenes():
        overlap = box_geometry.iou(drawn.boxes, drawn.boxes)
        assert (overlap - np.eye(len(overlap)) <= 0.2).all()


def test_at_most_a_quarter_of_a_digit_is_hidden_and_some_are() -> None:
    hidden = np.concatenate([drawn.hidden for drawn in scenes()])

    assert hidden.max() <= 0.25
    assert (hidden > 0.02).mean() > 0.02


def test_every_digit_stands_out_from_what_is_around_it() -> None:
    weakest = 255.0
    for drawn in scenes():
        luma = drawn.pixels.astype(np.float32) @ LUMA
        any_ink = drawn.ink.any(axis=0)
        for (x0, y0, x1, y1), ink in zip(drawn.boxes, drawn.ink, strict=True):
            window = np.s_[max(0, y0 - 3) : y1 + 3, max(0, x0 - 3) : x1 + 3]
            around = luma[window][~any_ink[window]]
            weakest = min(weakest, abs(float(np.median(luma[ink]) - np.median(around))))

    assert weakest > 40


def test_counts_and_sizes_vary_as_documented() -> None:
    counts = [len(drawn.boxes) for drawn in scenes()]
    heights = np.concatenate([drawn.boxes[:, 3] - drawn.boxes[:, 1] for drawn in scenes()])
    digits = np.concatenate([drawn.digits for drawn in scenes()])

    assert min(counts) == 0
    assert max(counts) == 8
    assert heights.min() >= 11
    assert heights.max() <= 161
    # Log-uniform: as many from 12 to 44 as from 44 to 160, less what found no place.
    assert 0.35 < (heights < 44).mean() < 0.65
    assert set(digits.tolist()) == set(range(10))


def test_the_longer_side_is_the_size_and_the_shorter_varies() -> None:
    sizes = [drawn.pixels.shape[:2] for drawn in scenes()]

    assert {max(size) for size in sizes} == {256}
    assert all(160 <= min(size) <= 256 for size in sizes)
    assert len({min(size) for size in sizes}) > 20
    assert 0.2 < np.mean([height > width for height, width in sizes]) < 0.6


def test_the_first_scene_is_never_empty() -> None:
    for seed in range(60):
        assert len(scene(seed, "train", 0, SceneOptions(size=64, min_digit=12)).boxes)


def test_the_greatest_count_bounds_and_fills_scenes() -> None:
    counts = {
        most: [
            len(scene(7, "train", number, SceneOptions(max_count=most)).boxes)
            for number in range(12)
        ]
        for most in (1, 24)
    }
    assert max(counts[1]) == 1
    assert 10 < max(counts[24]) <= 24


@pytest.mark.parametrize(
    "options",
    [
        SceneOptions(size=64, min_digit=32, max_digit=160),
        SceneOptions(size=64, min_digit=8, max_digit=8),
        SceneOptions(size=640, min_digit=300, max_digit=400),
    ],
)
def test_extreme_sizes_are_drawn(options: SceneOptions) -> None:
    for number in range(6):
        drawn = scene(3, "train", number, options)
        heights = drawn.boxes[:, 3] - drawn.boxes[:, 1]
        assert max(drawn.pixels.shape[:2]) == options.size
        assert (heights <= options.max_digit + 1).all()
