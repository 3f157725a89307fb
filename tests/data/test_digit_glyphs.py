"""Given 8x8 samples, `render` draws strokes of the size asked for that can be told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgedet.data.digit_glyphs import SPLITS, Pose, digit_samples, render


def test_no_sample_is_in_both_splits_and_none_is_lost() -> None:
    train, val = (set(digit_samples(split).indices.tolist()) for split in SPLITS)

    assert not train & val
    assert train | val == set(range(1797))


@pytest.mark.parametrize("digit", range(10))
def test_every_digit_has_a_fifth_of_its_samples_in_val(digit: int) -> None:
    train, val = (int((digit_samples(split).digits == digit).sum()) for split in SPLITS)

    assert val / (train + val) == pytest.approx(0.2, abs=0.005)


def test_no_sample_occurs_twice_under_different_indices_across_splits() -> None:
    train, val = (digit_samples(split).images.reshape(-1, 64) for split in SPLITS)

    shared = {sample.tobytes() for sample in train} & {sample.tobytes() for sample in val}

    assert not shared


POSES = st.builds(
    Pose,
    height=st.integers(12, 160).map(float),
    rotation=st.floats(-0.4, 0.4),
    shear=st.floats(-0.15, 0.15),
    stretch=st.floats(0.85, 1.2),
    weight=st.floats(0.43, 0.55),
)


@settings(deadline=None, max_examples=50)
@given(pose=POSES, position=st.integers(0, 300))
def test_ink_is_as_high_as_asked_for(pose: Pose, position: int) -> None:
    ink = render(digit_samples("val").images[position], pose)

    assert ink.dtype == np.float32
    assert ink.min() >= 0
    assert ink.max() <= 1
    solid = np.flatnonzero((ink >= 1 / 3).any(axis=1))
    # The outline of large strokes is soft over a few pixels.
    assert abs(solid[-1] + 1 - solid[0] - pose.height) <= 1 + 0.03 * pose.height


def test_rotation_is_clockwise() -> None:
    bar = np.zeros((8, 8), np.uint8)
    bar[:, 3:5] = 16

    ink = render(bar, Pose(height=60.0, rotation=math.radians(20)))

    top, bottom = (np.flatnonzero(row > 0.5).mean() for row in (ink[8], ink[-8]))
    assert top > bottom + 10


def test_stretch_widens_and_shear_leans() -> None:
    bar = np.zeros((8, 8), np.uint8)
    bar[:, 3:5] = 16
    plain, wide, leaning = (
        render(bar, pose).shape[1]
        for pose in (Pose(60.0), Pose(60.0, stretch=1.5), Pose(60.0, shear=0.3))
    )

    assert wide == pytest.approx(1.5 * plain, abs=2)
    assert leaning > plain + 10


@pytest.mark.parametrize("height", [12.0, 40.0])
def test_digits_can_still_be_told_apart(height: float) -> None:
    from sklearn.svm import SVC

    def features(split: str) -> tuple[np.ndarray, np.ndarray]:
        samples = digit_samples(split)
        rng = np.random.default_rng(0)
        drawn = []
        for image in samples.images:
            turn = math.radians(rng.uniform(-10, 10))
            ink = render(image, Pose(height, turn, weight=rng.uniform(0.43, 0.55)))
            drawn.append(np.asarray(Image.fromarray(ink).resize((16, 16))).ravel())
        return np.array(drawn), samples.digits

    classifier = SVC(C=10, gamma=0.02).fit(*features("train"))

    assert classifier.score(*features("val")) > 0.97
