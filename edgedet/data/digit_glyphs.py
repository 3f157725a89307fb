"""Handwritten digits as pen strokes: scikit-learn's 8x8 samples, split and rendered at any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgedet.errors import MissingDependencyError

FloatArray = npt.NDArray[np.float32]

SPLITS = ("train", "val")

_VAL_SHARE = 0.2
# The split of samples is a property of the dataset, not of a run: no seed changes it, so a model
# trained on one seed's scenes can be judged on another's.
_SPLIT_SEED = 1797

_PADDING = 2  # blank cells around the 8x8 sample, so that strokes at its edge end round
_UPSAMPLING = 8
_CELLS = 8 + 2 * _PADDING
# The samples are 4x4 block counts of the scanned strokes, which closes small loops (4, 8, 9);
# sharpening opens them again, and a soft outline keeps the rest of the grey levels' evidence.
_SHARPENING = 0.9
_EDGE_LEVELS = 0.35
# Strokes are rendered at least this many pixels high before they are averaged down.
_RENDER_HEIGHT = 96


@dataclass(frozen=True)
class DigitSamples:
    """Samples of one split.

    Attributes:
        images: [N, 8, 8] uint8, ink from 0 to 16.
        digits: [N] int64, the digit of each.
        indices: [N] int64, the positions in `sklearn.datasets.load_digits()`.
    """

    images: npt.NDArray[np.uint8]
    digits: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pose:
    """How a digit is drawn.

    Attributes:
        height: height of the upright box around the transformed ink, in pixels.
        rotation: clockwise, in radians.
        shear: horizontal shift per unit of height.
        stretch: width factor.
        weight: ink level that counts as the stroke's edge; lower is a bolder pen.
    """

    height: float
    rotation: float = 0.0
    shear: float = 0.0
    stretch: float = 1.0
    weight: float = 0.42


@cache
def digit_samples(split: str) -> DigitSamples:
    """The handwritten samples of `train` (80%) or `val` (20%), stratified by digit and disjoint.

    Raises:
        MissingDependencyError: scikit-learn, which carries the samples, isn't installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingDependencyError(
            "the handwritten digits come with scikit-learn, which is not installed; "
            "run: pip install 'edgedet[train]'"
        ) from None
    bunch = load_digits()
    digits = np.asarray(bunch.target, np.int64)
    rng = np.random.default_rng(_SPLIT_SEED)
    chosen = []
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(digits == digit))
        held_out = round(_VAL_SHARE * len(members))
        chosen.append(members[:held_out] if split == "val" else members[held_out:])
    indices = np.sort(np.concatenate(chosen))
    images = np.asarray(bunch.images, np.uint8)[indices]
    return DigitSamples(images, digits[indices], indices)


def render(sample: npt.NDArray[np.uint8], pose: Pose) -> FloatArray:
    """Draw a sample as a pen stroke: ink coverage [H, W] in 0..1, cropped to the ink.

    The 8x8 ink counts are interpolated to a smooth field whose level line at `pose.weight` is the
    stroke's outline; the outline is drawn enlarged and averaged down, so small digits are
    antialiased rather than blocky.
    """
    field = _ink_field(sample)
    across, down = _axes(pose)
    rows, columns = np.nonzero(field > pose.weight)
    # Cell units relative to the centre; a pixel's own extent counts, hence the half-pixel corners.
    x = (columns + 0.5) / _UPSAMPLING - _CELLS / 2
    y = (rows + 0.5) / _UPSAMPLING - _CELLS / 2
    drawn_x = across[0] * x + across[1] * y
    drawn_y = down[0] * x + down[1] * y
    half = 0.5 / _UPSAMPLING
    left, right = float(drawn_x.min()) - half, float(drawn_x.max()) + half
    top, bottom = float(drawn_y.min()) - half, float(drawn_y.max()) + half

    oversampling = max(1, math.ceil(_RENDER_HEIGHT / pose.height))
    pixels = pose.height * oversampling / (bottom - top)  # rendered pixels per cell
    height = math.ceil(pose.height) + 2
    width = math.ceil((right - left) * pixels / oversampling) + 2
    # Inverse map: rendered pixel -> cell -> pixel of the field.
    determinant = across[0] * down[1] - across[1] * down[0]
    inverse = (
        (down[1] / determinant, -across[1] / determinant),
        (-down[0] / determinant, across[0] / determinant),
    )
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    coefficients: list[float] = []
    for a, b in inverse:
        a_pixel, b_pixel = a / pixels * _UPSAMPLING, b / pixels * _UPSAMPLING
        offset = (
            a * centre_x * _UPSAMPLING
            + b * centre_y * _UPSAMPLING
            + _CELLS / 2 * _UPSAMPLING
            - a_pixel * width * oversampling / 2
            - b_pixel * height * oversampling / 2
        )
        coefficients += [a_pixel, b_pixel, offset]
    rendered = Image.fromarray(field).transform(
        (width * oversampling, height * oversampling),
        Image.Transform.AFFINE,
        tuple(coefficients),
        Image.Resampling.BILINEAR,
    )
    level = np.asarray(rendered, np.float32)
    ink = np.clip((level - pose.weight) / _EDGE_LEVELS + 0.5, 0.0, 1.0)
    ink = ink.reshape(height, oversampling, width, oversampling).mean(axis=(1, 3))
    return _cropped(ink.astype(np.float32))


def _axes(pose: Pose) -> tuple[tuple[float, float], tuple[float, float]]:
    """Rows of the matrix from cells to drawn units: stretch, then shear, then rotation."""
    cosine, sine = math.cos(pose.rotation), math.sin(pose.rotation)
    horizontal = (pose.stretch, pose.shear)
    return (
        (cosine * horizontal[0], cosine * horizontal[1] - sine),
        (sine * horizontal[0], sine * horizontal[1] + cosine),
    )


def _ink_field(sample: npt.NDArray[np.uint8]) -> FloatArray:
    padded = np.pad(sample.astype(np.float32) / 16.0, _PADDING)
    side = _CELLS * _UPSAMPLING
    neighbourhood = sum(
        np.roll(padded, (row, column), (0, 1)) for row in (-1, 0, 1) for column in (-1, 0, 1)
    )
    sharpened = padded + _SHARPENING * (padded - neighbourhood / 9.0)
    field = Image.fromarray(sharpened.astype(np.float32))
    return np.asarray(field.resize((side, side), Image.Resampling.LANCZOS), np.float32)


def _cropped(ink: FloatArray) -> FloatArray:
    rows = np.flatnonzero(ink.max(axis=1) > 0)
    columns = np.flatnonzero(ink.max(axis=0) > 0)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
