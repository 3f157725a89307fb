"""Colours and dashes that tell classes apart, also for readers without full colour vision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

Colour: TypeAlias = tuple[int, int, int]
Dash: TypeAlias = Literal["solid", "dashed", "dotted"]

# M. Okabe and K. Ito, "Color Universal Design" (2008), figure 16; without black, which is lost on
# dark pictures.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)

# The factors that keep the 21 colours furthest apart under normal vision and under the three kinds
# of dichromacy (simulated after Machado et al. 2009), measured in Oklab.
_SHADE = 0.4
_TINT = 0.5
_DASHES: tuple[Dash, ...] = ("solid", "dashed", "dotted")

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Look:
    """How the frames of a class are drawn."""

    colour: Colour
    dash: Dash


@cache
def look(class_id: int) -> Look:
    """The look of a class: 7 hues, then their shades, their tints, and all of it in dashes.

    The first 63 classes differ; then the looks begin again.
    """
    variant, hue = divmod(class_id, len(PALETTE))
    red, green, blue = PALETTE[hue]
    colour = (_lightened(red, variant), _lightened(green, variant), _lightened(blue, variant))
    return Look(colour, _DASHES[variant // 3 % len(_DASHES)])


def _lightened(channel: int, variant: int) -> int:
    if variant % 3 == 1:
        return round(channel * _SHADE)
    return channel if variant % 3 == 0 else round(channel + (255 - channel) * _TINT)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever stands out more (WCAG 2.1, relative luminance)."""
    luminance = relative_luminance(background)
    return _BLACK if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else _WHITE


def relative_luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 for black to 1 for white (WCAG 2.1)."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
