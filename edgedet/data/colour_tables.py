"""Changes of each channel's grey levels as lookup tables, which add up to one pass over a picture.

A table is [3, 256] uint8: the new level of each level of red, green and blue. The operations are
those of Cubuk et al. 2019 (AutoAugment, appendix), as Pillow's `ImageOps` and `ImageEnhance` define
them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.uint8]
Histogram = npt.NDArray[np.float64]

_LEVELS = np.arange(256, dtype=np.float64)
# ITU-R 601-2 luma, Pillow's grey.
_LUMA = np.array([0.299, 0.587, 0.114])


def followed_by(first: Table, second: Table) -> Table:
    """The table that does the work of two."""
    return np.take_along_axis(second, first.astype(np.int64), axis=1)


def through(histogram: Histogram, table: Table) -> Histogram:
    """Pixels per level [3, 256] of a picture after its levels were changed."""
    return np.stack(
        [
            np.bincount(levels, weights=counts, minlength=256)
            for levels, counts in zip(table, histogram, strict=True)
        ]
    )


def solarize(threshold: int) -> Table:
    """Invert levels from `threshold` on."""
    levels = _LEVELS
    return _alike(np.where(levels < threshold, levels, 255 - levels))


def solarize_add(addition: int, threshold: int = 128) -> Table:
    """Add to the levels below `threshold`."""
    levels = _LEVELS
    return _alike(np.where(levels < threshold, levels + addition, levels))


def posterize(bits: int) -> Table:
    """Keep the upper 1 to 8 bits."""
    return _alike((np.arange(256) >> (8 - bits) << (8 - bits)).astype(np.float64))


def brightness(factor: float) -> Table:
    """Blend with black: 0 is black, 1 changes nothing."""
    return _alike(_LEVELS * factor)


def contrast(factor: float, histogram: Histogram) -> Table:
    """Blend with the picture's mean grey: 0 is that grey, 1 changes nothing."""
    means = histogram @ _LEVELS / np.maximum(histogram.sum(axis=1), 1)
    mean = np.floor(_LUMA @ means + 0.5)
    return _alike(mean + (_LEVELS - mean) * factor)


def autocontrast(histogram: Histogram) -> Table:
    """Stretch each channel from its darkest and brightest level to 0 and 255."""
    table = np.tile(_LEVELS, (3, 1))
    for channel, counts in enumerate(histogram):
        used = np.flatnonzero(counts)
        if len(used) > 1:
            table[channel] = (_LEVELS - used[0]) * (255.0 / (used[-1] - used[0]))
    return _table(table)


def equalize(histogram: Histogram) -> Table:
    """Spread each channel's levels evenly over 0 to 255."""
    table = np.tile(_LEVELS, (3, 1))
    for channel, counts in enumerate(histogram):
        used = counts[counts > 0]
        step = (used.sum() - used[-1]) // 255 if len(used) > 1 else 0
        if step:
            before = np.concatenate([[0], np.cumsum(counts)[:-1]])
            table[channel] = (before + step // 2) // step
    return _table(table)


def jitter(rng: np.random.Generator, strength: float) -> Table:
    """Random contrast about mid-grey, gain of each channel, and brightness.

    Args:
        rng: where the choices come from.
        strength: the logarithm of the contrast lies within it, that of the gains within half of
            it, and the brightness within 64 grey levels times it.
    """
    gain = np.exp(rng.uniform(-strength, strength) + rng.uniform(-strength / 2, strength / 2, 3))
    offset = rng.uniform(-strength, strength) * 64
    return _table(127.5 + (_LEVELS - 127.5) * gain[:, None] + offset)


def _alike(levels: npt.NDArray[np.float64]) -> Table:
    return _table(np.tile(levels, (3, 1)))


def _table(levels: npt.NDArray[np.float64]) -> Table:
    return np.clip(levels + 0.5, 0, 255).astype(np.uint8)
