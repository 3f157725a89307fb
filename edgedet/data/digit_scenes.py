"""Scenes of handwritten digits: what is drawn where, and the boxes of the visible ink."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edgedet.data.backgrounds import LUMA, background, colour_of_luma, value_noise
from edgedet.data.digit_glyphs import SPLITS, Pose, digit_samples, render
from edgedet.data.distractors import draw_distractors, draw_occluder

FloatArray = npt.NDArray[np.float32]

_EMPTY_SHARE = 0.03
_PLACEMENT_TRIES = 25
# The smaller box of two digits may share this much of its area with the other.
_MAX_SHARED_AREA = 0.2
_MAX_HIDDEN_INK = 0.25
# A pixel belongs to a digit where a third of it is visible ink: the round end of a stroke covers
# little of its outermost row, and a person would still count that row.
_INK_LEVEL = 1 / 3
# Digits smaller than this (pixels) get the least distortion, those above _LARGE the most.
_SMALL, _LARGE = 12.0, 64.0


@dataclass(frozen=True)
class SceneOptions:
    """Longer side of a scene and range of digit heights in pixels; most digits of a scene."""

    size: int = 256
    min_digit: int = 12
    max_digit: int = 160
    max_count: int = 8


@dataclass(frozen=True)
class Scene:
    """One picture with its truth.

    Attributes:
        pixels: [H, W, 3] uint8, RGB.
        boxes: [N, 4] int64, `x0, y0, x1, y1` around the visible ink, half-open.
        digits: [N] int64, the digit in each box.
        sample_indices: [N] int64, which handwritten sample each is.
        ink: [N, H, W] bool, the visible ink of each digit.
        hidden: [N] float64, the share of each digit's ink that lies under others and bars.
    """

    pixels: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.int64]
    digits: npt.NDArray[np.int64]
    sample_indices: npt.NDArray[np.int64]
    ink: npt.NDArray[np.bool_]
    hidden: npt.NDArray[np.float64]


@dataclass
class _Placed:
    left: int
    top: int
    ink: FloatArray
    digit: int
    index: int
    shared_ink: float = 0.0

    @property
    def height(self) -> int:
        return int(self.ink.shape[0])

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.left + self.ink.shape[1], self.top + self.ink.shape[0]

    @property
    def window(self) -> tuple[slice, slice]:
        left, top, right, bottom = self.box
        return slice(top, bottom), slice(left, right)


def scene(seed: int, split: str, number: int, options: SceneOptions) -> Scene:
    """Scene `number` of a split; it depends on the arguments alone.

    Only scalar transcendental functions are used, so vectorized maths libraries, which differ in
    the last bit between instruction sets, have no say in the pixels.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    short = options.size * rng.uniform(0.625, 1.0)
    height, width = options.size, max(1, round(short))
    if rng.random() < 0.6:
        height, width = width, height
    canvas = background(rng, height, width)
    # The first scene is never empty, so that every dataset has a box to learn from.
    empty = rng.random() < _EMPTY_SHARE and number > 0
    count = 0 if empty else int(rng.integers(1, options.max_count + 1))
    placed = _place(rng, split, count, height, width, options)
    canvas = draw_distractors(rng, canvas, [digit.box for digit in placed])

    visible: list[FloatArray] = []
    for digit in placed:
        coverage = np.zeros((height, width), np.float32)
        coverage[digit.window] = digit.ink
        for earlier in visible:
            earlier *= 1.0 - coverage
        visible.append(coverage)
        _draw_ink(rng, canvas, digit)
    needed = [(1.0 - _MAX_HIDDEN_INK) * float(digit.ink.sum()) for digit in placed]
    for number_drawn, digit in enumerate(placed):
        if digit.height >= 20 and rng.random() < 0.15:
            draw_occluder(rng, canvas, visible, needed, number_drawn, digit.box)

    ink = np.array([coverage >= _INK_LEVEL for coverage in visible], bool)
    ink = ink.reshape(len(placed), height, width)
    return Scene(
        pixels=_photographed(rng, canvas, [digit.height for digit in placed]),
        boxes=np.array([_extent(mask) for mask in ink], np.int64).reshape(-1, 4),
        digits=np.array([digit.digit for digit in placed], np.int64),
        sample_indices=np.array([digit.index for digit in placed], np.int64),
        ink=ink,
        hidden=np.array(
            [
                1.0 - float(coverage.sum()) / float(digit.ink.sum())
                for digit, coverage in zip(placed, visible, strict=True)
            ]
        ),
    )


def _place(
    rng: np.random.Generator,
    split: str,
    count: int,
    height: int,
    width: int,
    options: SceneOptions,
) -> list[_Placed]:
    """Choose digits and places for them, largest first so that they fit, then mix their order."""
    samples = digit_samples(split)
    tallest = min(float(options.max_digit), 0.85 * min(height, width))
    shortest = min(float(options.min_digit), tallest)
    heights = [
        round(math.exp(rng.uniform(math.log(shortest), math.log(tallest)))) for _ in range(count)
    ]
    placed: list[_Placed] = []
    for wanted in sorted(heights, reverse=True):
        digit = int(rng.integers(10))
        choice = int(rng.choice(np.flatnonzero(samples.digits == digit)))
        ink = render(samples.images[choice], _pose(rng, wanted))
        margin_x, margin_y = width - ink.shape[1], height - ink.shape[0]
        if margin_x < 0 or margin_y < 0:
            continue
        for _ in range(_PLACEMENT_TRIES):
            left, top = int(rng.integers(margin_x + 1)), int(rng.integers(margin_y + 1))
            candidate = _Placed(left, top, ink, digit, int(samples.indices[choice]))
            if _fits(candidate, placed):
                placed.append(candidate)
                break
    return [placed[position] for position in rng.permutation(len(placed))]


def _pose(rng: np.random.Generator, height: int) -> Pose:
    freedom = _freedom(height)
    turn = math.radians(8.0 + 14.0 * freedom)
    return Pose(
        height=float(height),
        rotation=float(rng.uniform(-turn, turn)),
        shear=float(rng.uniform(-0.15, 0.15) * (0.4 + 0.6 * freedom)),
        stretch=float(rng.uniform(0.85, 1.2)),
        weight=float(rng.uniform(0.43, 0.55)),
    )


def _freedom(height: float) -> float:
    """0 for the smallest digits, 1 for large ones: how much of a nuisance a digit can bear."""
    return min(max((height - _SMALL) / (_LARGE - _SMALL), 0.0), 1.0)


def _fits(candidate: _Placed, placed: list[_Placed]) -> bool:
    """Whether the boxes overlap little and no digit can hide too much of another's ink.

    Ink that two digits share counts against both, whichever is drawn later; on success it is noted
    on the digits. Half of the limit is left for a bar laid over them afterwards.
    """
    shares = []
    for other in placed:
        share = _shared_ink(candidate, other)
        if share is None:
            return False
        if share > 0:
            shares.append((other, share))
    total = sum(share for _, share in shares)
    for digit, share in [*shares, (candidate, total)]:
        if digit.shared_ink + share > 0.5 * _MAX_HIDDEN_INK * float(digit.ink.sum()):
            return False
    for digit, share in [*shares, (candidate, total)]:
        digit.shared_ink += share
    return True


def _shared_ink(first: _Placed, second: _Placed) -> float | None:
    """Ink in common, in pixels; None if the boxes overlap too much."""
    a, b = first.box, second.box
    left, top, right, bottom = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    if left >= right or top >= bottom:
        return 0.0
    if (right - left) * (bottom - top) > _MAX_SHARED_AREA * min(first.ink.size, second.ink.size):
        return None
    pieces = [
        digit.ink[top - digit.top : bottom - digit.top, left - digit.left : right - digit.left]
        for digit in (first, second)
    ]
    return float((pieces[0] * pieces[1]).sum())


def _draw_ink(rng: np.random.Generator, canvas: FloatArray, digit: _Placed) -> None:
    """Paint a digit in a colour that stands out from what lies around it."""
    freedom = _freedom(digit.height)
    margin = max(2, digit.height // 8)
    rows, columns = digit.window
    around = canvas[
        max(0, rows.start - margin) : rows.stop + margin,
        max(0, columns.start - margin) : columns.stop + margin,
    ]
    # Digits drawn earlier may lie around too; percentiles ignore a little of them.
    low, high = (float(part) for part in np.percentile(around @ LUMA, (6, 94)))
    contrast = 0.36 - 0.14 * freedom
    darker, lighter = low - contrast, high + contrast
    if darker < 0.0 and lighter > 1.0:
        luma = 0.0 if low > 1.0 - high else 1.0
    elif darker >= 0.0 and (lighter > 1.0 or rng.random() < 0.5):
        luma = rng.uniform(0.0, darker)
    else:
        luma = rng.uniform(lighter, 1.0)
    colour = np.asarray(colour_of_luma(rng, float(luma)), np.float32)
    alpha = digit.ink * np.float32(rng.uniform(0.92, 1.0))
    if digit.height >= 32 and rng.random() < 0.3:
        rows_inked, columns_inked = digit.ink.shape
        worn = value_noise(rng, rows_inked, columns_inked, int(rng.integers(3, 9)))
        alpha = alpha * (0.75 + 0.25 * worn)
    sigma = float(rng.uniform(0.0, 0.02)) * digit.height * freedom
    window = canvas[digit.window]
    if sigma > 0.3 and rng.random() < 0.5:
        alpha = _blurred(alpha, sigma)
    window += (colour - window) * alpha[..., None]


def _blurred(alpha: FloatArray, sigma: float) -> FloatArray:
    levels = Image.fromarray((alpha * 255 + 0.5).astype(np.uint8))
    soft = np.asarray(levels.filter(ImageFilter.GaussianBlur(sigma)), np.float32)
    return soft / np.float32(255.0)


def _photographed(
    rng: np.random.Generator, canvas: FloatArray, heights: list[int]
) -> npt.NDArray[np.uint8]:
    """Add a lens's blur, a sensor's noise and a coder's artefacts, as the smallest digit allows."""
    freedom = _freedom(min(heights, default=_LARGE))
    picture = Image.fromarray((np.clip(canvas, 0.0, 1.0) * 255 + 0.5).astype(np.uint8))
    if rng.random() < 0.4:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.4 + 0.8 * freedom)))
    noisy = np.asarray(picture, np.float32)
    if rng.random() < 0.7:
        strength = np.float32(rng.uniform(0.5, 6.0 + 10.0 * freedom))
        channels = 3 if rng.random() < 0.5 else 1
        grain = rng.standard_normal((*noisy.shape[:2], channels))
        noisy = noisy + strength * grain.astype(np.float32)
    pixels: npt.NDArray[np.uint8] = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        coded = io.BytesIO()
        quality = int(rng.integers(round(80 - 45 * freedom), 91))
        Image.fromarray(pixels).save(coded, "JPEG", quality=quality)
        pixels = np.asarray(Image.open(coded).convert("RGB"))
    return pixels


def _extent(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
