"""Cluttered procedural backgrounds: gradients, noise, stripes and patches under drawn shapes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

FloatArray = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

# Rec. 601 weights, as Pillow's own conversion to grey uses.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Shapes are drawn enlarged and averaged down, because ImageDraw doesn't antialias.
_SHAPE_OVERSAMPLING = 2


def background(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """A background [height, width, 3] in 0..1 whose luma spans a limited range.

    The limit leaves room on one side of the local luma for digits of sufficient contrast.
    """
    base = _BASES[rng.integers(len(_BASES))](rng, height, width)
    if rng.random() < 0.5:
        share = value_noise(rng, height, width, int(rng.integers(2, 9)))[..., None]
        other = _BASES[rng.integers(len(_BASES))](rng, height, width)
        base = base * share + other * (1.0 - share)
    base = _draw_clutter(rng, base)
    if rng.random() < 0.5:
        texture = value_noise(rng, height, width, int(rng.integers(16, 65)))
        base = base + np.float32(rng.uniform(0.05, 0.25)) * (texture[..., None] - 0.5)
    return _limit_luma(rng, base)


def random_colour(rng: np.random.Generator) -> Colour:
    """A colour between grey and saturated."""
    grey, saturation = rng.random(), rng.random()
    red, green, blue = (float(grey + saturation * (part - grey)) for part in rng.random(3))
    return red, green, blue


def colour_of_luma(rng: np.random.Generator, luma: float) -> Colour:
    """A random colour mixed with black or white until its luma is `luma` (0..1)."""
    colour = np.asarray(random_colour(rng))
    own = float(colour @ LUMA)
    if own > luma:
        colour = colour * (luma / own)
    else:
        colour = colour + (1.0 - colour) * ((luma - own) / max(1.0 - own, 1e-6))
    red, green, blue = (float(part) for part in np.clip(colour, 0.0, 1.0))
    return red, green, blue


def value_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> FloatArray:
    """Smooth noise [height, width] in 0..1 with about `cells` bumps along the longer side."""
    scale = cells / max(height, width)
    grid = rng.random((max(2, round(height * scale)), max(2, round(width * scale))), np.float32)
    smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth, np.float32), 0.0, 1.0)


def _ramp(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """Position along a random direction, 0..1 over the picture."""
    angle = rng.uniform(0, 2 * math.pi)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    along = np.float32(math.cos(angle)) * x + np.float32(math.sin(angle)) * y
    ramp: FloatArray = (along - along.min()) / max(float(along.max() - along.min()), 1e-6)
    return ramp


def _mixed(rng: np.random.Generator, share: FloatArray) -> FloatArray:
    first = np.asarray(random_colour(rng), np.float32)
    second = np.asarray(random_colour(rng), np.float32)
    mixed: FloatArray = first + (second - first) * share[..., None]
    return mixed


def _gradient(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    return _mixed(rng, _ramp(rng, height, width))


def _noise(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    coarse = value_noise(rng, height, width, int(rng.integers(2, 6)))
    fine = value_noise(rng, height, width, int(rng.integers(8, 25)))
    return _mixed(rng, (2.0 * coarse + fine) / np.float32(3.0))


def _stripes(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    # A triangle wave rather than a sine: the same bits on every instruction set.
    phase = _ramp(rng, height, width) * np.float32(rng.uniform(2, 16))
    wave = np.abs(2.0 * (phase - np.floor(phase)) - 1.0)
    steepness = np.float32(rng.uniform(1.0, 12.0))
    return _mixed(rng, np.clip((wave - 0.5) * steepness + 0.5, 0.0, 1.0))


def _checks(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    count = rng.uniform(3, 14)
    across = np.floor(_ramp(rng, height, width) * np.float32(count))
    down = np.floor(_ramp(rng, height, width) * np.float32(count))
    return _mixed(rng, np.mod(across + down, 2.0))


def _patches(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    cells = int(rng.integers(2, 8))
    grid = rng.random((cells, cells, 3), np.float32) * 255
    mode = Image.Resampling.NEAREST if rng.random() < 0.5 else Image.Resampling.BICUBIC
    patches = Image.fromarray(grid.astype(np.uint8)).resize((width, height), mode)
    return np.asarray(patches, np.float32) / np.float32(255.0)


_BASES: tuple[Callable[[np.random.Generator, int, int], FloatArray], ...] = (
    _gradient,
    _noise,
    _stripes,
    _checks,
    _patches,
)


def _draw_clutter(rng: np.random.Generator, base: FloatArray) -> FloatArray:
    """Blend blobs, polygons and long lines over the base."""
    height, width = base.shape[:2]
    scaled = (width * _SHAPE_OVERSAMPLING, height * _SHAPE_OVERSAMPLING)
    layer = Image.new("RGB", scaled)
    mask = Image.new("L", scaled)
    draw, cover = ImageDraw.Draw(layer), ImageDraw.Draw(mask)
    for _ in range(int(rng.integers(0, 13))):
        colour = tuple(round(255 * part) for part in random_colour(rng))
        opacity = round(255 * rng.uniform(0.3, 1.0))
        x, y = rng.uniform(0, scaled[0]), rng.uniform(0, scaled[1])
        extent = max(scaled) * rng.uniform(0.03, 0.35)
        kind = rng.integers(3)
        if kind == 0:
            tall = extent * rng.uniform(0.4, 1.0)
            box = (x - extent, y - tall, x + extent, y + tall)
            draw.ellipse(box, fill=colour)
            cover.ellipse(box, fill=opacity)
        elif kind == 1:
            corners = int(rng.integers(3, 7))
            angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
            radii = extent * rng.uniform(0.4, 1.0, corners)
            points = [
                (x + radius * math.cos(angle), y + radius * math.sin(angle))
                for angle, radius in zip(angles.tolist(), radii.tolist(), strict=True)
            ]
            draw.polygon(points, fill=colour)
            cover.polygon(points, fill=opacity)
        else:
            # Lines cross the picture: a short one would look like a 1.
            angle, far = rng.uniform(0, math.pi), 2 * max(scaled)
            run = (far * math.cos(angle), far * math.sin(angle))
            line = [(x - run[0], y - run[1]), (x + run[0], y + run[1])]
            thickness = int(rng.integers(2, 13))
            draw.line(line, fill=colour, width=thickness)
            cover.line(line, fill=opacity, width=thickness)
    size = (width, height)
    colours = np.asarray(layer.resize(size, Image.Resampling.BOX), np.float32) / np.float32(255)
    cover_small = np.asarray(mask.resize(size, Image.Resampling.BOX), np.float32)
    share = cover_small[..., None] / np.float32(255)
    blended: FloatArray = base + (colours - base) * share
    return blended


def _limit_luma(rng: np.random.Generator, pixels: FloatArray) -> FloatArray:
    luma = pixels @ LUMA
    low, high = (float(part) for part in np.percentile(luma, (2, 98)))
    span = min(high - low, rng.uniform(0.08, 0.42))
    centre = rng.uniform(0.08 + span / 2, 0.92 - span / 2)
    wanted = (luma - (low + high) / 2) * np.float32(span / max(high - low, 1e-6)) + centre
    limited = np.clip(pixels + (wanted - luma)[..., None], 0.0, 1.0)
    return limited.astype(np.float32)
